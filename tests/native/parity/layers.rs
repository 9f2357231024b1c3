//! Mechanisms that reach beyond one step, in whole models: patterns taken over between layers, sums over all rows, and
//! vectors made of projections before they turn, in every family.

use super::{MODEL, device, small_models, tokens, weights};
use attnscope::engine::{Forward, Request};
use attnscope::experiment::Chip;
use attnscope::gpu::GpuModel;
use attnscope::hook::{HookPoint, Selection, Site};
use attnscope::mechanism::Stack;
use attnscope::model::CpuModel;
use pollster::block_on;

fn stacks() -> Vec<Stack> {
    let everywhere = |id: &str| Chip::new(id).with("protect_first", 0.0).with("protect_last", 0.0);
    let chips = [
        everywhere("echo_att"),
        everywhere("echo_att").with("block", 3.0).with("heads", "most_alike"),
        Chip::new("echo_att").with("mode", "pair").with("leader", 0.0).with("follower", 2.0),
        Chip::new("attention_calibration").with("alpha", 1.0).with("beta", 0.2),
        Chip::new("attention_calibration").with("alpha", 2.0).with("mode", "prefix").with("heads", "calibrated"),
        Chip::new("trans_mla"),
        Chip::new("trans_mla").with("noise", 0.5),
    ];
    chips.into_iter().map(|chip| Stack::new("a", &[chip]).expect("legal")).collect()
}

/// What every later layer is made of: logits, and each layer's pattern and z.
#[test]
fn models_agree_under_mechanisms_that_reach_beyond_a_step() {
    let device = device();
    for (name, config) in small_models() {
        let weights = weights(&config);
        let mut gpu = block_on(GpuModel::new(device.clone(), &config, &weights)).expect("it fits");
        let mut cpu = CpuModel::new(&config, &weights).expect("it is whole");
        let tokens = tokens(&config, 21);
        for stack in stacks() {
            let wants = || Selection::sites(&[Site::Pattern, Site::Z]);
            let request = || Request { tokens: &tokens, stack: &stack, seed: 5, wants: wants() };
            let came = block_on(gpu.forward(request())).expect("the GPU runs");
            let reference = block_on(cpu.forward(request())).expect("the processor runs");
            let placed = stack.iter().find(|placed| placed.mechanism.id != "softmax").expect("one chip");
            let what = format!("{name}, {} {:?}", placed.mechanism.id, placed.values);
            let excess = MODEL.excess(&came.logits.data, &reference.logits.data);
            assert!(excess <= 1.0, "{what}: logits deviate by {excess} times the tolerance");
            for layer in 0..config.layers {
                for site in [Site::Pattern, Site::Z] {
                    let at = HookPoint::new(layer, site);
                    let [came, reference] = [&came, &reference].map(|pass| &pass.captures.values[&at].data);
                    let excess = MODEL.excess(came, reference);
                    assert!(excess <= 1.0, "{what}: {at} deviates by {excess} times the tolerance");
                }
            }
        }
    }
}
