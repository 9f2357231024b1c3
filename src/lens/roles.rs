//! Head roles from controlled probes.
//!
//! A label read off one prompt mostly describes the prompt. So each head is shown random tokens, a sequence and its
//! repetition, where position and content can be told apart, and scored by the weight it puts where its role would:
//!
//! ```text
//! previous_token   A[t, t-1]      over queries of both halves
//! first_token      A[t, 0]
//! self             A[t, t]
//! duplicate        A[t, t-n]      over queries of the second half: the same token, earlier
//! induction        A[t, t-n+1]    over queries of the second half: the token after the same token, earlier
//! ```
//!
//! Beside each score stands the same score on shuffled probes. For the two roles of content, the second half is shuffled
//! so that no token stands where the repetition would have it, and the same cells are read: a head that only keeps its
//! distance scores there too. For the three roles of position, the key is drawn at random among the other keys the query
//! may see. A head has a role when its score passes the threshold; the share of heads that pass it on shuffled probes is
//! the false-positive rate. A head may have several roles or none.

use super::Patterns;
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
    /// `previous_token`, `first_token`, `self`, `duplicate`, `induction`, or the id of a [`Role`] scored elsewhere.
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

impl RoleReport {
    /// The roles of one head by its index in [L·H]; empty when it has no clear role.
    pub fn labels(&self, head: usize) -> Vec<&str> {
        let has = |role: &&RoleScores| role.score.get(head).is_some_and(|score| *score > role.threshold);
        self.roles.iter().filter(has).map(|role| role.role.as_str()).collect()
    }
}

/// Random tokens, then the same again; and a control whose second half is shuffled.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// Tokens before the first half: 1 with BOS, else 0.
    pub lead: usize,
    /// Tokens of one half.
    pub half: usize,
    /// Lead, first half, first half again.
    pub repeated: Vec<u32>,
    /// Lead, first half, first half in another order, no token in its place.
    pub shuffled: Vec<u32>,
    /// For each query, a key drawn at random among those it may see; read by the control of the positional roles.
    pub random_keys: Vec<usize>,
}

/// `count` probes of random ids out of `vocabulary`, `half` tokens per half (fewer when the vocabulary is smaller).
#[cfg(feature = "model")]
pub fn probes(seed: u64, vocabulary: &[u32], count: usize, half: usize, bos: Option<u32>) -> Vec<Probe> {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut below = |bound: usize| (rng.next_u64() % bound.max(1) as u64) as usize;
    let half = half.min(vocabulary.len());
    let lead: Vec<u32> = bos.into_iter().collect();
    let one = |_| {
        let mut pool = vocabulary.to_vec();
        // A partial Fisher–Yates shuffle: `half` different tokens, so that nothing repeats by chance.
        for index in 0..half {
            let other = index + below(pool.len() - index);
            pool.swap(index, other);
        }
        let first = &pool[..half];
        // Sattolo's shuffle makes one cycle, so that no token keeps its place.
        let mut second = first.to_vec();
        for index in (1..half).rev() {
            second.swap(index, below(index));
        }
        let repeated: Vec<u32> = lead.iter().chain(first).chain(first).copied().collect();
        let random_keys = (0..repeated.len()).map(|query| below(query + 1)).collect();
        let shuffled = lead.iter().chain(first).chain(&second).copied().collect();
        Probe { lead: lead.len(), half, repeated, shuffled, random_keys }
    };
    (0..count).map(one).collect()
}

/// What a role's score reads.
struct Definition {
    role: &'static str,
    help: &'static str,
    threshold: f32,
    /// Whether the control shuffles tokens rather than keys.
    content: bool,
    /// The key of a query, where the role says one.
    key: fn(&Probe, usize) -> Option<usize>,
}

/// The key `back` tokens before a query of the second half.
fn repeated_key(probe: &Probe, query: usize, back: usize) -> Option<usize> {
    (query >= probe.lead + probe.half).then(|| query - back)
}

/// Thresholds are several times what an even row gives at these lengths (about 0.05), and low enough for models of a few
/// million weights, whose induction is weak.
const ROLES: &[Definition] = &[
    Definition {
        role: "previous_token",
        help: "Mean weight on the token just before the query.",
        threshold: 0.3,
        content: false,
        key: |_, query| query.checked_sub(1),
    },
    Definition {
        role: "first_token",
        help: "Mean weight on the first token of the sequence.",
        threshold: 0.3,
        content: false,
        key: |_, query| (query > 0).then_some(0),
    },
    Definition {
        role: "self",
        help: "Mean weight on the query's own token.",
        threshold: 0.3,
        content: false,
        key: |_, query| (query > 0).then_some(query),
    },
    Definition {
        role: "duplicate",
        help: "Mean weight on the earlier occurrence of the query's token.",
        threshold: 0.2,
        content: true,
        key: |probe, query| repeated_key(probe, query, probe.half),
    },
    Definition {
        role: "induction",
        help: "Mean weight on the token after the earlier occurrence of the query's token.",
        threshold: 0.2,
        content: true,
        key: |probe, query| repeated_key(probe, query, probe.half - 1),
    },
];

/// A role that is scored outside this module, such as [`super::regions::LOCAL`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Role {
    /// Its id.
    pub role: &'static str,
    /// What its score is, in one sentence.
    pub help: &'static str,
    /// A head has the role when its score passes this.
    pub threshold: f32,
}

/// Sums scores over probes, one probe at a time, so that no two patterns are held at once.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    seed: u64,
    probes: usize,
    /// Per role, per head: sum of means on probes and on shuffled probes.
    sums: Vec<Vec<(f32, f32)>>,
    /// Roles scored elsewhere.
    noted: Vec<Noted>,
}

/// What was counted of a role scored elsewhere.
#[derive(Debug, Clone)]
struct Noted {
    role: Role,
    /// Probes.
    count: usize,
    /// Per head: sum of scores and of controls.
    sums: Vec<(f32, f32)>,
}

impl Tally {
    /// Nothing counted yet; `seed` made the probes.
    pub fn new(seed: u64) -> Self {
        Self { seed, probes: 0, sums: vec![Vec::new(); ROLES.len()], noted: Vec::new() }
    }

    /// Counts one probe from its patterns and those of its shuffled control.
    pub fn add(&mut self, probe: &Probe, repeated: &Patterns<'_>, shuffled: &Patterns<'_>) {
        self.probes += 1;
        for (role, sums) in ROLES.iter().zip(&mut self.sums) {
            sums.resize(repeated.layers * repeated.heads, (0.0, 0.0));
            for ((head, control), sum) in repeated.iter().zip(shuffled.iter()).zip(sums) {
                let real = |query: usize| (role.key)(probe, query);
                // Drawing the role's own key would not be a control, so the draw then moves on by one.
                let random = |query: usize| {
                    let key = real(query)?;
                    let drawn = *probe.random_keys.get(query)?;
                    let moved = if drawn == key { (drawn + 1) % (query + 1) } else { drawn };
                    (moved != key).then_some(moved)
                };
                sum.0 += mean_weight(&head, real);
                sum.1 += if role.content { mean_weight(&control, real) } else { mean_weight(&head, random) };
            }
        }
    }

    /// Counts scores of one probe for a role scored elsewhere: per head, layer by layer, the score and its control.
    pub fn note(&mut self, role: Role, scores: &[(f32, f32)]) {
        let add = |noted: &mut Noted| {
            noted.count += 1;
            noted.sums.iter_mut().zip(scores).for_each(|(sum, score)| *sum = (sum.0 + score.0, sum.1 + score.1));
        };
        match self.noted.iter_mut().find(|noted| noted.role == role) {
            Some(noted) => add(noted),
            None => self.noted.push(Noted { role, count: 1, sums: scores.to_vec() }),
        }
    }

    /// The means over everything counted.
    pub fn report(&self) -> RoleReport {
        let one = |role: Role, count: usize, sums: &[(f32, f32)]| {
            let mean = |sum: f32| sum / count.max(1) as f32;
            let shuffled: Vec<f32> = sums.iter().map(|sum| mean(sum.1)).collect();
            let passing = shuffled.iter().filter(|score| **score > role.threshold).count();
            RoleScores {
                role: role.role.into(),
                help: role.help.into(),
                score: sums.iter().map(|sum| mean(sum.0)).collect(),
                threshold: role.threshold,
                false_positive_rate: passing as f32 / shuffled.len().max(1) as f32,
                shuffled,
            }
        };
        let own = ROLES.iter().zip(&self.sums).map(|(definition, sums)| {
            let Definition { role, help, threshold, .. } = *definition;
            one(Role { role, help, threshold }, self.probes, sums)
        });
        let noted = self.noted.iter().map(|noted| one(noted.role, noted.count, &noted.sums));
        RoleReport { roles: own.chain(noted).collect(), probes: self.probes, seed: self.seed }
    }
}

fn mean_weight(head: &super::HeadRows<'_>, key: impl Fn(usize) -> Option<usize>) -> f32 {
    let (count, sum) = (0..head.tokens).fold((0usize, 0.0), |(count, sum), query| match key(query) {
        Some(key) => (count + 1, sum + head.shares(query).get(key).copied().unwrap_or(0.0)),
        None => (count, sum),
    });
    if count == 0 { 0.0 } else { sum / count as f32 }
}
