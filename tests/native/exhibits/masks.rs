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

/// Paper 43: block by block what the paper's rule says, and the pairs that nobody sees.
#[test]
fn s2_shards_follow_the_rule() {
    let (block, stride) = (4, 4);
    let chip = Chip::new("s2_attention").with("block", 4.0).with("local_blocks", 1.0).with("stride", 4.0);
    let shards = drawing(chip.clone(), "shards");
    let blocks = shards.grid.down.labels.len();
    let sees = |head: usize, query: usize, key: usize| query == key || (key + head).is_multiple_of(stride);
    let (mut missing, mut all) = (0, 0);
    for pair in (0..blocks * blocks).filter(|pair| pair % blocks <= pair / blocks) {
        let (query, key) = (pair / blocks, pair % blocks);
        for head in 0..KV_HEADS {
            let class = sheet(&shards, &format!("kv{head}")).values[pair];
            assert_eq!(class > 0.0, sees(head, query, key), "head {head}: {query} {key}");
            assert_eq!(class == 1.0, query == key);
        }
        all += 1;
        let nobody = (0..KV_HEADS).all(|head| !sees(head, query, key));
        missing += usize::from(nobody);
        assert_eq!(sheet(&shards, "any").values[pair] == 3.0, nobody);
    }
    assert!((fact(&shards, "missing") - missing as f32 / all as f32).abs() < 1e-6 && missing > 0);
    let seen = drawing(chip, "seen");
    let last = (seen.grid.across.labels.len() - 1) as f32;
    // Of four stripes two heads hold two.
    let gone = (0..last as usize).filter(|key| (0..KV_HEADS).all(|head| !sees(head, last as usize, *key))).count();
    assert_eq!(fact(&seen, "layer") as usize, gone);
    assert_eq!(block, 4);
}

/// Papers 47 and 60: a window of k reaches k - 1 tokens further with every layer.
#[test]
fn windows_reach_as_far_as_they_add_up() {
    for (chip, reach) in [
        (Chip::new("neighborhood_attention").with("neighbours", 3.0), 2),
        (Chip::new("neighborhood_attention").with("neighbours", 3.0).with("dilation", 1.0), 2),
        (Chip::new("halo_attention").with("block", 1.0).with("halo", 4.0), 4),
    ] {
        let drawn = drawing(chip, "reach");
        let n = drawn.grid.across.labels.len();
        let values = &sheet(&drawn, "reach").values;
        for layers in 1..=LAYERS {
            let reached = values[(layers - 1) * n..layers * n].iter().filter(|value| **value == 1.0).count();
            assert_eq!(reached, layers * reach + 1);
        }
        assert_eq!(fact(&drawn, "reached") as usize, LAYERS * reach + 1);
    }
}

/// Paper 47: the gather is the number of pairs the rule keeps, and tiles of one token waste nothing.
#[test]
fn neighbourhood_work_is_counted() {
    let chip = || Chip::new("neighborhood_attention").with("neighbours", 3.0).with("dilation", 2.0);
    let work = drawing(chip(), "work");
    let seen = drawing(chip(), "neighbours");
    let n = seen.grid.across.labels.len();
    let keeps = |query: usize, key: usize| key <= query && (query - key).is_multiple_of(2) && (query - key) / 2 < 3;
    let pairs: usize = (0..n).map(|query| (0..n).filter(|key| keeps(query, *key)).count()).sum();
    let scores = &sheet(&work, "scores").values;
    assert_eq!((scores[0] as usize, scores[2] as usize), (n * n, pairs));
    assert!(scores[1] > scores[2] && scores[1] < scores[0]);
    let row: Vec<bool> = sheet(&seen, "seen").values.iter().map(|value| *value == 1.0).collect();
    assert_eq!(row, (0..n).map(|key| keeps(n - 1, key)).collect::<Vec<_>>());
    let tiles = drawing(chip(), "tiles");
    // The largest tile: as many whole ones as it takes to touch the band.
    let size = 32;
    let mut computed = 0;
    for tile in 0..n.div_ceil(size) * n.div_ceil(size) {
        let (top, left) = (tile / n.div_ceil(size) * size, tile % n.div_ceil(size) * size);
        let inside: Vec<_> =
            (top..(top + size).min(n)).flat_map(|q| (left..(left + size).min(n)).map(move |k| (q, k))).collect();
        if inside.iter().any(|(query, key)| keeps(*query, *key)) {
            computed += inside.len();
        }
    }
    let share = sheet(&tiles, "useful").values[15];
    assert!((share - pairs as f32 / computed as f32).abs() < 1e-6, "{share}");
}

/// Paper 60: the losses by place make up the loss of the pane, and the sweep has the pane's own setting in it.
#[test]
fn halo_losses_are_those_of_the_run() {
    let chip = || Chip::new("halo_attention").with("block", 16.0).with("halo", 8.0);
    let edge = drawing(chip(), "edge");
    let block = edge.grid.across.labels.len();
    let mut engine = super::engine();
    let experiment = super::experiment(chip());
    let outcome = pollster::block_on(engine.run(&experiment, async || false)).unwrap();
    let losses: Vec<f32> = [1, 0].map(|pane: usize| outcome.panes[pane].loss.unwrap()).into();
    let predictions = outcome.panes[0].token_loss.len();
    for (row, loss) in losses.iter().enumerate() {
        let places = &sheet(&edge, "loss").values[row * block..(row + 1) * block];
        let count = |place: usize| (0..predictions).filter(|query| query % block == place).count() as f32;
        let sum: f32 = places.iter().enumerate().map(|(place, mean)| mean * count(place)).sum();
        assert!((sum / predictions as f32 - loss).abs() < 1e-4, "{sum} {loss}");
    }
    let slow = super::ask(&mut engine, &experiment, "exhibits_slow");
    let settings = &slow.exhibits[0];
    let own = 2 * settings.grid.across.labels.len() + 2;
    assert_eq!(
        (settings.grid.down.labels[2].as_str(), settings.grid.across.labels[2].as_str()),
        ("block 16", "halo 8")
    );
    assert!((sheet(settings, "loss").values[own] - (losses[0] - losses[1])).abs() < 1e-4);
    let share = outcome.panes[1].price.score_share.unwrap();
    assert!((sheet(settings, "share").values[own] - share).abs() < 1e-5);
}
