//! The head wall: every layer and head of one pane as a small map, and the way to choose one.
//!
//! One canvas holds all maps; over it lies a grid of plain buttons, one per head, which carry name, number, focus and
//! ring. Beyond 256 tokens no run stores all patterns: the wall then asks for one head after the other and draws what
//! has come.

use super::canvas::{drawn, follow_width, pixel_ratio, put, size};
use super::maps;
use super::metric::{self, Measured, every, numbers, request_missing};
use super::scene::{fresh_maps, palette, pane_letter, within};
use super::tiles::{BAR, Layout, NAMES, ROOM_FOR_NUMBER, tile};
use super::typing;
use crate::experiment::{Head, Metric, Order};
use crate::lens::{Patterns, RowRule};
use crate::outcome::{HeadMaps, STORED_TOKENS};
use crate::ui::format;
use crate::ui::store::Store;
use leptos::html::Div;
use leptos::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use web_sys::{HtmlElement, KeyboardEvent, PointerEvent};

/// What the wall's parts share.
#[derive(Clone, Copy)]
struct Wall {
    store: Store,
    /// Which pane is shown.
    pane: Memo<usize>,
    /// How many there are.
    panes: Memo<usize>,
    metric: Memo<Metric>,
    order: Memo<Order>,
    /// The position that sink mass is read at.
    position: Memo<usize>,
    pin: Memo<Head>,
    /// L, H, tokens.
    shape: Memo<(usize, usize, usize)>,
    /// The metric, layer by layer.
    values: Memo<Arc<Vec<f32>>>,
    largest: Memo<f32>,
    /// Whether rows of the pane sum to anything, so that weights may pass the scale's end.
    free: Memo<bool>,
    /// Heads in the order of the wall.
    shown: Memo<Arc<Vec<Head>>>,
    layout: Memo<Layout>,
    frame: NodeRef<Div>,
}

impl Wall {
    fn new(store: Store) -> Self {
        let panes = Memo::new(move |_| store.experiment.with(|experiment| experiment.panes.len()));
        let pane = Memo::new(move |_| {
            store.experiment.with(|experiment| experiment.view.wall).min(panes.get().saturating_sub(1))
        });
        let metric = Memo::new(move |_| store.experiment.with(|experiment| experiment.view.metric));
        let order = Memo::new(move |_| store.experiment.with(|experiment| experiment.view.order));
        let position = Memo::new(move |_| store.experiment.with(|experiment| experiment.view.position));
        let shape = Memo::new(move |_| {
            store
                .outcome
                .with(|outcome| outcome.as_ref().map_or((0, 0, 0), |o| (o.model.layers, o.model.heads, o.tokens.len())))
        });
        let measured = StoredValue::new(Measured::default());
        let values = Memo::new(move |_| {
            let (pane, metric, position) = (pane.get(), metric.get(), position.get());
            let numbers = measured.try_update_value(|measured| numbers(store, pane, metric, position, measured));
            Arc::new(numbers.unwrap_or_default())
        });
        let shown = Memo::new(move |_| {
            let (layers, heads, _) = shape.get();
            let mut all: Vec<(Head, f32)> = values.with(|values| {
                every(layers, heads).zip(values.iter().copied().chain(std::iter::repeat(f32::NAN))).collect()
            });
            if order.get() == Order::Sorted {
                // What is not known comes last.
                let rank = |value: f32| if value.is_nan() { f32::NEG_INFINITY } else { value };
                all.sort_by(|(_, a), (_, b)| rank(*b).total_cmp(&rank(*a)));
            }
            Arc::new(all.into_iter().map(|(head, _)| head).collect::<Vec<_>>())
        });
        let frame = NodeRef::new();
        let width = RwSignal::new(0.0);
        follow_width(frame, width);
        Self {
            store,
            pane,
            panes,
            metric,
            order,
            position,
            pin: Memo::new(move |_| within(store, store.experiment.with(|experiment| experiment.view.pin))),
            shape,
            values,
            largest: Memo::new(move |_| {
                values.with(|values| values.iter().copied().filter(|value| value.is_finite()).fold(0.0, f32::max))
            }),
            free: Memo::new(move |_| {
                store.with_pane(pane.get(), |pane| Patterns::of(pane).is_some_and(|p| p.rule == RowRule::Free))
                    == Some(true)
            }),
            shown,
            layout: Memo::new(move |_| {
                // Before the first run, room for a small model, so that little moves when it is there.
                let (layers, heads) = match shape.get() {
                    (0, 0, _) => (6, 6),
                    (layers, heads, _) => (layers, heads),
                };
                Layout::fit(width.get(), layers, heads, order.get())
            }),
            frame,
        }
    }

    fn number(self, head: Head) -> f32 {
        let index = head.layer * self.shape.get().1 + head.head;
        self.values.with(|values| values.get(index).copied().unwrap_or(f32::NAN))
    }

    /// The number as it stands on the wall.
    fn words(self, head: Head) -> String {
        let value = self.number(head);
        if value.is_nan() { "–".into() } else { format::fixed(value, 2) }
    }

    fn choose(self, head: Head) {
        self.store.look(|view| view.pin = head);
    }

    /// The head some steps away in the wall's order.
    fn step(self, from: Head, by: isize) -> Option<Head> {
        let all = self.shown.get_untracked();
        let at = all.iter().position(|head| *head == from).unwrap_or(0);
        all.get(at.saturating_add_signed(by).min(all.len().saturating_sub(1))).copied()
    }

    fn focus(self, head: Head) {
        let selector = format!("[data-test=head][data-head={head}]");
        let found = self.frame.get_untracked().and_then(|frame| frame.query_selector(&selector).ok().flatten());
        if let Some(button) = found.and_then(|button| wasm_bindgen::JsCast::dyn_into::<HtmlElement>(button).ok()) {
            // A button that is on screen takes the focus.
            let _ = button.focus();
        }
    }

    /// Arrows, Home and End move among the heads; Enter pins, since they are buttons.
    fn press(self, event: &KeyboardEvent, from: Head) {
        let across = self.layout.get_untracked().across.cast_signed();
        let by = match event.key().as_str() {
            "ArrowRight" => 1,
            "ArrowLeft" => -1,
            "ArrowDown" => across,
            "ArrowUp" => -across,
            "Home" => isize::MIN,
            "End" => isize::MAX,
            "Escape" => return self.store.preview.set(None),
            _ => return,
        };
        event.prevent_default();
        if let Some(head) = self.step(from, by) {
            self.focus(head);
        }
    }
}

/// What the canvas shows now: how it is laid out and coloured, and the maps of heads that came one by one.
#[derive(Default)]
struct Painted {
    look: Option<(Layout, usize, bool, Arc<Vec<Head>>)>,
    maps: BTreeMap<Head, Arc<HeadMaps>>,
}

/// Every layer and head.
#[component]
pub fn HeadWall() -> impl IntoView {
    let wall = Wall::new(Store::here());
    let store = wall.store;
    Effect::new(move |_| {
        store.run.track();
        let pane = wall.pane.get();
        if !request_missing(store, pane) && wall.metric.get() == Metric::Difference && wall.panes.get() > 1 {
            request_missing(store, metric::compared_with(pane));
        }
    });
    let colours = palette(store);
    let painted = StoredValue::new(Painted::default());
    let canvas = drawn(move |canvas| {
        let (layout, pane, ratio) = (wall.layout.get(), wall.pane.get(), pixel_ratio());
        let pixels = |length: f64| (length * ratio).round();
        size(&canvas, pixels(layout.width()) as u32, pixels(layout.height()).max(1.0) as u32);
        let edge = pixels(layout.tile) as usize;
        store.outcome.with(|outcome| {
            let Some(outcome) = outcome else { return };
            let tokens = outcome.tokens_of(pane).len();
            // Where heads come one by one, only those that are new are reduced again.
            let look = (layout, pane, store.dark.get(), wall.shown.get());
            let mut before = painted.try_update_value(std::mem::take).unwrap_or_default();
            let same = before.look.as_ref() == Some(&look);
            before.look = Some(look);
            for (index, head) in wall.shown.get().iter().enumerate() {
                let maps = if tokens > STORED_TOKENS { fresh_maps(store, pane, *head) } else { None };
                let known = same && before.maps.get(head).zip(maps.as_ref()).is_some_and(|(a, b)| Arc::ptr_eq(a, b));
                if !known {
                    let pattern = maps::pattern(outcome, maps.as_deref(), pane, *head);
                    let mut bytes = colours.with(|palette| tile(pattern, tokens, edge, palette));
                    let (x, y) = layout.at(index);
                    put(&canvas, &mut bytes, edge as u32, pixels(x), pixels(y));
                }
                match maps {
                    Some(maps) => before.maps.insert(*head, maps),
                    None => before.maps.remove(head),
                };
            }
            painted.set_value(before);
        });
    });
    // [ and ] walk through the wall's order from anywhere on the page.
    let keys = window_event_listener(leptos::ev::keydown, move |event| {
        let by = match event.key().as_str() {
            "[" => -1,
            "]" => 1,
            _ => return,
        };
        if !typing(&event)
            && let Some(head) = wall.step(wall.pin.get_untracked(), by)
        {
            wall.choose(head);
        }
    });
    on_cleanup(move || keys.remove());

    let letter = move || pane_letter(wall.pane.get());
    let measure = move || wall.layout.with(|layout| format!("width:{}px;height:{}px", layout.width(), layout.height()));
    let buttons = move || {
        wall.shown
            .get()
            .iter()
            .enumerate()
            .map(|(index, head)| view! { <HeadButton wall index head=*head/> })
            .collect_view()
    };
    view! {
        <section
            class="block" data-test="wall"
            data-pane=move || letter().to_lowercase() data-tokens=move || wall.shape.get().2
        >
            <Header wall/>
            <div
                class="wall live" role="group" node_ref=wall.frame
                class:named=move || wall.order.get() == Order::Layer
                aria-label=move || format!("Head wall, pane {}", letter())
                style=move || format!("height:{}px", wall.layout.get().height())
                on:pointerleave=move |_| store.preview.set(None)
            >
                <canvas aria-hidden="true" node_ref=canvas style=measure></canvas>
                <Names wall/>
                {buttons}
            </div>
            <p class="cap" data-test="wall-caption">{move || caption(wall)}</p>
        </section>
    }
}

/// Which pane, which number, which order.
#[component]
fn Header(wall: Wall) -> impl IntoView {
    let store = wall.store;
    let pane = move |index: usize| {
        view! {
            <button
                type="button" data-test="wall-pane" aria-label=format!("Pane {}", pane_letter(index))
                aria-pressed=move || (wall.pane.get() == index).to_string()
                on:click=move |_| store.look(|view| view.wall = index)
            >
                {pane_letter(index)}
            </button>
        }
    };
    let metric = move |choice: &'static Metric| {
        view! {
            <option value=choice.word() selected=move || wall.metric.get() == *choice>{metric::name(*choice)}</option>
        }
    };
    let order = move |choice: &'static Order| {
        view! {
            <button
                type="button" title=choice.help() data-test="order" data-order=choice.word()
                aria-pressed=move || (wall.order.get() == *choice).to_string()
                on:click=move |_| store.look(|view| view.order = *choice)
            >
                {if *choice == Order::Layer { "Layer" } else { "Sorted" }}
            </button>
        }
    };
    let set_metric = move |word: String| {
        if let Ok(metric) = word.parse() {
            store.look(|view| view.metric = metric);
        }
    };
    view! {
        <header>
            <h2>"Heads"</h2>
            <div class="seg" role="group" aria-label="Pane on the wall">
                {move || (0..wall.panes.get()).map(pane).collect_view()}
            </div>
            <select
                aria-label="Number of each head" data-test="metric"
                prop:value=move || wall.metric.get().word()
                on:change:target=move |event| set_metric(event.target().value())
            >
                {Metric::ALL.iter().map(metric).collect_view()}
            </select>
            <div class="seg" role="group" aria-label="Order of the heads">{Order::ALL.iter().map(order).collect_view()}</div>
        </header>
    }
}

/// Names of layers and heads beside the maps, when these stand by layer.
#[component]
fn Names(wall: Wall) -> impl IntoView {
    move || {
        let (layers, heads, _) = wall.shape.get();
        let layout = wall.layout.get();
        let across = (0..heads).map(|head| {
            let style = format!("left:{}px;width:{}px;top:-16px", layout.at(head).0, layout.tile);
            view! { <span class="lab" style=style>{format!("H{head}")}</span> }
        });
        let down = (0..layers).map(|layer| {
            let top = layout.at(layer * heads).1;
            let style = format!("left:0;width:{}px;top:{top}px;line-height:{}px", NAMES - 4.0, layout.tile);
            view! { <span class="lab" style=style>{format!("L{layer}")}</span> }
        });
        (wall.order.get() == Order::Layer).then(|| view! { {across.collect_view()} {down.collect_view()} })
    }
}

/// One head: a button over its map.
#[component]
fn HeadButton(wall: Wall, index: usize, head: Head) -> impl IntoView {
    let store = wall.store;
    let layout = wall.layout;
    let style = move || {
        let layout = layout.get();
        let (x, y) = layout.at(index);
        format!("left:{x}px;top:{y}px;width:{}px;height:{}px", layout.tile, layout.card())
    };
    let filled = move || {
        let (value, largest) = (wall.number(head), wall.largest.get());
        let share = if value.is_finite() && largest > 0.0 { (value / largest).clamp(0.0, 1.0) } else { 0.0 };
        format!("width:{:.0}%", 100.0 * share)
    };
    let sorted = move || wall.order.get() == Order::Sorted;
    let corner = move || match (sorted(), layout.get().tile >= ROOM_FOR_NUMBER) {
        (true, _) => head.to_string(),
        (false, true) => wall.words(head),
        (false, false) => String::new(),
    };
    let under = move || {
        let top = move || format!("top:{}px", layout.get().tile + BAR);
        sorted().then(|| view! { <span class="t" style=top>{move || wall.words(head)}</span> })
    };
    let value = move || Some(wall.number(head)).filter(|value| value.is_finite()).map(|value| value.to_string());
    // A finger has no hover: a tap pins at once.
    let preview = move |event: PointerEvent| {
        if event.pointer_type() == "mouse" {
            store.preview.set(Some(head));
        }
    };
    view! {
        <button
            type="button" data-test="head" data-head=head.to_string() data-value=value style=style
            tabindex=move || if wall.pin.get() == head { "0" } else { "-1" }
            aria-pressed=move || (wall.pin.get() == head).to_string()
            aria-label=move || format!("{head}, {} {}", metric::name(wall.metric.get()), wall.words(head))
            on:click=move |_| wall.choose(head)
            on:keydown=move |event| wall.press(&event, head)
            on:pointerenter=preview
            on:focus=move |_| store.preview.set(Some(head))
            on:blur=move |_| store.preview.set(None)
        >
            <span class="hn">{corner}</span>
            <span class="m" style=move || format!("top:{}px", layout.get().tile + 2.0)><i style=filled></i></span>
            {under}
        </button>
    }
}

/// What is seen: quantity, scale, number, and what was reduced.
fn caption(wall: Wall) -> String {
    let (metric, pin) = (wall.metric.get(), wall.pin.get());
    let (_, _, tokens) = wall.shape.get();
    let number = |value: f32| if value.is_nan() { "n/a".into() } else { format::four(value) };
    let reduced =
        if tokens as f64 > wall.layout.get().tile { " Each pixel shows the heaviest weight it covers." } else { "" };
    let long = if tokens > STORED_TOKENS { " Long prompt: heads are computed one after the other." } else { "" };
    let clipped = if wall.free.get() { ", weights above 1 drawn as 1" } else { "" };
    format!(
        "Pattern in {}, √ scale 0–1{clipped}. Bar: {}, {}; {pin} {}, largest {}.{reduced}{long}",
        pane_letter(wall.pane.get()),
        metric::name(metric),
        metric::basis(metric, tokens, wall.position.get()),
        number(wall.number(pin)),
        number(wall.largest.get())
    )
}
