//! Causal evidence beside a role: what the loss rises by without each head alone, on the prompt and on random tokens that stand
//! twice.
//!
//! A score says where a head looks. What the model would lose without it is another question: heads back each other up, and
//! a head may look where its role says and write nothing. The prompt tells what the head is worth to this text; the second
//! half of a repeated sequence, which only copying can foresee, what it is worth to copying.

use super::Engine;
use super::analyse::Question;
use crate::lens::base::Base;
use crate::lens::causal::{Removals, every_head};
use crate::lens::finding::{Asked, Fact, Found, Grid};
use crate::lens::roles::probes;
use crate::lens::study::{mean, sheet};
use crate::{Error, Result};
use std::sync::Arc;

/// Repeated sequences, and tokens of one half: those that roles are scored on are as long.
const PROBES: usize = 2;
const HALF: usize = 24;

/// Mean of −log P over the tokens from `first` on, which is at least the second; NaN where there are none.
fn loss(log_probabilities: &crate::hook::Array, tokens: &[u32], first: usize) -> f32 {
    let one = |at: usize| -log_probabilities.at(at - 1).get(tokens[at] as usize).copied().unwrap_or(f32::NAN);
    mean((first.max(1)..tokens.len()).map(one))
}

impl Engine {
    /// Every head taken out of the prompt and of the repeated sequences; `step` as in [`Engine::analyse`].
    pub(super) async fn evidence(
        &mut self,
        question: &Question<'_>,
        step: &mut impl AsyncFnMut(usize, usize) -> bool,
    ) -> Result<(Asked, Found)> {
        let base = self.base(question, &question.tokens, &[])?;
        let asked = self.asked(question, &base)?;
        let bos = self.tokenizer().bos();
        let half = HALF.min(self.config.context.saturating_sub(usize::from(bos.is_some())) / 2);
        // The prompt is judged from its second token on, a probe from the second token of its second half: the first one
        // nothing could foresee.
        let mut read: Vec<(usize, Arc<Base>, usize)> = vec![(0, base, 1)];
        for probe in probes(question.seed, &self.vocabulary(), PROBES, half, bos) {
            let base = Base::new(&self.runner.cpu, &question.stack, question.seed, &probe.repeated, &[])?;
            read.push((1, Arc::new(base), probe.lead + probe.half + 1));
        }
        let sets: Vec<Vec<_>> = every_head(&self.runner.cpu).into_iter().map(|head| vec![head]).collect();
        let removals = |base| Removals::new(self.again(question, base), &sets, question.set.how);
        let all: Vec<Removals<'_>> = read.iter().map(|(_, base, _)| removals(base)).collect::<Result<_>>()?;
        let batches: Vec<_> = all
            .iter()
            .enumerate()
            .flat_map(|(at, removals)| removals.batches().into_iter().map(move |b| (at, b)))
            .collect();
        let mut risen = [(); 2].map(|()| vec![Vec::new(); sets.len()]);
        for (done, (at, batch)) in batches.iter().enumerate() {
            if step(done, batches.len()).await {
                return Err(Error::Superseded);
            }
            let (kind, base, first) = &read[*at];
            let whole = loss(&base.log_probabilities, &base.tokens, *first);
            all[*at].run(batch, |set, logits| {
                let here = loss(&super::log_probabilities(logits), &base.tokens, *first);
                risen[*kind][set].push(here - whole);
            })?;
        }
        let [prompt, repeats] = risen.map(|all| all.into_iter().map(mean).collect::<Vec<f32>>());
        let wholes = |kind: usize| {
            let own = read.iter().filter(|(of, ..)| *of == kind);
            mean(own.map(|(_, base, first)| loss(&base.log_probabilities, &base.tokens, *first)))
        };
        let facts = [
            Fact::new("prompt", "Loss of the prompt with every head", wholes(0), "nats"),
            Fact::new("repeats", "Loss of what stands again, with every head", wholes(1), "nats"),
        ];
        let [down, across] = self.by_head();
        let sheets = vec![
            sheet("prompt", "Δ loss of the prompt", "nats", prompt),
            sheet("repeats", "Δ loss of random tokens that stand again", "nats", repeats),
        ];
        let facts = facts.into_iter().filter(|fact| fact.value.is_finite()).collect();
        Ok((asked, Found::Grid(Grid { down, across, sheets, facts, notes: Vec::new() })))
    }
}
