//! Passes that start in the middle, and what is patched from one prompt into another.

use super::instruments::{TOKENS, models, plain};
use attnscope::experiment::{Chip, Head, PatchMetric, PatchSite, Through};
use attnscope::hook::{ActivationCache, Array, HookPoint, Patch, Selection, Site, Tap};
use attnscope::lens::base::{Again, Base};
use attnscope::lens::causal::{Removal, Removals};
use attnscope::lens::estimate;
use attnscope::lens::finding::{Asked, Grid};
use attnscope::lens::patching::{self, Patching};
use attnscope::lens::paths::{self, Paths};
use attnscope::mechanism::{ALL, Stack};
use attnscope::model::{Config, CpuModel, Files, load};
use std::path::Path;

const OTHER: [u32; 9] = [0, 7, 19, 4, 31, 45, 7, 11, 40];
const ASKED: Asked = Asked { query: 8, answer: 12, against: Some(33) };

fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn nobody() -> ActivationCache {
    ActivationCache::new(Selection::default())
}

/// From any layer, under any mechanism: also under those that carry something from layer to layer.
#[test]
fn a_pass_from_the_middle_is_the_whole_pass() {
    let (_, config, weights) = models().swap_remove(0);
    let model = CpuModel::new(&config, &weights).unwrap();
    let (mut restarted, mut carried) = (0, 0);
    for mechanism in ALL {
        let Ok(stack) = Stack::new("a", &[Chip::new(mechanism.id)]) else { continue };
        if stack.measures() {
            continue;
        }
        let (_, remembers) = model.run_remembering(&TOKENS, &stack, 0, &mut nobody()).unwrap();
        if remembers {
            carried += 1
        } else {
            restarted += 1
        }
        let base = Base::new(&model, &stack, 0, &TOKENS, &[]).unwrap();
        let again = Again { model: &model, stack: &stack, seed: 0, base: &base };
        for layer in 0..=config.layers {
            let logits = again.from(layer, 1, None, |_, _| {}, &mut nobody()).unwrap();
            assert_eq!(logits.data, base.logits.data, "{} from layer {layer}", mechanism.id);
            let last = again.from(layer, 2, Some(8), |_, _| {}, &mut nobody()).unwrap();
            assert_eq!(last.shape, [2, 1, 50]);
            assert!(worst(last.at(1), base.logits.at(8)) < 2e-4, "{} from layer {layer}", mechanism.id);
        }
    }
    assert!(restarted > 5 && carried > 0, "{restarted} mechanisms restart, {carried} carry something");
}

#[test]
fn what_does_not_exist_is_not_taken_out() {
    let (_, config, weights) = models().swap_remove(0);
    let (model, stack) = (CpuModel::new(&config, &weights).unwrap(), plain());
    let base = Base::new(&model, &stack, 0, &TOKENS, &[]).unwrap();
    let again = Again { model: &model, stack: &stack, seed: 0, base: &base };
    let sets = [vec![Head { layer: 3, head: 0 }]];
    let refused = Removals::new(again, &sets, Removal::Mean).err().unwrap();
    assert_eq!(refused.code(), "unknown");
    assert!(refused.to_string().contains("L2H5"), "{refused}");
}

fn patched(model: &CpuModel, stack: &Stack, site: PatchSite, prompts: [&[u32]; 2], asked: Asked) -> (Grid, [f32; 3]) {
    let [clean, corrupted] = prompts.map(|tokens| Base::new(model, stack, 0, tokens, patching::wanted(site)).unwrap());
    let again = Again { model, stack, seed: 0, base: &corrupted };
    let mut patching = Patching::new(&clean, again, site, asked).unwrap();
    for batch in patching.batches().unwrap() {
        patching.run(&batch).unwrap();
    }
    let everything = patching.everything().unwrap();
    (patching.grid(|at| at.to_string()).unwrap(), everything)
}

/// One activation at a time, as the taps of a whole pass would do it.
#[test]
fn each_patch_is_a_pass_with_that_activation_replaced() {
    let places = [
        (PatchSite::ResidPre, Site::ResidPre),
        (PatchSite::AttnOut, Site::AttnOut),
        (PatchSite::MlpOut, Site::MlpOut),
        (PatchSite::Heads, Site::Z),
    ];
    for (name, config, weights) in models() {
        let (model, stack) = (CpuModel::new(&config, &weights).unwrap(), plain());
        for (site, hook) in places {
            let (grid, _) = patched(&model, &stack, site, [&TOKENS, &OTHER], ASKED);
            let mut kept = ActivationCache::new(Selection::sites(&[hook]));
            model.run(&[&TOKENS], &stack, 0, &mut kept).unwrap();
            let mut from = ActivationCache::new(Selection::sites(&[hook]));
            model.run(&[&OTHER], &stack, 0, &mut from).unwrap();
            let lead = |logits: &Array| logits.data[8 * 50 + 12] - logits.data[8 * 50 + 33];
            let corrupted = lead(&model.run(&[&OTHER], &stack, 0, &mut nobody()).unwrap());
            let columns = if site == PatchSite::Heads { config.heads } else { 9 };
            assert_eq!(grid.sheets[0].values.len(), 3 * columns);
            for layer in 0..3 {
                for column in 0..columns {
                    let mut value = from.get(layer, hook).unwrap().clone();
                    let size = value.data.len() / columns;
                    let source = &kept.get(layer, hook).unwrap().data[column * size..(column + 1) * size];
                    value.data[column * size..(column + 1) * size].copy_from_slice(source);
                    let mut patch = Patch::default().replace(HookPoint::new(layer, hook), None, value);
                    let by_hand = lead(&model.run(&[&OTHER], &stack, 0, &mut patch).unwrap()) - corrupted;
                    let came = grid.sheets[0].values[layer * columns + column];
                    assert!((came - by_hand).abs() < 2e-3, "{name} {site:?} L{layer} {column}: {came}, not {by_hand}");
                }
            }
        }
    }
}

#[test]
fn patching_everything_restores_the_clean_prompt_exactly() {
    for (name, config, weights) in models() {
        let (model, stack) = (CpuModel::new(&config, &weights).unwrap(), plain());
        let (grid, everything) = patched(&model, &stack, PatchSite::ResidPre, [&TOKENS, &OTHER], ASKED);
        let totals: Vec<f32> = grid.sheets.iter().map(|sheet| sheet.total.unwrap()).collect();
        assert_eq!(everything.to_vec(), totals, "{name}: bit for bit");
        // Behind the last layer nothing is left to patch; before the first, the two tokens that differ are everything.
        for sheet in &grid.sheets {
            let first = &sheet.values[..9];
            assert!(first.iter().enumerate().all(|(at, value)| [2, 5].contains(&at) || *value == 0.0), "{name}");
        }
    }
}

#[test]
fn prompts_that_do_not_fit_each_other_are_refused() {
    let refused = |clean: &[u32], corrupted: &[u32]| patching::check(clean, corrupted).unwrap_err().to_string();
    assert!(refused(&TOKENS, &TOKENS[..8]).contains("as many tokens as the prompt, 9"));
    assert!(refused(&TOKENS, &TOKENS).contains("differ"));
}

/// As the taps of two whole passes would do it.
#[test]
fn a_path_is_two_passes_with_one_projection_replaced() {
    for (name, config, weights) in models() {
        let (model, stack) = (CpuModel::new(&config, &weights).unwrap(), plain());
        let [clean, corrupted] =
            [TOKENS, OTHER].map(|tokens| Base::new(&model, &stack, 0, &tokens, paths::WANTED).unwrap());
        let again = Again { model: &model, stack: &stack, seed: 0, base: &corrupted };
        let reader = Head { layer: 2, head: 3 };
        for (through, site) in [(Through::Queries, Site::Q), (Through::Keys, Site::K), (Through::Values, Site::V)] {
            let paths = Paths::new(&clean, again, reader, through, ASKED).unwrap();
            assert_eq!(paths.layers(), 2);
            for layer in 0..2 {
                let found = paths.run(layer).unwrap();
                assert_eq!(found.len(), config.heads);
                for (head, effects) in found.iter().enumerate() {
                    let stripe = |base: &Base| {
                        let all = &base.captures.get(layer, Site::Result).unwrap().data;
                        let size = all.len() / config.heads;
                        all[head * size..(head + 1) * size].to_vec()
                    };
                    let point = HookPoint::new(2, site);
                    let mut stream = Array::new([1, 9, config.width], corrupted.residuals[2].data.clone()).unwrap();
                    let parts = stripe(&clean).into_iter().zip(stripe(&corrupted));
                    stream.data.iter_mut().zip(parts).for_each(|(x, (new, old))| *x += new - old);
                    let mut told = Both(
                        Patch::default().replace(HookPoint::new(2, Site::ResidPre), None, stream),
                        ActivationCache::new(Selection::default().with(point)),
                    );
                    model.run(&[&OTHER], &stack, 0, &mut told).unwrap();
                    let projected = told.1.get(2, site).unwrap().clone();
                    let own = if site == Site::Q { 3 } else { 3 / (config.heads / config.kv_heads) };
                    let mut patch = Patch::default().replace(point, Some(own), projected);
                    let lead = |logits: &[f32]| logits[12] - logits[33];
                    let came = model.run(&[&OTHER], &stack, 0, &mut patch).unwrap();
                    let by_hand = lead(&came.data[8 * 50..]) - lead(corrupted.logits.at(8));
                    assert!(
                        (effects[0] - by_hand).abs() < 1e-3,
                        "{name} {site:?} L{layer}H{head}: {effects:?}, {by_hand}"
                    );
                }
            }
        }
        let first = Paths::new(&clean, again, Head { layer: 0, head: 0 }, Through::Queries, ASKED);
        assert!(first.err().unwrap().to_string().contains("L1H0"));
    }
}

/// Two taps in one pass.
struct Both(Patch, ActivationCache);

impl Tap for Both {
    fn wants(&self, at: HookPoint) -> bool {
        self.0.wants(at) || self.1.wants(at)
    }
    fn visit(&mut self, at: HookPoint, value: &Array) -> Option<Array> {
        if self.1.wants(at) {
            self.1.visit(at, value);
        }
        self.0.wants(at).then(|| self.0.visit(at, value)).flatten()
    }
}

/// Where the two prompts are close, the first order is nearly all there is.
#[test]
fn the_estimate_of_a_small_change_is_the_exact_patch() {
    for (name, config, weights) in models() {
        let (model, stack) = (CpuModel::new(&config, &weights).unwrap(), plain());
        for site in PatchSite::ALL.iter().copied() {
            let base = |tokens: &[u32]| Base::new(&model, &stack, 0, tokens, &estimate::wanted(site)).unwrap();
            let (clean, corrupted) = (base(&TOKENS), base(&OTHER));
            // A hundredth of the way from the corrupted to the clean prompt, in every activation.
            let near = |old: &[f32], new: &[f32]| old.iter().zip(new).map(|(o, n)| o + 0.01 * (n - o)).collect();
            let mut close = clean.clone();
            for (close, old) in close.residuals.iter_mut().zip(&corrupted.residuals) {
                close.data = near(&old.data, &close.data);
            }
            for (at, close) in close.captures.values.iter_mut() {
                close.data = near(&corrupted.captures.values[at].data, &close.data);
            }
            let again = Again { model: &model, stack: &stack, seed: 0, base: &corrupted };
            let mut patching = Patching::new(&close, again, site, ASKED).unwrap();
            for batch in patching.batches().unwrap() {
                patching.run(&batch).unwrap();
            }
            let exact = patching.grid(|at| at.to_string()).unwrap().sheets.swap_remove(0).values;
            let pair = [&close, &corrupted];
            let estimate = estimate::estimate(&model, pair, site, ASKED).unwrap();
            assert_eq!(estimate.len(), exact.len());
            let size = |values: &[f32]| values.iter().map(|x| x * x).sum::<f32>().sqrt();
            let off: Vec<f32> = estimate.iter().zip(&exact).map(|(a, b)| a - b).collect();
            assert!(size(&exact) > 1e-4, "{name} {site:?}: nothing to estimate");
            assert!(size(&off) < 0.05 * size(&exact), "{name} {site:?}: off by {} of {}", size(&off), size(&exact));
        }
    }
}

/// The sentence the literature knows: which name is given again decides who receives.
#[test]
fn the_second_subject_decides_who_receives() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("www/models/circuits-2m");
    let loaded = load("circuits-2m", &Files::read(&folder).unwrap()).unwrap();
    let config: &Config = &loaded.config;
    let (model, stack) = (CpuModel::new(config, &loaded.weights).unwrap(), plain());
    let encode = |text: &str| loaded.tokenizer.encode(text, true).unwrap();
    let clean = encode("When Mary and John went to the park, John gave the ball to");
    let corrupted = encode("When Mary and John went to the park, Mary gave the ball to");
    let [mary, john] = [" Mary", " John"].map(|name| loaded.tokenizer.encode(name, false).unwrap()[0]);
    let last = clean.len() - 1;
    let asked = Asked { query: last, answer: mary, against: Some(john) };
    let (grid, everything) = patched(&model, &stack, PatchSite::ResidPre, [&clean, &corrupted], asked);
    let sheet = &grid.sheets[PatchMetric::ALL.iter().position(|m| *m == PatchMetric::LogitDifference).unwrap()];
    let total = sheet.total.unwrap();
    assert!(total > 6.0, "the two prompts differ by {total} only");
    assert_eq!(everything[0], total);
    let differs = (0..clean.len()).find(|at| clean[*at] != corrupted[*at]).unwrap();
    // Before the first layer the name that is given again is everything, and nothing stands at the end yet.
    assert!((sheet.values[differs] - total).abs() < 1e-3, "{} of {total}", sheet.values[differs]);
    assert_eq!(sheet.values[last], 0.0);
    // Before the last layer it has moved to the end: what stands there is most of it, and the name hardly matters.
    let late = &sheet.values[(config.layers - 1) * clean.len()..];
    assert!(late[last] > 0.5 * total, "at the end before the last layer: {} of {total}", late[last]);
    assert!(late[last] > late[differs], "{} at the end, {} at the name", late[last], late[differs]);
    // Single heads together with none of the rest do not do it all, but some do a good part.
    let (heads, _) = patched(&model, &stack, PatchSite::Heads, [&clean, &corrupted], asked);
    let most = heads.sheets[0].values.iter().copied().fold(0.0, f32::max);
    assert!(most > 0.1 * total, "the strongest head does {most} of {total}");
    // Slopes put the heads into nearly the same order.
    let base = |tokens: &[u32]| Base::new(&model, &stack, 0, tokens, &estimate::wanted(PatchSite::Heads)).unwrap();
    let (clean, corrupted) = (base(&clean), base(&corrupted));
    let pair = [&clean, &corrupted];
    let estimate = estimate::estimate(&model, pair, PatchSite::Heads, asked).unwrap();
    let agreement = estimate::rank_correlation(&heads.sheets[0].values, &estimate);
    assert!(agreement > 0.9, "ranks of estimated and exact patches correlate by {agreement}");
}
