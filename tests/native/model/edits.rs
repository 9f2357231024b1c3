//! Hooks: every point is offered, and an edit changes what follows and nothing before.

use super::{corner_stacks, lively, small_configs, some_tokens, stack};
use crate::fixtures::deviation;
use attnscope::hook::{Ablation, ActivationCache, Array, HookPoint, Patch, Selection, Site, Tap};
use attnscope::mechanism::{ALL, Stack};
use attnscope::model::CpuModel;
use attnscope::model::config::{Config, Positions};
use std::collections::BTreeSet;

/// Records every activation in order and may edit one point on the way.
#[derive(Default)]
struct Recorder {
    seen: Vec<(HookPoint, Array)>,
    edit: Option<(HookPoint, Patch)>,
}

impl Tap for Recorder {
    fn wants(&self, _at: HookPoint) -> bool {
        true
    }
    fn visit(&mut self, at: HookPoint, value: &Array) -> Option<Array> {
        self.seen.push((at, value.clone()));
        let (point, patch) = self.edit.as_mut()?;
        (*point == at).then(|| patch.visit(at, value)).flatten()
    }
}

fn record(config: &Config, stack: &Stack, edit: Option<(HookPoint, Patch)>) -> (Vec<(HookPoint, Array)>, Array) {
    let model = CpuModel::new(config, &lively(config, 9)).unwrap();
    let mut recorder = Recorder { edit, ..Recorder::default() };
    let logits = model.run(&[&some_tokens(config.vocabulary, 7)], stack, 1, &mut recorder).unwrap();
    (recorder.seen, logits)
}

/// A stack whose normalizer has a slot beside the keys that adds something to z.
fn slotted() -> Stack {
    let (_, config) = small_configs().swap_remove(2);
    let acts = |stack: &Stack| {
        let at = HookPoint::new(0, Site::Slot);
        let patch = Patch::default().ablate(at, None, Ablation::Scale(0.0));
        record(&config, stack, Some((at, patch))).1 != record(&config, stack, None).1
    };
    ALL.iter().flat_map(|mechanism| corner_stacks(mechanism)).find(acts).expect("no mechanism has a slot with a value")
}

#[test]
fn every_site_is_offered_in_its_shape() {
    let slotted = slotted();
    for (name, config) in small_configs() {
        for (slot, stack) in [(false, &stack(&[])), (true, &slotted)] {
            let (seen, _) = record(&config, stack, None);
            let mut expected = BTreeSet::new();
            for site in Site::ALL.iter().copied() {
                let rotary = config.positions != Positions::Learned;
                let there = match site {
                    Site::PosEmbed => !rotary,
                    Site::RotQ | Site::RotK => rotary,
                    Site::Slot => slot,
                    Site::ResidMid => !config.parallel,
                    _ => true,
                };
                let layers = if site.per_layer() { config.layers } else { 1 };
                expected.extend((0..layers).filter(|_| there).map(|layer| HookPoint::new(layer, site)));
            }
            let points: Vec<_> = seen.iter().map(|(at, _)| *at).collect();
            assert_eq!(points.iter().copied().collect::<BTreeSet<_>>(), expected, "{name}");
            assert_eq!(points.len(), expected.len(), "{name}: a point was offered twice");
            for (at, value) in &seen {
                let size = |letter| match letter {
                    'B' => 1,
                    'H' => config.heads,
                    'G' => config.kv_heads,
                    'Q' | 'K' => 7,
                    'D' => config.head_width,
                    'M' => config.width,
                    'F' => config.ffn,
                    'V' => config.vocabulary,
                    other => panic!("{other} is no axis"),
                };
                assert_eq!(value.shape, at.site.axes().chars().map(size).collect::<Vec<_>>(), "{name}: {at}");
            }
        }
    }
}

#[test]
fn an_edit_changes_what_follows_and_nothing_before() {
    let slotted = slotted();
    for (name, config) in small_configs() {
        for stack in [&stack(&[]), &slotted] {
            let (clean, clean_logits) = record(&config, stack, None);
            for (index, (at, _)) in clean.iter().enumerate() {
                let patch = Patch::default().ablate(*at, None, Ablation::Scale(0.3));
                let (edited, logits) = record(&config, stack, Some((*at, patch)));
                // The point itself is offered before it is edited.
                assert!(clean[..=index] == edited[..=index], "{name}: editing {at} changed what came before");
                assert_ne!(logits.data, clean_logits.data, "{name}: editing {at} changed nothing");
                assert!(logits.data.iter().all(|logit| logit.is_finite()), "{name}: {at}");
            }
        }
    }
}

/// Putting back what was there changes nothing; for hook_result the sum over heads is another order of summation.
#[test]
fn replacing_by_the_same_changes_nothing() {
    for (name, config) in small_configs() {
        let stack = stack(&[]);
        let (clean, logits) = record(&config, &stack, None);
        for (at, value) in &clean {
            let patch = Patch::default().replace(*at, None, value.clone());
            let (_, same) = record(&config, &stack, Some((*at, patch)));
            let allowed = if at.site == Site::Result { 1e-4 } else { 0.0 };
            let off = deviation(&same.data, &logits.data);
            assert!(off <= allowed, "{name}: {at} deviates by {off}");
        }
    }
}

/// A head taken out through hook_z, hook_result or its pattern is the same head taken out.
#[test]
fn three_ways_to_ablate_a_head_agree() {
    for (name, config) in small_configs() {
        let stack = stack(&[]);
        let head = config.heads - 1;
        let [z, result, pattern] = [Site::Z, Site::Result, Site::Pattern].map(|site| {
            let at = HookPoint::new(0, site);
            let patch = Patch::default().ablate(at, Some(head), Ablation::Scale(0.0));
            record(&config, &stack, Some((at, patch))).1
        });
        let clean = record(&config, &stack, None).1;
        assert!(deviation(&z.data, &clean.data) > 1e-2, "{name}: the ablation does nothing");
        assert!(deviation(&z.data, &result.data) < 1e-4, "{name}: hook_result");
        assert!(deviation(&z.data, &pattern.data) < 1e-4, "{name}: hook_pattern");
    }
}

#[test]
fn a_batch_is_its_rows() {
    let (_, config) = small_configs().swap_remove(2);
    let model = CpuModel::new(&config, &lively(&config, 4)).unwrap();
    let stack = stack(&[]);
    let rows = [some_tokens(29, 6), vec![3, 1, 4, 1, 5, 9]];
    let wants = || ActivationCache::new(Selection::sites(&[Site::Pattern]));
    let mut both = wants();
    let logits = model.run(&[&rows[0], &rows[1]], &stack, 0, &mut both).unwrap();
    for (index, row) in rows.iter().enumerate() {
        let mut one = wants();
        let alone = model.run(&[row], &stack, 0, &mut one).unwrap();
        assert!(deviation(logits.at(index), &alone.data) < 1e-4);
        let patterns = (both.get(1, Site::Pattern).unwrap(), one.get(1, Site::Pattern).unwrap());
        assert!(deviation(patterns.0.at(index), &patterns.1.data) < 1e-5);
    }
    assert!(model.run(&[&rows[0], &rows[1][..3]], &stack, 0, &mut wants()).is_err());
}

/// Hands back something of the wrong size.
struct Misfit;
impl Tap for Misfit {
    fn wants(&self, at: HookPoint) -> bool {
        at.site == Site::Z
    }
    fn visit(&mut self, _at: HookPoint, _value: &Array) -> Option<Array> {
        Some(Array { shape: vec![3], data: vec![0.0; 3] })
    }
}

#[test]
fn a_replacement_that_does_not_fit_is_named() {
    let (_, config) = small_configs().swap_remove(0);
    let model = CpuModel::new(&config, &lively(&config, 4)).unwrap();
    let error = model.run(&[&[1, 2]], &stack(&[]), 0, &mut Misfit).unwrap_err().to_string();
    assert_eq!(error, "blocks.0.attn.hook_z: replacement should be [1, 3, 2, 8] but is [3] with 3 values");
}
