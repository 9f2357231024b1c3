//! Studies of circuits: what each is given of the model and of a question.

use super::Engine;
use super::analyse::Question;
use crate::Result;
use crate::experiment::Chip;
use crate::lens::circuits::anchors::Anchors;
use crate::lens::circuits::calibrating::{Calibrating, Stacks};
use crate::lens::circuits::letters::Letters;
use crate::lens::circuits::listing::Listing;
use crate::lens::circuits::recall::Recall;
use crate::lens::circuits::retrieving::Retrieving;
use crate::lens::circuits::safety::Safety;
use crate::lens::circuits::{Circuit, Given};
use crate::mechanism::Stack;
use crate::papers::STORY;
use crate::train::circuits::Circuits;

/// Ids of the studies of circuits.
pub(super) const CIRCUITS: [&str; 7] =
    ["channels", "retrieval", "letters", "safety", "recall", "anchors", "calibration"];

impl Engine {
    /// The study `id` of [`CIRCUITS`] from its beginning.
    ///
    /// # Errors
    /// [`crate::Error::Tokenizer`] for a model whose tokenizer lacks a word of the tasks; those of the study.
    pub(super) async fn circuit(&mut self, id: &str, question: &Question<'_>) -> Result<Box<dyn Circuit + Send>> {
        // Before what a tokenizer that lacks the words would refuse in any case.
        let circuits = Circuits::new(self.tokenizer())?;
        let stacks = if id == "calibration" { Some(self.calibrations(question.seed).await?) } else { None };
        let weights = self.runner.cpu.weights();
        let given = Given {
            config: self.config.clone(),
            readout: crate::lens::readout::Readout::new(&self.config, &weights)?,
            weights,
            stack: question.stack.clone(),
            seed: question.seed,
            circuits,
            text: (0..self.config.vocabulary as u32).map(|id| self.tokenizer().token_text(id)).collect(),
            pin: question.pin,
            set: question.set.clone(),
        };
        if let Some(stacks) = stacks {
            return Ok(Box::new(Calibrating::new(given, stacks)));
        }
        Ok(match id {
            "channels" => Box::new(Listing::new(given)?),
            "retrieval" => Box::new(Retrieving::new(given)),
            "letters" => Box::new(Letters::new(given)),
            "safety" => Box::new(Safety::new(given)),
            "recall" => Box::new(Recall::new(given, self.tokenizer().encode(STORY, true)?)),
            _ => Box::new(Anchors::new(given)),
        })
    }

    /// Attention calibration in one head alone, in all, and of the keys beside the sinks.
    async fn calibrations(&mut self, seed: u64) -> Result<Stacks> {
        let chip = || Chip::new("attention_calibration");
        let (layers, heads) = (self.config.layers, self.config.heads);
        let mut alone = Vec::new();
        for at in 0..layers * heads {
            let one = chip().with("heads", "one").with("layer", (at / heads) as f64).with("head", (at % heads) as f64);
            alone.push(self.measured(Stack::new("a", &[one])?, seed).await?);
        }
        let all = self.measured(Stack::new("a", &[chip()])?, seed).await?;
        let beside = self.measured(Stack::new("a", &[chip().with("columns", "after_sinks")])?, seed).await?;
        Ok(Stacks { plain: Stack::new("a", &[])?, alone, all, beside })
    }
}
