//! One answer written token by token, and which heads look where while each token is made.
//!
//! Nothing is given: the model goes on from the question with its likeliest token, until it ends the sentence. At every step a
//! head retrieves when what it looks at most lies in the needle and is the token that is made ([`crate::lens::retrieval`]).

use crate::Result;
use crate::experiment::Head;
use crate::hook::Site;
use crate::lens::base::Base;
use crate::lens::circuits::{Given, Prompt, likeliest};
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::study::{exhibit, grid, sheet};
use crate::model::CpuModel;

/// Most tokens that are written.
const MOST: usize = 8;
/// Heads in the table.
const HEADS: usize = 6;
/// Tokens shown on either side of the needle.
const AROUND: usize = 12;

/// One token, as it is made.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// The token.
    pub token: u32,
    /// The last row of every head, layer by layer.
    pub rows: Vec<Vec<f32>>,
}

/// An answer as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// The passage and its question.
    pub tokens: Vec<u32>,
    /// Where the needle stands.
    pub needle: std::ops::Range<usize>,
    /// Every token that was made.
    pub made: Vec<Made>,
}

impl Replay {
    /// Lets the model write its answer to the passage.
    ///
    /// # Errors
    /// Those of the passes.
    pub fn new(given: &Given, model: &CpuModel, prompt: &Prompt) -> Result<Self> {
        let asked = prompt.queries.first().map_or(prompt.tokens.len(), |query| query + 1);
        let tokens = prompt.tokens[..asked].to_vec();
        let (first, last) = (prompt.places("needle"), prompt.places("needle_end"));
        let needle = first.first().copied().unwrap_or(0)..last.last().map_or(0, |last| last + 1);
        let end = given.token(".");
        let (mut text, mut made) = (tokens.clone(), Vec::new());
        while made.len() < MOST && text.len() < given.config.context {
            let base = Base::new(model, &given.stack, given.seed, &text, &[Site::Pattern])?;
            let (query, count) = (text.len() - 1, text.len());
            let mut rows = Vec::new();
            for layer in 0..given.config.layers {
                let pattern = base.captures.get(layer, Site::Pattern)?;
                let row = |head: usize| pattern.data[(head * count + query) * count..][..count].to_vec();
                rows.extend((0..given.config.heads).map(row));
            }
            let token = likeliest(base.logits.at(query));
            made.push(Made { token, rows });
            text.push(token);
            // A new text begins where the old one ends.
            if Some(token) == end || Some(token) == given.config.bos {
                break;
            }
        }
        Ok(Self { tokens, needle, made })
    }

    /// The place a head copies from when it makes a token: the one it looks at most, where that is this token of the needle.
    pub fn copies(&self, made: &Made, head: usize) -> Option<usize> {
        let row = made.rows.get(head)?;
        let (key, _) = row.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        (self.needle.contains(&key) && self.tokens.get(key) == Some(&made.token)).then_some(key)
    }

    /// The answer in words, and drawn: by these heads, the strongest first, and over the passage.
    pub fn show(&self, given: &Given, order: &[usize], heads: &[Head]) -> (String, Vec<Exhibit>) {
        let text = |id: u32| given.text.get(id as usize).map_or(String::new(), |text| text.replace(' ', "·"));
        let columns: Vec<String> = self.made.iter().map(|made| text(made.token)).collect();
        let shown: Vec<usize> = order.iter().take(HEADS).copied().collect();
        let cells = |read: &dyn Fn(&Made, usize) -> f32| {
            shown.iter().flat_map(|head| self.made.iter().map(|made| read(made, *head))).collect::<Vec<f32>>()
        };
        let weight = |made: &Made, head: usize| self.copies(made, head).map_or(0.0, |key| made.rows[head][key]);
        let inside = |made: &Made, head: usize| made.rows[head][self.needle.clone()].iter().sum::<f32>();
        let table = grid(
            ("head", shown.iter().map(|at| heads[*at].to_string()).collect()),
            ("token that is made", columns.clone()),
            vec![
                sheet("copies", "Weight on the needle’s token it copies", "", cells(&weight)),
                sheet("needle", "Weight on the whole needle", "", cells(&inside)),
            ],
        );
        let from = self.needle.start.saturating_sub(AROUND);
        let to = (self.needle.end + AROUND).min(self.tokens.len());
        // All heads that copy at a step together; where none does, the strongest heads as they are.
        let row = |made: &Made| {
            let copying: Vec<usize> = (0..made.rows.len()).filter(|head| self.copies(made, *head).is_some()).collect();
            let own = if copying.is_empty() { &shown } else { &copying };
            let at = |key: usize| own.iter().map(|head| made.rows[*head][key]).sum::<f32>() / own.len().max(1) as f32;
            (from..to).map(at).collect::<Vec<f32>>()
        };
        let names = self.made.iter().zip(&columns).map(|(made, name)| {
            let count = (0..made.rows.len()).filter(|head| self.copies(made, *head).is_some()).count();
            format!("makes {name}, {count} heads copy")
        });
        let passage = grid(
            ("step", names.collect()),
            ("token", self.tokens[from..to].iter().map(|id| text(*id)).collect()),
            vec![sheet("weight", "mean weight", "", self.made.iter().flat_map(row).collect())],
        );
        let answer: String =
            self.made.iter().map(|made| given.text.get(made.token as usize).map_or("", String::as_str)).collect();
        let copied = self.made.iter().filter(|made| (0..made.rows.len()).any(|head| self.copies(made, head).is_some()));
        let told = format!(
            " Asked once, it writes “{}”; at {} of {} tokens some head looks most at the very token of the needle.",
            answer.trim(),
            copied.count(),
            self.made.len()
        );
        let exhibits = vec![
            exhibit(
                "retrieval.replay",
                "One answer, token by token",
                "What the strongest heads copy while each token is made: zero where they look elsewhere.",
                Drawn::Cells,
                table,
            ),
            exhibit(
                "retrieval.passage",
                "The same on the passage",
                "Around the needle: where the heads that copy look at each step; where none copies, the strongest heads.",
                Drawn::Tokens,
                passage,
            ),
        ];
        (told, exhibits)
    }
}
