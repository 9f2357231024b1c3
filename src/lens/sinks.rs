//! Attention sinks: how much weight rests on one position, against what an even causal row would put there.
//!
//! Two measures, kept apart because they answer different questions:
//!
//! ```text
//! mass[p]       = mean over later queries t > p of A[t,p]            "does the rest of the text rest on p?"
//! importance[k] = (1 / (T - k)) Σ_{t ≥ k} A[t,k]        (0-based)    paper 52's alpha, divisor = queries that see k
//! sink rate[k]  = share of heads with importance[k] > ε              paper 52's Sink_k(ε)
//! null[p]       = mean over t > p of 1/(t+1)                         mass of a head that looks at nothing in particular
//! ```
//!
//! A masked pair counts as weight zero, so a window that cuts a sink off shows as mass lost. Rows that sum to anything are
//! read through the proxy of [`RowRule::Free`]; rows that a slot leaves below one are never renormalised.
//!
//! Source: Gu et al., "When Attention Sink Emerges in Language Models", 2025 (paper 52), and its reference code for the
//! divisor; the null and the three views are ours.

use super::{HeadRows, Patterns, RowRule};

/// What a uniform causal head puts on `position`: mean over later queries t of 1/(t+1). `None` at the last position.
///
/// ```
/// # use attnscope::lens::sinks::null;
/// assert!((null(3, 0).unwrap() - (1.0 / 2.0 + 1.0 / 3.0) / 2.0).abs() < 1e-6);
/// assert_eq!(null(3, 2), None);
/// ```
pub fn null(tokens: usize, position: usize) -> Option<f32> {
    mean_over_later(tokens, position, |query| 1.0 / (query + 1) as f32)
}

/// The null on `position` once the key `removed` is gone and rows are renormalised.
pub fn null_without(tokens: usize, position: usize, removed: usize) -> Option<f32> {
    mean_over_later(tokens, position, |query| {
        let keys = query + 1 - usize::from(removed <= query);
        if position == removed || keys == 0 { 0.0 } else { 1.0 / keys as f32 }
    })
}

fn mean_over_later(tokens: usize, position: usize, value: impl Fn(usize) -> f32) -> Option<f32> {
    let later = position + 1..tokens;
    (!later.is_empty())
        .then(|| later.clone().map(|query| f64::from(value(query))).sum::<f64>() as f32 / later.len() as f32)
}

/// How a head's rows are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The weights as they are.
    Raw,
    /// One key taken out, and rows renormalised where they should sum to one.
    Without(usize),
    /// Share of weight times ‖v·W_O‖: how much of what a head writes could come from each key.
    ValueWeighted,
}

/// One head's rows in a view, `[Q,K]` without NaN; `None` for value weights of a pane that carries no value norms.
///
/// [`View::Without`] leaves rows that sum to less than one, or to anything, alone: renormalising them would undo what
/// their mechanism does.
pub fn viewed(rows: &HeadRows<'_>, view: View) -> Option<Vec<f32>> {
    let norms = match view {
        View::ValueWeighted => Some(rows.value_norms?),
        View::Raw | View::Without(_) => None,
    };
    let mut out = rows.all_shares().into_owned();
    for row in out.chunks_mut(rows.tokens.max(1)) {
        match view {
            View::Raw => {}
            View::Without(removed) => {
                if let Some(weight) = row.get_mut(removed) {
                    *weight = 0.0;
                }
                if rows.rule == RowRule::One {
                    normalise(row);
                }
            }
            View::ValueWeighted => {
                for (weight, norm) in row.iter_mut().zip(norms.unwrap_or(&[])) {
                    *weight *= norm;
                }
                normalise(row);
            }
        }
    }
    Some(out)
}

/// Divides a row by its sum; a row that sums to nothing stays zero.
fn normalise(row: &mut [f32]) {
    let total: f32 = row.iter().sum();
    if total > 0.0 {
        row.iter_mut().for_each(|weight| *weight /= total);
    }
}

/// Mass on every position, `[K]`: mean weight over later queries of plain rows `[Q,K]`. The last position has no later query
/// and holds NaN.
pub fn masses(tokens: usize, rows: &[f32]) -> Vec<f32> {
    let mut sums = vec![0.0; tokens];
    for (query, row) in rows.chunks_exact(tokens.max(1)).enumerate() {
        sums[..query].iter_mut().zip(row).for_each(|(sum, weight)| *sum += weight);
    }
    sums.iter().enumerate().map(|(key, sum)| sum / (tokens - 1 - key) as f32).collect()
}

/// Paper 52's importance of every position, `[K]`: column sum of plain rows `[Q,K]` over the number of queries that may see it.
///
/// ```
/// # use attnscope::lens::sinks::importance;
/// // Every row looks at the first token.
/// assert_eq!(importance(3, &[1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]), [1.0, 0.0, 0.0]);
/// ```
pub fn importance(tokens: usize, rows: &[f32]) -> Vec<f32> {
    let mut sums = vec![0.0; tokens];
    for (query, row) in rows.chunks_exact(tokens.max(1)).enumerate() {
        sums[..=query].iter_mut().zip(row).for_each(|(sum, weight)| *sum += weight);
    }
    sums.iter().enumerate().map(|(key, sum)| sum / (tokens - key) as f32).collect()
}

/// Everything about sinks in one pane that does not depend on ε or on the examined position; made once per run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sinks {
    /// L.
    pub layers: usize,
    /// H.
    pub heads: usize,
    /// T.
    pub tokens: usize,
    /// Whether rows sum to anything, so that weights are read through the proxy.
    pub proxied: bool,
    /// Whether rows should sum to one, so that removing a key renormalises.
    pub renormalises: bool,
    /// Raw mass of each head on each position, [L·H]`[K]`.
    pub mass: Vec<Vec<f32>>,
    /// Value-weighted mass of each head on each position; empty when the pane carries no value norms.
    pub value_mass: Vec<Vec<f32>>,
    /// Importance of each position in each head, [L·H]`[K]`.
    pub importance: Vec<Vec<f32>>,
    /// Mean weight of the slot in each head; empty when there is none.
    pub slot: Vec<f32>,
}

impl Sinks {
    /// Measures every head.
    pub fn new(patterns: &Patterns<'_>) -> Self {
        Self::of_heads(patterns.layers, patterns.heads, patterns.iter())
    }

    /// Measures heads that came one by one, layer by layer, as beyond [`crate::outcome::STORED_TOKENS`] tokens.
    pub fn of_heads<'a>(layers: usize, heads: usize, rows: impl Iterator<Item = HeadRows<'a>>) -> Self {
        let mut sinks = Self { layers, heads, renormalises: true, ..Self::default() };
        for rows in rows {
            let tokens = rows.tokens;
            sinks.tokens = tokens;
            sinks.proxied |= rows.rule == RowRule::Free;
            sinks.renormalises &= rows.rule == RowRule::One;
            let raw = rows.all_shares();
            sinks.mass.push(masses(tokens, &raw));
            sinks.importance.push(importance(tokens, &raw));
            sinks.value_mass.extend(viewed(&rows, View::ValueWeighted).map(|rows| masses(tokens, &rows)));
            sinks.slot.extend(rows.slot.map(|slot| slot.iter().sum::<f32>() / tokens.max(1) as f32));
        }
        sinks
    }

    /// Mean raw mass over heads on each position, `[K]`; NaN at the last.
    pub fn by_position(&self) -> Vec<f32> {
        mean_columns(&self.mass, self.tokens)
    }

    /// Mean raw mass on `position` over all heads; `None` when no query comes later.
    pub fn mean(&self, position: usize) -> Option<f32> {
        mean(&self.mass, position)
    }

    /// Mean value-weighted mass on `position`; `None` without value norms or later queries.
    pub fn value_weighted(&self, position: usize) -> Option<f32> {
        mean(&self.value_mass, position)
    }

    /// Mean raw mass on `position` in each layer, `[L]`.
    pub fn by_layer(&self, position: usize) -> Vec<f32> {
        self.mass.chunks(self.heads.max(1)).map(|layer| mean(layer, position).unwrap_or(f32::NAN)).collect()
    }

    /// Importance of `position` in each head, [L·H].
    pub fn by_head(&self, position: usize) -> Vec<f32> {
        self.importance.iter().map(|head| head.get(position).copied().unwrap_or(f32::NAN)).collect()
    }

    /// Number of heads whose importance of `position` passes `epsilon`.
    pub fn heads_above(&self, position: usize, epsilon: f32) -> usize {
        self.by_head(position).into_iter().filter(|alpha| *alpha > epsilon).count()
    }

    /// Paper 52's Sink_k(ε) of this sequence: the share of heads whose importance of `position` passes `epsilon`.
    pub fn rate(&self, position: usize, epsilon: f32) -> f32 {
        self.heads_above(position, epsilon) as f32 / self.importance.len().max(1) as f32
    }

    /// The position that takes most weight above its null, summed over later queries, so that a late position with one
    /// reader does not win over one that all the text rests on. `None` for fewer than two tokens.
    pub fn strongest(&self) -> Option<usize> {
        strongest(&self.by_position(), |position| null(self.tokens, position))
    }
}

/// What is left of a pane when one key is taken out.
#[derive(Debug, Clone, PartialEq)]
pub struct Without {
    /// The position that takes most weight above its null now.
    pub next: usize,
    /// Mean mass on it over heads.
    pub mass: f32,
    /// The null on it without the removed key.
    pub null: f32,
    /// False when rows do not sum to one and were therefore left alone.
    pub renormalised: bool,
}

impl Without {
    /// Takes `removed` out of every row of every head; `None` when too few tokens are left.
    pub fn new(patterns: &Patterns<'_>, removed: usize) -> Option<Self> {
        Self::of_heads(patterns.iter(), removed)
    }

    /// The same from heads that came one by one.
    pub fn of_heads<'a>(rows: impl Iterator<Item = HeadRows<'a>>, removed: usize) -> Option<Self> {
        let (mut heads, mut tokens, mut renormalised) = (Vec::new(), 0, true);
        for rows in rows {
            tokens = rows.tokens;
            renormalised &= rows.rule == RowRule::One;
            heads.extend(viewed(&rows, View::Without(removed)).map(|rows| masses(tokens, &rows)));
        }
        let means = mean_columns(&heads, tokens);
        let null_here = |position| if position == removed { None } else { null_without(tokens, position, removed) };
        let next = strongest(&means, null_here)?;
        Some(Self { next, mass: *means.get(next)?, null: null_here(next)?, renormalised })
    }
}

fn strongest(masses: &[f32], null: impl Fn(usize) -> Option<f32>) -> Option<usize> {
    let excess = |position: usize| Some((masses[position] - null(position)?) * (masses.len() - 1 - position) as f32);
    (0..masses.len())
        .filter_map(|position| excess(position).filter(|excess| excess.is_finite()).map(|excess| (position, excess)))
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
        .map(|(position, _)| position)
}

fn mean(heads: &[Vec<f32>], position: usize) -> Option<f32> {
    let sum: f32 = heads.iter().map(|head| head.get(position).copied().unwrap_or(f32::NAN)).sum();
    let mean = sum / heads.len() as f32;
    mean.is_finite().then_some(mean)
}

fn mean_columns(heads: &[Vec<f32>], tokens: usize) -> Vec<f32> {
    (0..tokens).map(|position| mean(heads, position).unwrap_or(f32::NAN)).collect()
}

/// The finding in words, for `position` whose token reads `text`; `other` is pane B.
pub fn verdict(a: &Sinks, other: Option<&Sinks>, position: usize, text: &str, epsilon: f32) -> String {
    let (Some(mean), Some(null)) = (a.mean(position), null(a.tokens, position)) else {
        return format!(
            "Token {position} is read by no later token, so nothing can rest on it; choose an earlier position."
        );
    };
    let layers = a.by_layer(position);
    let peak = (0..layers.len()).max_by(|x, y| layers[*x].total_cmp(&layers[*y])).unwrap_or(0);
    let share = |mass: f32| format!("{:.0}%", 100.0 * mass);
    let ratio = |mass: f32| format!("{:.2} × the null", mass / null);
    let of = |sinks: &Sinks| format!("{} of {}", sinks.heads_above(position, epsilon), sinks.importance.len());
    let mut sentence =
        format!("Token {position} ({text}) holds {} of later attention in A, {}", share(mean), ratio(mean));
    if let Some(mean) = other.and_then(|b| b.mean(position)) {
        sentence += &format!(", and {} in B, {}", share(mean), ratio(mean));
    }
    let at_peak = layers.get(peak).copied().unwrap_or(mean);
    sentence += &format!(
        ". L{peak} is strongest in A at {}. Importance passes ε = {epsilon} in {} heads in A",
        share(at_peak),
        of(a)
    );
    if let Some(b) = other {
        sentence += &format!(", {} in B", of(b));
    }
    sentence += ".";
    match a.strongest() {
        Some(found) if found != position => {
            sentence += &format!(
                " The strongest sink of A is token {found}, {}.",
                a.mean(found).map(share).unwrap_or_default()
            );
        }
        _ => {}
    }
    if a.proxied || other.is_some_and(|b| b.proxied) {
        sentence += " Rows that are not normalised are read as shares of their row.";
    }
    sentence
}
