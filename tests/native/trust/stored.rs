//! The stored numbers of the self-check are what the definition computes in f64, and every twin passes against them.
//!
//! burn chooses its precision once per process, so f64 is computed by this binary started a second time.

use attnscope::engine::{Reference, fixture};
use attnscope::gpu::{self, Device};
use attnscope::mechanism::ALL;
use attnscope::model::load::SELF_CHECK;
use attnscope::model::{Config, CpuModel, Files, Weights, load, step};
use burn::tensor::FloatDType;
use pollster::block_on;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Where the second process writes, and that it is the second.
const INTO: &str = "ATTNSCOPE_F64_INTO";

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn models() -> Vec<std::path::PathBuf> {
    let folders = std::fs::read_dir(Path::new(ROOT).join("www/models")).unwrap();
    let mut folders: Vec<_> = folders.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.join("config.json").exists());
    folders.sort();
    folders
}

/// Not a test of its own: what the second process does.
#[test]
#[ignore = "started by the_stored_numbers_are_those_of_f64"]
fn in_f64() {
    let Some(into) = std::env::var_os(INTO) else { return };
    burn::tensor::Device::flex().configure(FloatDType::F64).unwrap();
    let into = Path::new(&into);
    let mut mechanisms = BTreeMap::new();
    for mechanism in ALL {
        let numbers = |(stack, given)| fixture::numbers(&step::apply(&stack, &given).unwrap());
        let steps = fixture::steps(mechanism).unwrap();
        mechanisms.insert(mechanism.id, steps.into_iter().map(numbers).collect::<Vec<_>>());
    }
    let lines = mechanisms.iter().map(|(id, steps)| format!("\"{id}\":{}", serde_json::to_string(steps).unwrap()));
    let text = format!("{{\n{}\n}}\n", lines.collect::<Vec<_>>().join(",\n"));
    std::fs::write(into.join("mechanisms.selfcheck.json"), text).unwrap();
    let write = |name: &str, config: &Config, weights: &Weights| {
        let mut cpu = CpuModel::new(config, weights).unwrap();
        let reference = block_on(Reference::new(&mut cpu, config)).unwrap();
        std::fs::write(into.join(name), serde_json::to_string(&reference).unwrap() + "\n").unwrap();
    };
    let (config, weights, _) = crate::tiny::model();
    write("tiny", &config, &weights);
    for folder in models() {
        let loaded = load("shipped", &Files::read(&folder).unwrap()).unwrap();
        write(folder.file_name().unwrap().to_str().unwrap(), &loaded.config, &loaded.weights);
    }
}

#[test]
fn the_stored_numbers_are_those_of_f64() {
    let into = std::env::temp_dir().join(format!("attnscope-f64-{}", std::process::id()));
    std::fs::create_dir_all(&into).unwrap();
    let mut second = Command::new(std::env::current_exe().unwrap());
    second.args(["--exact", "trust::stored::in_f64", "--ignored"]).env(INTO, &into);
    let output = second.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let mut files = vec![
        ("mechanisms.selfcheck.json".to_string(), Path::new(ROOT).join("src/engine/mechanisms.selfcheck.json")),
        ("tiny".to_string(), Path::new(ROOT).join("tests/golden/tiny.selfcheck.json")),
    ];
    for folder in models() {
        files.push((folder.file_name().unwrap().to_str().unwrap().to_string(), folder.join(SELF_CHECK)));
    }
    for (name, path) in files {
        let fresh = std::fs::read_to_string(into.join(name)).unwrap();
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        if stored != fresh && std::env::var_os("ATTNSCOPE_BLESS").is_some() {
            std::fs::write(&path, fresh).unwrap();
            continue;
        }
        assert!(
            alike(&stored, &fresh),
            "{} is stale; after a change that means to move numbers: ATTNSCOPE_BLESS=1 cargo task test --only trust",
            path.display()
        );
    }
    let _ = std::fs::remove_dir_all(into);
}

/// Equal up to what another processor's exp and another order of sums change in f64.
fn alike(stored: &str, fresh: &str) -> bool {
    let numbers = |text: &str| -> Vec<f64> {
        let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || "-+.".contains(letter)));
        words.filter_map(|word| word.parse().ok()).collect()
    };
    let (stored, fresh) = (numbers(stored), numbers(fresh));
    stored.len() == fresh.len()
        && stored.iter().zip(&fresh).all(|(a, b)| (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1e-3))
}

/// The page carries the file, so this holds from the build after blessing on.
#[test]
fn every_twin_passes_against_them() {
    if std::env::var_os("ATTNSCOPE_BLESS").is_some() {
        return;
    }
    let device = block_on(Device::open()).unwrap();
    let stored = fixture::stored().unwrap();
    assert_eq!(stored.len(), ALL.len(), "every mechanism has stored numbers");
    for mechanism in ALL {
        let (steps, stored) = (fixture::steps(mechanism).unwrap(), &stored[mechanism.id]);
        assert_eq!(steps.len(), stored.len());
        let mut noticed = false;
        for ((stack, given), stored) in steps.iter().zip(stored) {
            let cpu = step::apply(stack, given).unwrap();
            let excess = fixture::deviation(mechanism.id, &cpu, stored).unwrap();
            assert!(excess <= 0.5, "{} on the processor: {excess}", mechanism.id);
            if mechanism.wgsl.is_some() {
                let came = block_on(gpu::apply(&device, stack, given)).unwrap();
                let excess = fixture::deviation(mechanism.id, &came, stored).unwrap();
                assert!(excess <= 0.7, "{} on the GPU: {excess}", mechanism.id);
            }
            let off = |mut applied: step::Applied| {
                applied.z.data.iter_mut().for_each(|value| *value *= 1.01);
                applied
            };
            noticed |= fixture::deviation(mechanism.id, &off(cpu), stored).unwrap() > 1.0;
        }
        assert!(noticed, "{}: a hundredth off would pass", mechanism.id);
    }
}
