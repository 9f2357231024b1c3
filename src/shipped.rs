//! The models that come with the page: what they are, how large, and what memory they ask for, known before one is fetched.

use crate::outcome::ModelFacts;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shipped {
    /// Sizes; the id names its folder.
    pub facts: ModelFacts,
    /// What it is good for, one sentence.
    pub summary: String,
}

/// All of them.
///
/// # Errors
/// [`Error::Parse`] when the generated list is not valid, which the `fresh` test excludes.
pub fn all() -> Result<Vec<Shipped>> {
    serde_json::from_str(include_str!("../www/models.json")).map_err(|error| Error::parse("www/models.json", error))
}

impl ModelFacts {
    /// Bytes of memory that a run at full context needs: weights in f32, keys and values, and logits of every position.
    /// What mechanisms and captures add is not counted.
    ///
    /// ```
    /// # use attnscope::outcome::ModelFacts;
    /// let facts = ModelFacts { parameters: 10, layers: 2, kv_heads: 1, head_width: 3, context: 5, vocabulary: 7, ..ModelFacts::default() };
    /// assert_eq!(facts.memory_bytes(), 4 * (10 + 2 * 2 * 3 * 5 + 5 * 7));
    /// ```
    pub fn memory_bytes(&self) -> usize {
        let cache = 2 * self.layers * self.kv_heads * self.head_width * self.context;
        4 * (self.parameters + cache + self.context * self.vocabulary)
    }
}
