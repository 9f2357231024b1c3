//! What a stack is worth: the loss of given texts, and how many needles it finds.

use super::{Engine, Forward, Request, measure};
use crate::Result;
use crate::experiment::Chip;
use crate::hook::Selection;
use crate::mechanism::Stack;
use crate::train::circuits::score::{self, Scores, held_out, judge};
use crate::train::circuits::{Circuits, Task};

/// Seed of inputs nobody learned; what is measured is compared with its like only.
const SEED: u64 = 0;

impl Engine {
    /// Losses of the tokens of each text in nats, and how many first ones are foreseen: their queries see what they predict,
    /// so that they say nothing, and a comparison leaves them out on both sides.
    ///
    /// # Errors
    /// Those of the stack and of the passes.
    pub async fn losses(&mut self, stack: &[Chip], texts: &[Vec<u32>]) -> Result<(Vec<Vec<f32>>, usize)> {
        let stack = self.measured(Stack::new("a", stack)?, SEED).await?;
        let mut losses = Vec::new();
        for tokens in texts {
            let request = Request { tokens, stack: &stack, seed: SEED, wants: Selection::default() };
            let logits = self.forward(request).await?.logits;
            losses.push(measure::token_losses(&measure::log_probabilities(&logits), tokens));
        }
        Ok((losses, stack.reach().saturating_sub(1)))
    }

    /// How many needles are found: passages with a sentence that is asked for at the end, none of which was trained on. The
    /// model must have learned the form, as `circuits-2m` has; its scores under plain attention say whether.
    ///
    /// # Errors
    /// Those of the words, which the tokenizer must have, of the stack and of the passes.
    pub async fn needles(&mut self, stack: &[Chip], items: usize) -> Result<Scores> {
        let circuits = Circuits::new(self.tokenizer())?;
        let stack = self.measured(Stack::new("a", stack)?, SEED).await?;
        let bos: Vec<u32> = self.config.bos.into_iter().collect();
        let longest = self.config.context.saturating_sub(bos.len());
        let mut answers = Vec::new();
        for item in held_out(&circuits, Task::Needle, items, longest) {
            let tokens: Vec<u32> = bos.iter().chain(&item.tokens).copied().collect();
            let request = Request { tokens: &tokens, stack: &stack, seed: SEED, wants: Selection::default() };
            let logits = self.forward(request).await?.logits;
            // What stands at `at` is predicted by the token before it.
            answers.extend(item.questions.iter().map(|asked| judge(asked, logits.at(bos.len() + asked.at - 1))));
        }
        score::of(Task::Needle, items, &answers)
    }
}
