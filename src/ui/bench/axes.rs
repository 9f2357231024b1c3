//! By what variants are compared: prices across, qualities up.

use super::run::{Bench, Row};
use crate::outcome::Quote;
use crate::ui::scatter::Scale;
use leptos::prelude::*;

/// A price by which variants are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Price {
    Share,
    Kv,
    Flops,
    Pass,
    Decode,
}

impl Price {
    pub const ALL: [Price; 5] = [Price::Share, Price::Kv, Price::Flops, Price::Pass, Price::Decode];

    pub fn name(self) -> &'static str {
        match self {
            Price::Share => "scores computed, % of causal pairs",
            Price::Kv => "KV cache, kB",
            Price::Flops => "MFLOP per token",
            Price::Pass => "measured pass, × softmax",
            Price::Decode => "measured time per drawn token, × softmax",
        }
    }

    /// The price of a quote; `softmax` is that of plain attention in the same run.
    pub fn of(self, quote: &Quote, softmax: &Quote) -> Option<f64> {
        Some(match self {
            Price::Share => 100.0 * f64::from(quote.price.score_share?),
            Price::Kv => quote.price.kv_bytes as f64 / 1e3,
            Price::Flops => quote.price.flops_per_token as f64 / 1e6,
            Price::Pass => f64::from(quote.price.millis / softmax.price.millis),
            Price::Decode => 1.0 / f64::from(quote.speed_beside(softmax)?),
        })
    }
}

/// A quality by which variants are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    Loss,
    Needles,
}

impl Quality {
    pub const ALL: [Quality; 2] = [Quality::Loss, Quality::Needles];

    pub fn name(self) -> &'static str {
        match self {
            Quality::Loss => "Δ loss, nats per token",
            Quality::Needles => "needles found, %",
        }
    }

    pub fn scale(self) -> Scale {
        match self {
            Quality::Loss => Scale::Loss,
            Quality::Needles => Scale::Percent,
        }
    }

    /// The quality of a row at a length; `softmax` is the row of plain attention.
    pub fn of(self, row: &Row, softmax: &Row, at: usize) -> Option<f64> {
        Some(match self {
            Quality::Loss => row.loss_beyond(softmax, at)?.into(),
            Quality::Needles => 100.0 * row.needles.as_ref()?.accuracy,
        })
    }
}

/// Which of both is plotted.
#[derive(Clone, Copy)]
pub struct Axes {
    pub price: RwSignal<Price>,
    pub quality: RwSignal<Quality>,
}

impl Axes {
    pub fn new() -> Self {
        Self { price: RwSignal::new(Price::Share), quality: RwSignal::new(Quality::Loss) }
    }

    /// Index, name and both values of every row that has them at the length shown.
    pub fn points(self, bench: Bench) -> Vec<(usize, String, f64, f64)> {
        let (at, price, quality) = (bench.length.get(), self.price.get(), self.quality.get());
        bench.rows.with(|rows| {
            let Some((softmax, plain)) = rows.first().and_then(|row| Some((row, row.quotes[at].as_ref()?))) else {
                return Vec::new();
            };
            let point = |(index, row): (usize, &Row)| {
                let x = price.of(row.quotes[at].as_ref()?, plain)?;
                Some((index, row.entry.name.clone(), x, quality.of(row, softmax, at)?))
            };
            rows.iter().enumerate().filter_map(point).collect()
        })
    }
}
