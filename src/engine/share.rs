//! The share of the causal query–key pairs whose score is computed, over all layers and heads.
//!
//! Masks depend on positions alone and are asked ([`Kept`]). A selector looks at queries and keys, so a pass on the
//! processor is watched: what it dropped holds [`MASKED`]. A mixer that keeps keys scores the pairs to which it gives weight,
//! those that it only estimates among them. A layer that takes its pattern over computes no score, and a state stands for
//! all pairs, whatever its algorithm makes of them within a block.

use super::price::{Layer, state};
use super::visible::Kept;
use crate::Result;
use crate::hook::{Array, HookPoint, Site, Tap};
use crate::mechanism::{MASKED, Stack};
use crate::model::{Config, CpuModel};

/// The share for one text; `seed` fills inputs nobody learned.
///
/// # Errors
/// Those of the pass, where one is needed.
pub(super) fn share(model: &CpuModel, stack: &Stack, seed: u64, tokens: &[u32]) -> Result<f32> {
    let config = model.config();
    let (site, dropped) = match (&stack.selector, &stack.mixer) {
        (Some(_), _) => (Site::Scores, MASKED),
        (_, Some(_)) if state(stack, config.head_width).is_none() => (Site::Pattern, 0.0),
        _ => return Ok(of_causal(config, of_masks(config, stack, seed, tokens.len()), tokens.len())),
    };
    let mut kept = Counted { site, dropped, count: 0 };
    model.run(&[tokens], stack, seed, &mut kept)?;
    Ok(of_causal(config, kept.count, tokens.len()))
}

/// The share without a pass; `None` where queries and keys decide.
pub(super) fn without_pass(config: &Config, stack: &Stack, seed: u64, tokens: usize) -> Option<f32> {
    let by_places = stack.selector.is_none() && (stack.mixer.is_none() || state(stack, config.head_width).is_some());
    by_places.then(|| of_causal(config, of_masks(config, stack, seed, tokens), tokens))
}

fn of_masks(config: &Config, stack: &Stack, seed: u64, tokens: usize) -> usize {
    if state(stack, config.head_width).is_some() {
        return 0;
    }
    let kept = |layer| Kept::new(config, stack, seed, layer, 0, tokens, tokens).pairs(config.heads);
    let scored = |layer: &usize| Layer::new(config, stack, seed, *layer, tokens).needs_keys;
    (0..config.layers).filter(scored).map(kept).sum()
}

/// `kept` pairs as a share of the causal ones.
pub(super) fn of_causal(config: &Config, kept: usize, tokens: usize) -> f32 {
    let causal = config.layers * config.heads * tokens * (tokens + 1) / 2;
    kept as f32 / causal.max(1) as f32
}

/// Counts pairs that are not dropped, one layer at a time, so that nothing of a long text is stored.
struct Counted {
    site: Site,
    /// What a dropped pair holds there.
    dropped: f32,
    count: usize,
}

impl Tap for Counted {
    fn wants(&self, at: HookPoint) -> bool {
        at.site == self.site
    }

    fn visit(&mut self, _: HookPoint, pairs: &Array) -> Option<Array> {
        self.count += pairs.data.iter().filter(|pair| **pair != self.dropped).count();
        None
    }
}
