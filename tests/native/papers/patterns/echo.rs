//! Paper 14, EchoAtt.

use super::{model_run, run, small_model};
use attnscope::experiment::Chip;
use attnscope::hook::Array;
use attnscope::mechanism::{Alike, Compared, Probed, Stack};
use attnscope::model::Config;
use attnscope::model::CpuModel;

/// Every layer may echo.
fn chip() -> Chip {
    Chip::new("echo_att").with("protect_first", 0.0).with("protect_last", 0.0)
}

fn stack(chip: Chip) -> Stack {
    Stack::new("a", &[chip]).unwrap()
}

/// Maps of one layer and head, one text each.
fn layers(maps: &[Vec<f32>]) -> Array {
    let n = maps[0].len().isqrt();
    Array::new([maps.len(), 1, n, n], maps.concat()).unwrap()
}

fn map(n: usize, weight: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let pairs = (0..n).flat_map(|query| (0..n).map(move |key| (query, key)));
    pairs.map(|(query, key)| if key <= query { weight(query, key) } else { 0.0 }).collect()
}

/// Check 1: blocks of one layer are bit-identical; a layer that echoes shows exactly the pattern of its leader, and its
/// logits differ.
#[test]
fn blocks_of_one_change_nothing_and_echoes_are_exact() {
    let (plain, patterns) = model_run(&[]);
    let (same, _) = model_run(&[chip().with("block", 1.0)]);
    assert_eq!(same, plain);
    let (echoed, shown) = model_run(&[chip()]);
    assert_eq!(shown[0], patterns[0], "the leader");
    assert_eq!(shown[1], patterns[0], "the echo");
    assert_ne!(patterns[1], patterns[0]);
    assert_ne!(echoed, plain);
    let (paired, _) =
        model_run(&[Chip::new("echo_att").with("mode", "pair").with("leader", 0.0).with("follower", 1.0)]);
    assert_eq!(paired, echoed, "a pair is a block of two");
}

/// Check 1: two layers with the same W_Q and W_K on the same input are alike to degree one, and an echo changes nothing.
#[test]
fn layers_that_compute_the_same_may_echo_for_free() {
    let (config, mut weights) = small_model();
    for name in ["ln1.w", "attn.w_q", "attn.w_k"] {
        let first = weights.get(&format!("blocks.0.{name}")).unwrap().clone();
        weights.0.insert(format!("blocks.1.{name}"), first);
    }
    // The block between adds nothing.
    for name in ["attn.w_o", "ffn.w_out"] {
        weights.0.get_mut(&format!("blocks.0.{name}")).unwrap().data.fill(0.0);
    }
    let model = (config, weights);
    let (plain, patterns) = run(&model, &stack(chip().with("block", 1.0)));
    let both = Array::new(
        [2, model.0.heads, 24, 24],
        patterns.iter().flat_map(|pattern| pattern.data.clone()).collect::<Vec<_>>(),
    );
    let alike = Alike::new(&[both.unwrap()], Compared::HeadWise);
    assert!((alike.layers(0, 1) - 1.0).abs() < 1e-6);
    let (echoed, _) = run(&model, &stack(chip()));
    assert!(echoed.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-5));
}

/// Check 2: 0 ≤ sim ≤ 1 = sim(l,l), symmetric; even rows are alike to degree one; the identity against even rows of 64
/// tokens gives √(H_64 / 64) = 0.272.
#[test]
fn similarity_has_its_bounds() {
    let n = 64;
    let even = map(n, |query, _| 1.0 / (query + 1) as f32);
    let own = map(n, |query, key| f32::from(u8::from(query == key)));
    let texts = [layers(&[even.clone(), own, even])];
    let sim = Alike::new(&texts, Compared::HeadWise).matrix();
    let harmonic: f32 = (1..=n).map(|i| 1.0 / i as f32).sum();
    assert!((harmonic - 4.744).abs() < 1e-3);
    for l in 0..3 {
        assert!((sim[l * 3 + l] - 1.0).abs() < 1e-6);
        for m in 0..3 {
            assert!((-1e-6..=1.0 + 1e-6).contains(&sim[l * 3 + m]) && sim[l * 3 + m] == sim[m * 3 + l]);
        }
    }
    assert!((sim[2] - 1.0).abs() < 1e-6, "even rows");
    assert!((sim[1] - (harmonic / n as f32).sqrt()).abs() < 1e-3 && (sim[1] - 0.272).abs() < 1e-3, "{}", sim[1]);
}

/// A column that is a sink in every text makes raw patterns alike; what depends on the text is not.
#[test]
fn content_leaves_common_sinks_out() {
    let n = 12;
    let text = |shift: usize| {
        let layer = |far: usize| {
            map(
                n,
                move |query, key| {
                    if key == 0 { 0.9 } else { 0.1 * f32::from(u8::from((query + shift) % 5 + far == key)) }
                },
            )
        };
        layers(&[layer(1), layer(3)])
    };
    let texts = [text(0), text(1), text(2)];
    assert!(Alike::new(&texts, Compared::HeadWise).layers(0, 1) > 0.9);
    assert!(Alike::new(&texts, Compared::Averaged).layers(0, 1) > 0.9);
    assert!(Alike::new(&texts, Compared::Content).layers(0, 1) < 0.5);
}

/// Heads of a leader in another order: matched one to one, and the echo shows what its own heads would.
#[test]
fn the_most_alike_heads_are_found() {
    let (config, weights) = small_model();
    let tokens = 24;
    let (_, patterns) = run(&(config.clone(), weights.clone()), &stack(chip().with("block", 1.0)));
    let size = tokens * tokens;
    // A second layer that holds the heads of the first, each one place on.
    let heads = config.heads;
    let moved: Vec<f32> =
        (0..heads).flat_map(|head| patterns[0].data[(head + 1) % heads * size..][..size].to_vec()).collect();
    let both = Array::new([2, heads, tokens, tokens], [patterns[0].data.clone(), moved.clone()].concat()).unwrap();
    let matching = Alike::new(std::slice::from_ref(&both), Compared::HeadWise).matching(0, 1);
    assert_eq!(matching, (0..heads).map(|head| (head + 1) % heads).collect::<Vec<_>>());
    let mut stack = stack(chip().with("heads", "most_alike"));
    stack.measure(&probed(&config, both));
    let (_, shown) = run(&(config, weights), &stack);
    assert_eq!(shown[1].data, moved);
}

fn probed(config: &Config, text: Array) -> Probed {
    let (layers, heads, kv_heads) = (config.layers, config.heads, config.kv_heads);
    Probed { layers, heads, kv_heads, width: config.head_width, texts: vec![text], ..Probed::default() }
}

/// Mode `similar`: layers echo as long as they are alike enough to the first of their run.
#[test]
fn runs_end_where_layers_differ() {
    let (config, weights) = small_model();
    let n = 24;
    let even = map(n, |query, _| 1.0 / (query + 1) as f32);
    let tilted = map(n, |query, key| 2.0 * (key + 1) as f32 / ((query + 1) * (query + 2)) as f32);
    let heads = |map: &[f32]| map.repeat(config.heads);
    let text = Array::new([2, config.heads, n, n], [heads(&even), heads(&tilted)].concat()).unwrap();
    let alike = Alike::new(std::slice::from_ref(&text), Compared::HeadWise).layers(0, 1);
    assert!(alike > 0.6 && alike < 0.99, "{alike}");
    let echoes = |threshold: f32| {
        let mut stack = stack(chip().with("mode", "similar").with("threshold", f64::from(threshold)));
        stack.measure(&probed(&config, text.clone()));
        let (_, shown) = run(&(config.clone(), weights.clone()), &stack);
        shown[0] == shown[1]
    };
    assert!(echoes(alike - 0.01) && !echoes(alike + 0.01));
}

/// Check 3: decoding with the pattern of the leader's step is the whole pass, though an echo keeps no keys of its own.
#[test]
fn echoes_decode() {
    let (config, weights) = small_model();
    let model = CpuModel::new(&config, &weights).unwrap();
    let stack = stack(chip());
    let tokens = super::some_tokens(config.vocabulary, 24);
    let (whole, _) = run(&(config.clone(), weights.clone()), &stack);
    let mut decoder = model.decoder(&stack, 0);
    for seen in 1..=tokens.len() {
        let step = decoder.logits(&tokens[..seen]).unwrap();
        let row = &whole[(seen - 1) * config.vocabulary..seen * config.vocabulary];
        assert!(step.iter().zip(row).all(|(a, b)| (a - b).abs() < 1e-4), "step {seen}");
    }
}
