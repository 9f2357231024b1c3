//! What papers show on data that is made up, measured and kept: `tests/golden/papers.synthetic.json`.
//!
//! ```text
//! ATTNSCOPE_BLESS=1 cargo task test --only papers     measures anew and writes the file
//! ```
//!
//! Each experiment stands beside the other checks of its paper; what its specification requires of the numbers is required
//! here, and where its own run is printed, how near ours must come.

use super::patterns::planted::planted_sink;
use super::{hyper, mixers, rows, selectors};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

const FILE: &str = "tests/golden/papers.synthetic.json";
const COMMAND: &str = "ATTNSCOPE_BLESS=1 cargo task test --only papers";

/// Numbers of one experiment by name.
pub type Numbers = BTreeMap<String, Vec<f32>>;

type Measure = fn() -> Numbers;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Measured {
    /// How to measure anew.
    command: String,
    /// By paper and check.
    numbers: BTreeMap<String, Numbers>,
}

#[test]
fn what_papers_show_on_made_up_data_is_as_measured() {
    let numbers: [(&str, Measure); 7] = [
        ("37 (e)", planted_sink),
        ("38 (c)", hyper::sampled_sums),
        ("38 (d)", hyper::planted_clusters),
        ("51 (c)", selectors::lists_of_clusters),
        ("56 (c)", mixers::regimes),
        ("61 (c)", mixers::memory),
        ("68 (c)", rows::sharpness_against_length),
    ];
    let numbers = numbers.map(|(name, measure)| (name.to_string(), measure())).into_iter().collect();
    let came = Measured { command: COMMAND.into(), numbers };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if std::env::var_os("ATTNSCOPE_BLESS").is_some() {
        std::fs::write(&file, serde_json::to_string_pretty(&came).unwrap() + "\n").unwrap();
    }
    let stored: Measured = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let names = |measured: &Measured| -> Vec<String> {
        let of = |(check, numbers): (&String, &Numbers)| numbers.keys().map(|name| format!("{check} {name}")).collect();
        measured.numbers.iter().flat_map::<Vec<String>, _>(of).collect()
    };
    assert_eq!(names(&came), names(&stored), "{FILE} is stale; {COMMAND} writes it anew");
    for (check, numbers) in &came.numbers {
        for (name, numbers) in numbers {
            for (came, stored) in numbers.iter().zip(&stored.numbers[check][name]) {
                let near = (came - stored).abs() < 1e-2 * stored.abs().max(1.0);
                assert!(near, "{check}, {name}: {came} was {stored}; {COMMAND} writes it anew");
            }
        }
    }
    required(|check, name| &came.numbers[check][name]);
}

/// What the specifications require.
fn required<'a>(of: impl Fn(&str, &str) -> &'a Vec<f32>) {
    let near = |came: &[f32], expected: &[f32], off: f32| {
        came.len() == expected.len() && came.iter().zip(expected).all(|(came, expected)| (came - expected).abs() <= off)
    };
    // Unbiased within three standard errors; biased upward by the share of the block where in-block samples count again.
    for row in ["row 64", "row 90", "row 127"] {
        let [mean, error, truth, excess, excess_error, block] = of("38 (c)", row)[..] else { panic!("six numbers") };
        assert!((mean - truth).abs() < 3.0 * error, "{row}: {mean} for {truth}");
        assert!((excess - block).abs() < 3.0 * excess_error, "{row}: {excess} for {block}");
    }
    // The planted sink takes what it takes, and calibration of its head gives 0.4 → 0.76 of it back.
    let mass = of("37 (e)", "weight on the right value");
    assert!((mass[2] / mass[1] / 1.9 - 1.0).abs() < 0.02, "{mass:?}");
    assert!((mass[3] / mass[1] - 1.0).abs() < 0.02, "{mass:?}");
    // Recall should fall with it and come back; other heads retrieve as well, and it does neither.
    assert!(of("37 (e)", "right").iter().all(|right| *right > 0.9), "{:?}", of("37 (e)", "right"));
    let [hash, random] = ["hash", "random"].map(|order| of("38 (d)", order));
    assert!(hash[0] < 0.7 * random[0] && hash[1] < 0.7 * random[1], "{hash:?} {random:?}");
    assert!(hash[2] > 0.5 && (random[2] - 1.0 / 16.0).abs() < 0.01, "{hash:?} {random:?}");

    let even = of("51 (c)", "even noise");
    assert!((0.25..0.45).contains(&even[0]) && (0.15..0.45).contains(&even[1]), "{even:?}");
    assert!(of("51 (c)", "directions, learned from one token of each")[0] < 0.1);

    // Both together beat either part, but at the highest scale, where more and smaller buckets are better without features.
    for (hashes, last) in [("8 buckets, 4 rounds", 1.1), ("16 buckets, 2 rounds", f32::INFINITY)] {
        let [sparse, low, both] =
            ["sparse", "low rank", "combined"].map(|part| of("56 (c)", &format!("{hashes}, {part}")));
        for (scale, slack) in [1.0, 1.0, 1.0, 1.0, last].into_iter().enumerate() {
            let least = sparse[scale].min(low[scale]);
            assert!(both[scale] < slack * least, "{hashes}, scale {scale}: {sparse:?} {low:?} {both:?}");
        }
    }
    assert!(of("56 (c)", "16 buckets, 2 rounds, combined")[4] > of("56 (c)", "16 buckets, 2 rounds, sparse")[4]);

    assert!(of("61 (c)", "change, decay of the paper")[0] < 1e-6 && of("61 (c)", "change, no decay")[0] > 0.1);
    assert!((of("61 (c)", "growth, no norm")[0] - 2.0).abs() < 0.2);
    assert!((of("61 (c)", "growth, with the norm")[0] - 1.0).abs() < 2e-3);

    // The specification's own run.
    for (name, expected) in [
        ("softmax", &[0.88, 0.69, 0.43, 0.28][..]),
        ("lssa", &[0.11, 0.03, 0.01, 0.002]),
        ("p = 3", &[0.92, 0.72, 0.37, 0.12]),
        ("p = 15", &[1.0; 4]),
        ("weak key, softmax", &[0.20, 0.01]),
        ("weak key, p = 15", &[0.93, 0.55]),
    ] {
        assert!(near(of("68 (c)", name), expected, 0.08), "{name}: {:?} for {expected:?}", of("68 (c)", name));
    }
}
