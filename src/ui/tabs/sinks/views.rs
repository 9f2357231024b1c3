//! Three labelled views of the same mass, and how many heads pass the threshold.

use super::{Measured, Shared};
use crate::lens::sinks::{Sinks, Without, null};
use crate::ui::format::fixed;
use leptos::prelude::*;

/// One number of the table with what stands under it.
#[derive(Default)]
struct Figure {
    value: Option<f32>,
    text: String,
    note: String,
}

impl Figure {
    /// A mass, and how many times its null it is.
    fn mass(value: Option<f32>, null: Option<f32>) -> Self {
        let note = value.zip(null).map(|(value, null)| format!("{} ×", fixed(value / null, 2)));
        Self { value, text: three(value), note: note.unwrap_or_default() }
    }

    /// A count of heads, and what share of all it is.
    fn heads(count: Option<(usize, usize)>) -> Self {
        let Some((count, all)) = count else { return Self { text: "–".into(), ..Self::default() } };
        let note = format!("{:.0}% of {all}", 100.0 * count as f32 / all.max(1) as f32);
        Self { value: Some(count as f32), text: count.to_string(), note }
    }

    fn null(value: Option<f32>, note: String) -> Self {
        Self { value, text: three(value), note }
    }
}

fn three(value: Option<f32>) -> String {
    value.map_or_else(|| "–".into(), |value| fixed(value, 3))
}

/// One view.
struct Row {
    test: &'static str,
    name: String,
    note: String,
    a: Figure,
    b: Figure,
    null: Figure,
}

/// The table.
#[component]
pub fn Views(
    /// The tab.
    shared: Shared,
) -> impl IntoView {
    let row = |row: Row| {
        let Row { test, name, note, a, b, null } = row;
        let [in_a, in_b, even] = [&a, &b, &null].map(|figure| figure.value.map(|value| value.to_string()));
        view! {
            <tr data-test=test data-a=in_a data-b=in_b data-null=even>
                <th scope="row">{name}<small>{note}</small></th>
                <td class="num">{a.text}<small>{a.note}</small></td>
                <td class="num">{b.text}<small>{b.note}</small></td>
                <td class="num lo">{null.text}<small>{null.note}</small></td>
            </tr>
        }
    };
    view! {
        <table class="tbl" data-test="sink-views">
            <thead>
                <tr>
                    <th scope="col">"View"</th>
                    <th scope="col">"A"</th>
                    <th scope="col">{move || shared.letter.get()}</th>
                    <th scope="col">"Null"</th>
                </tr>
            </thead>
            <tbody>{move || rows(shared).into_iter().map(row).collect_view()}</tbody>
        </table>
    }
}

fn rows(shared: Shared) -> Vec<Row> {
    let Shared { a, b, .. } = shared;
    let (position, epsilon) = (shared.position.get(), shared.epsilon.get());
    let of = |sinks: Measured, read: fn(&Sinks, usize) -> Option<f32>| {
        sinks.with(|sinks| sinks.as_ref().and_then(|sinks| read(sinks, position)))
    };
    let even = a.with(|sinks| sinks.as_ref().and_then(|sinks| null(sinks.tokens, position)));
    let masses =
        |read: fn(&Sinks, usize) -> Option<f32>| (Figure::mass(of(a, read), even), Figure::mass(of(b, read), even));
    let (raw_a, raw_b) = masses(Sinks::mean);
    let (weighted_a, weighted_b) = masses(Sinks::value_weighted);
    let heads = |sinks: Measured| {
        let count = |sinks: &Sinks| (sinks.heads_above(position, epsilon), sinks.importance.len());
        Figure::heads(sinks.with(|sinks| sinks.as_deref().map(count)))
    };
    let raw = Row {
        test: "sink-raw",
        name: "Raw".into(),
        note: format!("weight on token {position}, mean over later queries and heads"),
        a: raw_a,
        b: raw_b,
        null: Figure::null(even, String::new()),
    };
    let weighted = Row {
        test: "sink-weighted",
        name: "Value-weighted".into(),
        note: "share of α · ‖v·W_O‖".into(),
        a: weighted_a,
        b: weighted_b,
        null: Figure::null(even, String::new()),
    };
    let above = Row {
        test: "sink-heads",
        name: format!("Heads above ε = {}", fixed(epsilon, 2)),
        note: "importance: column sum over the queries that may see it".into(),
        a: heads(a),
        b: heads(b),
        null: Figure::default(),
    };
    [raw, removed(shared, position), weighted, above].into_iter().chain(slot(a, b)).collect()
}

/// One key taken out; rows are renormalised only where they should sum to one, and the row says which.
fn removed(shared: Shared, position: usize) -> Row {
    let (a, b, letter) = (shared.without_a.get(), shared.without_b.get(), shared.letter.get());
    let left = match (a.as_ref().map(|a| a.renormalised), b.as_ref().map(|b| b.renormalised)) {
        (None, None) => "too few tokens".to_string(),
        (Some(false), Some(false) | None) => "rows left as they are, since they need not sum to one".into(),
        (Some(true), Some(false)) => format!("rows of A renormalised; rows of {letter} left as they are"),
        (Some(false), Some(true)) => format!("rows of A left as they are; rows of {letter} renormalised"),
        _ => "rows renormalised".into(),
    };
    let next = |pane: &str, without: &Option<Without>| {
        let next = without.as_ref()?.next;
        Some(format!("{pane} {} at {next}", shared.labels.with(|labels| labels.get(next).cloned())?))
    };
    let found: Vec<_> = [next("A", &a), next(&letter, &b)].into_iter().flatten().collect();
    let (null_a, null_b) = (a.as_ref().map(|a| a.null), b.as_ref().map(|b| b.null));
    // The strongest position left may differ between the panes, and with it the null.
    let other = null_b.filter(|_| null_a != null_b).map(|null| format!("{letter} {}", fixed(null, 3)));
    Row {
        test: "sink-removed",
        name: format!("Token {position} removed"),
        note: if found.is_empty() { left } else { format!("{left}; next strongest: {}", found.join(", ")) },
        a: Figure::mass(a.map(|a| a.mass), null_a),
        b: Figure::mass(b.map(|b| b.mass), null_b),
        null: Figure::null(null_a, other.unwrap_or_default()),
    }
}

/// The normalizer's own slot, where a pane has one.
fn slot(a: Measured, b: Measured) -> Option<Row> {
    let of = |sinks: Measured| {
        let mean = |sinks: &Sinks| sinks.slot.iter().sum::<f32>() / sinks.slot.len() as f32;
        sinks.with(|sinks| sinks.as_deref().filter(|sinks| !sinks.slot.is_empty()).map(mean))
    };
    let figure = |value: Option<f32>| Figure {
        value,
        text: value.map_or_else(|| "none".into(), |value| fixed(value, 3)),
        note: String::new(),
    };
    let (a, b) = (of(a), of(b));
    (a.is_some() || b.is_some()).then(|| Row {
        test: "sink-slot",
        name: "Slot".into(),
        note: "mean weight on the normalizer’s own slot, which is no token".into(),
        a: figure(a),
        b: figure(b),
        null: Figure::default(),
    })
}
