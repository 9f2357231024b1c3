//! Masks of the papers: each rule written out a second time in plain loops, and the checks of its specification.

use crate::tiny;
use attnscope::engine::{Choice, Engine, Forward, Request};
use attnscope::experiment::{Chip, Experiment, Pane};
use attnscope::gpu;
use attnscope::hook::{Array, Selection};
use attnscope::mechanism::{MASKED, Stack};
use attnscope::model::attention::normal;
use attnscope::model::step::{Given, apply};
use attnscope::model::{CpuModel, load};
use pollster::block_on;
use std::collections::BTreeSet;

/// Layer, heads, key–value heads, tokens.
#[derive(Debug, Clone, Copy)]
struct Place {
    layer: usize,
    heads: usize,
    kv_heads: usize,
    tokens: usize,
}

const PLACE: Place = Place { layer: 0, heads: 1, kv_heads: 1, tokens: 12 };

fn stack(chip: &Chip) -> Stack {
    Stack::new("a", std::slice::from_ref(chip)).unwrap()
}

fn given(at: Place) -> Given {
    let noise = |name: &str, heads: usize| {
        let shape = [1, heads, at.tokens, 4];
        Array::new(shape, normal(shape.iter().product(), 1.0, name, 0, 0)).unwrap()
    };
    let (q, k, v) = (noise("q", at.heads), noise("k", at.kv_heads), noise("v", at.kv_heads));
    Given { q, k, v, scale: 0.5, first_query: 0, layer: at.layer, layers: 4, inputs: Vec::new() }
}

/// Which pairs a chip keeps, `[H][Q][K]`, read from the scores of the burn twin.
fn kept(chip: &Chip, at: Place) -> Vec<Vec<Vec<bool>>> {
    let scores = apply(&stack(chip), &given(at)).unwrap().scores.data;
    let rows: Vec<Vec<bool>> =
        scores.chunks(at.tokens).map(|row| row.iter().map(|score| *score != MASKED).collect()).collect();
    rows.chunks(at.tokens).map(<[Vec<bool>]>::to_vec).collect()
}

/// One row per query, `x` where the pair is kept.
fn drawn(kept: &[Vec<bool>]) -> Vec<String> {
    kept.iter().map(|row| row.iter().map(|kept| if *kept { 'x' } else { '.' }).collect()).collect()
}

/// Whether the burn twin keeps what `rule(head, query, key)` says for every causal pair, and nothing else.
fn assert_rule(chip: &Chip, at: Place, rule: impl Fn(usize, usize, usize) -> bool) {
    for (head, rows) in kept(chip, at).iter().enumerate() {
        for (query, row) in rows.iter().enumerate() {
            for (key, kept) in row.iter().enumerate() {
                let expected = key <= query && rule(head, query, key);
                assert_eq!(*kept, expected, "{chip:?} at {at:?}: head {head}, query {query}, key {key}");
            }
        }
    }
}

fn neighborhood(neighbours: i32, dilation: i32) -> Chip {
    Chip::new("neighborhood_attention").with("neighbours", f64::from(neighbours)).with("dilation", f64::from(dilation))
}

fn halo(block: i32, halo: i32) -> Chip {
    Chip::new("halo_attention").with("block", f64::from(block)).with("halo", f64::from(halo))
}

fn s2(block: i32, local: i32, stride: i32) -> Chip {
    Chip::new("s2_attention")
        .with("block", f64::from(block))
        .with("local_blocks", f64::from(local))
        .with("stride", f64::from(stride))
}

/// Paper 47, checks (b) and (c): the members q, q - δ, … that exist, exhaustively for n < 40 and every window that fits;
/// at most k of them, all of the query's remainder modulo δ, the query among them.
#[test]
fn neighbours_are_the_nearest_of_their_remainder() {
    for tokens in [1, 2, 7, 8, 15, 32, 39] {
        for neighbours in [1, 2, 3, 5, 7, 8] {
            for dilation in (1..=tokens).filter(|dilation| neighbours * dilation <= tokens) {
                let place = Place { tokens: tokens as usize, ..PLACE };
                let rows = &kept(&neighborhood(neighbours, dilation), place)[0];
                for (query, row) in rows.iter().enumerate() {
                    let members: Vec<usize> =
                        (0..neighbours as usize).filter_map(|u| query.checked_sub(u * dilation as usize)).collect();
                    let came: Vec<usize> = (0..row.len()).rev().filter(|key| row[*key]).collect();
                    assert_eq!(came, members, "n {tokens}, k {neighbours}, δ {dilation}, query {query}");
                }
            }
        }
    }
}

/// Paper 47, check (a): one neighbour returns the own value exactly.
#[test]
fn one_neighbour_returns_the_own_value() {
    let given = given(PLACE);
    assert_eq!(apply(&stack(&neighborhood(1, 1)), &given).unwrap().z, given.v);
}

/// Every second layer keeps its neighbours adjacent, from the first on.
#[test]
fn alternating_layers_look_close_and_far() {
    let chip = neighborhood(2, 3).with("alternate", true);
    for (layer, expected) in [(0, "....xx"), (1, "..x..x"), (2, "....xx"), (3, "..x..x")] {
        assert_eq!(drawn(&kept(&chip, Place { layer, tokens: 6, ..PLACE })[0])[5], expected, "layer {layer}");
    }
}

/// Paper 47, check (d): L layers of k neighbours δ apart reach L·(k - 1)·δ tokens back, exactly.
#[test]
fn layers_of_neighbours_add_up_their_reach() {
    let (config, weights, _) = tiny::model();
    let mut model = CpuModel::new(&config, &weights).unwrap();
    let (neighbours, dilation) = (3, 2);
    let reach = tiny::LAYERS * (neighbours - 1) * dilation;
    let plain: Vec<u32> = (1..=20).collect();
    let stack = stack(&neighborhood(neighbours as i32, dilation as i32));
    let mut logits = |tokens: &[u32]| {
        let request = Request { tokens, stack: &stack, seed: 0, wants: Selection::default() };
        block_on(model.forward(request)).unwrap().logits
    };
    let before = logits(&plain);
    let mut changed = plain.clone();
    changed[1] = 77;
    let after = logits(&changed);
    let moved: Vec<usize> = (0..20).filter(|row| before.at(*row) != after.at(*row)).collect();
    assert_eq!(moved, (1..=1 + reach).step_by(dilation).collect::<Vec<_>>(), "and never an odd distance");
    let far = before.at(1 + reach).iter().zip(after.at(1 + reach)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(far > 1e-6, "the farthest reached row moves by {far} only");
}

/// Paper 60, its causal form by hand: blocks of three, a halo of one.
#[test]
fn a_block_shares_its_halo() {
    let rows = kept(&halo(3, 1), Place { tokens: 7, ..PLACE });
    assert_eq!(drawn(&rows[0]), ["x......", "xx.....", "xxx....", "..xx...", "..xxx..", "..xxxx.", ".....xx"]);
}

/// Paper 60, checks (a) and (b): block 1 is a sliding window of halo + 1; any block and halo keep block start - halo … q.
#[test]
fn halos_keep_their_rule() {
    for (block, reach) in [(1, 0), (1, 3), (2, 1), (4, 0), (4, 9), (5, 2), (12, 0), (64, 128)] {
        assert_rule(&halo(block, reach), PLACE, |_, query, key| {
            let start = query as i32 / block * block;
            key as i32 >= start - reach
        });
    }
    assert_rule(&halo(1, 3), PLACE, |_, query, key| query - key < 4);
}

/// Paper 60, check (b): shifting a text by a whole block shifts what is kept; shifting it by one token does not.
#[test]
fn halos_move_with_whole_blocks_only() {
    let rows = &kept(&halo(4, 2), Place { tokens: 16, ..PLACE })[0];
    let shifted =
        |by: usize| (8..16 - by).all(|query| (4..16 - by).all(|key| rows[query][key] == rows[query + by][key + by]));
    assert!(shifted(4));
    assert!(!shifted(1));
}

/// Paper 60, check (b), on outputs: a row moves with the keys of its block and halo, to the farthest, and with no other.
#[test]
fn a_halo_reaches_to_its_end_and_no_farther() {
    let (at, block, reach) = (Place { tokens: 16, ..PLACE }, 4, 2);
    let stack = stack(&halo(4, 2));
    let before = given(at);
    let z = apply(&stack, &before).unwrap().z;
    for key in 0..at.tokens {
        let mut other = before.clone();
        for array in [&mut other.k, &mut other.v] {
            array.data[key * 4..][..4].iter_mut().for_each(|entry| *entry += 1.0);
        }
        let after = apply(&stack, &other).unwrap().z;
        let row = |z: &Array, query: usize| z.data[query * 4..][..4].to_vec();
        let moved = (0..at.tokens).filter(|query| row(&z, *query) != row(&after, *query));
        let reached = (key..at.tokens).filter(|query| key + reach >= query / block * block);
        assert!(moved.eq(reached), "key {key}");
    }
}

/// Paper 60, check (b), on outputs: a text that is moved by a whole block has its outputs moved; by one token it has not.
#[test]
fn outputs_move_with_whole_blocks_only() {
    let at = Place { tokens: 16, ..PLACE };
    let (stack, plain) = (stack(&halo(4, 2)), given(at));
    let z = apply(&stack, &plain).unwrap().z.data;
    let off = |by: usize| {
        let mut moved = plain.clone();
        for array in [&mut moved.q, &mut moved.k, &mut moved.v] {
            array.data.rotate_right(by * 4);
        }
        let came = apply(&stack, &moved).unwrap().z.data;
        // Rows whose window lies within the text in both.
        (8 * 4..(16 - by) * 4).map(|entry| (came[entry + by * 4] - z[entry]).abs()).fold(0.0, f32::max)
    };
    assert!(off(4) < 1e-5, "{}", off(4));
    assert!(off(1) > 1e-3, "{}", off(1));
}

/// Paper 43, definition, in plain loops over layers, offsets, dense heads and grouped heads.
#[test]
fn shards_keep_their_rule() {
    let places = [(1, 1), (4, 4), (4, 2), (8, 4), (6, 3)];
    for (heads, kv_heads) in places {
        for layer in 0..4 {
            for (block, local, stride, dense_heads, dense_every, rotate, heterogeneous) in [
                (2, 1, 4, 0, 0, false, true),
                (2, 2, 4, 0, 0, false, false),
                (3, 1, 3, 1, 0, true, true),
                (1, 2, 16, 0, 2, true, true),
                (4, 1, 2, 0, 3, false, true),
                (2, 1, 8, 2, 4, true, false),
            ] {
                let at = Place { layer, heads, kv_heads, tokens: 23 };
                let chip = s2(block, local, stride)
                    .with("dense_heads", f64::from(dense_heads))
                    .with("dense_every", f64::from(dense_every))
                    .with("rotate", rotate)
                    .with("heterogeneous", heterogeneous);
                assert_rule(&chip, at, |head, query, key| {
                    let (q, k) = (query as i32 / block, key as i32 / block);
                    let kv = (head / (heads / kv_heads)) as i32;
                    let dense = kv >= kv_heads as i32 - dense_heads
                        || (dense_every > 0 && (layer as i32 + 1) % dense_every == 0);
                    let step = (stride / heads as i32).max(1);
                    let moved = if heterogeneous { kv * step } else { 0 } + if rotate { layer as i32 } else { 0 };
                    dense || q - k < local || (k + moved) % stride == 0
                });
            }
        }
    }
}

/// Far blocks that no head of a layer keeps, of 32 blocks of one token with two local ones.
fn unseen(chip: &Chip, heads: usize) -> usize {
    let at = Place { heads, kv_heads: heads, tokens: 32, ..PLACE };
    let rows = kept(chip, at);
    (0..32)
        .flat_map(|query| (0..=query).map(move |key| (query, key)))
        .filter(|(q, k)| !rows.iter().any(|head| head[*q][*k]))
        .count()
}

/// Paper 43, check (b): the heads cover the causal set for these counts of heads and strides and for no others.
#[test]
fn heads_cover_the_past_when_their_stripes_meet_every_remainder() {
    for (heads, stride) in [(4, 4), (8, 4), (6, 4), (8, 8)] {
        assert_eq!(unseen(&s2(1, 2, stride), heads), 0, "{heads} heads, stride {stride}");
        assert_ne!(unseen(&s2(1, 2, stride).with("heterogeneous", false), heads), 0, "homogeneous, stride {stride}");
    }
    for (heads, stride) in [(4, 8), (4, 6)] {
        assert_ne!(unseen(&s2(1, 2, stride), heads), 0, "{heads} heads, stride {stride}");
    }
}

/// Four heads with a stride of eight step by two and never see half of the far blocks; rotation over layers brings the
/// other half back.
#[test]
fn rotation_restores_coverage_over_layers() {
    let chip = s2(1, 2, 8).with("rotate", true);
    let layers: Vec<_> = (0..2).map(|layer| kept(&chip, Place { layer, heads: 4, kv_heads: 4, tokens: 32 })).collect();
    let seen =
        |layers: &[Vec<Vec<Vec<bool>>>], query: usize, key: usize| layers.iter().flatten().any(|head| head[query][key]);
    let pairs = || (0..32).flat_map(|query| (0..=query).map(move |key| (query, key)));
    let missing = |layers: &[Vec<Vec<Vec<bool>>>]| pairs().filter(|(q, k)| !seen(layers, *q, *k)).count();
    assert_eq!((missing(&layers[..1]), missing(&layers)), (unseen(&s2(1, 2, 8), 4), 0));
    // Of the 30·31/2 pairs beyond the two local blocks, those whose key is odd.
    let odd = pairs().filter(|(q, k)| q - k >= 2 && k % 2 == 1).count();
    assert_eq!(missing(&layers[..1]), odd);
}

/// Paper 43, check (d): both query heads of a group keep the same pairs, and another group keeps others.
#[test]
fn grouped_heads_share_their_shard() {
    let rows = kept(&s2(2, 1, 4), Place { heads: 4, kv_heads: 2, tokens: 24, ..PLACE });
    assert_eq!(rows[0], rows[1]);
    assert_eq!(rows[2], rows[3]);
    assert_ne!(rows[1], rows[2]);
}

/// Paper 43, check (c), and the same for the other masks without gaps: a key that the current row has lost is never asked
/// for again, so a cache that holds the current row's keys is enough.
#[test]
fn what_a_row_has_lost_is_never_seen_again() {
    let at = Place { heads: 4, kv_heads: 2, tokens: 40, ..PLACE };
    for chip in [s2(4, 2, 3), s2(2, 1, 5), halo(4, 3), neighborhood(5, 1)] {
        for rows in kept(&chip, at) {
            for query in 0..39 {
                let next = |key: &usize| rows[query + 1][*key] && !rows[query][*key];
                assert_eq!((0..=query).find(next), None, "{chip:?} after query {query}");
            }
        }
    }
}

fn every_mask() -> Vec<Chip> {
    vec![s2(4, 1, 3), s2(2, 1, 8).with("rotate", true).with("dense_every", 2.0), halo(4, 2), neighborhood(3, 4)]
}

/// Step-by-step decoding under a mask is the masked pass, token by token.
#[test]
fn decoding_under_a_mask_is_the_masked_pass() {
    let (config, weights, _) = tiny::model();
    let mut model = CpuModel::new(&config, &weights).unwrap();
    let tokens: Vec<u32> = (0..30).map(|index| index * 17 % 95).collect();
    for chip in every_mask() {
        let stack = stack(&chip);
        let request = Request { tokens: &tokens, stack: &stack, seed: 0, wants: Selection::default() };
        let whole = block_on(model.forward(request)).unwrap().logits;
        let mut decoder = model.decoder(&stack, 0);
        for count in 1..=tokens.len() {
            let step = decoder.logits(&tokens[..count]).unwrap();
            let worst = step.iter().zip(whole.at(count - 1)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "{chip:?}: step {count} differs by {worst}");
        }
    }
}

/// Paper 43, check (c), and paper 60: the price counts exactly the keys that a cache per key–value head must hold.
#[test]
fn the_price_counts_what_caches_hold() {
    let (config, _, files) = tiny::model();
    let mut engine = block_on(Engine::new(load("tiny", &files).unwrap(), Choice::Cpu)).unwrap();
    let prompt = "a".repeat(60);
    for chip in every_mask() {
        let panes = vec![Pane { stack: vec![chip.clone()] }];
        let experiment = Experiment { model: "tiny".into(), prompt: prompt.clone(), panes, ..Experiment::default() };
        let outcome = block_on(engine.run(&experiment, async || false)).unwrap();
        let (last, context) = (outcome.tokens.len() - 1, config.context);
        let mut held = 0;
        for layer in 0..config.layers {
            let at = Place { layer, heads: config.heads, kv_heads: config.kv_heads, tokens: context };
            let rows = kept(&chip, at);
            for group in rows.chunks(config.heads / config.kv_heads) {
                let keys: BTreeSet<usize> = (0..=last)
                    .filter(|key| group.iter().any(|head| (last..context).any(|query| head[query][*key])))
                    .collect();
                held += keys.len();
            }
        }
        assert_eq!(outcome.panes[0].price.kv_bytes, 8 * config.head_width * held, "{chip:?}");
    }
}

/// The WGSL twins keep the same pairs in layers, groups and settings that the common comparison does not visit.
#[test]
fn twins_agree_in_further_layers_and_groups() {
    let device = block_on(gpu::Device::open()).unwrap();
    let mut chips = every_mask();
    chips.extend([
        s2(3, 1, 2).with("dense_every", 3.0),
        s2(2, 1, 6).with("dense_heads", 1.0),
        s2(2, 1, 4).with("heterogeneous", false).with("rotate", true),
        neighborhood(2, 3).with("alternate", true),
        halo(1, 5),
    ]);
    for chip in chips {
        for layer in 0..4 {
            for (heads, kv_heads) in [(8, 4), (6, 3), (4, 4)] {
                let given = given(Place { layer, heads, kv_heads, tokens: 70 });
                let came = block_on(gpu::apply(&device, &stack(&chip), &given)).unwrap().scores;
                let reference = apply(&stack(&chip), &given).unwrap().scores;
                let same = came.data.iter().zip(&reference.data).all(|(a, b)| (*a == MASKED) == (*b == MASKED));
                assert!(same, "{chip:?} in layer {layer} with {heads} heads over {kv_heads}");
            }
        }
    }
}

/// Paper 52, the visible prefix by hand: three tokens that see each other, then causal; a window beside it forgets none of
/// them.
#[test]
fn a_prefix_is_read_in_both_directions() {
    let prefix = Chip::new("prefix_lm").with("prefix", 3.0);
    let at = Place { tokens: 6, ..PLACE };
    assert_eq!(drawn(&kept(&prefix, at)[0]), ["xxx...", "xxx...", "xxx...", "xxxx..", "xxxxx.", "xxxxxx"]);
    let window = Chip::new("streaming_window").with("sinks", 0.0).with("window", 2.0);
    let both = Stack::new("a", &[window, prefix]).unwrap();
    let scores = apply(&both, &given(at)).unwrap().scores.data;
    let rows: Vec<Vec<bool>> = scores.chunks(6).map(|row| row.iter().map(|score| *score != MASKED).collect()).collect();
    assert_eq!(drawn(&rows), ["xxx...", "xxx...", "xxx...", "xxxx..", "xxxxx.", "xxx.xx"]);
}

/// Both twins open the same pairs beside other mods, also with ALiBi, whose distance is then negative.
#[test]
fn a_prefix_agrees_on_the_gpu_beside_other_mods() {
    let device = block_on(gpu::Device::open()).unwrap();
    let prefix = || Chip::new("prefix_lm").with("prefix", 5.0);
    for chips in [vec![prefix()], vec![prefix(), halo(3, 1), Chip::new("alibi")]] {
        let stack = Stack::new("a", &chips).unwrap();
        let given = given(Place { heads: 4, kv_heads: 2, tokens: 9, ..PLACE });
        let (came, reference) =
            (block_on(gpu::apply(&device, &stack, &given)).unwrap(), apply(&stack, &given).unwrap());
        for (came, reference) in [(came.scores, reference.scores), (came.z, reference.z)] {
            let worst = came.data.iter().zip(&reference.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "{chips:?}: {worst}");
        }
    }
}

/// Queries that have seen what they predict do not enter the loss, and the outcome says so; a difference to a pane without
/// a prefix is one over the same queries.
#[test]
fn what_was_foreseen_is_not_counted() {
    let (_, _, files) = tiny::model();
    let mut engine = block_on(Engine::new(load("tiny", &files).unwrap(), Choice::Cpu)).unwrap();
    let prefix = Chip::new("prefix_lm").with("prefix", 6.0);
    let panes = vec![Pane { stack: Vec::new() }, Pane { stack: vec![prefix] }];
    let experiment =
        Experiment { model: "tiny".into(), prompt: "Once upon a time".into(), panes, ..Experiment::default() };
    let outcome = block_on(engine.run(&experiment, async || false)).unwrap();
    let mean = |pane: usize, from: usize| {
        let losses = &outcome.panes[pane].token_loss[from..];
        losses.iter().sum::<f32>() / losses.len() as f32
    };
    // Query 5 predicts token 6, the first that it has not seen.
    assert!((outcome.panes[1].loss.unwrap() - mean(1, 5)).abs() < 1e-5);
    assert!((outcome.panes[0].loss.unwrap() - mean(0, 0)).abs() < 1e-5);
    let delta = outcome.panes[1].versus_a.as_ref().unwrap().delta_loss.unwrap();
    assert!((delta - (mean(1, 5) - mean(0, 5))).abs() < 1e-5);
    assert!(outcome.notices.iter().any(|notice| notice.contains("pane B: the first 5 queries see what they predict")));
}
