//! Every probe of head roles over one model and stack, one pass at a time.

use super::readout::Readout;
use super::regions::{self, DELIMITER, LOCAL};
use super::roles::{RoleReport, Tally, probes};
use super::{Patterns, copying};
use crate::engine::{Forward, Request};
use crate::hook::{ActivationCache, Array, Selection, Site};
use crate::mechanism::Stack;
use crate::model::{Config, Weights};
use crate::{Error, Result};

/// Probes of each kind, tokens of one half of a repeated one, and tokens of one with delimiters.
const PROBES: usize = 8;
const HALF: usize = 24;
const DELIMITED: usize = 4;
const LENGTH: usize = 48;

/// What probes are made of.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    /// Ordinary tokens.
    pub ordinary: Vec<u32>,
    /// Punctuation and line ends.
    pub delimiters: Vec<u32>,
    /// The token before every probe.
    pub bos: Option<u32>,
}

impl Tokens {
    /// Sorts tokens by their text: a delimiter has no letter or digit, and is not a space alone.
    pub fn new(all: impl Iterator<Item = (u32, String)>, bos: Option<u32>) -> Self {
        let delimits = |text: &str| {
            let marks = |c: char| c.is_ascii_punctuation() || c == '\n';
            text.chars().any(marks) && text.chars().all(|c| marks(c) || c == ' ')
        };
        let (delimiters, ordinary): (Vec<_>, Vec<_>) = all.partition(|(_, text)| delimits(text));
        let ids = |list: Vec<(u32, String)>| list.into_iter().map(|(id, _)| id).collect();
        Self { ordinary: ids(ordinary), delimiters: ids(delimiters), bos }
    }
}

/// Runs every probe. `weights` give the roles of copying, which are left out without them. `stop` is asked before every
/// probe.
///
/// # Errors
/// [`Error::Superseded`] when stopped; those of the passes.
pub async fn report(
    forward: &mut impl Forward,
    config: &Config,
    weights: Option<&Weights>,
    stack: &Stack,
    tokens: &Tokens,
    seed: u64,
    stop: impl AsyncFn() -> bool,
) -> Result<RoleReport> {
    let room = config.context.saturating_sub(usize::from(tokens.bos.is_some()));
    let readout = weights.map(|weights| Readout::new(config, weights)).transpose()?;
    let mut tally = Tally::new(seed);
    for probe in probes(seed, &tokens.ordinary, PROBES, HALF.min(room / 2), tokens.bos) {
        if stop().await {
            return Err(Error::Superseded);
        }
        let captures = pass(forward, stack, &probe.repeated, seed, weights.is_some()).await?;
        let repeated = patterns(config, &captures)?;
        let captures_shuffled = pass(forward, stack, &probe.shuffled, seed, false).await?;
        let shuffled = patterns(config, &captures_shuffled)?;
        let (repeated, shuffled) = (Patterns::new(&repeated, None, None)?, Patterns::new(&shuffled, None, None)?);
        tally.add(&probe, &repeated, &shuffled);
        tally.note(LOCAL, &regions::local(&probe, &repeated));
        if let (Some(weights), Some(readout)) = (weights, &readout) {
            let values =
                (0..config.layers).map(|layer| captures.get(layer, Site::V)).collect::<Result<Vec<&Array>>>()?;
            let scores = copying::copying(&probe, &repeated, &values, config, weights, readout)?;
            tally.note(copying::COPYING, &scores);
            tally.note(copying::SUPPRESSION, &copying::opposite(&scores));
        }
    }
    let length = LENGTH.min(room);
    for probe in regions::delimited(seed, &tokens.ordinary, &tokens.delimiters, DELIMITED, length, tokens.bos) {
        if stop().await {
            return Err(Error::Superseded);
        }
        let with = patterns(config, &pass(forward, stack, &probe.with, seed, false).await?)?;
        let without = patterns(config, &pass(forward, stack, &probe.without, seed, false).await?)?;
        let (with, without) = (Patterns::new(&with, None, None)?, Patterns::new(&without, None, None)?);
        tally.note(DELIMITER, &regions::delimiter(&probe, &with, &without));
    }
    Ok(tally.report())
}

async fn pass(
    forward: &mut impl Forward,
    stack: &Stack,
    tokens: &[u32],
    seed: u64,
    values: bool,
) -> Result<ActivationCache> {
    let sites: &[Site] = if values { &[Site::Pattern, Site::V] } else { &[Site::Pattern] };
    Ok(forward.forward(Request { tokens, stack, seed, wants: Selection::sites(sites) }).await?.captures)
}

/// Patterns of every head, `[L,H,Q,K]`.
fn patterns(config: &Config, captures: &ActivationCache) -> Result<Array> {
    let mut data = Vec::new();
    let mut tokens = 0;
    for layer in 0..config.layers {
        let pattern = captures.get(layer, Site::Pattern)?;
        tokens = pattern.shape.last().copied().unwrap_or(0);
        data.extend_from_slice(&pattern.data);
    }
    Array::new([config.layers, config.heads, tokens, tokens], data)
}
