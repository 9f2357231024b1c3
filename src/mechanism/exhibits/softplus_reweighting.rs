//! Paper 68: a row before and after re-weighting, exact zeros, how flat rows get with length, and the loss by position.

use super::recall::Variant;
use super::{Offer, Scene, by_head, drawn, fact, grid, marks, missing, of_tokens, recall, shares, sheet};
use crate::Result;
use crate::lens::base::Base;
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::finding::Axis;
use crate::mechanism::Stack;
use crate::mechanism::softplus_reweighting::{LSSA, LSSAR, SOFTMAX, SOFTMAX_REWEIGHTED, SoftplusReweightingParams};
use crate::spec::Params;

/// What it draws.
pub const ALL: &[Offer] = &[
    Offer::new(
        "row",
        "The pinned row before and after re-weighting",
        Drawn::Bars,
        row,
        "Weights of the pinned query and head over the keys it sees; marked are those above the average, 1 over their number, \
         which is what re-weighting keeps.",
    ),
    Offer::new(
        "zeros",
        "Exact zeros and flatness",
        Drawn::Cells,
        zeros,
        "By head: share of the causal pairs whose weight is exactly zero, and mean entropy of the rows in nats, here and in \
         plain attention.",
    ),
    Offer::new(
        "entropy",
        "Entropy of rows by their length",
        Drawn::Lines,
        entropy,
        "Mean entropy of the rows of the pinned layer, in nats, by the number of keys a row sees: the same queries and keys \
         under each operator, and ln n, which an even row has.",
    ),
    Offer::new(
        "loss",
        "Loss up to each token",
        Drawn::Lines,
        losses,
        "Mean loss of all tokens up to each place, in nats, in this pane and in plain attention.",
    ),
    recall::offer(
        recalled,
        "The weights were trained with softmax, so this is no test of what a model trained with another operator would find.",
    ),
];

fn with(scene: &Scene<'_>, operator: u32) -> Stack {
    scene.with(SoftplusReweightingParams { operator, ..scene.params() }.values())
}

fn row(scene: &Scene<'_>) -> Result<Exhibit> {
    let p: SoftplusReweightingParams = scene.params();
    let before = match p.operator {
        LSSAR => LSSA,
        SOFTMAX_REWEIGHTED => SOFTMAX,
        _ => return missing("This operator does not re-weight: choose lssar or softmax_reweighted."),
    };
    let (layer, head, n, query) = (scene.head.layer, scene.head.head, scene.tokens, scene.query);
    let stepped = scene.step(&with(scene, before), layer)?;
    let before = &stepped.pattern_of(head, n)[query * n..][..=query];
    let after = &scene.pattern(layer, head)[query * n..][..=query];
    let count = stepped.kept[(head * n + query) * n..][..=query].iter().filter(|kept| **kept).count();
    let average = 1.0 / count.max(1) as f32;
    let above: Vec<bool> = before.iter().map(|weight| *weight > average).collect();
    let left = above.iter().filter(|above| **above).count();
    let most = |row: &[f32]| row.iter().copied().fold(0.0, f32::max);
    let (was, is) = (most(before), most(after));
    let sheets = vec![
        sheet("weight", "weight", "", [before, after].concat()),
        marks("above", "above average", [above.clone(), above].concat()),
    ];
    let mut keys = scene.token_axis("key");
    keys.labels.truncate(query + 1);
    let mut grid = grid(Axis::new("row", ["before", "after"].map(String::from)), keys, sheets);
    grid.facts.push(fact("average", "Average weight", average, ""));
    grid.facts.push(fact("above", "Keys above average", left as f32, "keys"));
    grid.facts.push(fact("before", "Largest weight before", was, ""));
    grid.facts.push(fact("after", "Largest weight after", is, ""));
    Ok(Exhibit { outlined: Some("above".into()), ..drawn(grid) })
}

fn entropy_of(row: &[f32]) -> f32 {
    let sum: f32 = row.iter().sum();
    let share = |weight: &f32| weight / sum.max(f32::MIN_POSITIVE);
    row.iter().map(share).filter(|share| *share > 0.0).map(|share| -share * share.ln()).sum()
}

fn zeros(scene: &Scene<'_>) -> Result<Exhibit> {
    let n = scene.tokens;
    let causal = (n * (n + 1) / 2) as f32;
    let rows =
        |pattern: &[f32]| (0..n).map(|query| pattern[query * n..=query * n + query].to_vec()).collect::<Vec<_>>();
    let empty =
        |pattern: &[f32]| rows(pattern).concat().iter().filter(|weight| **weight == 0.0).count() as f32 / causal;
    let flat = |pattern: &[f32]| rows(pattern).iter().map(|row| entropy_of(row)).sum::<f32>() / n as f32;
    let of = |read: &dyn Fn(usize, usize) -> f32| scene.every_head().map(|(layer, head)| read(layer, head)).collect();
    let sheets = vec![
        shares("zeros", "exact zeros", of(&|l, h| empty(scene.pattern(l, h)))),
        sheet("entropy", "entropy", "nats", of(&|l, h| flat(scene.pattern(l, h)))),
        sheet("plain", "entropy of plain attention", "nats", of(&|l, h| flat(scene.plain_pattern(l, h)))),
    ];
    Ok(drawn(by_head(scene, sheets)))
}

fn entropy(scene: &Scene<'_>) -> Result<Exhibit> {
    let (n, layer) = (scene.tokens, scene.head.layer);
    let operators = [("softmax", SOFTMAX), ("lssa", LSSA), ("lssar", LSSAR), ("re-weighted", SOFTMAX_REWEIGHTED)];
    let mut values = Vec::new();
    for (_, operator) in operators {
        let stepped = scene.step(&with(scene, operator), layer)?;
        let of_row = |query: usize| {
            let row = |head: usize| entropy_of(&stepped.pattern_of(head, n)[query * n..=query * n + query]);
            (0..scene.heads).map(row).sum::<f32>() / scene.heads as f32
        };
        values.extend((0..n).map(of_row));
    }
    values.extend((0..n).map(|query| ((query + 1) as f32).ln()));
    let rows = Axis::new("operator", operators.iter().map(|(name, _)| name.to_string()).chain(["even".to_string()]));
    let keys = Axis::new("keys", (1..=n).map(|keys| keys.to_string()));
    Ok(drawn(grid(rows, keys, vec![sheet("entropy", "entropy", "nats", values)])))
}

fn losses(scene: &Scene<'_>) -> Result<Exhibit> {
    let tokens = &scene.own.tokens;
    if tokens.len() < 2 {
        return missing("One token has no loss.");
    }
    let of = |base: &Base| {
        let mut sum = 0.0;
        let mut upto = vec![f32::NAN];
        for (query, next) in tokens.iter().skip(1).enumerate() {
            sum -= base.log_probabilities.at(query).get(*next as usize).copied().unwrap_or(f32::NAN);
            upto.push(sum / (query + 1) as f32);
        }
        upto
    };
    let rows = ["this pane", "plain"].map(String::from);
    let values = [of(scene.own), of(scene.plain)].concat();
    Ok(drawn(of_tokens(scene, "attention", rows, vec![sheet("loss", "mean loss", "nats per token", values)])))
}

const NAMES: [(&str, &str); 4] =
    [("full", "softmax"), ("own", "this pane"), ("lssa", "lssa"), ("again", "softmax re-weighted")];

fn recalled(scene: &Scene<'_>) -> Result<Vec<Variant>> {
    Ok(recall::named(
        NAMES,
        [with(scene, SOFTMAX), scene.stack.clone(), with(scene, LSSA), with(scene, SOFTMAX_REWEIGHTED)],
    ))
}
