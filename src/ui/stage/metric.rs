//! The number of every head on the wall, and where beyond the stored size it comes from.

use super::scene::fresh_maps;
use crate::experiment::{Head, Metric};
use crate::lens::{HeadRows, Patterns, heads, sinks};
use crate::outcome::{HeadMaps, STORED_TOKENS};
use crate::ui::format;
use crate::ui::store::Store;
use leptos::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Every head, layer by layer.
pub fn every(layers: usize, heads: usize) -> impl Iterator<Item = Head> {
    (0..layers).flat_map(move |layer| (0..heads).map(move |head| Head { layer, head }))
}

/// Beyond the stored size: asks for the next head of a pane that has not come, one at a time, so that a newer run never
/// waits for more than one. Whether one is still missing.
pub fn request_missing(store: Store, pane: usize) -> bool {
    let sizes = store.outcome.with(|outcome| outcome.as_ref().map(|o| (o.model.layers, o.model.heads, o.tokens.len())));
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
pub struct Measured(BTreeMap<Head, (Arc<HeadMaps>, Metric, usize, f32)>);

impl Measured {
    fn number(&mut self, head: Head, maps: Arc<HeadMaps>, metric: Metric, position: usize) -> f32 {
        match self.0.get(&head) {
            Some((of, as_metric, at, number)) if Arc::ptr_eq(of, &maps) && (*as_metric, *at) == (metric, position) => {
                *number
            }
            _ => {
                let number = single(metric, &HeadRows::of(&maps), position);
                self.0.insert(head, (maps, metric, position, number));
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
            // A itself is compared with B, so that the wall of A shows the same differences as that of B.
            let reference = of(if pane == 0 { 1 } else { 0 });
            return heads::metric(metric, &patterns, reference.as_ref(), position);
        }
        let mut one = |head| match fresh_maps(store, pane, head) {
            Some(maps) => measured.number(head, maps, metric, position),
            None => f32::NAN,
        };
        every(outcome.model.layers, outcome.model.heads).map(&mut one).collect()
    })
}

/// The metric of a head that came alone; a difference needs both panes and stays undefined.
fn single(metric: Metric, rows: &HeadRows<'_>, position: usize) -> f32 {
    match metric {
        Metric::SinkMass => sinks::masses(rows.tokens, &rows.all_shares()).get(position).copied().unwrap_or(f32::NAN),
        Metric::Entropy => heads::entropy(rows),
        Metric::Distance => heads::distance(rows),
        Metric::Previous => heads::previous(rows),
        Metric::Difference => f32::NAN,
    }
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
