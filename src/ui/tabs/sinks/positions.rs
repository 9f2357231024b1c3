//! Mass on every position against its null: a sink need not be the first token.

use super::{Measured, Shared};
use crate::lens::sinks::{self, Sinks};
use crate::ui::stage::canvas::{drawn, sharp};
use crate::ui::stage::colour::Palette;
use crate::ui::stage::scene::palette;
use crate::ui::tabs::chart::{decimal, round_up};
use leptos::prelude::*;
use std::sync::Arc;
use web_sys::CanvasRenderingContext2d;

/// Height of the chart, in CSS pixels.
const POSITIONS: f64 = 92.0;
/// Left edge of the first bar.
const LEFT: f64 = 34.0;

/// Mass on every position, with the null of each; a click examines a position.
#[component]
pub fn Positions(
    /// The tab.
    shared: Shared,
    /// Width of the panel, in CSS pixels.
    width: RwSignal<f64>,
) -> impl IntoView {
    let Shared { store, position, a, b, letter, labels, .. } = shared;
    let colours = palette(store);
    // A memo compares, and NaN would never be equal: a position without later queries is `None`.
    let masses = move |sinks: Measured| {
        let some = |value: f32| value.is_finite().then_some(value);
        let by_position = move |sinks: &Arc<Sinks>| sinks.by_position().into_iter().map(some).collect::<Vec<_>>();
        Memo::new(move |_| sinks.with(|sinks| sinks.as_ref().map(by_position)))
    };
    let (in_a, in_b) = (masses(a), masses(b));
    let step = move || (width.get() - LEFT).max(1.0) / labels.with(|labels| labels.len().max(1)) as f64;
    let canvas = drawn(move |canvas| {
        let Some(context) = sharp(&canvas, width.get(), POSITIONS) else { return };
        if let Some(a) = in_a.get() {
            let b = in_b.get().unwrap_or_default();
            colours.with(|palette| draw(&context, palette, width.get(), [&a, &b], position.get()));
        }
    });
    let choose = move |event: web_sys::MouseEvent| {
        let at = ((f64::from(event.offset_x()) - LEFT) / step()).floor();
        if at >= 0.0 && (at as usize) < labels.with(Vec::len) {
            store.look(|view| view.position = at as usize);
        }
    };
    let longest =
        move || labels.with(|labels| labels.iter().map(|label| label.chars().count()).max().unwrap_or(1)).min(18);
    let names = move || {
        let step = step();
        let every = (11.0 / step).ceil().max(1.0) as usize;
        labels
            .get()
            .into_iter()
            .enumerate()
            .filter(|(at, _)| at % every == 0)
            .map(|(at, label)| {
                let place = format!("translate({:.1} 2) rotate(90)", LEFT + (at as f64 + 0.5) * step - 3.0);
                view! { <text class="tk" class:hot=move || position.get() == at transform=place>{label}</text> }
            })
            .collect_view()
    };
    let room = move || format!("height:{}px", 8.0 + 6.2 * longest() as f64);
    let legend = move || match b.with(Option::is_some) {
        true => format!("bars A, marks {}, thin line: null", letter.get()),
        false => "bars A, thin line: null".into(),
    };
    let described = move || {
        let examined = position.get();
        format!(
            "Mean mass of each position over heads and later queries; examined: token {examined}. \
             Choose another with the field Position."
        )
    };
    view! {
        <figure data-test="sink-positions">
            <figcaption class="sub">
                <strong>"Mass on any position"</strong>
                <span>{legend}</span>
            </figcaption>
            <canvas
                class="bars pick" node_ref=canvas on:click=choose role="img" style=format!("height:{POSITIONS}px")
                aria-label=described
            ></canvas>
            <svg class="chart names" aria-hidden="true" style=room>{names}</svg>
        </figure>
    }
}

fn draw(context: &CanvasRenderingContext2d, palette: &Palette, width: f64, [a, b]: [&[Option<f32>]; 2], chosen: usize) {
    let (top, floor) = (6.0, POSITIONS - 6.0);
    let nulls: Vec<_> = (0..a.len()).map(|at| sinks::null(a.len(), at)).collect();
    let most = a.iter().chain(b).chain(&nulls).flatten().fold(0.0f32, |most, v| most.max(*v));
    let (high, unit) = round_up(f64::from(most));
    let y = |value: f64| (floor - value / high * (floor - top)).round();
    context.set_font("10px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace");
    context.set_text_align("right");
    let mut tick = 0.0;
    while tick <= high + unit / 2.0 {
        context.set_fill_style_str(palette.css(if tick == 0.0 { "--line-strong" } else { "--line" }));
        context.fill_rect(LEFT - 4.0, y(tick), width - LEFT + 4.0, 1.0);
        context.set_fill_style_str(palette.css("--ink-3"));
        // Fails only for a context that is gone.
        let _ = context.fill_text(&decimal(tick, unit), LEFT - 10.0, y(tick) + 3.5);
        tick += unit;
    }
    let step = (width - LEFT) / a.len().max(1) as f64;
    let inset = if step >= 8.0 { 2.0 } else { 0.0 };
    let x = |at: usize| LEFT + at as f64 * step;
    for (at, value) in a.iter().enumerate() {
        if at == chosen {
            context.set_fill_style_str(palette.css("--accent-weak"));
            context.fill_rect(x(at), top, step, floor - top);
        }
        if let Some(value) = value {
            context.set_fill_style_str(palette.css("--pane-a"));
            let edge = y(f64::from(*value));
            context.fill_rect(x(at) + inset, edge, (step - 2.0 * inset).max(0.75), floor - edge);
        }
    }
    let mark = |at: usize, value: f32, colour: &str, thick: f64| {
        context.set_fill_style_str(palette.css(colour));
        context.fill_rect(x(at), y(f64::from(value)) - thick / 2.0, step, thick);
    };
    for (at, value) in b.iter().enumerate().take(a.len()) {
        if let Some(value) = value {
            mark(at, *value, "--pane-b", 3.0);
        }
    }
    for (at, null) in nulls.iter().enumerate() {
        if let Some(null) = null {
            mark(at, *null, "--ink", 1.0);
        }
    }
}
