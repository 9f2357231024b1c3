//! Checkpoints that Hugging Face's library made and saved, and what that library and NumPy compute from them.
//!
//! `tests/outside/compare.py --goldens` wrote them; it compares many more where torch is installed.

use attnscope::engine::{Forward, Pass, Request};
use attnscope::gpu::GpuModel;
use attnscope::gpu::device::Device;
use attnscope::hook::{Array, Selection, Site};
use attnscope::lens::Patterns;
use attnscope::lens::attribution::{self, attribute};
use attnscope::lens::readout::Readout;
use attnscope::lens::roles::{Probe, Tally};
use attnscope::lens::sinks::Sinks;
use attnscope::mechanism::Stack;
use attnscope::model::sample::{Sampler, Sampling, generate};
use attnscope::model::{CpuModel, Files, Loaded, load};
use pollster::block_on;
use serde_json::Value;
use std::path::Path;
use std::rc::Rc;

/// Largest deviation as a share of the largest value of an array: order of sums in f32, and seven stored digits.
const ON_PROCESSOR: f64 = 1e-5;
/// On a GPU products are summed in other orders, and `exp` is the driver's.
const ON_GPU: f64 = 1e-4;

struct Golden {
    name: String,
    loaded: Loaded,
    expected: Value,
}

impl Golden {
    fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/outside");
        let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let read = |path: &std::path::PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let expected = serde_json::from_slice(&std::fs::read(path.join("expected.json")).unwrap()).unwrap();
            Self { loaded: load(&name, &Files::read(path).unwrap()).unwrap(), name, expected }
        };
        paths.iter().map(read).collect()
    }

    fn numbers(&self, key: &str) -> Vec<f64> {
        self.expected[key].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    }

    fn ids(&self, key: &str) -> Vec<u32> {
        self.numbers(key).into_iter().map(|id| id as u32).collect()
    }

    /// Compares numbers with those stored under `key`.
    fn check(&self, key: &str, came: &[f32], allowed: f64) {
        let expected = self.numbers(key);
        assert_eq!(came.len(), expected.len(), "{}: {key}", self.name);
        let largest = expected.iter().fold(0.0f64, |most, value| most.max(value.abs()));
        let off = came.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
        assert!(off <= allowed * largest, "{}: {key} deviates by {off} of at most {largest}", self.name);
    }

    fn layers(&self, pass: &Pass, site: Site) -> Array {
        let arrays: Vec<_> = (0..self.loaded.config.layers).map(|l| pass.captures.get(l, site).unwrap()).collect();
        // [1,…] each → [L,…]
        let shape = [&[arrays.len()], &arrays[0].shape[1..]].concat();
        Array::new(shape, arrays.iter().flat_map(|array| array.data.iter().copied()).collect()).unwrap()
    }

    fn pass(model: &mut impl Forward, tokens: &[u32], wants: Selection) -> Pass {
        block_on(model.forward(Request { tokens, stack: &Stack::new("a", &[]).unwrap(), seed: 0, wants })).unwrap()
    }

    fn check_pass(&self, model: &mut impl Forward, allowed: f64) {
        let wants = Selection::sites(&[Site::Pattern, Site::ResidPre, Site::LnFinal]);
        let pass = Self::pass(model, &self.ids("tokens"), wants);
        self.check("logits", &pass.logits.data, allowed);
        self.check("pattern", &self.layers(&pass, Site::Pattern).data, allowed);
        self.check("resid_pre", &self.layers(&pass, Site::ResidPre).data, allowed);
        self.check("ln_final", &pass.captures.get(0, Site::LnFinal).unwrap().data, allowed);
    }
}

#[test]
fn the_processor_computes_what_transformers_computes() {
    let goldens = Golden::all();
    let families: std::collections::BTreeSet<_> = goldens.iter().map(|g| g.loaded.facts.family.clone()).collect();
    assert_eq!(families.into_iter().collect::<Vec<_>>(), ["gpt2", "gpt_neox", "llama"]);
    for golden in goldens {
        let Loaded { config, weights, .. } = &golden.loaded;
        golden.check_pass(&mut CpuModel::new(config, weights).unwrap(), ON_PROCESSOR);
        // The way without tensors, which continuations take.
        let model = CpuModel::new(config, weights).unwrap();
        let stack = Stack::new("a", &[]).unwrap();
        let mut decoder = model.decoder(&stack, 0);
        let (greedy, sampler) = (golden.ids("greedy"), Sampler::new(Sampling::default()).unwrap());
        let logits = async |tokens: &[u32]| decoder.logits(tokens);
        let came = block_on(generate(config, &golden.ids("tokens"), greedy.len(), &sampler, logits)).unwrap();
        assert_eq!(came, greedy, "{}", golden.name);
    }
}

#[test]
fn the_gpu_computes_what_transformers_computes() {
    let device = Rc::new(block_on(Device::open()).unwrap());
    for golden in Golden::all() {
        let Loaded { config, weights, .. } = &golden.loaded;
        let mut model = block_on(GpuModel::new(device.clone(), config, weights)).unwrap();
        golden.check_pass(&mut model, ON_GPU);
    }
}

#[test]
fn metrics_are_those_of_numpy() {
    for golden in Golden::all() {
        let Loaded { config, weights, .. } = &golden.loaded;
        let mut model = CpuModel::new(config, weights).unwrap();
        let tokens = golden.ids("tokens");
        let pattern = Golden::pass(&mut model, &tokens, Selection::sites(&[Site::Pattern]));
        let pattern = golden.layers(&pattern, Site::Pattern);
        let sinks = Sinks::new(&Patterns::new(&pattern, None, None).unwrap());
        golden.check("importance", &sinks.importance.concat(), ON_PROCESSOR);
        let epsilon = golden.expected["epsilon"].as_f64().unwrap() as f32;
        let rates: Vec<f32> = (0..tokens.len()).map(|position| sinks.rate(position, epsilon)).collect();
        golden.check("sink_rate", &rates, 1e-6);

        let repeated = golden.ids("repeated");
        let (half, random_keys) = (repeated.len() / 2, vec![0; repeated.len()]);
        let probe = Probe { lead: 0, half, shuffled: repeated.clone(), repeated, random_keys };
        let pattern = Golden::pass(&mut model, &probe.repeated, Selection::sites(&[Site::Pattern]));
        let pattern = golden.layers(&pattern, Site::Pattern);
        let patterns = Patterns::new(&pattern, None, None).unwrap();
        let mut tally = Tally::new(0);
        tally.add(&probe, &patterns, &patterns);
        let report = tally.report();
        let induction = report.roles.iter().find(|role| role.role == "induction").unwrap();
        golden.check("induction", &induction.score, ON_PROCESSOR);

        let pass = Golden::pass(&mut model, &tokens, attribution::wanted());
        let token = golden.expected["token"].as_u64().unwrap() as u32;
        let readout = Readout::new(config, weights).unwrap();
        let came = attribute(&readout, config, weights, &pass.captures, tokens.len() - 1, token, None).unwrap();
        let expected = golden.expected["attribution"].as_object().unwrap();
        let largest = expected.values().fold(1.0f64, |most, part| most.max(part.as_f64().unwrap().abs()));
        for (part, value) in &came.parts {
            let wanted = expected[&part.to_string()].as_f64().unwrap();
            let off = (f64::from(*value) - wanted).abs() / largest;
            assert!(off <= 2.0 * ON_PROCESSOR, "{}: {part} is {value}, not {wanted}", golden.name);
        }
        assert_eq!(came.parts.len(), expected.len(), "{}", golden.name);
    }
}

/// On one device the same run gives the same bits.
#[test]
fn a_run_repeated_is_equal_to_the_last_bit() {
    let device = Rc::new(block_on(Device::open()).unwrap());
    for golden in Golden::all() {
        let Loaded { config, weights, .. } = &golden.loaded;
        let tokens = golden.ids("tokens");
        let bits = |pass: Pass| {
            let captures = pass.captures.values.into_values().flat_map(|array| array.data);
            pass.logits.data.into_iter().chain(captures).map(f32::to_bits).collect::<Vec<_>>()
        };
        let sites = || Selection::sites(&[Site::Pattern, Site::ResidPost]);
        let processor = || bits(Golden::pass(&mut CpuModel::new(config, weights).unwrap(), &tokens, sites()));
        assert_eq!(processor(), processor(), "{} on the processor", golden.name);
        let mut model = block_on(GpuModel::new(device.clone(), config, weights)).unwrap();
        let mut gpu = || bits(Golden::pass(&mut model, &tokens, sites()));
        let first = gpu();
        assert_eq!(first, gpu(), "{} on the GPU", golden.name);
        // And so does a model that is loaded anew.
        let mut again = block_on(GpuModel::new(device.clone(), config, weights)).unwrap();
        assert_eq!(first, bits(Golden::pass(&mut again, &tokens, sites())), "{} loaded anew", golden.name);
    }
}
