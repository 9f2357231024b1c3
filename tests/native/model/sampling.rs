//! Drawing tokens.

use attnscope::model::sample::{Sampler, Sampling, likeliest};

const LOGITS: [f32; 5] = [0.5, 2.0, -1.0, 2.0, 1.0];

fn draws(sampling: Sampling, count: usize) -> Vec<u32> {
    let mut sampler = Sampler::new(sampling).unwrap();
    (0..count).map(|_| sampler.pick(&LOGITS)).collect()
}

#[test]
fn greedy_takes_the_first_of_equals() {
    assert_eq!(likeliest(&LOGITS), 1);
    let hot = Sampling { temperature: 1.0, ..Sampling::default() };
    for sampling in [Sampling::default(), Sampling { top_k: 1, ..hot }, Sampling { top_p: 1e-6, ..hot }] {
        assert!(draws(sampling, 50).iter().all(|id| *id == 1), "{sampling:?}");
    }
}

#[test]
fn frequencies_follow_the_probabilities() {
    let temperature = 1.5;
    let weight = LOGITS.map(|logit| f64::from(logit / temperature).exp());
    let cases = [(0, 1.0, [0, 1, 2, 3, 4].as_slice()), (3, 1.0, &[1, 3, 4]), (0, 0.75, &[1, 3, 4])];
    for (top_k, top_p, kept) in cases {
        let total: f64 = kept.iter().map(|id| weight[*id as usize]).sum();
        let came = draws(Sampling { temperature, top_k, top_p, seed: 11 }, 20_000);
        for id in 0..5u32 {
            let expected = if kept.contains(&id) { weight[id as usize] / total } else { 0.0 };
            let share = came.iter().filter(|came| **came == id).count() as f64 / 20_000.0;
            // Four standard deviations of a share of 20,000 draws are at most 0.0142.
            assert!((share - expected).abs() < 0.0142, "top_k {top_k}, top_p {top_p}: {id} {share} {expected}");
        }
    }
}

#[test]
fn the_seed_decides() {
    let sampling = Sampling { temperature: 1.0, seed: 3, ..Sampling::default() };
    assert_eq!(draws(sampling, 40), draws(sampling, 40));
    assert_ne!(draws(sampling, 40), draws(Sampling { seed: 4, ..sampling }, 40));
}

#[test]
fn impossible_settings_are_refused_by_name() {
    for (sampling, key) in [
        (Sampling { temperature: -1.0, ..Sampling::default() }, "temperature"),
        (Sampling { temperature: f32::NAN, ..Sampling::default() }, "temperature"),
        (Sampling { top_p: 0.0, ..Sampling::default() }, "top_p"),
        (Sampling { top_p: 1.5, ..Sampling::default() }, "top_p"),
    ] {
        let error = Sampler::new(sampling).unwrap_err().to_string();
        assert!(error.starts_with(&format!("sampling: {key} is ")), "{error}");
    }
}
