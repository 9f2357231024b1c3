//! Experiments answered by the engine on a small random model, against arithmetic done here.

use attnscope::engine::{Choice, Engine, Forward, Reference, Request};
use attnscope::experiment::{Chip, Experiment, Head, Pane};
use attnscope::hook::{Array, Selection, Site};
use attnscope::lens::Patterns;
use attnscope::mechanism::Stack;
use attnscope::model::load::{Precision, SELF_CHECK, save_safetensors};
use attnscope::model::{Config, CpuModel, Files, Weights, load};
use attnscope::outcome::{Outcome, PaneOutcome, Tier, arrays};
use attnscope::{Error, Result};
use pollster::block_on;

mod prompts;
mod quotes;

use crate::tiny::{BOS, FFN, HEAD_WIDTH, HEADS, KV_HEADS, LAYERS, WIDTH, model};

fn engine() -> Engine {
    open(&model().2, Choice::Cpu).unwrap()
}

fn open(files: &Files, choice: Choice) -> Result<Engine> {
    block_on(Engine::new(load("tiny", files)?, choice))
}

fn run(engine: &mut Engine, experiment: &Experiment) -> Result<Outcome> {
    block_on(engine.run(experiment, async || false))
}

fn window(sinks: i32, window: i32) -> Chip {
    Chip::new("streaming_window").with("sinks", f64::from(sinks)).with("window", f64::from(window))
}

fn experiment(prompt: &str, panes: &[&[Chip]]) -> Experiment {
    let panes = panes.iter().map(|stack| Pane { stack: stack.to_vec() }).collect();
    Experiment { model: "tiny".into(), prompt: prompt.into(), panes, ..Experiment::default() }
}

/// log-softmax of one row, in f64.
fn log_softmax(row: &[f32]) -> Vec<f64> {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|logit| f64::from(logit - most).exp()).sum();
    row.iter().map(|logit| f64::from(logit - most) - sum.ln()).collect()
}

fn close(came: f32, expected: f64, allowed: f64) {
    assert!((f64::from(came) - expected).abs() <= allowed, "{came} is not {expected}");
}

#[test]
fn numbers_are_those_of_the_logits() {
    let mut engine = engine();
    let experiment = experiment("One day, a girl", &[&[], &[window(0, 3)]]);
    let outcome = run(&mut engine, &experiment).unwrap();
    let passes: Vec<_> =
        (0..2).map(|pane| block_on(engine.pass(&experiment, pane, Selection::default())).unwrap().logits).collect();
    let logs: Vec<Vec<Vec<f64>>> =
        passes.iter().map(|logits| (0..logits.shape[0]).map(|row| log_softmax(logits.at(row))).collect()).collect();
    let ids: Vec<usize> = outcome.tokens.iter().map(|token| token.id as usize).collect();
    assert_eq!((ids.len(), ids[0]), (16, BOS as usize));
    assert!(outcome.tokens[0].special && !outcome.tokens[1].special);
    assert_eq!(outcome.tokens[1].text, "O");
    let mut losses = Vec::new();
    for (pane, log) in outcome.panes.iter().zip(&logs) {
        assert_eq!(pane.token_loss.len(), 15);
        for (row, loss) in pane.token_loss.iter().enumerate() {
            close(*loss, -log[row][ids[row + 1]], 1e-5);
        }
        let mean = (0..15).map(|row| -log[row][ids[row + 1]]).sum::<f64>() / 15.0;
        close(pane.loss.unwrap(), mean, 1e-5);
        losses.push(mean);
        let last = &log[15];
        assert!(pane.next.windows(2).all(|pair| pair[0].probability >= pair[1].probability), "likeliest first");
        for candidate in &pane.next {
            close(candidate.probability, last[candidate.id as usize].exp(), 1e-6);
            close(candidate.probability_a, logs[0][15][candidate.id as usize].exp(), 1e-6);
        }
    }
    let kl = |row: usize| logs[0][row].iter().zip(&logs[1][row]).map(|(a, b)| a.exp() * (a - b)).sum::<f64>();
    let versus = outcome.panes[1].versus_a.clone().unwrap();
    close(versus.kl_next, kl(15), 1e-5);
    close(versus.kl_mean, (0..16).map(kl).sum::<f64>() / 16.0, 1e-5);
    close(versus.delta_loss.unwrap(), losses[1] - losses[0], 1e-5);
    assert!(versus.kl_next > 1e-3, "a window of three must change something");
    assert_eq!(outcome.panes[0].versus_a, None);
    // Ten of its own, and A's beside them.
    assert_eq!(outcome.panes[0].next.len(), 10);
    assert!(outcome.panes[0].next.iter().all(|of_a| outcome.panes[1].next.iter().any(|of_b| of_b.id == of_a.id)));
    let json = serde_json::to_string(&outcome).unwrap();
    assert_eq!(serde_json::from_str::<Outcome>(&json).unwrap().panes[1].next, outcome.panes[1].next);
}

#[test]
fn equal_panes_do_not_differ() {
    let outcome = run(&mut engine(), &experiment("a day", &[&[], &[Chip::new("softmax")]])).unwrap();
    let versus = outcome.panes[1].versus_a.clone().unwrap();
    assert_eq!((versus.kl_next, versus.kl_mean, versus.delta_loss), (0.0, 0.0, Some(0.0)));
}

#[test]
fn prices_are_the_closed_forms() {
    let prompt = "a".repeat(19);
    let outcome = run(&mut engine(), &experiment(&prompt, &[&[], &[window(2, 4)], &[window(0, 64)]])).unwrap();
    let tokens = 20;
    let bytes = |keys: usize| 2 * 4 * LAYERS * KV_HEADS * HEAD_WIDTH * keys;
    let vocabulary = outcome.model.vocabulary;
    let attention = WIDTH * (HEADS + 2 * KV_HEADS) * HEAD_WIDTH + HEADS * HEAD_WIDTH * WIDTH;
    let weights = LAYERS * (attention + 3 * WIDTH * FFN) + vocabulary * WIDTH;
    let flops = |keys: usize| 2 * weights + 4 * LAYERS * HEADS * HEAD_WIDTH * keys;
    for (pane, keys) in outcome.panes.iter().zip([tokens, 2 + 4, tokens]) {
        assert_eq!((pane.price.kv_bytes, pane.price.flops_per_token), (bytes(keys), flops(keys)));
    }
    // A state of D × D per head, however long the text.
    for length in [3, 19] {
        let linear = experiment(&"a".repeat(length), &[&[Chip::new("lightning_attention")]]);
        let price = &run(&mut engine(), &linear).unwrap().panes[0].price;
        let state = LAYERS * HEADS * HEAD_WIDTH * HEAD_WIDTH;
        assert_eq!((price.kv_bytes, price.flops_per_token), (4 * state, 2 * (weights + 2 * state)));
        assert_eq!(price.score_share, Some(0.0));
    }
}

#[test]
fn arrays_mark_masked_pairs_and_nothing_else() {
    let mut engine = engine();
    let outcome = run(&mut engine, &experiment("Once upon a", &[&[], &[window(1, 3)]])).unwrap();
    for (pane, seen) in outcome.panes.iter().zip([|_: usize, _: usize| true, |query, key| key < 1 || query - key < 3]) {
        let pattern = &pane.arrays[arrays::PATTERN];
        assert_eq!(pattern.shape, [LAYERS, HEADS, 12, 12]);
        for (row, cells) in pattern.data.chunks(12).enumerate() {
            let query = row % 12;
            for (key, weight) in cells.iter().enumerate() {
                assert_eq!(weight.is_nan(), key > query || !seen(query, key), "query {query}, key {key}: {weight}");
            }
            close(cells.iter().filter(|weight| !weight.is_nan()).sum(), 1.0, 1e-5);
        }
        assert!(!pane.arrays.contains_key(arrays::SLOT));
    }
}

#[test]
fn a_slot_has_its_array() {
    let chip = Chip::new("attention_sink_operators").with("operator", "key_bias").with("bias_logit", 0.0);
    let outcome = run(&mut engine(), &experiment("Once upon", &[&[chip]])).unwrap();
    let pane = &outcome.panes[0];
    let (pattern, slot) = (&pane.arrays[arrays::PATTERN], &pane.arrays[arrays::SLOT]);
    assert_eq!(slot.shape, [LAYERS, HEADS, 10]);
    for (cells, slot) in pattern.data.chunks(10).zip(&slot.data) {
        assert!(*slot > 0.0);
        close(slot + cells.iter().filter(|weight| !weight.is_nan()).sum::<f32>(), 1.0, 1e-5);
    }
}

/// ‖v·W_O‖ by the long way: the value of the head's group times the head's rows of the projection.
fn value_norms(config: &Config, weights: &Weights, tokens: &[u32]) -> Vec<f32> {
    let stack = Stack::new("a", &[]).unwrap();
    let request = Request { tokens, stack: &stack, seed: 0, wants: Selection::sites(&[Site::V]) };
    let captures = block_on(CpuModel::new(config, weights).unwrap().forward(request)).unwrap().captures;
    let mut norms = Vec::new();
    for layer in 0..LAYERS {
        let w_o = weights.get(&format!("blocks.{layer}.attn.w_o")).unwrap();
        let v = &captures.get(layer, Site::V).unwrap().data;
        for head in 0..HEADS {
            for key in 0..tokens.len() {
                let v = &v[((head / 2) * tokens.len() + key) * HEAD_WIDTH..][..HEAD_WIDTH];
                let written = (0..WIDTH).map(|m| {
                    (0..HEAD_WIDTH).map(|d| v[d] * w_o.data[(head * HEAD_WIDTH + d) * WIDTH + m]).sum::<f32>()
                });
                norms.push(written.map(|x| x * x).sum::<f32>().sqrt());
            }
        }
    }
    norms
}

#[test]
fn one_head_in_full() {
    let (config, weights, files) = model();
    let mut engine = open(&files, Choice::Cpu).unwrap();
    let experiment = experiment("Once upon a time", &[&[], &[window(1, 3)]]);
    let outcome = run(&mut engine, &experiment).unwrap();
    let tokens: Vec<u32> = outcome.tokens.iter().map(|token| token.id).collect();
    let norms = value_norms(&config, &weights, &tokens);
    for (pane, answer) in outcome.panes.iter().enumerate() {
        let patterns = Patterns::of(answer).unwrap();
        for (layer, head) in (0..LAYERS).flat_map(|layer| (0..HEADS).map(move |head| (layer, head))) {
            let maps = block_on(engine.head(pane, Head { layer, head })).unwrap();
            let stored = patterns.head(layer, head).unwrap().weights;
            assert_eq!(maps.pattern.shape, [17, 17]);
            for ((map, stored), score) in maps.pattern.data.iter().zip(stored).zip(&maps.scores.data) {
                assert!(map == stored || map.is_nan() && stored.is_nan());
                assert_eq!(score.is_nan(), stored.is_nan());
            }
            // Scores are what softmax made the weights of.
            let row = &maps.scores.data[16 * 17..];
            let kept: Vec<f32> = row.iter().copied().filter(|score| !score.is_nan()).collect();
            let weights: Vec<f32> = stored[16 * 17..].iter().copied().filter(|weight| !weight.is_nan()).collect();
            log_softmax(&kept).iter().zip(weights).for_each(|(log, weight)| close(weight, log.exp(), 1e-5));
            if pane == 0 {
                let expected = &norms[(layer * HEADS + head) * 17..][..17];
                maps.value_norms.data.iter().zip(expected).for_each(|(a, b)| close(*a, f64::from(*b), 1e-4));
            }
        }
    }
    let refused = |pane, layer, head| block_on(engine.head(pane, Head { layer, head })).unwrap_err();
    let mut refused = refused;
    assert_eq!(refused(2, 0, 0).code(), "unknown");
    assert_eq!(refused(0, LAYERS, 0).code(), "unknown");
    assert!(refused(0, 0, HEADS).to_string().contains("L1H3"));
}

#[test]
fn beyond_the_stored_length_heads_come_on_demand() {
    let mut engine = engine();
    let sink = Chip::new("attention_sink_operators").with("operator", "key_bias");
    let outcome = run(&mut engine, &experiment(&"ab".repeat(140), &[&[], &[sink]])).unwrap();
    assert_eq!(outcome.tokens.len(), 281);
    assert!(!outcome.panes[0].arrays.contains_key(arrays::PATTERN));
    assert_eq!(outcome.panes[0].arrays[arrays::VALUE_NORMS].shape, [LAYERS, HEADS, 281]);
    let maps = block_on(engine.head(0, Head { layer: 1, head: 2 })).unwrap();
    for (query, cells) in maps.pattern.data.chunks(281).enumerate() {
        close(cells[..=query].iter().sum(), 1.0, 1e-5);
        assert!(cells[query + 1..].iter().all(|weight| weight.is_nan()));
    }
    assert!(maps.slot.data.is_empty());
    // With a slot, keys and slot together take all the weight.
    let maps = block_on(engine.head(1, Head { layer: 1, head: 2 })).unwrap();
    for (cells, slot) in maps.pattern.data.chunks(281).zip(&maps.slot.data) {
        assert!(*slot > 0.0);
        close(cells.iter().filter(|weight| !weight.is_nan()).sum::<f32>() + slot, 1.0, 1e-5);
    }
    assert_eq!(maps.slot.data.len(), 281);
}

#[test]
fn what_cannot_run_is_refused_and_what_is_cut_is_said() {
    let mut engine = engine();
    let cut = run(&mut engine, &experiment(&"a".repeat(400), &[&[]])).unwrap();
    assert_eq!(cut.tokens.len(), 320);
    assert!(cut.notices[0].contains("401 tokens") && cut.notices[0].contains("320"), "{:?}", cut.notices);

    let mut bare = experiment("", &[&[]]);
    assert_eq!(run(&mut engine, &bare).unwrap().panes[0].loss, None, "BOS alone has no loss");
    bare.bos = false;
    assert_eq!(run(&mut engine, &bare).unwrap_err().code(), "parse");
    bare.prompt = "a".into();
    bare.panes.clear();
    assert_eq!(run(&mut engine, &bare).unwrap_err().code(), "param");
    bare = experiment("a", &[&[]]);
    bare.version = 2;
    assert_eq!(run(&mut engine, &bare).unwrap_err().code(), "parse");

    let twice = experiment("a", &[&[], &[Chip::new("softmax"), Chip::new("attention_sink_operators")]]);
    let refused = run(&mut engine, &twice).unwrap_err();
    assert!(refused.to_string().starts_with("pane b: "), "{refused}");
    let unknown = experiment("a", &[&[Chip::new("magic")]]);
    assert_eq!(run(&mut engine, &unknown).unwrap_err().code(), "unknown");
}

#[test]
fn only_what_changed_runs_again() {
    let mut engine = engine();
    let first = run(&mut engine, &experiment("Once upon a time", &[&[], &[window(0, 3)]])).unwrap();
    // A measured time is as good as a fingerprint: a pane that ran again would have another.
    let millis = |outcome: &Outcome, pane: usize| outcome.panes[pane].price.millis;
    let mut moved = experiment("Once upon a time", &[&[], &[window(0, 4)]]);
    let second = run(&mut engine, &moved).unwrap();
    assert_eq!(millis(&first, 0), millis(&second, 0));
    assert_ne!(millis(&first, 1), millis(&second, 1));
    moved.view.wall = 1;
    moved.panes.swap(0, 1);
    let third = run(&mut engine, &moved).unwrap();
    assert_eq!((millis(&third, 0), millis(&third, 1)), (millis(&second, 1), millis(&second, 0)));
    // A default that is written out is still the default.
    moved.panes[1].stack = vec![Chip::new("softmax").with("temperature", 1.0)];
    assert_eq!(millis(&run(&mut engine, &moved).unwrap(), 1), millis(&second, 0));
    moved.seed = 1;
    assert_ne!(millis(&run(&mut engine, &moved).unwrap(), 1), millis(&second, 0));
}

#[test]
fn a_stopped_run_leaves_the_last_answer_in_place() {
    let mut engine = engine();
    let first = experiment("Once upon", &[&[]]);
    run(&mut engine, &first).unwrap();
    let other = experiment("Once upon a time", &[&[], &[window(0, 3)]]);
    assert_eq!(block_on(engine.run(&other, async || true)).unwrap_err(), Error::Superseded);
    assert_eq!(block_on(engine.head(0, Head::default())).unwrap().pattern.shape, [10, 10]);
    // Nothing has to be computed, so nothing can be stopped.
    assert!(block_on(engine.run(&first, async || true)).is_ok());
}

#[test]
fn probes_tell_what_a_stack_does() {
    let mut engine = engine();
    let experiment = experiment("a", &[&[], &[window(0, 1)], &[window(1, 1)]]);
    let report = |engine: &mut Engine, pane| block_on(engine.roles(&experiment, pane, async || false)).unwrap();
    let plain = report(&mut engine, 0);
    // Five of single keys, nearness, delimiters, copying and its opposite.
    assert_eq!(plain.roles.len(), 9);
    assert!(plain.roles.iter().all(|role| role.score.len() == LAYERS * HEADS && role.shuffled.len() == LAYERS * HEADS));
    assert_eq!(plain, report(&mut engine, 0), "the same seed, the same numbers");
    // A random model has no induction.
    let induction = plain.roles.iter().find(|role| role.role == "induction").unwrap();
    assert!(induction.score.iter().all(|score| *score < induction.threshold), "{:?}", induction.score);
    assert!(plain.roles.iter().all(|role| role.false_positive_rate < 0.05), "{plain:?}");
    // A window of one token leaves every head its own token only.
    let own = report(&mut engine, 1);
    let own = own.roles.iter().find(|role| role.role == "self").unwrap();
    own.score.iter().for_each(|score| close(*score, 1.0, 1e-5));
    assert_eq!(block_on(engine.roles(&experiment, 0, async || true)).unwrap_err(), Error::Superseded);
}

#[test]
fn the_self_check_notices_a_damaged_weight() {
    let (config, weights, files) = model();
    let mut cpu = CpuModel::new(&config, &weights).unwrap();
    let reference = block_on(Reference::new(&mut cpu, &config)).unwrap();
    assert_eq!(block_on(reference.deviation(&mut cpu)).unwrap(), 0.0);
    let files = files.with(SELF_CHECK, serde_json::to_vec(&reference).unwrap());
    let facts = open(&files, Choice::Cpu).unwrap().facts();
    assert_eq!((facts.tier, facts.self_check_passed()), (Tier::Cpu, Some(true)));

    let mut damaged = weights.clone();
    damaged.0.get_mut("blocks.1.attn.w_q").unwrap().data[17] += 2.0;
    let bytes = save_safetensors(&config, &damaged, Precision::F32).unwrap();
    let facts = open(&files.clone().with("model.safetensors", bytes), Choice::Cpu).unwrap().facts();
    assert_eq!(facts.self_check_passed(), Some(false), "{facts:?}");
    assert!(facts.reason.contains("self-check failed"), "{}", facts.reason);

    let other = files.with(SELF_CHECK, r#"{"tokens":[9999],"ids":[0],"logits":[0.0]}"#);
    assert_eq!(open(&other, Choice::Cpu).err().map(|error| error.code()), Some("file"));
    assert_eq!(
        open(&model().2, Choice::Cpu).unwrap().facts().self_check,
        None,
        "without a reference nothing is claimed"
    );
}

/// Largest difference of two arrays; masked pairs must be the same ones.
fn deviation(a: &Array, b: &Array) -> f32 {
    assert_eq!(a.shape, b.shape);
    let one = |(a, b): (&f32, &f32)| {
        assert_eq!(a.is_nan(), b.is_nan());
        if a.is_nan() { 0.0 } else { (a - b).abs() }
    };
    a.data.iter().zip(&b.data).map(one).fold(0.0, f32::max)
}

fn agree(gpu: &PaneOutcome, cpu: &PaneOutcome) {
    for (name, array) in &cpu.arrays {
        let deviation = deviation(&gpu.arrays[name], array);
        assert!(deviation < 2e-4, "{name} differs by {deviation}");
    }
    let logits = |pane: &PaneOutcome| Array { shape: vec![pane.logits.len()], data: pane.logits.clone() };
    assert!(deviation(&logits(gpu), &logits(cpu)) < 1e-3);
    close(gpu.loss.unwrap(), f64::from(cpu.loss.unwrap()), 1e-4);
    assert_eq!((gpu.price.kv_bytes, gpu.price.flops_per_token), (cpu.price.kv_bytes, cpu.price.flops_per_token));
}

#[test]
fn both_engines_answer_alike() {
    let files = model().2;
    let (mut cpu, mut gpu) = (open(&files, Choice::Cpu).unwrap(), open(&files, Choice::Gpu).unwrap());
    let facts = gpu.facts();
    assert!(facts.tier >= Tier::WebGpu && facts.self_check_passed() == Some(true), "{facts:?}");
    let bias = Chip::new("attention_sink_operators").with("operator", "key_value_bias");
    let experiment = experiment("One day, a girl", &[&[], &[window(1, 3)], &[Chip::new("alibi"), bias]]);
    let (came, expected) = (run(&mut gpu, &experiment).unwrap(), run(&mut cpu, &experiment).unwrap());
    came.panes.iter().zip(&expected.panes).for_each(|(gpu, cpu)| agree(gpu, cpu));
    for pane in 0..3 {
        let head = Head { layer: 1, head: 3 };
        let maps = [&mut gpu, &mut cpu].map(|engine| block_on(engine.head(pane, head)).unwrap());
        assert!(deviation(&maps[0].scores, &maps[1].scores) < 1e-3);
        assert!(deviation(&maps[0].pattern, &maps[1].pattern) < 2e-4);
    }
}

#[test]
fn a_software_gpu_is_left_to_those_who_ask_for_it() {
    let files = model().2;
    let forced = open(&files, Choice::Gpu).unwrap().facts();
    let chosen = open(&files, Choice::Auto).unwrap().facts();
    if forced.software {
        assert_eq!(chosen.tier, Tier::Cpu);
        assert!(chosen.reason.contains("software GPU"), "{}", chosen.reason);
    } else {
        assert_eq!((chosen.tier, chosen.adapter), (forced.tier, forced.adapter));
    }
}

#[test]
fn a_lost_gpu_is_opened_again_in_sight() {
    let mut engine = open(&model().2, Choice::Gpu).unwrap();
    let mut experiment = experiment("One day", &[&[]]);
    let before = run(&mut engine, &experiment).unwrap();
    engine.lose_device();
    experiment.prompt = "One day, a girl".into();
    let after = run(&mut engine, &experiment).unwrap();
    assert_eq!((after.engine.tier, after.engine.generation), (before.engine.tier, 1));
    assert!(after.engine.incidents[0].contains(&before.engine.adapter), "{:?}", after.engine.incidents);
    let expected = run(&mut self::engine(), &experiment).unwrap();
    agree(&after.panes[0], &expected.panes[0]);
}
