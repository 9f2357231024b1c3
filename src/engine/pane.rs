//! One pane: a forward pass, and what is made of it.

use super::plan::{Key, Plan};
use super::price::price;
use super::runner::{LookedAt, Runner};
use super::share;
use super::values::OutputGrams;
use super::visible::Kept;
use super::{Forward, Request, measure};
use crate::alignment::Alignment;
use crate::hook::{ActivationCache, Array, Selection, Site};
use crate::mechanism::Stack;
use crate::model::Config;
use crate::outcome::{HeadMaps, PaneOutcome, STORED_TOKENS, arrays};
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};
use std::collections::BTreeMap;
use web_time::Instant;

/// A pane that ran, kept until its key changes.
pub(super) struct Ran {
    pub key: Key,
    /// `[Q,V]`; every difference to another pane is made of these.
    log_probabilities: Array,
    /// The pane's own part of the answer, without continuations and differences.
    own: PaneOutcome,
    /// Query rows, over all layers and heads, that keep no key.
    pub empty_rows: usize,
    /// First queries that have seen what they would predict, so that their losses mean nothing.
    pub foreseen: usize,
    looked_at: LookedAt,
}

/// What a pane needs beside its stack.
pub(super) struct Setting<'a> {
    pub config: &'a Config,
    pub grams: &'a OutputGrams,
    pub plan: &'a Plan,
    /// Which pane, by index.
    pub pane: usize,
    /// Whether the first pass of a stack compiles kernels, so that only a second one is worth timing.
    pub time_twice: bool,
}

impl Setting<'_> {
    fn tokens(&self) -> &[u32] {
        self.plan.tokens_of(self.pane)
    }
}

impl Ran {
    /// Runs `stack` on the plan's tokens.
    ///
    /// # Errors
    /// Those of the pass; [`Error::Stack`] naming `pane` when its numbers are not finite.
    pub async fn new(runner: &mut Runner, at: &Setting<'_>, pane: &str, stack: &Stack) -> Result<Self> {
        let tokens = at.tokens();
        let stored = tokens.len() <= STORED_TOKENS;
        let sites: &[Site] = if stored { &[Site::Pattern, Site::Slot, Site::V] } else { &[Site::Slot, Site::V] };
        let request = || Request { tokens, stack, seed: at.plan.seed, wants: Selection::sites(sites) };
        let mut start = Instant::now();
        let mut pass = runner.forward(request()).await?;
        if at.time_twice {
            start = Instant::now();
            pass = runner.forward(request()).await?;
        }
        let millis = start.elapsed().as_secs_f32() * 1e3;
        if pass.logits.data.iter().any(|logit| !logit.is_finite()) {
            let at = runner.first_not_finite(request()).await?;
            let at = at.map_or("logits".to_string(), |at| at.to_string());
            let problem = format!("{at} is the first that is not finite; move a control back");
            return Err(Error::Stack { pane: pane.into(), problem });
        }

        let log_probabilities = measure::log_probabilities(&pass.logits);
        let token_loss = measure::token_losses(&log_probabilities, tokens);
        let foreseen = stack.reach().saturating_sub(1).min(token_loss.len());
        let mut price = price(at.config, stack, at.plan.seed, tokens.len());
        price.millis = millis;
        let (arrays, empty_rows) = collect(at, stack, &pass.captures)?;
        price.score_share = share::without_pass(at.config, stack, at.plan.seed, tokens.len());
        if let (None, Some(pattern)) = (price.score_share, arrays.get(arrays::PATTERN)) {
            let kept = pattern.data.iter().filter(|weight| !weight.is_nan() && **weight != 0.0).count();
            price.score_share = Some(share::of_causal(at.config, kept, tokens.len()));
        }
        let own = PaneOutcome {
            logits: pass.logits.at(tokens.len() - 1).to_vec(),
            loss: measure::mean(token_loss.get(foreseen..).unwrap_or(&[])),
            token_loss,
            price,
            arrays,
            ..PaneOutcome::default()
        };
        Ok(Self { key: at.plan.key(at.pane, stack), log_probabilities, own, empty_rows, foreseen, looked_at: None })
    }

    /// The answer, with continuations, and the difference to pane A where this is not A; `aligned` where this pane read
    /// another text.
    pub fn outcome(&self, a: &Ran, is_a: bool, aligned: Option<&Alignment>, tokenizer: &Tokenizer) -> PaneOutcome {
        let last = self.own.token_loss.len();
        let text = |id| tokenizer.token_text(id);
        let next = measure::continuations(self.log_probabilities.at(last), a.log_probabilities.at(last), text);
        // Over the same queries, those that neither pane has foreseen.
        let from = a.foreseen.max(self.foreseen);
        let loss = |ran: &Ran| measure::mean(ran.own.token_loss.get(from..).unwrap_or(&[]));
        let versus = || match aligned {
            Some(aligned) => {
                let losses = (&a.own.token_loss[..], &self.own.token_loss[..]);
                measure::versus_aligned(&a.log_probabilities, &self.log_probabilities, losses, from, aligned)
            }
            None => measure::versus(&a.log_probabilities, &self.log_probabilities, loss(a), loss(self)),
        };
        PaneOutcome { next, versus_a: (!is_a).then(versus), ..self.own.clone() }
    }

    /// One head in full.
    ///
    /// # Errors
    /// Those of the pass.
    pub async fn head(
        &mut self,
        runner: &mut Runner,
        at: &Setting<'_>,
        stack: &Stack,
        layer: usize,
        head: usize,
    ) -> Result<HeadMaps> {
        let tokens = at.tokens();
        let request = Request { tokens, stack, seed: at.plan.seed, wants: Selection::default() };
        let [mut scores, mut pattern, slot] = runner.head(request, layer, head, &mut self.looked_at).await?;
        let kept = Kept::new(at.config, stack, at.plan.seed, layer, 0, tokens.len(), tokens.len());
        kept.mark_maps(head, &mut scores.data, &mut pattern.data);
        let (layers, heads) = (at.config.layers, at.config.heads);
        let norms = self.own.arrays.get(arrays::VALUE_NORMS);
        let norms = norms.map(|norms| stripe(norms, layers * heads, layer * heads + head).to_vec());
        Ok(HeadMaps { scores, pattern, slot, value_norms: Array::new([tokens.len()], norms.unwrap_or_default())? })
    }
}

/// The part of one index, where leading axes of total size `count` are taken as one.
fn stripe(array: &Array, count: usize, index: usize) -> &[f32] {
    let size = array.data.len() / count.max(1);
    array.data.get(index * size..(index + 1) * size).unwrap_or(&[])
}

/// The arrays of an outcome from a pass's captures, and the query rows, over all layers and heads, that keep no key.
fn collect(at: &Setting<'_>, stack: &Stack, captures: &ActivationCache) -> Result<(BTreeMap<String, Array>, usize)> {
    let (config, tokens) = (at.config, at.tokens().len());
    let group = (config.heads / config.kv_heads.max(1)).max(1);
    let (mut patterns, mut slots, mut norms) = (Vec::new(), Vec::new(), Vec::new());
    let mut empty_rows = 0;
    for layer in 0..config.layers {
        let kept = Kept::new(config, stack, at.plan.seed, layer, 0, tokens, tokens);
        empty_rows += kept.empty_rows();
        let values = captures.get(layer, Site::V)?;
        for head in 0..config.heads {
            at.grams.norms(config, layer, head, stripe(values, config.kv_heads, head / group), &mut norms);
        }
        if let Ok(pattern) = captures.get(layer, Site::Pattern) {
            let start = patterns.len();
            patterns.extend_from_slice(&pattern.data);
            for (head, cells) in patterns[start..].chunks_mut((tokens * tokens).max(1)).enumerate() {
                kept.mark(head, cells);
            }
        }
        if let Ok(slot) = captures.get(layer, Site::Slot) {
            slots.extend_from_slice(&slot.data);
        }
    }
    let (layers, heads) = (config.layers, config.heads);
    let mut named = BTreeMap::new();
    named.insert(arrays::VALUE_NORMS.into(), Array::new([layers, heads, tokens], norms)?);
    if !patterns.is_empty() {
        named.insert(arrays::PATTERN.into(), Array::new([layers, heads, tokens, tokens], patterns)?);
    }
    if !slots.is_empty() {
        named.insert(arrays::SLOT.into(), Array::new([layers, heads, tokens], slots)?);
    }
    Ok((named, empty_rows))
}
