//! Drawings of mechanisms that share, copy or replace what layers compute: papers 62, 61, 56, 14, 37, 52, 68, 11.

use super::{HEAD, ask, drawing, engine, experiment, fact, sheet};
use crate::tiny::{HEAD_WIDTH, HEADS, KV_HEADS, LAYERS, WIDTH};
use attnscope::engine::Engine;
use attnscope::experiment::Chip;
use attnscope::hook::{Selection, Site};
use attnscope::lens::exhibit::Exhibit;
use attnscope::outcome::{Outcome, arrays};
use pollster::block_on;

fn run(engine: &mut Engine, chip: Chip) -> Outcome {
    block_on(engine.run(&experiment(chip), async || false)).unwrap()
}

fn slow(chip: Chip, id: &str) -> Exhibit {
    let id = format!("{}.{id}", chip.id);
    let found = ask(&mut engine(), &experiment(chip), "exhibits_slow");
    found.exhibits.into_iter().find(|exhibit| exhibit.id == id).unwrap()
}

/// One head's weights in a pane of a run.
fn pattern(outcome: &Outcome, pane: usize, layer: usize, head: usize) -> Vec<f32> {
    let n = outcome.tokens.len();
    let start = (layer * HEADS + head) * n * n;
    outcome.panes[pane].arrays[arrays::PATTERN].data[start..start + n * n].to_vec()
}

/// Paper 62: the overlap of a layer with itself is whole, and that of two layers is counted from their maps; the ribbon
/// shows the pairs that have weight.
#[test]
fn tidal_lists_are_those_of_the_layers() {
    // Layer 0 chooses, layer 1 sees its list.
    let chip = || Chip::new("tidal_decode").with("budget", 4.0).with("places", "given").with("select_layer", 0.0);
    let overlap = drawing(chip(), "overlap");
    let values = &sheet(&overlap, "overlap").values;
    assert!((values[0] - 1.0).abs() < 1e-6 && (values[LAYERS + 1] - 1.0).abs() < 1e-6);
    assert!((values[1] - values[LAYERS]).abs() < 1e-6, "lists of one length: {values:?}");
    assert_eq!(sheet(&overlap, "used").values, [0.0, 0.0, 1.0, 0.0], "layer 1 uses the list of layer 0");
    let outcome = run(&mut engine(), chip());
    let n = outcome.tokens.len();
    let ribbon = drawing(chip(), "ribbon");
    let classes = &sheet(&ribbon, "seen").values;
    let weights = pattern(&outcome, 1, 1, HEAD.head);
    let seen: Vec<bool> = weights[(n - 1) * n..].iter().map(|weight| *weight > 0.0).collect();
    assert_eq!(classes[n..].iter().map(|class| *class > 0.0).collect::<Vec<_>>(), seen);
    assert!(classes[..n].iter().all(|class| *class > 0.0), "a layer that chooses sees everything");
    let handed = classes[..n].iter().filter(|class| **class == 2.0).count();
    assert!((4..=5).contains(&handed), "{handed}: a list, and the token itself");
    // Recall of the second layer: what it sees of its own best keys in its exact map, which the overlap bounds from below.
    let recovered = drawing(chip(), "recovered");
    let share = &sheet(&recovered, "share").values;
    assert!((share[0] - 1.0).abs() < 1e-6 && (share[LAYERS] - 1.0).abs() < 1e-6);
    assert!(share[1] >= values[1] - 1e-6 && share[1] < 1.0, "{share:?} {values:?}");
    let reads = drawing(chip(), "reads");
    let keys = &sheet(&reads, "reads").values;
    assert_eq!(keys[0] as usize, LAYERS * HEADS * n);
    assert_eq!(keys[2] as usize, HEADS * n + HEADS * 5);
    let attended = outcome_keys(&outcome, n);
    assert_eq!(fact(&reads, "seen") as usize, attended);
}

/// Keys with weight in the last row of pane B.
fn outcome_keys(outcome: &Outcome, n: usize) -> usize {
    let last = |index: usize| pattern(outcome, 1, index / HEADS, index % HEADS)[(n - 1) * n..].to_vec();
    (0..LAYERS * HEADS).flat_map(last).filter(|weight| *weight > 0.0).count()
}

/// Paper 61: half-lives halve, and the norm of the state is that of the sum it stands for.
#[test]
fn lightning_states_are_faded_sums() {
    let chip = || Chip::new("lightning_attention").with("decay", "paper");
    let lives = drawing(chip(), "half_lives");
    let (life, lambda) = (&sheet(&lives, "half_life").values, &sheet(&lives, "lambda").values);
    assert!(life.iter().zip(lambda).all(|(life, lambda)| (lambda.powf(*life) - 0.5).abs() < 1e-4));
    // Equation of the paper: a = 8(h+1)/H · (1 - l/L).
    for (index, lambda) in lambda.iter().enumerate() {
        let (layer, head) = ((index / HEADS) as f32, (index % HEADS) as f32);
        let a = 8.0 * (head + 1.0) / HEADS as f32 * (1.0 - layer / LAYERS as f32);
        assert!((lambda - (-a).exp()).abs() < 1e-5);
    }
    let experiment = experiment(chip());
    let wants = Selection::sites(&[Site::RotK, Site::V]);
    let pass = block_on(engine().pass(&experiment, 1, wants)).unwrap();
    let (k, v) = (pass.captures.get(1, Site::RotK).unwrap(), pass.captures.get(1, Site::V).unwrap());
    let state = drawing(chip(), "state");
    let n = state.grid.across.labels.len();
    for head in 0..HEADS {
        let group = head * KV_HEADS / HEADS;
        let row = |x: &attnscope::hook::Array, token: usize| {
            x.data[(group * n + token) * HEAD_WIDTH..][..HEAD_WIDTH].to_vec()
        };
        // In closed form at the last token: Σ λ^(n-1-t) k vᵀ.
        let mut sum = [0.0f64; HEAD_WIDTH * HEAD_WIDTH];
        for token in 0..n {
            let left = f64::from(lambda[HEADS + head]).powi((n - 1 - token) as i32);
            let (k, v) = (row(k, token), row(v, token));
            for (at, cell) in sum.iter_mut().enumerate() {
                *cell += left * f64::from(k[at / HEAD_WIDTH] * v[at % HEAD_WIDTH]);
            }
        }
        let norm = sum.iter().map(|x| x * x).sum::<f64>().sqrt() as f32;
        let drawn = sheet(&state, "norm").values[head * n + n - 1];
        assert!((drawn - norm).abs() < 1e-3 * norm.max(1e-3), "{drawn} {norm}");
    }
    assert!(!drawing(chip().with("decay", "none"), "half_lives").missing.is_empty());
}

/// Paper 56: at a window as long as the text everything is exact; errors by temperature and by map are the same numbers.
#[test]
fn scatterbrain_errors_agree_with_its_maps() {
    let chip = || Chip::new("scatterbrain").with("window", 4.0);
    let maps = drawing(chip(), "maps");
    let n = maps.grid.down.labels.len();
    let exact = &sheet(&maps, "exact").values;
    let error = |id: &str| {
        let pairs = || sheet(&maps, id).values.iter().zip(exact).filter(|(a, _)| !a.is_nan());
        let difference: f64 = pairs().map(|(a, b)| f64::from(a - b).powi(2)).sum();
        (difference / pairs().map(|(_, b)| f64::from(*b).powi(2)).sum::<f64>()).sqrt() as f32
    };
    let lines = drawing(chip(), "temperature");
    for (row, id) in ["sparse", "low_rank", "both"].into_iter().enumerate() {
        assert!((fact(&maps, id) - error(id)).abs() < 1e-4);
        assert!((sheet(&lines, "error").values[row * 6 + 2] - error(id)).abs() < 1e-4, "temperature 1 is this pane’s");
    }
    // Rows of the sparse map sum to one over the window.
    for (query, row) in sheet(&maps, "sparse").values.chunks(n).enumerate() {
        let (inside, outside): (Vec<_>, Vec<_>) = (0..=query).partition(|key| query - key < 4);
        assert!((inside.iter().map(|key| row[*key]).sum::<f32>() - 1.0).abs() < 1e-4);
        assert!(outside.iter().all(|key| row[*key] == 0.0));
    }
    let support = drawing(chip(), "support");
    let window: usize = (0..n).map(|query| (query + 1).min(4)).sum();
    assert!((fact(&support, "share") - window as f32 / (n * (n + 1) / 2) as f32).abs() < 1e-6);
    let whole = drawing(Chip::new("scatterbrain").with("window", 256.0), "maps");
    assert!(fact(&whole, "both") < 1e-4 && fact(&whole, "sparse") < 1e-4);
}

/// Paper 14: the echo is outlined, and what is taken over is the leader's map of the pane.
#[test]
fn echoes_show_their_leader() {
    let chip = || Chip::new("echo_att").with("mode", "pair").with("leader", 0.0).with("follower", 1.0);
    let similarity = drawing(chip(), "similarity");
    let cosine = &sheet(&similarity, "cosine").values;
    assert!((0..LAYERS).all(|layer| (cosine[layer * LAYERS + layer] - 1.0).abs() < 1e-5));
    assert!((cosine[1] - cosine[LAYERS]).abs() < 1e-6);
    assert_eq!(
        (sheet(&similarity, "used").values.as_slice(), fact(&similarity, "echoes")),
        (&[0.0, 0.0, 1.0, 0.0][..], 1.0)
    );
    let copied = drawing(chip(), "copied");
    let outcome = run(&mut engine(), chip());
    let leader: Vec<f32> = pattern(&outcome, 1, 0, HEAD.head).iter().map(|weight| weight.max(0.0)).collect();
    assert!(sheet(&copied, "taken").values.iter().zip(&leader).all(|(a, b)| (a - b).abs() < 1e-5));
    assert_eq!(fact(&copied, "leader"), 0.0);
    let saved = drawing(chip(), "saved");
    let share = sheet(&saved, "share").values[0];
    let bytes = |pane: usize| outcome.panes[pane].price.kv_bytes as f32;
    assert!((share - bytes(1) / bytes(0)).abs() < 1e-6 && share < 1.0);
    assert_eq!(fact(&saved, "needless") as usize, WIDTH * HEAD_WIDTH * (HEADS + KV_HEADS));
    let controls = slow(chip(), "controls");
    let losses: Vec<f32> = (0..2).map(|pane: usize| outcome.panes[pane].loss.unwrap()).collect();
    assert!((sheet(&controls, "loss").values[0] - (losses[1] - losses[0])).abs() < 1e-4);
}

/// Paper 37: marked columns are those above the threshold, and of their weight β is left.
#[test]
fn calibration_turns_marked_columns_down() {
    let chip = || Chip::new("attention_calibration").with("alpha", 1.0).with("beta", 0.25);
    let (row, columns) = (drawing(chip(), "row"), drawing(chip(), "columns"));
    let (before, after) = (fact(&row, "before"), fact(&row, "after"));
    assert!(before > 0.0 && (after - 0.25 * before).abs() < 1e-5, "{before} {after}");
    let n = columns.grid.across.labels.len();
    let (mean, sinks) = (&sheet(&columns, "mean").values, &sheet(&columns, "sinks").values);
    for key in 0..n {
        assert_eq!(sinks[key] == 1.0, key > 0 && mean[key] > 1.0 / n as f32, "{key}: {}", mean[key]);
    }
    let atlas = drawing(chip(), "atlas");
    let of_head = sheet(&atlas, "sinks").values[HEAD.layer * HEADS + HEAD.head];
    assert_eq!(of_head as usize, sinks.iter().filter(|sink| **sink == 1.0).count());
    assert!(sheet(&atlas, "gates").values.iter().all(|gate| *gate == 1.0), "two layers are few");
    // The first head alone, as a pane of its own would do it.
    let gain = slow(chip(), "gain");
    let one = chip().with("mode", "prefix").with("heads", "one").with("layer", 1.0).with("head", 2.0);
    let outcome = run(&mut engine(), one);
    let loss = |pane: usize| outcome.panes[pane].loss.unwrap();
    assert!((sheet(&gain, "gain").values[HEADS + 2] - (loss(1) - loss(0))).abs() < 1e-4);
}

/// Paper 52: the sink of a head is the mean of its first column, and the slot counts beside the keys.
#[test]
fn sinks_are_means_of_columns() {
    let chip = || Chip::new("attention_sink_operators").with("operator", "key_bias").with("bias_logit", 1.0);
    let (sinks, positions) = (drawing(chip(), "sinks"), drawing(chip(), "positions"));
    let outcome = run(&mut engine(), chip());
    let n = outcome.tokens.len();
    let mean = |pane: usize, index: usize, key: usize| {
        let map = pattern(&outcome, pane, index / HEADS, index % HEADS);
        (key..n).map(|query| map[query * n + key]).sum::<f32>() / (n - key) as f32
    };
    for (id, pane) in [("own", 1), ("plain", 0)] {
        let drawn = &sheet(&sinks, id).values;
        assert!((0..LAYERS * HEADS).all(|index| (drawn[index] - mean(pane, index, 0)).abs() < 1e-5), "{id}");
        let width = positions.grid.across.labels.len();
        for key in 0..width - 1 {
            let above = (0..LAYERS * HEADS).filter(|index| mean(pane, *index, key) > 0.3).count() as f32;
            let bar = sheet(&positions, "sinks").values[(1 - pane) * width + key];
            assert!((bar - above / (LAYERS * HEADS) as f32).abs() < 1e-6, "{id} {key}");
        }
    }
    let slots = &sheet(&sinks, "slot").values;
    for (index, slot) in slots.iter().enumerate() {
        let map = pattern(&outcome, 1, index / HEADS, index % HEADS);
        // What no key has is in the slot.
        let keys: f32 = map.iter().filter(|weight| !weight.is_nan()).sum();
        assert!((slot - (n as f32 - keys) / n as f32).abs() < 1e-4, "{index}");
    }
}

/// Paper 68: what is above average survives re-weighting and nothing else does; rows of zeros are counted.
#[test]
fn reweighting_keeps_what_is_above_average() {
    let chip = || Chip::new("softplus_reweighting").with("power", 2.0);
    let row = drawing(chip(), "row");
    let width = row.grid.across.labels.len();
    let (weights, above) = (&sheet(&row, "weight").values, &sheet(&row, "above").values);
    let average = fact(&row, "average");
    assert!((average - 1.0 / width as f32).abs() < 1e-6);
    let (mut sum, mut left) = (0.0, 0.0);
    for key in 0..width {
        assert_eq!(weights[width + key] > 0.0, weights[key] > average, "{key}");
        assert_eq!(above[key] == 1.0, weights[key] > average);
        let rest = (weights[key] * width as f32 - 1.0).max(0.0).powi(2);
        sum += rest;
        left += weights[width + key];
    }
    assert!((left - 1.0).abs() < 1e-4);
    let expected = |key: usize| (weights[key] * width as f32 - 1.0).max(0.0).powi(2) / sum;
    assert!((0..width).all(|key| (weights[width + key] - expected(key)).abs() < 1e-4));
    let zeros = drawing(chip(), "zeros");
    let outcome = run(&mut engine(), chip());
    let n = outcome.tokens.len();
    let map = pattern(&outcome, 1, HEAD.layer, HEAD.head);
    let empty = map.iter().filter(|weight| **weight == 0.0).count() as f32 / (n * (n + 1) / 2) as f32;
    let drawn = sheet(&zeros, "zeros").values[HEAD.layer * HEADS + HEAD.head];
    assert!(empty > 0.0 && (drawn - empty).abs() < 1e-6, "{drawn} {empty}");
    let losses = drawing(chip(), "loss");
    let upto = &sheet(&losses, "loss").values;
    assert!((upto[n - 1] - outcome.panes[1].loss.unwrap()).abs() < 1e-4);
    assert!((upto[2 * n - 1] - outcome.panes[0].loss.unwrap()).abs() < 1e-4);
    let entropy = drawing(chip(), "entropy");
    let even = &sheet(&entropy, "entropy").values[4 * n..];
    assert!(
        sheet(&entropy, "entropy")
            .values
            .chunks(n)
            .all(|line| line.iter().zip(even).all(|(e, most)| *e <= most + 1e-4))
    );
}

/// Paper 11: energies and spectra are shares of one whole, the exact form moves no score and sees one key per group, and the
/// cache is that of the price.
#[test]
fn latents_share_out_one_whole() {
    let exact = || Chip::new("trans_mla");
    let energy = drawing(exact(), "energy");
    for shares in sheet(&energy, "share").values.chunks(KV_HEADS) {
        assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{shares:?}");
    }
    let share = &sheet(&energy, "share").values;
    assert!(
        share[KV_HEADS] >= share[..KV_HEADS].iter().copied().fold(0.0, f32::max) - 1e-6,
        "the first turned head holds most"
    );
    let spectrum = drawing(exact(), "spectrum");
    let width = spectrum.grid.across.labels.len();
    for line in sheet(&spectrum, "held").values.chunks(width) {
        assert!((line[width - 1] - 1.0).abs() < 1e-5 && line.windows(2).all(|pair| pair[1] >= pair[0] - 1e-5));
    }
    // Cut together, as many directions hold at least as much as those of keys and values each for itself.
    let values = &sheet(&spectrum, "held").values;
    assert!((0..width).all(|at| values[at] >= values[2 * width + at] - 1e-3));
    assert!(sheet(&drawing(exact(), "scores"), "difference").values.iter().all(|share| *share < 1e-4));
    let keys = drawing(exact(), "keys");
    assert!((fact(&keys, "group") - 1.0).abs() < 1e-4, "{}", fact(&keys, "group"));
    assert!(fact(&drawing(exact().with("noise", 1.0), "keys"), "group") < 0.95);
    let compressed = || exact().with("mode", "compressed").with("rank", 0.5);
    let outcome = run(&mut engine(), compressed());
    let cache = drawing(compressed(), "cache");
    let bytes: Vec<f32> = (0..2).map(|pane: usize| outcome.panes[pane].price.kv_bytes as f32).collect();
    assert_eq!(sheet(&cache, "bytes").values[..2], bytes);
    assert!(sheet(&drawing(compressed(), "scores"), "difference").values[1] > 1e-3);
}
