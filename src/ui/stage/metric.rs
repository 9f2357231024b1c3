//! The number of every head on the wall, and where beyond the stored size it comes from.

use super::maps::Held;
use super::scene::fresh_maps;
use crate::experiment::{Head, Metric};
use crate::lens::{HeadRows, Patterns, heads, sinks};
use crate::outcome::STORED_TOKENS;
use crate::ui::format;
use crate::ui::store::Store;
use leptos::prelude::*;
use std::collections::BTreeMap;

/// Every head, layer by layer.
pub fn every(layers: usize, heads: usize) -> impl Iterator<Item = Head> {
    (0..layers).flat_map(move |layer| (0..heads).map(move |head| Head { layer, head }))
}

/// Beyond the stored size: asks for the next head of a pane that has not come, one at a time, so that a newer run never
/// waits for more than one. Whether one is still missing.
pub fn request_missing(store: Store, pane: usize) -> bool {
    let sizes = store
        .outcome
        .with(|outcome| outcome.as_ref().map(|o| (o.model.layers, o.model.heads, o.tokens_of(pane).len())));
    let Some((layers, heads, _)) = sizes.filter(|(_, _, tokens)| *tokens > STORED_TOKENS) else { return false };
    let missing = every(layers, heads).find(|head| !store.asked(pane, *head) || store.head(pane, *head).pending);
    if let Some(head) = missing {
        store.request_head(pane, head);
    }
    missing.is_some()
}

/// What was measured on maps that came alone, so that the arrival of one head does not measure all the others again. The
/// maps are held, so that equal pointers are equal maps.
#[derive(Default)]
pub struct Measured(BTreeMap<Head, (Basis, f32)>);

/// What a number was measured on.
#[derive(Clone, PartialEq)]
struct Basis {
    maps: Held,
    /// Of the pane it is compared with, where the metric compares.
    other: Held,
    metric: Metric,
    position: usize,
}

impl Basis {
    fn measure(&self) -> f32 {
        let Held(Some(maps)) = &self.maps else { return f32::NAN };
        let other = self.other.0.as_deref().map(HeadRows::of);
        heads::number(self.metric, &HeadRows::of(maps), other.as_ref(), self.position)
    }
}

impl Measured {
    fn number(&mut self, head: Head, basis: Basis) -> f32 {
        match self.0.get(&head) {
            Some((known, number)) if *known == basis => *number,
            _ => {
                let number = basis.measure();
                self.0.insert(head, (basis, number));
                number
            }
        }
    }
}

/// The metric of every head of a pane, layer by layer; NaN where it is not defined or not computed.
pub fn numbers(store: Store, pane: usize, metric: Metric, position: usize, measured: &mut Measured) -> Vec<f32> {
    store.outcome.with(|outcome| {
        let Some(outcome) = outcome else { return Vec::new() };
        let of = |pane: usize| outcome.panes.get(pane).and_then(Patterns::of);
        if let Some(patterns) = of(pane) {
            return heads::metric(metric, &patterns, of(compared_with(pane)).as_ref(), position);
        }
        let mut one = |head| {
            let held = |pane| Held(fresh_maps(store, pane, head));
            let other = if metric == Metric::Difference { held(compared_with(pane)) } else { Held(None) };
            measured.number(head, Basis { maps: held(pane), other, metric, position })
        };
        every(outcome.model.layers, outcome.model.heads).map(&mut one).collect()
    })
}

/// The pane whose maps a difference is taken to. A itself is compared with B, so that the wall of A shows the same
/// differences as that of B.
pub fn compared_with(pane: usize) -> usize {
    usize::from(pane == 0)
}

/// What a metric is called.
pub fn name(metric: Metric) -> &'static str {
    match metric {
        Metric::SinkMass => "Sink mass",
        Metric::Entropy => "Entropy",
        Metric::Distance => "Distance",
        Metric::Difference => "|A − B|",
        Metric::Previous => "Previous token",
    }
}

/// What a metric is, with its unit and its basis.
pub fn basis(metric: Metric, tokens: usize, position: usize) -> String {
    match metric {
        Metric::SinkMass => {
            let null = sinks::null(tokens, position)
                .map_or(String::new(), |null| format!("; null {}", format::fixed(null, 3)));
            format!("mean weight on token {position} over later queries{null}")
        }
        Metric::Entropy => "mean over rows, nats".into(),
        Metric::Distance => "mean distance of query and key, tokens".into(),
        Metric::Difference => "largest difference of one weight between the panes".into(),
        Metric::Previous => "mean weight on the token before, this prompt".into(),
    }
}
