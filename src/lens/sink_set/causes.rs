//! What a sink is made of: a stream that grows at its position, quiet keys and values, and a key that every query points to.
//!
//! ```text
//! stream   ‖h_p‖ / median_t ‖h_t‖   behind each layer           massive activations, where it is large, at any p
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

/// What is read of a pass.
pub const SITES: [Site; 6] = [Site::ResidPost, Site::Q, Site::K, Site::RotQ, Site::RotK, Site::V];

/// What one sequence says of one position.
#[derive(Debug, Clone, PartialEq)]
pub struct Causes {
    /// At every position, layer by layer.
    pub streams: Vec<Vec<f32>>,
    /// By layer, at the position.
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
        let mut captures = ActivationCache::new(Selection::sites(&SITES));
        model.run(&[tokens], stack, seed, &mut captures)?;
        Self::of(&captures, (model.config().layers, model.config().heads), tokens.len(), position)
    }

    /// Looks at what stands at `position` of a pass over so many tokens that kept [`SITES`].
    ///
    /// # Errors
    /// [`crate::Error::Unknown`] for something that the pass did not keep.
    pub fn of(
        captures: &ActivationCache,
        (layers, heads): (usize, usize),
        tokens: usize,
        position: usize,
    ) -> Result<Self> {
        let (mut streams, mut found) = (Vec::new(), [(); 4].map(|()| Vec::new()));
        for layer in 0..layers {
            streams.push(ratios(captures.get(layer, Site::ResidPost)?, 0));
            let either = |turned, plain| captures.get(layer, turned).or_else(|_| captures.get(layer, plain));
            let (queries, keys) = (either(Site::RotQ, Site::Q)?, either(Site::RotK, Site::K)?);
            let values = captures.get(layer, Site::V)?;
            for head in 0..heads {
                let group = head * keys.shape.get(1).copied().unwrap_or(1) / heads;
                let at = |ratios: Vec<f32>| ratios.get(position).copied().unwrap_or(f32::NAN);
                let [own, others] = cosines((queries, head), (keys, group), tokens, position);
                let numbers = [at(ratios(keys, group)), at(ratios(values, group)), own, others];
                found.iter_mut().zip(numbers).for_each(|(all, number)| all.push(number));
            }
        }
        let stream = streams.iter().map(|all| all.get(position).copied().unwrap_or(f32::NAN)).collect();
        Ok(Self { streams, stream, heads: found })
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

/// A vector of length one.
fn unit(of: &[f32]) -> Vec<f32> {
    let length = norm(of).max(f32::MIN_POSITIVE);
    of.iter().map(|x| x / length).collect()
}

/// Mean cosine of later queries with the key at a position, and with all other keys before them. The others are summed as
/// unit vectors first, so that every query meets one sum and not each of them.
fn cosines(
    (queries, head): (&Array, usize),
    (keys, group): (&Array, usize),
    tokens: usize,
    position: usize,
) -> [f32; 2] {
    let key = unit(row(keys, group, position));
    let mut sum = vec![0.0f32; key.len()];
    let (mut own, mut others, mut count, mut pairs) = (0.0f64, 0.0f64, 0usize, 0usize);
    for query in 0..tokens {
        if query > position {
            let query_here = unit(row(queries, head, query));
            own += crate::lens::readout::dot(&query_here, &key);
            others += crate::lens::readout::dot(&query_here, &sum);
            (count, pairs) = (count + 1, pairs + query - 1);
        }
        if query != position {
            sum.iter_mut().zip(unit(row(keys, group, query))).for_each(|(sum, x)| *sum += x);
        }
    }
    [own / count as f64, others / pairs as f64].map(|mean| mean as f32)
}

/// The norm at every position over the median of all; of an even number the upper one.
fn ratios(of: &Array, head: usize) -> Vec<f32> {
    let [.., positions, _] = of.shape[..] else { return Vec::new() };
    let norms: Vec<f32> = (0..positions).map(|at| norm(row(of, head, at))).collect();
    let mut sorted = norms.clone();
    sorted.sort_by(f32::total_cmp);
    let median = sorted.get(positions / 2).copied().unwrap_or(f32::NAN);
    norms.into_iter().map(|own| own / median).collect()
}

/// Drawings of one prompt: those of its position, and the stream at all of them.
pub fn show_one(found: &Causes, position: usize, size: (usize, usize), tokens: Vec<String>) -> Vec<Exhibit> {
    let rows = found.streams.iter().enumerate().map(|(layer, _)| format!("L{layer}")).collect();
    let values: Vec<f32> = found.streams.concat();
    let (at, most) = values
        .iter()
        .copied()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, (at, value)| if value > best.1 { (at, value) } else { best });
    let mut everywhere = grid(
        ("behind", rows),
        ("token", tokens.clone()),
        vec![sheet("stream", "norm over the median of all positions", "times", values)],
    );
    everywhere.facts.push(Fact::new("largest", "Largest of all", most, "times"));
    let place = tokens.get(at % tokens.len().max(1)).cloned().unwrap_or_default();
    let mut exhibits = show(std::slice::from_ref(found), position, size);
    exhibits.push(exhibit(
        "everywhere",
        &format!("The stream at every token; largest at {place}, behind L{}", at / tokens.len().max(1)),
        "A massive activation stands out by itself: its line rises far above 1 at one token and stays there through the layers.",
        Drawn::Lines,
        everywhere,
    ));
    exhibits
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
    let means =
        by_head.sheets.iter().map(|sheet| (sheet.id.clone(), sheet.name.clone(), mean(sheet.values.iter().copied())));
    let means: Vec<Fact> =
        means.map(|(id, name, value)| Fact::new(&id, &format!("Mean over heads: {name}"), value, "")).collect();
    by_head.facts.extend(means);
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
