//! Drawing tokens.

use attnscope::model::sample::{Sampler, Sampling, likeliest};

const LOGITS: [f32; 5] = [0.5, 2.0, -1.0, 2.0, 1.0];

fn draws(sampling: Sampling, count: usize) -> Vec<u32> {
    let sampler = Sampler::new(sampling).unwrap();
    (0..count).map(|position| sampler.pick(&LOGITS, position)).collect()
}

#[test]
fn greedy_takes_the_first_of_equals() {
    assert_eq!(likeliest(&LOGITS), 1);
    let hot = Sampling { temperature: 1.0, ..Sampling::default() };
    assert!(draws(Sampling::default(), 50).iter().all(|id| *id == 1));
    // Equals stand or fall together, and both are drawn.
    for sampling in [Sampling { top_k: 1, ..hot }, Sampling { top_p: 1e-6, ..hot }] {
        let came = draws(sampling, 50);
        assert!(came.iter().all(|id| [1, 3].contains(id)) && came.contains(&1) && came.contains(&3), "{sampling:?}");
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

/// A draw depends on seed, position and token alone: what makes bursts and other engines draw the same.
#[test]
fn a_position_draws_the_same_whenever_it_is_asked() {
    let sampler = Sampler::new(Sampling { temperature: 1.0, seed: 1 << 40, ..Sampling::default() }).unwrap();
    let whole: Vec<u32> = (0..40).map(|position| sampler.pick(&LOGITS, position)).collect();
    let backwards: Vec<u32> = (0..40).rev().map(|position| sampler.pick(&LOGITS, position)).collect();
    assert!(whole.iter().eq(backwards.iter().rev()));
    // The upper half of the seed counts.
    assert_ne!(whole, draws(Sampling { temperature: 1.0, ..Sampling::default() }, 40));
}

/// The winner of the race is decided by small exponentials; a generator that never makes one would cut the tail off.
#[test]
fn rare_tokens_are_drawn_as_often_as_they_should() {
    let mut logits = vec![0.0; 2000];
    logits[0] = (1999.0f32 * 99.0).ln(); // all others together have 1 %
    let sampler = Sampler::new(Sampling { temperature: 1.0, seed: 5, ..Sampling::default() }).unwrap();
    let rare = (0..20_000).filter(|position| sampler.pick(&logits, *position) != 0).count();
    // Four standard deviations of a binomial of mean 200.
    assert!((143..=257).contains(&rare), "{rare}");
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
