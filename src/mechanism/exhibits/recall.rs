//! What an earlier occurrence of a passage is worth, by how far back it stands: a needle test that any model can take.
//!
//! ```text
//! text      = filler, passage, filler, passage again            random tokens; the passage behind `depth` of the filler
//! control   = the same text with another passage in its first place
//! saved     = mean over the second passage, without its first token, of loss(control) - loss(text), in nats per token
//! ```

use super::{Make, Offer, Scene, drawn, grid, sheet};
use crate::Result;
use crate::hook::Array;
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::finding::Axis;
use crate::mechanism::Stack;
use crate::model::attention::uniform;

/// Tokens of a passage.
const PASSAGE: usize = 8;
/// Texts of one cell.
const TEXTS: u64 = 3;
/// Lengths of a text, in tokens.
const LENGTHS: [usize; 4] = [32, 64, 128, 256];
/// Shares of the filler before the passage.
const DEPTHS: [f32; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// Something that is compared: its id, its name, and what stands in attention's steps.
pub type Variant = (&'static str, &'static str, Stack);

/// Names stacks.
pub fn named<const N: usize>(names: [(&'static str, &'static str); N], stacks: [Stack; N]) -> Vec<Variant> {
    names.into_iter().zip(stacks).map(|((id, name), stack)| (id, name, stack)).collect()
}

/// The offer of a mechanism whose budget decides what it still finds; `note` says what is special to its variants.
pub const fn offer(variants: fn(&Scene<'_>) -> Result<Vec<Variant>>, note: &'static str) -> Offer {
    Offer {
        id: "recall",
        name: "What an earlier passage is worth",
        caption: "Nats per token that a passage of 8 random tokens costs less because it stood earlier, by the length of the text \
                  and how deep the first occurrence lies; three texts per cell.",
        note,
        drawn: Drawn::Cells,
        make: Make::Recall(variants),
    }
}

/// Axes of lengths and depths, with an empty sheet for each variant.
pub(super) fn frame(scene: &Scene<'_>, variants: &[Variant]) -> Exhibit {
    let lengths: Vec<_> = lengths(scene).map(|length| format!("{length} tokens")).collect();
    let empty = vec![f32::NAN; lengths.len() * DEPTHS.len()];
    let sheets = variants.iter().map(|(id, name, _)| sheet(id, name, "nats per token", empty.clone())).collect();
    let depths = DEPTHS.map(|depth| format!("{:.0} %", 100.0 * depth));
    drawn(grid(Axis::new("length", lengths), Axis::new("depth", depths), sheets))
}

/// One row: what each variant saves at one length, by depth.
///
/// # Errors
/// Those of the passes.
pub(super) fn row(scene: &Scene<'_>, row: usize, variants: &[Variant]) -> Result<Vec<Vec<f32>>> {
    let length = lengths(scene).nth(row).unwrap_or(LENGTHS[0]);
    let of_stack = |(.., stack): &Variant| DEPTHS.iter().map(|depth| saved(scene, stack, length, *depth)).collect();
    variants.iter().map(of_stack).collect()
}

fn lengths(scene: &Scene<'_>) -> impl Iterator<Item = usize> {
    let most = scene.model.config().context;
    LENGTHS.into_iter().filter(move |length| *length <= most)
}

/// Nats per token that the earlier occurrence saves, at one length and depth.
///
/// # Errors
/// Those of the passes.
pub fn saved(scene: &Scene<'_>, stack: &Stack, length: usize, depth: f32) -> Result<f32> {
    let pairs: Vec<_> = (0..TEXTS).map(|text| texts(scene.vocabulary, length, depth, text)).collect();
    let all: Vec<&[u32]> = pairs.iter().flat_map(|(with, without)| [without.as_slice(), with]).collect();
    let losses = losses_at_end(scene, stack, &all)?;
    let saved = losses.chunks(2).map(|pair| pair[0] - pair[1]).sum::<f32>();
    Ok(saved / TEXTS as f32)
}

/// A text and its control.
fn texts(vocabulary: &[u32], length: usize, depth: f32, seed: u64) -> (Vec<u32>, Vec<u32>) {
    let draw = |name: &str, count: usize| -> Vec<u32> {
        let token = |share: f32| vocabulary.get((share * vocabulary.len() as f32) as usize).copied().unwrap_or(0);
        uniform(count, name, length, seed).into_iter().map(token).collect()
    };
    let filler = draw("recall.filler", length.saturating_sub(2 * PASSAGE));
    let (passage, other) = (draw("recall.passage", PASSAGE), draw("recall.other", PASSAGE));
    let (before, after) = filler.split_at((depth * filler.len() as f32) as usize);
    let text = |first: &[u32]| [before, first, after, &passage].concat();
    (text(&passage), text(&other))
}

/// Mean loss of the last passage of each text, without its first token.
fn losses_at_end(scene: &Scene<'_>, stack: &Stack, texts: &[&[u32]]) -> Result<Vec<f32>> {
    let log_probabilities = scene.log_probabilities(stack, texts)?;
    let of_text = |(tokens, logs): (&&[u32], &Array)| {
        let asked = tokens.len() + 1 - PASSAGE..tokens.len();
        let loss = |at: usize| -logs.at(at - 1).get(tokens[at] as usize).copied().unwrap_or(f32::NAN);
        asked.clone().map(loss).sum::<f32>() / asked.len() as f32
    };
    Ok(texts.iter().zip(&log_probabilities).map(of_text).collect())
}
