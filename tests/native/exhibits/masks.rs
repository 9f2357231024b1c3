//! Drawings of mechanisms that choose pairs by position: papers 25, 43, 47, 60.

use super::{drawing, fact, sheet};
use crate::tiny::{HEADS, KV_HEADS, LAYERS};
use attnscope::experiment::Chip;

fn duo(streaming: f64) -> Chip {
    Chip::new("duo_attention").with("sinks", 2.0).with("window", 5.0).with("streaming", streaming)
}

/// Paper 25: the heads that are outlined are those that lose nothing in the pane, and what the others lose is the weight
/// beyond sinks and window of the full map.
#[test]
fn duo_heads_that_stream_are_those_that_lose() {
    for streaming in [0.0, 0.5, 1.0] {
        let gates = drawing(duo(streaming), "gates");
        let keeps = sheet(&gates, "retrieval").values.iter().filter(|keeps| **keeps == 1.0).count();
        let count = LAYERS * KV_HEADS;
        assert_eq!(fact(&gates, "streaming") as usize + keeps, count);
        assert_eq!(keeps, ((1.0 - streaming) * count as f64).round() as usize);
        let mut places = sheet(&gates, "alpha").values.clone();
        places.sort_by(f32::total_cmp);
        assert!((0..count).all(|at| (places[at] - (at as f32 + 0.5) / count as f32).abs() < 1e-6), "{places:?}");
    }
    let mask = drawing(duo(0.5), "mask");
    let n = mask.grid.down.labels.len();
    let full = &sheet(&mask, "full").values;
    let (mut kept, mut all) = (0.0, 0.0);
    for (pair, weight) in full.iter().enumerate() {
        let (query, key) = (pair / n, pair % n);
        all += weight;
        let streams = key <= query && (key < 2 || query - key < 5);
        assert_eq!(sheet(&mask, "stream").values[pair] == 1.0, streams, "{query} {key}");
        kept += if streams { *weight } else { 0.0 };
    }
    assert!((all - n as f32).abs() < 1e-3 && (fact(&mask, "kept") - kept / all).abs() < 1e-5);
    let lost = drawing(duo(0.5), "lost");
    let of_head = sheet(&lost, "lost").values[HEADS + 2];
    assert!((of_head - (1.0 - kept / all)).abs() < 1e-5, "{of_head}");
}

/// A streaming head holds sinks and window, a retrieval head everything; the cache is their sum.
#[test]
fn duo_holds_what_its_formula_says() {
    let held = drawing(duo(1.0), "occupancy");
    let n = held.grid.across.labels.len();
    for (at, entries) in sheet(&held, "entries").values.iter().enumerate() {
        // The next query sees the first two keys and the four before itself.
        assert_eq!(*entries as usize, (at % n + 1).min(2 + 4), "after token {}", at % n);
    }
    let cache = drawing(duo(0.5), "cache");
    let bytes = &sheet(&cache, "bytes").values;
    assert!((bytes[1] - (bytes[0] + bytes[2]) / 2.0).abs() < 1.0, "half of the heads stream: {bytes:?}");
}
