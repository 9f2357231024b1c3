//! Studies of circuits: what each is given of the model and of a question.

use super::Engine;
use super::analyse::Question;
use crate::Result;
use crate::lens::circuits::anchors::Anchors;
use crate::lens::circuits::letters::Letters;
use crate::lens::circuits::listing::Listing;
use crate::lens::circuits::recall::Recall;
use crate::lens::circuits::retrieving::Retrieving;
use crate::lens::circuits::safety::Safety;
use crate::lens::circuits::{Circuit, Given};
use crate::papers::STORY;
use crate::train::circuits::Circuits;

/// Ids of the studies of circuits.
pub(super) const CIRCUITS: [&str; 6] = ["channels", "retrieval", "letters", "safety", "recall", "anchors"];

impl Engine {
    /// The study `id` of [`CIRCUITS`] from its beginning.
    ///
    /// # Errors
    /// [`crate::Error::Tokenizer`] for a model whose tokenizer lacks a word of the tasks; those of the study.
    pub(super) fn circuit(&self, id: &str, question: &Question<'_>) -> Result<Box<dyn Circuit + Send>> {
        let weights = self.runner.cpu.weights();
        let given = Given {
            config: self.config.clone(),
            readout: crate::lens::readout::Readout::new(&self.config, &weights)?,
            weights,
            stack: question.stack.clone(),
            seed: question.seed,
            circuits: Circuits::new(self.tokenizer())?,
            pin: question.pin,
            through: question.set.through,
        };
        Ok(match id {
            "channels" => Box::new(Listing::new(given)?),
            "retrieval" => Box::new(Retrieving::new(given)),
            "letters" => Box::new(Letters::new(given)),
            "safety" => Box::new(Safety::new(given)),
            "recall" => Box::new(Recall::new(given, self.tokenizer().encode(STORY, true)?)),
            _ => Box::new(Anchors::new(given)),
        })
    }
}
