//! What a sink is made of: a stream that grows at its position, quiet keys and values, and a key that every query points to.
//!
//! ```text
//! stream   ‖h_p‖ / median_t ‖h_t‖   behind each layer           massive activations, where it is large
//! key      ‖k_p‖ / median_t ‖k_t‖   value   ‖v_p‖ / median_t ‖v_t‖   by head
//! cosine   mean over later queries t of cos(k_p, q_t)            beside the same of all other keys before them
//! ```
//!
//! Keys and queries are those that scores are made of, turned by their positions. Heads that share keys have one key each.

use crate::Result;
use crate::hook::{ActivationCache, Array, Selection, Site};
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::finding::Fact;
use crate::lens::study::{exhibit, grid, mean, sheet};
use crate::mechanism::Stack;
use crate::model::CpuModel;

/// What one sequence says of one position.
#[derive(Debug, Clone, PartialEq)]
pub struct Causes {
    /// By layer.
    pub stream: Vec<f32>,
    /// By head, layer by layer: key, value, cosine, cosine of other keys.
    pub heads: [Vec<f32>; 4],
}

impl Causes {
    /// Runs a sequence and looks at what stands at `position`.
    ///
    /// # Errors
    /// Those of the pass.
    pub fn new(model: &CpuModel, stack: &Stack, seed: u64, tokens: &[u32], position: usize) -> Result<Self> {
        let sites = [Site::ResidPost, Site::Q, Site::K, Site::RotQ, Site::RotK, Site::V];
        let mut captures = ActivationCache::new(Selection::sites(&sites));
        model.run(&[tokens], stack, seed, &mut captures)?;
        let (layers, heads) = (model.config().layers, model.config().heads);
        let (mut stream, mut found) = (Vec::new(), [(); 4].map(|()| Vec::new()));
        for layer in 0..layers {
            stream.push(ratio(captures.get(layer, Site::ResidPost)?, 0, position));
            let either = |turned, plain| captures.get(layer, turned).or_else(|_| captures.get(layer, plain));
            let (queries, keys) = (either(Site::RotQ, Site::Q)?, either(Site::RotK, Site::K)?);
            let values = captures.get(layer, Site::V)?;
            for head in 0..heads {
                let group = head * keys.shape.get(1).copied().unwrap_or(1) / heads;
                let cosines = |keep: &dyn Fn(usize) -> bool| {
                    let pairs = (position + 1..tokens.len()).flat_map(|query| (0..query).map(move |key| (query, key)));
                    let pairs = pairs.filter(|(_, key)| keep(*key));
                    mean(pairs.map(|(query, key)| cosine(row(queries, head, query), row(keys, group, key))))
                };
                let numbers = [
                    ratio(keys, group, position),
                    ratio(values, group, position),
                    cosines(&|key| key == position),
                    cosines(&|key| key != position),
                ];
                found.iter_mut().zip(numbers).for_each(|(all, number)| all.push(number));
            }
        }
        Ok(Self { stream, heads: found })
    }
}

/// A vector of `[1,N,Q,D]` or `[1,Q,M]`.
fn row(of: &Array, head: usize, at: usize) -> &[f32] {
    let [.., positions, width] = of.shape[..] else { return &[] };
    let start = (head * positions + at) * width;
    of.data.get(start..start + width).unwrap_or(&[])
}

fn norm(of: &[f32]) -> f32 {
    crate::lens::readout::dot(of, of).sqrt() as f32
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    crate::lens::readout::dot(a, b) as f32 / (norm(a) * norm(b)).max(f32::MIN_POSITIVE)
}

/// The norm at a position over the median of all; of an even number the upper one.
fn ratio(of: &Array, head: usize, position: usize) -> f32 {
    let [.., positions, _] = of.shape[..] else { return f32::NAN };
    let norms: Vec<f32> = (0..positions).map(|at| norm(row(of, head, at))).collect();
    let mut sorted = norms.clone();
    sorted.sort_by(f32::total_cmp);
    match (norms.get(position), sorted.get(positions / 2)) {
        (Some(own), Some(median)) => own / median,
        _ => f32::NAN,
    }
}

/// Drawings over all sequences of texts; none before the first.
pub(super) fn show(found: &[Causes], position: usize, (layers, heads): (usize, usize)) -> Vec<Exhibit> {
    if found.is_empty() {
        return Vec::new();
    }
    let names = |letter: &str, count: usize| (0..count).map(|at| format!("{letter}{at}")).collect::<Vec<_>>();
    let all = |read: &dyn Fn(&Causes) -> &Vec<f32>| {
        let count = read(&found[0]).len();
        (0..count).map(|at| mean(found.iter().map(|one| read(one)[at]))).collect::<Vec<f32>>()
    };
    let stream = all(&|one| &one.stream);
    let most = stream.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let streams = grid(
        ("stream", vec![format!("position {position}")]),
        ("behind", names("L", layers)),
        vec![sheet("stream", "norm over the median of all positions", "times", stream)],
    );
    let ids = [
        ("key", "norm of the key over the median", "times"),
        ("value", "norm of the value over the median", "times"),
        ("cosine", "cosine with later queries", ""),
        ("others", "the same of all other keys", ""),
    ];
    let sheets = (0..4).map(|at| sheet(ids[at].0, ids[at].1, ids[at].2, all(&|one| &one.heads[at]))).collect();
    let mut by_head = grid(("layer", names("L", layers)), ("head", names("H", heads)), sheets);
    by_head.facts.push(Fact::new("massive", "Largest norm of the stream there, over the median", most, "times"));
    vec![
        exhibit(
            "stream",
            &format!("How large the stream is at position {position}"),
            "Massive activations are hundreds of times the median; at 1 the position is like any other.",
            Drawn::Bars,
            streams,
        ),
        exhibit(
            "causes",
            &format!("Key, value and queries at position {position}"),
            "A sink that only drains weight has a quiet value, and a key that all queries point to.",
            Drawn::Cells,
            by_head,
        ),
    ]
}
