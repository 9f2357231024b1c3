//! Head roles from controlled probes.

use serde::{Deserialize, Serialize};

/// Scores of every head on the probes, with the same scores on shuffled probes beside them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RoleReport {
    /// One per role.
    pub roles: Vec<RoleScores>,
    /// Number of probe prompts behind each mean.
    pub probes: usize,
    /// Seed of the probes.
    pub seed: u64,
}

/// One role over all heads.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RoleScores {
    /// `previous_token`, `first_token`, `self`, `duplicate` or `induction`.
    pub role: String,
    /// What the score is, in one sentence.
    pub help: String,
    /// Mean score of each head on its probes, [L·H] layer by layer.
    pub score: Vec<f32>,
    /// The same on shuffled probes.
    pub shuffled: Vec<f32>,
    /// A head has the role when its score passes this.
    pub threshold: f32,
    /// Share of heads that pass it on shuffled probes.
    pub false_positive_rate: f32,
}
