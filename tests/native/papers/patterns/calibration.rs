//! Paper 37, attention calibration.

use super::{causal_map, grid, model_run, rework};
use attnscope::experiment::Chip;

const N: usize = 32;
/// Two sinks beyond the first token.
const BOOSTED: [usize; 2] = [5, 17];

fn chip() -> Chip {
    Chip::new("attention_calibration")
}

/// Every head of every layer, so that one layer alone is enough.
fn everywhere() -> Chip {
    chip().with("first_layers", 0.0).with("last_layers", 0.0)
}

fn deviation(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The mean of each column over the rows that see it.
fn columns(map: &[f32], n: usize) -> Vec<f32> {
    (0..n).map(|key| (key..n).map(|query| map[query * n + key]).sum::<f32>() / (n - key) as f32).collect()
}

/// Check (a): at β = 1, or with a threshold above every score, nothing changes; at the default the logits do.
#[test]
fn a_neutral_setting_changes_no_logit() {
    let (plain, _) = model_run(&[]);
    let (same, _) = model_run(&[everywhere().with("beta", 1.0).with("alpha", 1.0)]);
    assert!(deviation(&same, &plain) < 1e-6);
    // 20/24 is more than a column of these 24 tokens gets on average.
    let (same, patterns) = model_run(&[everywhere().with("alpha", 20.0)]);
    let most = patterns.iter().flat_map(|p| p.data.chunks(24 * 24).flat_map(|map| columns(map, 24).split_off(1)));
    assert!(most.fold(0.0, f32::max) < 20.0 / 24.0, "the last token looks at itself less than that");
    assert!(deviation(&same, &plain) < 1e-6);
    let (other, _) = model_run(&[everywhere().with("alpha", 1.0)]);
    assert!(deviation(&other, &plain) > 1e-3);
}

/// Check (a): where token 0 is the only sink, nothing is hidden; with `spare = nothing` it is turned down.
#[test]
fn the_sink_of_the_first_token_is_spared() {
    let map = causal_map(N, &[0], 60.0);
    let found: Vec<usize> = (0..N - 1).filter(|key| columns(&map, N)[*key] > 0.3).collect();
    assert_eq!(found, [0]);
    let chip = chip().with("threshold", "absolute").with("tau", 0.3).with("beta", 0.4);
    // The last key is seen by one row only, which may well look at it.
    assert_eq!(rework(&chip, &grid(N), &map)[..N * (N - 1)], map[..N * (N - 1)]);
    let turned = rework(&chip.with("spare", "nothing"), &grid(N), &map);
    assert!((turned[N] - 0.4 * map[N]).abs() < 1e-6, "row 1, key 0");
    assert_eq!(turned[0], 1.0, "the first row has nobody else to look at");
}

/// Check (b): rows sum to one, a sink keeps exactly β of its weight, other keys keep their ratios.
#[test]
fn sinks_keep_a_share_and_the_rest_keeps_its_ratios() {
    let map = causal_map(N, &BOOSTED, 40.0);
    let tau = 0.2;
    let hidden: Vec<usize> = (1..N).filter(|key| columns(&map, N)[*key] > tau).collect();
    assert!(BOOSTED.iter().all(|key| hidden.contains(key)), "{hidden:?}");
    let chip = chip().with("threshold", "absolute").with("tau", f64::from(tau)).with("beta", 0.25);
    let came = rework(&chip, &grid(N), &map);
    for (query, (row, before)) in came.chunks(N).zip(map.chunks(N)).enumerate() {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        let others: Vec<usize> = (0..=query).filter(|key| !hidden.contains(key)).collect();
        for key in hidden.iter().filter(|key| **key <= query) {
            assert!((row[*key] - 0.25 * before[*key]).abs() < 1e-7);
        }
        for pair in others.windows(2) {
            let (now, then) = (row[pair[0]] / row[pair[1]], before[pair[0]] / before[pair[1]]);
            assert!((now / then - 1.0).abs() < 1e-5, "row {query}, keys {pair:?}");
        }
    }
}

/// Check (b), the other rule: the released code spares the first sink it finds, here the first of the two.
#[test]
fn the_first_detected_sink_may_be_spared_instead() {
    let map = causal_map(N, &BOOSTED, 40.0);
    let chip = chip().with("threshold", "absolute").with("tau", 0.2).with("spare", "first_detected");
    let came = rework(&chip, &grid(N), &map);
    let last = &came[N * (N - 1)..];
    let before = &map[N * (N - 1)..];
    assert!(last[BOOSTED[0]] > before[BOOSTED[0]], "spared, so it receives");
    assert!((last[BOOSTED[1]] - 0.4 * before[BOOSTED[1]]).abs() < 1e-6);
}

/// Check (c): the closed form O = β·O_sink + O_rest·(1 + (1 - β)·mass/rest) equals mixing with the edited map.
#[test]
fn two_accumulators_per_row_are_enough() {
    let map = causal_map(N, &BOOSTED, 40.0);
    let (tau, beta) = (0.2, 0.4);
    let hidden: Vec<bool> = columns(&map, N).iter().enumerate().map(|(key, a)| key > 0 && *a > tau).collect();
    let chip = chip().with("threshold", "absolute").with("tau", f64::from(tau)).with("beta", beta);
    let came = rework(&chip, &grid(N), &map);
    let v: Vec<f64> = (0..N).map(|key| (key as f64 * 0.7).sin()).collect();
    for query in 0..N {
        let part = |wanted: bool, value: &dyn Fn(usize) -> f64| -> f64 {
            (0..=query).filter(|key| hidden[*key] == wanted).map(|k| f64::from(map[query * N + k]) * value(k)).sum()
        };
        let one = |_| 1.0;
        let (mass, rest) = (part(true, &one), part(false, &one));
        let value = |key: usize| v[key];
        let fused = beta * part(true, &value) + part(false, &value) * (1.0 + (1.0 - beta) * mass / rest);
        let edited: f64 = (0..N).map(|key| f64::from(came[query * N + key]) * v[key]).sum();
        assert!((fused - edited).abs() < 1e-5, "row {query}: {fused} and {edited}");
    }
}

/// Check (d): in mode `paper` a later row tips column 3 over τ and so changes an earlier row; in mode `prefix` it does not.
#[test]
fn only_the_mode_of_the_paper_looks_ahead() {
    const SMALL: usize = 8;
    // Even rows, but for the last, which gives `last` to column 3: on average 0.18 without and 0.30 with it.
    let map = |last: f32| -> Vec<f32> {
        let even = |query: usize, key: usize| if key <= query { 1.0 / (query + 1) as f32 } else { 0.0 };
        let mut map: Vec<f32> =
            (0..SMALL).flat_map(|query| (0..SMALL).map(move |key| (query, key))).map(|(q, k)| even(q, k)).collect();
        let row = &mut map[SMALL * (SMALL - 1)..];
        row.fill((1.0 - last) / (SMALL - 1) as f32);
        row[3] = last;
        map
    };
    let (calm, tipped) = (map(0.1), map(0.7));
    let (before, after) = (columns(&calm, SMALL)[3], columns(&tipped, SMALL)[3]);
    let tau = 0.25;
    assert!(before < tau && after > tau, "{before} {after}");
    let chip = chip().with("threshold", "absolute").with("tau", f64::from(tau));
    let earlier = |mode: &str, map: &[f32]| {
        rework(&chip.clone().with("mode", mode), &grid(SMALL), map)[..SMALL * (SMALL - 1)].to_vec()
    };
    assert!(deviation(&earlier("paper", &calm), &earlier("paper", &tipped)) > 0.05);
    assert!(deviation(&earlier("prefix", &calm), &earlier("prefix", &tipped)) < 1e-6);
}

/// Check (e), its arithmetic: a planted sink takes s = 0.6 and leaves a·(1 - s) on the right key; calibration gives it back
/// a·(1 - β·s), which is 0.4a → 0.76a.
#[test]
fn a_planted_sink_gives_back_what_it_took() {
    let (a, s, n) = (0.7, 0.6, 20);
    let mut map = causal_map(n, &[], 1.0);
    for query in 10..n {
        let row = &mut map[query * n..=query * n + query];
        let others = row.len() as f32 - 3.0;
        row.fill((1.0 - a) * (1.0 - s) / others);
        (row[9], row[4]) = (s, a * (1.0 - s));
        row[query] = 0.0;
    }
    let came = rework(&chip().with("alpha", 8.0), &grid(n), &map);
    let right = came[(n - 1) * n + 4];
    assert!((right / (a * (1.0 - 0.4 * s)) - 1.0).abs() < 0.02, "{right}");
}

/// The control: as many columns, right after the sinks.
#[test]
fn the_control_turns_down_the_neighbours_of_sinks() {
    let map = causal_map(N, &BOOSTED, 40.0);
    let chip = chip().with("threshold", "absolute").with("tau", 0.2).with("columns", "after_sinks");
    let came = rework(&chip, &grid(N), &map);
    let (row, before) = (&came[N * (N - 1)..], &map[N * (N - 1)..]);
    for key in BOOSTED {
        assert!((row[key + 1] - 0.4 * before[key + 1]).abs() < 1e-6 && row[key] > before[key]);
    }
}
