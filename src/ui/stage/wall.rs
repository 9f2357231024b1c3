//! The head wall: every layer and head of one pane as a small map, and the way to choose one.
//!
//! One canvas holds all maps; over it lies a grid of plain buttons, one per head, which carry name, number, focus and
//! ring. Beyond 256 tokens no run stores all patterns: the wall then asks for one head after the other and draws what has
//! come.

use super::canvas::{drawn, follow_width, pixel_ratio, put, size};
use super::colour::{Palette, Scaling};
use super::maps;
use super::scene::{fresh_maps, palette, pane_letter, within};
use super::typing;
use crate::experiment::{Head, Metric, Order};
use crate::lens::{HeadRows, Patterns, heads, sinks};
use crate::outcome::STORED_TOKENS;
use crate::ui::format;
use crate::ui::store::Store;
use leptos::html::Div;
use leptos::prelude::*;
use std::sync::Arc;
use web_sys::KeyboardEvent;

/// Edge of a map in CSS pixels: the smallest is the least target, the largest keeps six layers above the fold.
const TILE: (f64, f64) = (24.0, 48.0);
/// From this edge on, a number fits into the masked corner of a map.
const ROOM_FOR_NUMBER: f64 = 40.0;
const GAP: f64 = 4.0;
/// Room for the names of the layers.
const NAMES: f64 = 22.0;
/// Bar under a map, and the line with its number when the wall is sorted.
const BAR: f64 = 5.0;
const NUMBER: f64 = 13.0;

/// Where the maps are, in CSS pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Layout {
    tile: f64,
    step_x: f64,
    step_y: f64,
    left: f64,
    across: usize,
    rows: usize,
}

impl Layout {
    fn fit(width: f64, layers: usize, heads: usize, order: Order) -> Self {
        let sorted = order == Order::Sorted;
        let left = if sorted { 0.0 } else { NAMES };
        let across = heads.max(1);
        let room = (width - left).max(TILE.0);
        let tile = (room / across as f64 - GAP).floor().clamp(TILE.0, TILE.1);
        // Models with more heads than fit wrap when sorted; by layer, the step shrinks no further than the target.
        let step_x = ((room + GAP) / across as f64).floor().clamp(tile, tile + 16.0);
        let step_y = tile + BAR + GAP + if sorted { NUMBER } else { 0.0 };
        Self { tile, step_x, step_y, left, across, rows: layers }
    }

    fn at(&self, index: usize) -> (f64, f64) {
        (self.left + (index % self.across) as f64 * self.step_x, (index / self.across) as f64 * self.step_y)
    }

    fn width(&self) -> f64 {
        self.left + self.across as f64 * self.step_x
    }

    fn height(&self) -> f64 {
        self.rows as f64 * self.step_y
    }
}

/// The metric of every head of the wall's pane, layer by layer; NaN where it is not defined or not computed.
fn numbers(store: Store, pane: usize, metric: Metric, position: usize) -> Vec<f32> {
    store.outcome.with(|outcome| {
        let Some(outcome) = outcome else { return Vec::new() };
        let of = |pane: usize| outcome.panes.get(pane).and_then(Patterns::of);
        if let Some(patterns) = of(pane) {
            let reference = of(0).filter(|_| pane != 0).or_else(|| of(1).filter(|_| pane == 0));
            return heads::metric(metric, &patterns, reference.as_ref(), position);
        }
        every(outcome.model.layers, outcome.model.heads)
            .map(|head| {
                fresh_maps(store, pane, head).map_or(f32::NAN, |maps| single(metric, &HeadRows::of(&maps), position))
            })
            .collect()
    })
}

/// The metric of a head that came alone.
fn single(metric: Metric, rows: &HeadRows<'_>, position: usize) -> f32 {
    match metric {
        Metric::SinkMass => sinks::masses(rows.tokens, &rows.all_shares()).get(position).copied().unwrap_or(f32::NAN),
        Metric::Entropy => heads::entropy(rows),
        Metric::Distance => heads::distance(rows),
        Metric::Previous => heads::previous(rows),
        Metric::Difference => f32::NAN,
    }
}

/// Every head, layer by layer.
pub fn every(layers: usize, heads: usize) -> impl Iterator<Item = Head> {
    (0..layers).flat_map(move |layer| (0..heads).map(move |head| Head { layer, head }))
}

/// Beyond the stored size: asks for the next head of a pane that has not come, one at a time, so that a newer run never
/// waits for more than one. Whether one is still missing.
pub fn request_missing(store: Store, pane: usize) -> bool {
    let sizes = store.outcome.with(|outcome| outcome.as_ref().map(|o| (o.model.layers, o.model.heads, o.tokens.len())));
    let Some((layers, heads, _)) = sizes.filter(|(_, _, tokens)| *tokens > STORED_TOKENS) else { return false };
    let missing = every(layers, heads).find(|head| {
        let fetched = store.head(pane, *head);
        fetched.pending || (fetched.value.is_none() && fetched.trouble.is_none())
    });
    if let Some(head) = missing {
        store.request_head(pane, head);
    }
    missing.is_some()
}

/// Every layer and head.
#[component]
pub fn HeadWall() -> impl IntoView {
    let store = Store::here();
    let colours = palette(store);
    let view =
        move |read: fn(&crate::experiment::View) -> usize| store.experiment.with(|experiment| read(&experiment.view));
    let panes = Memo::new(move |_| store.experiment.with(|experiment| experiment.panes.len()));
    let pane = Memo::new(move |_| view(|view| view.wall).min(panes.get().saturating_sub(1)));
    let metric = Memo::new(move |_| store.experiment.with(|experiment| experiment.view.metric));
    let order = Memo::new(move |_| store.experiment.with(|experiment| experiment.view.order));
    let position = Memo::new(move |_| view(|view| view.position));
    let pin = Memo::new(move |_| within(store, store.experiment.with(|experiment| experiment.view.pin)));
    let shape = Memo::new(move |_| {
        store.outcome.with(|outcome| {
            outcome
                .as_ref()
                .map_or((0, 0, 0), |outcome| (outcome.model.layers, outcome.model.heads, outcome.tokens.len()))
        })
    });
    let values = Memo::new(move |_| Arc::new(numbers(store, pane.get(), metric.get(), position.get())));
    let shown = Memo::new(move |_| {
        let (layers, heads, _) = shape.get();
        let mut all: Vec<(Head, f32)> =
            every(layers, heads).zip(values.get().iter().copied().chain(std::iter::repeat(f32::NAN))).collect();
        if order.get() == Order::Sorted {
            all.sort_by(|(_, a), (_, b)| b.is_nan().cmp(&a.is_nan()).reverse().then(b.total_cmp(a)));
        }
        Arc::new(all.into_iter().map(|(head, _)| head).collect::<Vec<_>>())
    });
    let number = move |head: Head| {
        values.with(|values| values.get(head.layer * shape.get().1 + head.head).copied().unwrap_or(f32::NAN))
    };
    let largest =
        Memo::new(move |_| values.with(|values| values.iter().copied().filter(|v| v.is_finite()).fold(0.0, f32::max)));

    Effect::new(move |_| {
        store.run.track();
        request_missing(store, pane.get());
    });

    let frame = NodeRef::<Div>::new();
    let width = RwSignal::new(0.0);
    follow_width(frame, width);
    let layout = Memo::new(move |_| {
        let (layers, heads, _) = shape.get();
        Layout::fit(width.get(), layers, heads, order.get())
    });
    let canvas = drawn(move |canvas| {
        let (layout, pane) = (layout.get(), pane.get());
        let ratio = pixel_ratio();
        let edge = (layout.tile * ratio).round() as usize;
        size(&canvas, (layout.width() * ratio).round() as u32, (layout.height() * ratio).round().max(1.0) as u32);
        store.outcome.with(|outcome| {
            let Some(outcome) = outcome else { return };
            colours.with(|palette| {
                for (index, head) in shown.get().iter().enumerate() {
                    let maps = if outcome.tokens.len() > STORED_TOKENS { fresh_maps(store, pane, *head) } else { None };
                    let pattern = maps::pattern(outcome, maps.as_deref(), pane, *head);
                    let (x, y) = layout.at(index);
                    let mut bytes = tile(pattern, outcome.tokens.len(), edge, palette);
                    put(&canvas, &mut bytes, edge as u32, (x * ratio).round(), (y * ratio).round());
                }
            });
        });
    });

    let focus = move |head: Head| {
        let selector = format!("[data-test=head][data-head={head}]");
        if let Some(button) = frame.get_untracked().and_then(|frame| frame.query_selector(&selector).ok().flatten()) {
            let button: web_sys::HtmlElement = wasm_bindgen::JsCast::unchecked_into(button);
            let _ = button.focus();
        }
    };
    let pin_head = move |head: Head| store.look(|view| view.pin = head);
    let step = move |from: Head, by: i64| {
        let all = shown.get_untracked();
        let at = all.iter().position(|head| *head == from).unwrap_or(0) as i64;
        all.get((at + by).clamp(0, all.len() as i64 - 1) as usize).copied()
    };
    let press = move |event: KeyboardEvent, from: Head| {
        let across = layout.get_untracked().across as i64;
        let all = i64::MAX / 4;
        let by = match event.key().as_str() {
            "ArrowRight" => 1,
            "ArrowLeft" => -1,
            "ArrowDown" => across,
            "ArrowUp" => -across,
            "Home" => -all,
            "End" => all,
            "Escape" => {
                store.preview.set(None);
                return;
            }
            _ => return,
        };
        event.prevent_default();
        if let Some(head) = step(from, by) {
            focus(head);
        }
    };
    // [ and ] walk through the wall's order from anywhere on the page.
    let keys = window_event_listener(leptos::ev::keydown, move |event| {
        let by = match event.key().as_str() {
            "[" => -1,
            "]" => 1,
            _ => return,
        };
        if !typing(&event)
            && let Some(head) = step(pin.get_untracked(), by)
        {
            pin_head(head);
        }
    });
    on_cleanup(move || keys.remove());

    let button = move |index: usize, head: Head| {
        let style = move || {
            let layout = layout.get();
            let (x, y) = layout.at(index);
            format!("left:{x}px;top:{y}px;width:{}px;height:{}px", layout.tile, layout.step_y - GAP)
        };
        let share = move || {
            let (value, largest) = (number(head), largest.get());
            if value.is_finite() && largest > 0.0 { (value / largest).clamp(0.0, 1.0) } else { 0.0 }
        };
        let sorted = move || order.get() == Order::Sorted;
        let words = move || {
            let value = number(head);
            if value.is_nan() { "–".into() } else { format::fixed(value, 2) }
        };
        let corner = move || match (sorted(), layout.get().tile >= ROOM_FOR_NUMBER) {
            (true, _) => head.to_string(),
            (false, true) => words(),
            (false, false) => String::new(),
        };
        view! {
            <button
                type="button" data-test="head" data-head=head.to_string()
                data-value=move || Some(number(head)).filter(|value| value.is_finite()).map(|value| value.to_string())
                style=style
                tabindex=move || if pin.get() == head { "0" } else { "-1" }
                aria-pressed=move || (pin.get() == head).to_string()
                aria-label=move || format!("{head}, {} {}", metric_name(metric.get()), words())
                on:click=move |_| pin_head(head)
                on:keydown=move |event| press(event, head)
                on:pointerenter=move |event: web_sys::PointerEvent| if event.pointer_type() == "mouse" { store.preview.set(Some(head)) }
                on:focus=move |_| store.preview.set(Some(head))
                on:blur=move |_| store.preview.set(None)
            >
                <span class="hn">{corner}</span>
                <span class="m" style=move || format!("top:{}px", layout.get().tile + 2.0)><i style=move || format!("width:{:.0}%", 100.0 * share())></i></span>
                {move || sorted().then(|| view! { <span class="t" style=move || format!("top:{}px", layout.get().tile + BAR)>{words}</span> })}
            </button>
        }
    };
    let names = move || {
        let (layers, heads, _) = shape.get();
        let layout = layout.get();
        (order.get() == Order::Layer).then(|| {
            let across = (0..heads).map(|head| view! { <span class="lab" style=format!("left:{}px;width:{}px;top:-16px", layout.at(head).0, layout.tile)>{format!("H{head}")}</span> });
            let down = (0..layers).map(|layer| view! { <span class="lab" style=format!("left:0;width:{}px;top:{}px;line-height:{}px", NAMES - 4.0, layout.at(layer * heads).1, layout.tile)>{format!("L{layer}")}</span> });
            view! { {across.collect_view()} {down.collect_view()} }
        })
    };
    view! {
        <section class="block" data-test="wall" data-pane=move || pane_letter(pane.get()).to_lowercase() data-tokens=move || shape.get().2>
            <header>
                <h2>"Heads"</h2>
                <div class="seg" role="group" aria-label="Pane on the wall">
                    {move || (0..panes.get()).map(|index| view! {
                        <button type="button" data-test="wall-pane" aria-pressed=move || (pane.get() == index).to_string() on:click=move |_| store.look(|view| view.wall = index)>
                            {pane_letter(index)}
                        </button>
                    }).collect_view()}
                </div>
                <select
                    aria-label="Number of each head" data-test="metric"
                    prop:value=move || metric.get().word()
                    on:change:target=move |event| if let Ok(metric) = event.target().value().parse() { store.look(|view| view.metric = metric) }
                >
                    {Metric::ALL.iter().map(|choice| view! { <option value=choice.word() selected=move || metric.get() == *choice>{metric_name(*choice)}</option> }).collect_view()}
                </select>
                <div class="seg" role="group" aria-label="Order of the heads">
                    {Order::ALL.iter().map(|choice| view! {
                        <button type="button" title=choice.help() data-test="order" data-order=choice.word() aria-pressed=move || (order.get() == *choice).to_string() on:click=move |_| store.look(|view| view.order = *choice)>
                            {if *choice == Order::Layer { "By layer" } else { "Sorted" }}
                        </button>
                    }).collect_view()}
                </div>
            </header>
            <div
                class="wall live" role="group" node_ref=frame class:named=move || order.get() == Order::Layer
                aria-label=move || format!("Head wall, pane {}", pane_letter(pane.get()))
                style=move || format!("height:{}px", layout.get().height())
                on:pointerleave=move |_| store.preview.set(None)
            >
                <canvas aria-hidden="true" node_ref=canvas style=move || layout.with(|layout| format!("width:{}px;height:{}px", layout.width(), layout.height()))></canvas>
                {names}
                {move || shown.get().iter().enumerate().map(|(index, head)| button(index, *head)).collect_view()}
            </div>
            <p class="cap" data-test="wall-caption">{move || caption(store, pane.get(), metric.get(), position.get(), pin.get(), number(pin.get()), largest.get())}</p>
        </section>
    }
}

/// One map as RGBA bytes: nearest cell when enlarged, the heaviest weight of each block when reduced.
fn tile(pattern: Option<&[f32]>, tokens: usize, edge: usize, palette: &Palette) -> Vec<u8> {
    let Some(pattern) = pattern.filter(|_| tokens > 0) else {
        let [red, green, blue] = palette.ground();
        return [red, green, blue, 255].repeat(edge * edge);
    };
    let mut bytes = Vec::with_capacity(edge * edge * 4);
    let span = |index: usize| {
        let start = index * tokens / edge;
        start..((index + 1) * tokens / edge).max(start + 1)
    };
    for y in 0..edge {
        for x in 0..edge {
            let block = span(y).flat_map(|query| span(x).map(move |key| pattern[query * tokens + key]));
            let value = block.fold(f32::NAN, |most, value| if value > most || most.is_nan() { value } else { most });
            let [red, green, blue] = palette.colour(Scaling::WALL, value);
            bytes.extend([red, green, blue, 255]);
        }
    }
    bytes
}

fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::SinkMass => "Sink mass",
        Metric::Entropy => "Entropy",
        Metric::Distance => "Distance",
        Metric::Difference => "|A − B|",
        Metric::Previous => "Previous token",
    }
}

fn caption(store: Store, pane: usize, metric: Metric, position: usize, pin: Head, value: f32, largest: f32) -> String {
    let tokens = store.outcome.with(|outcome| outcome.as_ref().map_or(0, |outcome| outcome.tokens.len()));
    let null =
        || sinks::null(tokens, position).map_or(String::new(), |null| format!("; null {}", format::fixed(null, 3)));
    let what = match metric {
        Metric::SinkMass => format!("mean weight on token {position} over later queries{}", null()),
        Metric::Entropy => "mean over rows, nats".into(),
        Metric::Distance => "mean distance of query and key, tokens".into(),
        Metric::Difference => "largest difference of one weight between the panes".into(),
        Metric::Previous => "mean weight on the token before, this prompt".into(),
    };
    let reduced = if tokens > TILE.1 as usize { " Each pixel shows the heaviest weight it covers." } else { "" };
    let asked = if tokens > STORED_TOKENS { " Long prompt: heads are computed one after the other." } else { "" };
    let number = |value: f32| if value.is_nan() { "n/a".into() } else { format::four(value) };
    format!(
        "Pattern in {}, √ scale 0–1. Bar: {}, {what}; {pin} {}, largest {}.{reduced}{asked}",
        pane_letter(pane),
        metric_name(metric).to_lowercase(),
        number(value),
        number(largest)
    )
}
