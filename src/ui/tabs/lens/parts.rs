//! Direct logit attribution: what every part adds to one logit, as a grid, and the sum beside the logit itself.

use crate::experiment::Head;
use crate::lens::analysis;
use crate::lens::finding::{Attribution, Finding, Found, Part};
use crate::ui::format::signed;
use crate::ui::stage::colour::{Palette, Scaling};
use crate::ui::stage::scene::palette;
use crate::ui::store::Store;
use crate::ui::tabs::asked::{name, place};
use crate::ui::tabs::heat::{Cell, Cells, Heat, Legend};
use leptos::prelude::*;
use std::sync::Arc;

/// Parts named below the grid.
const STRONGEST: usize = 6;

/// The attribution of one pane.
#[component]
pub fn Parts(pane: Memo<usize>) -> impl IntoView {
    let store = Store::here();
    let colours = palette(store);
    let answered = Memo::new(move |_| store.finding(pane.get(), "attribution"));
    let finding = Memo::new(move |_| answered.with(|answered| answered.fetched.value.clone()));
    let with = move |read: &dyn Fn(&Finding, &Attribution) -> Option<String>| {
        finding.with(|finding| match finding.as_deref() {
            Some(finding) => match &finding.found {
                Found::Parts(parts) => read(finding, parts),
                _ => None,
            },
            None => None,
        })
    };
    let scaling = Memo::new(move |_| {
        finding.with(|finding| match finding.as_ref().map(|finding| &finding.found) {
            Some(Found::Parts(parts)) => scale(parts),
            _ => scale(&Attribution::default()),
        })
    });
    let pin = Memo::new(move |_| store.experiment.with(|experiment| experiment.view.pin));
    let cells = Memo::new(move |_| {
        let made = finding.with(|finding| match finding.as_ref().map(|finding| &finding.found) {
            Some(Found::Parts(parts)) => colours.with(|palette| grid(parts, scaling.get(), palette, pin.get())),
            _ => Cells::default(),
        });
        Arc::new(made)
    });
    let at = RwSignal::new(None::<(usize, usize)>);
    let choose = move |(layer, head): (usize, usize)| {
        // The last columns are no heads.
        let heads = store.outcome.with_untracked(|outcome| outcome.as_ref().map_or(0, |outcome| outcome.model.heads));
        if head < heads {
            store.look(|view| view.pin = Head { layer, head });
        }
    };
    let read = move || {
        let (row, column) = at.get()?;
        let label =
            cells.with(|cells| cells.cells.get(row * cells.columns.len() + column).map(|cell| cell.label.clone()))?;
        (!label.is_empty()).then_some(label)
    };
    let of = move || {
        with(&|finding, _| {
            let token = name(finding, finding.asked.answer);
            let what = match finding.asked.against {
                None => format!("logit of “{token}”"),
                Some(against) => format!("lead of “{token}” over “{}”", name(finding, against)),
            };
            Some(format!("{what} after {}", place(finding, finding.asked.query)))
        })
    };
    let sums = move || {
        let finding = finding.get()?;
        let Found::Parts(parts) = &finding.found else { return None };
        let sum = |belongs: fn(&Part) -> bool| {
            let chosen: Vec<f32> =
                parts.parts.iter().filter(|(part, _)| belongs(part)).map(|(_, logit)| *logit).collect();
            (!chosen.is_empty()).then(|| chosen.iter().sum::<f32>())
        };
        let rows = [
            ("Embeddings", sum(|part| matches!(part, Part::Embedding | Part::Position))),
            ("All heads", sum(|part| matches!(part, Part::Head(_)))),
            ("All feed-forwards", sum(|part| matches!(part, Part::FeedForward(_)))),
            ("Biases", sum(|part| matches!(part, Part::AttentionBias(_) | Part::FinalBias))),
        ];
        let row = |(name, value): (&'static str, Option<f32>)| {
            value.map(|value| view! { <tr><th scope="row">{name}</th><td class="num">{signed(value, 3)}</td></tr> })
        };
        Some(view! {
            <table class="tbl" data-test="parts-sum" data-sum=parts.sum() data-logit=parts.logit>
                <tbody>
                    {rows.map(row)}
                    <tr><th scope="row"><b>"Sum"</b></th><td class="num hi">{signed(parts.sum(), 3)}</td></tr>
                    <tr><th scope="row">"Logit at the end of the model"</th><td class="num">{signed(parts.logit, 3)}</td></tr>
                </tbody>
            </table>
        })
    };
    let strongest = move || {
        let finding = finding.get()?;
        let Found::Parts(parts) = &finding.found else { return None };
        let mut order = parts.parts.clone();
        order.sort_by(|(_, a), (_, b)| b.abs().total_cmp(&a.abs()));
        let one = |(part, logit): (Part, f32)| {
            let words = format!("{part} {}", signed(logit, 2));
            match part {
                Part::Head(head) => view! {
                    <button
                        type="button" class="link mono" title="Pin this head" data-test="part" data-part=part.to_string()
                        on:click=move |_| store.look(|view| view.pin = head)
                    >
                        {words}
                    </button>
                }
                .into_any(),
                _ => view! { <span class="mono" data-test="part" data-part=part.to_string()>{words}</span> }.into_any(),
            }
        };
        Some(order.into_iter().take(STRONGEST).map(one).collect_view())
    };
    let source = analysis::by_id("attribution").map(|analysis| analysis.source).unwrap_or_default();
    view! {
        <figure
            data-test="parts" class:waiting=move || answered.with(|answered| !answered.fresh || answered.fetched.pending)
            data-fresh=move || answered.with(|a| a.fresh && !a.fetched.pending && a.fetched.value.is_some()).to_string()
        >
            <figcaption class="sub"><strong>"Direct logit attribution"</strong><span>{of}</span></figcaption>
            <Heat
                label=Signal::stored("What each head and feed-forward adds to the logit".to_string())
                cells at choose=Callback::new(choose) test="parts-table"
            />
            <Legend scaling name=Signal::stored("logit added; click a head to pin it".to_string())/>
            <p class="soft read-line" data-test="parts-read">{move || read().unwrap_or_else(|| "Point at a cell to read it.".into())}</p>
        </figure>
        <p class="row wrap strongest"><span class="muted">"Strongest:"</span> {strongest}</p>
        {sums}
        <p class="cap">
            "With the final norm held at its value here, the logit is the sum of what every part writes, and nothing is left over. \
             A part’s number is its direct effect alone; what it does through later parts only an intervention shows. "
            {format!("After {source}.")}
        </p>
    }
}

fn scale(parts: &Attribution) -> Scaling {
    let inside = |part: &Part| matches!(part, Part::Head(_) | Part::FeedForward(_) | Part::AttentionBias(_));
    let most = parts.parts.iter().filter(|(part, _)| inside(part)).map(|(_, logit)| logit.abs()).fold(0.0, f32::max);
    Scaling { diverging: true, high: if most > 0.0 { most } else { 1.0 }, root: false, clipped: false, fitted: true }
}

/// Layers down; heads, feed-forward and bias across.
fn grid(parts: &Attribution, scaling: Scaling, palette: &Palette, pin: Head) -> Cells {
    let of = |wanted: Part| parts.parts.iter().find(|(part, _)| *part == wanted).map(|(_, logit)| *logit);
    let largest = |read: fn(&Part) -> Option<usize>| parts.parts.iter().filter_map(|(part, _)| read(part)).max();
    let (Some(layer), Some(head)) = (
        largest(|part| if let Part::FeedForward(layer) = part { Some(*layer) } else { None }),
        largest(|part| if let Part::Head(head) = part { Some(head.head) } else { None }),
    ) else {
        return Cells::default();
    };
    let biased = of(Part::AttentionBias(0)).is_some();
    let mut columns: Vec<String> = (0..=head).map(|head| format!("H{head}")).collect();
    columns.push("FF".into());
    if biased {
        columns.push("bias".into());
    }
    let mut cells = Vec::new();
    for layer in 0..=layer {
        let heads = (0..=head).map(|head| Part::Head(Head { layer, head }));
        let rest = [Part::FeedForward(layer)].into_iter().chain(biased.then_some(Part::AttentionBias(layer)));
        for part in heads.chain(rest) {
            let value = of(part).unwrap_or(f32::NAN);
            cells.push(Cell {
                text: signed(value, 1),
                colour: Some(palette.colour(scaling, value)),
                label: format!("{part} adds {}", signed(value, 4)),
                value,
                on: part == Part::Head(pin),
            });
        }
    }
    let rows = (0..=layer).map(|layer| format!("L{layer}")).collect();
    Cells { corner: String::new(), rows, columns, cells, last: (None, Some(head + 1)) }
}
