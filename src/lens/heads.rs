//! One number per head from its pattern: entropy, reach, previous-token weight, difference to another pane. And the same
//! head in a sentence.

use super::sinks::{self, null};
use super::{HeadRows, Patterns};
use crate::experiment::{Head, Metric};
use crate::outcome::Token;

/// The metric of every head, [L·H] layer by layer; NaN where it is not defined, as for a difference without `reference`.
///
/// `position` is the examined sink position; `reference` the patterns of pane A.
pub fn metric(metric: Metric, patterns: &Patterns<'_>, reference: Option<&Patterns<'_>>, position: usize) -> Vec<f32> {
    let mut others = reference.map(Patterns::iter);
    let mut other = || others.as_mut().and_then(Iterator::next);
    patterns.iter().map(|rows| number(metric, &rows, other().as_ref(), position)).collect()
}

/// One metric of one head; a difference is that to `other` and NaN without it.
pub fn number(metric: Metric, rows: &HeadRows<'_>, other: Option<&HeadRows<'_>>, position: usize) -> f32 {
    match metric {
        Metric::SinkMass => sinks::masses(rows.tokens, &rows.all_shares()).get(position).copied().unwrap_or(f32::NAN),
        Metric::Entropy => entropy(rows),
        Metric::Distance => distance(rows),
        Metric::Previous => previous(rows),
        Metric::Difference => other.map_or(f32::NAN, |other| difference(rows, other)),
    }
}

/// Mean entropy of the rows in nats, the slot counted as one more key; rows without weight are left out.
///
/// ```
/// # use attnscope::hook::Array;
/// # use attnscope::lens::{heads::entropy, Patterns};
/// let even = Array::new([1, 1, 2, 2], vec![1.0, f32::NAN, 0.5, 0.5]).unwrap();
/// let head = Patterns::new(&even, None, None).unwrap().head(0, 0).unwrap();
/// assert!((entropy(&head) - 2f32.ln() / 2.0).abs() < 1e-6);
/// ```
pub fn entropy(rows: &HeadRows<'_>) -> f32 {
    let term = |weight: f32| if weight > 0.0 { -weight * weight.ln() } else { 0.0 };
    mean((0..rows.tokens).filter_map(|query| {
        let shares = rows.shares(query);
        let slot = rows.slot.and_then(|slot| slot.get(query)).copied().unwrap_or(0.0);
        let total = shares.iter().sum::<f32>() + slot;
        (total > 0.0).then(|| shares.into_iter().chain([slot]).map(|weight| term(weight / total)).sum())
    }))
}

/// Mean distance between query and key in tokens, weighted by the row; rows without weight are left out.
pub fn distance(rows: &HeadRows<'_>) -> f32 {
    mean((0..rows.tokens).filter_map(|query| {
        let shares = rows.shares(query);
        let total: f32 = shares.iter().sum();
        let reach: f32 = shares.iter().enumerate().map(|(key, weight)| weight * query.abs_diff(key) as f32).sum();
        (total > 0.0).then(|| reach / total)
    }))
}

/// Mean share of weight on the token just before the query.
pub fn previous(rows: &HeadRows<'_>) -> f32 {
    mean((1..rows.tokens).map(|query| rows.shares(query).get(query - 1).copied().unwrap_or(0.0)))
}

/// Largest absolute difference of one weight; a masked pair counts as zero. NaN when the sizes differ.
pub fn difference(rows: &HeadRows<'_>, other: &HeadRows<'_>) -> f32 {
    if rows.weights.len() != other.weights.len() {
        return f32::NAN;
    }
    let weight = |value: &f32| if value.is_nan() { 0.0 } else { *value };
    rows.weights.iter().zip(other.weights).map(|(a, b)| (weight(a) - weight(b)).abs()).fold(0.0, f32::max)
}

fn mean(values: impl Iterator<Item = f32>) -> f32 {
    let (count, sum) = values.fold((0usize, 0.0), |(count, sum), value| (count + 1, sum + value));
    if count == 0 { f32::NAN } else { sum / count as f32 }
}

/// The keys one query reads most, heaviest first: (key, weight as it stands in the pattern).
pub fn strongest_keys(rows: &HeadRows<'_>, query: usize, count: usize) -> Vec<(usize, f32)> {
    let mut keys: Vec<_> = rows.row(query).iter().copied().enumerate().filter(|(_, weight)| !weight.is_nan()).collect();
    keys.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    keys.truncate(count);
    keys
}

/// One head in a sentence: alternative text of its picture and caption of its export.
pub fn sentence(head: Head, rows: &HeadRows<'_>, tokens: &[Token], position: usize) -> String {
    let text = |key: usize| tokens.get(key).map_or(String::new(), |token| format!("“{}” ({key})", token.text.trim()));
    let columns = sinks::importance(rows.tokens, &rows.all_shares());
    let mut keys: Vec<_> = columns.into_iter().enumerate().collect();
    keys.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let mut sentence = match keys.as_slice() {
        [] => return format!("{head} has no tokens to read."),
        [(only, _)] => return format!("{head} has one token to read, {}.", text(*only)),
        // The last token is read by itself alone and says nothing about the head.
        keys => {
            let read: Vec<_> = keys.iter().filter(|(key, _)| key + 1 < rows.tokens).take(3).collect();
            let list: Vec<_> =
                read.iter().map(|(key, share)| format!("{} {:.0}%", text(*key), 100.0 * share)).collect();
            format!("{head} reads most from {}", list.join(", "))
        }
    };
    let mass = sinks::masses(rows.tokens, &rows.all_shares()).get(position).copied().filter(|mass| mass.is_finite());
    if let (Some(mass), Some(null)) = (mass, null(rows.tokens, position)) {
        sentence += &format!(
            "; {:.0}% of later attention rests on token {position}, {:.2} × the null",
            100.0 * mass,
            mass / null
        );
    }
    sentence + &format!("; rows have {:.2} nats of entropy and reach {:.1} tokens back.", entropy(rows), distance(rows))
}
