//! Drawings of the mechanisms of a pane: the passes they look at, and the order in which they are made.

use super::Engine;
use super::analyse::Question;
use crate::experiment::Head;
use crate::lens::base::Base;
use crate::lens::exhibit::Exhibits;
use crate::lens::finding::{Asked, Found};
use crate::mechanism::exhibits::{Offer, Scene, WANTED};
use crate::mechanism::{Placed, Stack};
use crate::outcome::{STORED_TOKENS, Token};
use crate::{Error, Result};
use std::sync::Arc;

/// Most cells of one kind of map over all heads: the 48 heads of a small model at 256 tokens.
const MOST_CELLS: usize = 48 * 256 * 256;

/// The passes that drawings look at.
struct Passes {
    own: Arc<Base>,
    plain: Arc<Base>,
    asked: Asked,
    labels: Vec<String>,
    vocabulary: Vec<u32>,
    head: Head,
    query: usize,
}

impl Engine {
    /// What is drawn at once by the mechanism `paper`, or by all of the pane where it names none.
    pub(super) fn exhibits(&mut self, question: &Question<'_>, paper: &str) -> Result<(Asked, Found)> {
        let passes = self.passes(question)?;
        let mut exhibits = Vec::new();
        for (placed, offer) in offers(&question.stack, paper, false) {
            exhibits.push(offer.begin(&self.scene(question, &passes, placed))?);
        }
        let tokens = passes.own.tokens.len();
        Ok((passes.asked, Found::Exhibits(Exhibits { tokens, head: passes.head.to_string(), exhibits })))
    }

    /// What takes passes of its own; `step` as in [`Engine::analyse`], one step for each row.
    pub(super) async fn slow_exhibits(
        &mut self,
        question: &Question<'_>,
        paper: &str,
        step: &mut impl AsyncFnMut(usize, usize) -> bool,
    ) -> Result<(Asked, Found)> {
        let passes = self.passes(question)?;
        let mut begun = Vec::new();
        for (placed, offer) in offers(&question.stack, paper, true) {
            begun.push((placed, offer, offer.begin(&self.scene(question, &passes, placed))?));
        }
        let rows = begun.iter().map(|(.., exhibit)| exhibit.grid.down.labels.len()).sum::<usize>();
        // The pass itself is one, so that there is a step also where nothing follows.
        let (mut done, all) = (0, rows + 1);
        let mut exhibits = Vec::new();
        for (placed, offer, mut exhibit) in begun {
            for row in 0..exhibit.grid.down.labels.len() {
                if step(done, all).await {
                    return Err(Error::Superseded);
                }
                done += 1;
                offer.row(&self.scene(question, &passes, placed), &mut exhibit, row)?;
            }
            exhibits.push(exhibit);
        }
        if step(done, all).await {
            return Err(Error::Superseded);
        }
        let tokens = passes.own.tokens.len();
        Ok((passes.asked, Found::Exhibits(Exhibits { tokens, head: passes.head.to_string(), exhibits })))
    }

    fn passes(&mut self, question: &Question<'_>) -> Result<Passes> {
        let heads = self.config.layers * self.config.heads;
        let most = MOST_CELLS.div_euclid(heads.max(1)).isqrt().clamp(1, STORED_TOKENS);
        let tokens = &question.tokens[..question.tokens.len().min(most)];
        let own = self.base(question, tokens, &WANTED)?;
        let plain = Question { stack: Stack::new(question.pane, &[])?, tokens: tokens.to_vec(), ..*question };
        let plain = self.base(&plain, tokens, &WANTED)?;
        let query = question.query.min(tokens.len() - 1);
        // Asked about tokens that are drawn.
        let asked = Asked {
            query,
            ..self
                .asked(&Question { query, stack: question.stack.clone(), tokens: tokens.to_vec(), ..*question }, &own)?
        };
        let head = Head {
            layer: question.pin.layer.min(self.config.layers - 1),
            head: question.pin.head.min(self.config.heads - 1),
        };
        let label = |(at, id): (usize, &u32)| match self.token(*id) {
            Token { special: true, .. } if at == 0 => "⟨bos⟩".to_string(),
            Token { text, .. } => text.replace(' ', "·").replace('\n', "↵"),
        };
        let labels = tokens.iter().enumerate().map(label).collect();
        Ok(Passes { own, plain, asked, labels, vocabulary: self.vocabulary(), head, query })
    }

    fn scene<'a>(&'a self, question: &'a Question<'_>, passes: &'a Passes, placed: &'a Placed) -> Scene<'a> {
        Scene {
            model: &self.runner.cpu,
            stack: &question.stack,
            placed,
            seed: question.seed,
            layers: self.config.layers,
            heads: self.config.heads,
            kv_heads: self.config.kv_heads,
            tokens: passes.own.tokens.len(),
            labels: &passes.labels,
            vocabulary: &passes.vocabulary,
            head: passes.head,
            query: passes.query,
            own: &passes.own,
            plain: &passes.plain,
            probed: self.probed.as_ref().filter(|_| question.stack.measures()),
        }
    }
}

/// Drawings of a stack, each with the mechanism that draws it.
fn offers<'a>(stack: &'a Stack, paper: &str, slow: bool) -> Vec<(&'a Placed, &'static Offer)> {
    let asked = stack.iter().filter(|placed| paper.is_empty() || placed.mechanism.id == paper);
    let of = |placed: &'a Placed| placed.mechanism.exhibits.iter().map(move |offer| (placed, offer));
    asked.flat_map(of).filter(|(_, offer)| offer.is_slow() == slow).collect()
}
