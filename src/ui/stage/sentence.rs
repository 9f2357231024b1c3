//! The pair that is read, in words. It follows the pointer on screen; a screen reader hears it on pin only.

use super::scene::{Column, Scene, or_masked};
use crate::lens::{HeadRows, Patterns, sinks};
use crate::ui::format;
use leptos::prelude::*;

/// One or two sentences about the pair and its head.
#[component]
pub fn Sentence() -> impl IntoView {
    let scene = Scene::here();
    let [a, b] = scene.patterns;
    let position = Memo::new(move |_| scene.store.experiment.with(|experiment| experiment.view.position));
    let sink = Memo::new(move |_| sink_mass(scene, position.get()));

    let token = move |position: usize| {
        let text = scene.labels.with(|labels| labels.get(position).cloned());
        view! { <strong class="mono">{text}</strong>{format!(" ({position})")} }
    };
    let words = move || {
        let cell = scene.cell.get()?;
        let a = a.get()?;
        let weight = a.at(cell.query, cell.key);
        // Of another text there may be no such pair.
        let in_b =
            b.get().map(|b| scene.in_column(Column::B, cell).map_or(f32::NAN, |cell| b.at(cell.query, cell.key)));
        let other = scene.name(Column::B);
        let body = if weight.is_nan() && in_b.is_none_or(f32::is_nan) {
            let later = if cell.key > cell.query { ": the key comes later" } else { "" };
            let rest = format!("{later}. Masked, n/a. ");
            view! { "Query " {token(cell.query)} " cannot see key " {token(cell.key)} {rest} }.into_any()
        } else {
            let in_b = in_b.map(|weight| {
                let other = format!(" in {other}");
                view! { " and " <strong data-test="say-b">{or_masked(weight)}</strong> {other} }
            });
            let strongest = a.strongest(cell.query).map(|key| {
                let weight = format!(", {}. ", format::four(a.at(cell.query, key)));
                view! { "Its strongest key in A is " {token(key)} {weight} }
            });
            view! {
                "Query " {token(cell.query)} " reads key " {token(cell.key)} " with "
                <strong data-test="say-a">{or_masked(weight)}</strong> " in A"
                {in_b} ". " {strongest}
            }
            .into_any()
        };
        let head = sink.get().map(|(mass, null)| {
            view! {
                {format!("{} puts ", scene.head.get())}
                <strong>{format!("{:.0}%", 100.0 * mass)}</strong>
                {format!(" of later attention on token {} in A, {:.2} × the null.", position.get(), mass / null)}
            }
        });
        Some(view! { {body} {head} })
    };
    view! {
        <p class="say" data-test="sentence">
            {move || words().map_or_else(|| "Run a prompt to read a pair.".into_any(), IntoAny::into_any)}
        </p>
        <p class="sr" aria-live="polite" data-test="announced">{move || scene.announced.get()}</p>
    }
}

/// Mass of the shown head of pane A on a position, and its null.
fn sink_mass(scene: Scene, position: usize) -> Option<(f32, f32)> {
    let (head, maps) = (scene.head.get(), scene.maps[0].get());
    scene.store.outcome.with(|outcome| {
        let stored = Patterns::of(outcome.as_ref()?.panes.first()?);
        let rows = stored.as_ref().and_then(|patterns| patterns.head(head.layer, head.head));
        let rows = rows.or(maps.0.as_deref().map(HeadRows::of))?;
        let mass = *sinks::masses(rows.tokens, &rows.all_shares()).get(position)?;
        Some((mass, sinks::null(rows.tokens, position)?)).filter(|(mass, _)| mass.is_finite())
    })
}
