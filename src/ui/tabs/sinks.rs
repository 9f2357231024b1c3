//! Sinks: how much weight rests on one position in A and B, against what an even causal row would put there.

use super::chart::{Line, LineChart, decimal, round_up};
use crate::experiment::Quantity;
use crate::lens::sinks::{self, Sinks, Without};
use crate::lens::{HeadRows, Patterns};
use crate::outcome::STORED_TOKENS;
use crate::ui::format::{fixed, plain};
use crate::ui::stage::canvas::{drawn, follow_width, sharp};
use crate::ui::stage::colour::Palette;
use crate::ui::stage::scene::{self, palette, pane_letter, tokens};
use crate::ui::stage::metric::{every, request_missing};
use crate::ui::store::Store;
use leptos::html::Div;
use leptos::prelude::*;
use std::sync::Arc;

/// Limits of the ε slider.
const EPSILON: (f32, f32, f32) = (0.05, 0.9, 0.05);
/// Height of the chart over positions, in CSS pixels.
const POSITIONS: f64 = 92.0;
const LEFT: f64 = 34.0;

/// What the tab's parts share.
#[derive(Clone, Copy)]
struct Shared {
    store: Store,
    position: Memo<usize>,
    epsilon: Memo<f32>,
    a: Memo<Option<Arc<Sinks>>>,
    b: Memo<Option<Arc<Sinks>>>,
    without_a: Memo<Option<Without>>,
    without_b: Memo<Option<Without>>,
    /// Letter of the pane beside A.
    letter: Memo<String>,
    labels: Memo<Vec<String>>,
}

/// The tab.
#[component]
pub fn SinksTab() -> impl IntoView {
    let store = Store::here();
    let other = Memo::new(move |_| {
        store.experiment.with(|experiment| scene::other_pane(experiment.panes.len(), experiment.view.wall))
    });
    let position = Memo::new(move |_| {
        let last = store
            .outcome
            .with(|outcome| outcome.as_ref().map_or(usize::MAX, |outcome| outcome.tokens.len()))
            .saturating_sub(1);
        store.experiment.with(|experiment| experiment.view.position).min(last)
    });
    let measured = move |pane: Option<usize>| measure(store, pane?).map(Arc::new);
    let without = move |pane: Option<usize>| {
        let removed = position.get();
        store.outcome.with(|outcome| Without::new(&Patterns::of(outcome.as_ref()?.panes.get(pane?)?)?, removed))
    };
    let shared = Shared {
        store,
        position,
        epsilon: Memo::new(move |_| store.experiment.with(|experiment| experiment.view.epsilon)),
        a: Memo::new(move |_| measured(Some(0))),
        b: Memo::new(move |_| measured(other.get())),
        without_a: Memo::new(move |_| without(Some(0))),
        without_b: Memo::new(move |_| without(other.get())),
        letter: Memo::new(move |_| pane_letter(other.get().unwrap_or(1))),
        labels: Memo::new(move |_| tokens(store).iter().map(plain).collect()),
    };
    // Beyond the stored size the heads of both panes come one after the other.
    Effect::new(move |_| {
        store.run.track();
        if !request_missing(store, 0)
            && let Some(pane) = other.get()
        {
            request_missing(store, pane);
        }
    });
    let frame = NodeRef::<Div>::new();
    let width = RwSignal::new(0.0);
    follow_width(frame, width);

    let verdict = move || match shared.a.get() {
        Some(a) => {
            let text = shared.labels.with(|labels| labels.get(position.get()).cloned().unwrap_or_default());
            sinks::verdict(&a, shared.b.get().as_deref(), position.get(), &text, shared.epsilon.get())
        }
        None => waiting(store),
    };
    view! {
        <div class="stack live" node_ref=frame data-test="sinks">
            <p class="verdict" data-test="verdict">{verdict}</p>
            <Choosers shared/>
            <Views shared/>
            <Depth shared width/>
            <Positions shared width/>
            <Foot shared/>
        </div>
    }
}

/// Everything about a pane's sinks; `None` while some of its heads are missing.
fn measure(store: Store, pane: usize) -> Option<Sinks> {
    store.outcome.with(|outcome| {
        let outcome = outcome.as_ref()?;
        if let Some(patterns) = Patterns::of(outcome.panes.get(pane)?) {
            return Some(Sinks::new(&patterns));
        }
        let maps: Option<Vec<_>> =
            every(outcome.model.layers, outcome.model.heads).map(|head| scene::fresh_maps(store, pane, head)).collect();
        Some(Sinks::of_heads(outcome.model.layers, outcome.model.heads, maps?.iter().map(|maps| HeadRows::of(maps))))
    })
}

/// Why there are no numbers yet.
fn waiting(store: Store) -> String {
    store.outcome.with(|outcome| match outcome {
        None => "Not run yet.".into(),
        Some(outcome) if outcome.tokens.len() > STORED_TOKENS => {
            let all = outcome.model.layers * outcome.model.heads;
            let heads = every(outcome.model.layers, outcome.model.heads);
            let there = heads.filter(|head| scene::fresh_maps(store, 0, *head).is_some()).count();
            format!("Long prompt: {there} of {all} heads of A have been computed.")
        }
        Some(_) => "This run carries no patterns.".into(),
    })
}

/// Which position is examined, and from where on a head counts as a sink.
#[component]
fn Choosers(shared: Shared) -> impl IntoView {
    let Shared { store, position, epsilon, .. } = shared;
    let choose = move |to: usize| store.look(|view| view.position = to);
    let strongest = move || shared.a.with(|sinks| sinks.as_ref().and_then(|sinks| sinks.strongest()));
    let fill = move || {
        let (low, high, _) = EPSILON;
        format!("--fill:{:.1}%", 100.0 * (epsilon.get() - low) / (high - low))
    };
    view! {
        <div class="choosers">
            <label>
                "Position "
                <input
                    type="number" min="0" step="1" data-test="sink-position"
                    max=move || shared.labels.with(|labels| labels.len().saturating_sub(1))
                    prop:value=move || position.get().to_string()
                    on:change:target=move |event| if let Ok(to) = event.target().value().parse() { choose(to) }
                />
                <span class="mono">{move || shared.labels.with(|labels| labels.get(position.get()).cloned())}</span>
            </label>
            <button
                type="button" class="btn" data-test="sink-strongest"
                disabled=move || strongest().is_none_or(|at| at == position.get())
                on:click=move |_| if let Some(at) = strongest() { choose(at) }
            >
                {move || strongest().map_or_else(|| "Strongest".into(), |at| format!("Strongest in A: {at}"))}
            </button>
            <label class="epsilon">
                <span>"Threshold ε"</span>
                <input
                    type="range" min=EPSILON.0 max=EPSILON.1 step=EPSILON.2 data-test="epsilon" style=fill
                    prop:value=move || epsilon.get().to_string()
                    on:input:target=move |event| if let Ok(to) = event.target().value().parse() {
                        store.drag("epsilon", |experiment| experiment.view.epsilon = to)
                    }
                />
                <span class="num">{move || fixed(epsilon.get(), 2)}</span>
            </label>
        </div>
    }
}

/// The labelled views of the same mass, and the share of heads above ε.
#[component]
fn Views(shared: Shared) -> impl IntoView {
    let Shared { position, epsilon, a, b, without_a, without_b, letter, labels, .. } = shared;
    let null = move || a.with(|sinks| sinks.as_ref().and_then(|sinks| sinks::null(sinks.tokens, position.get())));
    let of = move |sinks: Memo<Option<Arc<Sinks>>>, read: fn(&Sinks, usize) -> Option<f32>| {
        move || sinks.with(|sinks| sinks.as_ref().and_then(|sinks| read(sinks, position.get())))
    };
    let raw = (of(a, Sinks::mean), of(b, Sinks::mean));
    let weighted = (of(a, Sinks::value_weighted), of(b, Sinks::value_weighted));
    let removed_note = move || {
        let name = |without: Option<Without>| {
            let without = without?;
            let label = labels.with(|labels| labels.get(without.next).cloned())?;
            Some((format!("{label} at {}", without.next), without.renormalised))
        };
        let (in_a, in_b) = (name(without_a.get()), name(without_b.get()));
        let left = match (in_a.as_ref().map(|(_, r)| *r), in_b.as_ref().map(|(_, r)| *r)) {
            (None, None) => return "needs stored patterns, up to 256 tokens".to_string(),
            (Some(false), Some(false) | None) => "rows left as they are, since they need not sum to one".to_string(),
            (Some(true), Some(false)) => format!("rows of A renormalised; rows of {} left as they are", letter.get()),
            (Some(false), Some(true)) => format!("rows of A left as they are; rows of {} renormalised", letter.get()),
            _ => "rows renormalised".to_string(),
        };
        let next = [("A".to_string(), in_a), (letter.get(), in_b)];
        let next = next
            .into_iter()
            .filter_map(|(pane, found)| Some(format!("{pane} {}", found?.0)))
            .collect::<Vec<_>>()
            .join(", ");
        format!("{left}; next strongest: {next}")
    };
    let heads = move |sinks: Memo<Option<Arc<Sinks>>>| {
        move || {
            sinks.with(|sinks| {
                sinks.as_ref().map(|sinks| (sinks.heads_above(position.get(), epsilon.get()), sinks.importance.len()))
            })
        }
    };
    let (heads_a, heads_b) = (heads(a), heads(b));
    let slot = move |sinks: Memo<Option<Arc<Sinks>>>| {
        move || {
            sinks.with(|sinks| {
                sinks
                    .as_ref()
                    .filter(|sinks| !sinks.slot.is_empty())
                    .map(|sinks| sinks.slot.iter().sum::<f32>() / sinks.slot.len() as f32)
            })
        }
    };
    let (slot_a, slot_b) = (slot(a), slot(b));
    let ratio = |value: Option<f32>, null: Option<f32>| {
        value.zip(null).map(|(value, null)| format!("{} ×", fixed(value / null, 2)))
    };
    let cell = move |value: Option<f32>, null: Option<f32>| view! { <td class="num">{three(value)}<small>{ratio(value, null)}</small></td> };
    view! {
        <table class="tbl" data-test="sink-views">
            <thead>
                <tr><th scope="col">"View"</th><th scope="col">"A"</th><th scope="col">{move || letter.get()}</th><th scope="col">"Null"</th></tr>
            </thead>
            <tbody>
                <tr data-test="sink-raw" data-a=move || number(raw.0()) data-b=move || number(raw.1()) data-null=move || number(null())>
                    <th scope="row">"Raw"<small>{move || format!("weight on token {}, mean over later queries and heads", position.get())}</small></th>
                    {move || cell(raw.0(), null())}
                    {move || cell(raw.1(), null())}
                    <td class="num lo">{move || three(null())}</td>
                </tr>
                <tr
                    data-test="sink-removed"
                    data-a=move || number(without_a.get().map(|w| w.mass)) data-b=move || number(without_b.get().map(|w| w.mass))
                    data-null=move || number(without_a.get().map(|w| w.null))
                >
                    <th scope="row">{move || format!("Token {} removed", position.get())}<small>{removed_note}</small></th>
                    {move || { let w = without_a.get(); cell(w.as_ref().map(|w| w.mass), w.map(|w| w.null)) }}
                    {move || { let w = without_b.get(); cell(w.as_ref().map(|w| w.mass), w.map(|w| w.null)) }}
                    <td class="num lo">
                        {move || three(without_a.get().map(|w| w.null))}
                        <small>{move || {
                            let nulls = without_a.get().map(|w| w.null).zip(without_b.get().map(|w| w.null));
                            nulls.filter(|(a, b)| a != b).map(|(_, b)| format!("{} {}", letter.get(), fixed(b, 3)))
                        }}</small>
                    </td>
                </tr>
                <tr data-test="sink-weighted" data-a=move || number(weighted.0()) data-b=move || number(weighted.1()) data-null=move || number(null())>
                    <th scope="row">"Value-weighted"<small>"share of α · ‖v·W_O‖"</small></th>
                    {move || cell(weighted.0(), null())}
                    {move || cell(weighted.1(), null())}
                    <td class="num lo">{move || three(null())}</td>
                </tr>
                <tr
                    data-test="sink-heads" data-a=move || heads_a().map(|(above, _)| above) data-b=move || heads_b().map(|(above, _)| above)
                    data-of=move || heads_a().map(|(_, all)| all)
                >
                    <th scope="row">{move || format!("Heads above ε = {}", fixed(epsilon.get(), 2))}<small>"importance: column sum over the queries that may see it"</small></th>
                    {move || share(heads_a())}
                    {move || share(heads_b())}
                    <td></td>
                </tr>
                {move || (slot_a().is_some() || slot_b().is_some()).then(|| view! {
                    <tr data-test="sink-slot" data-a=number(slot_a()) data-b=number(slot_b())>
                        <th scope="row">"Slot"<small>"mean weight on the normalizer’s own slot, which is no token"</small></th>
                        <td class="num">{slot_a().map_or("none".into(), |v| fixed(v, 3))}</td>
                        <td class="num">{slot_b().map_or("none".into(), |v| fixed(v, 3))}</td>
                        <td></td>
                    </tr>
                })}
            </tbody>
        </table>
    }
}

fn share(heads: Option<(usize, usize)>) -> impl IntoView {
    let text = heads.map_or_else(|| "–".to_string(), |(above, _)| above.to_string());
    let note = heads.map(|(above, all)| format!("{:.0}% of {all}", 100.0 * above as f32 / all.max(1) as f32));
    view! { <td class="num">{text}<small>{note}</small></td> }
}

fn three(value: Option<f32>) -> String {
    value.map_or_else(|| "–".into(), |value| fixed(value, 3))
}

fn number(value: Option<f32>) -> Option<String> {
    value.map(|value| value.to_string())
}

/// Mass by layer.
#[component]
fn Depth(shared: Shared, width: RwSignal<f64>) -> impl IntoView {
    let Shared { position, a, b, letter, .. } = shared;
    let by_layer = move |sinks: Memo<Option<Arc<Sinks>>>| {
        sinks.with(|sinks| sinks.as_ref().map(|sinks| sinks.by_layer(position.get())))
    };
    let steps = Signal::derive(move || {
        (0..a.with(|a| a.as_ref().map_or(0, |a| a.layers))).map(|layer| format!("L{layer}")).collect::<Vec<_>>()
    });
    let lines = Signal::derive(move || {
        let last = |values: &[f32]| {
            values.last().copied().filter(|v| v.is_finite()).map_or(String::new(), |v| format!(" {}", fixed(v, 2)))
        };
        let line = |name: String, class, values: Option<Vec<f32>>| {
            values.map(|values| Line { name: format!("{name}{}", last(&values)), class, values })
        };
        let null = a.with(|a| a.as_ref().and_then(|a| Some(vec![sinks::null(a.tokens, position.get())?; a.layers])));
        [line("A".into(), "a", by_layer(a)), line(letter.get(), "b", by_layer(b)), line("null".into(), "n", null)]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
    });
    let label = Signal::derive(move || {
        let words = lines.with(|lines| {
            lines
                .iter()
                .map(|line| {
                    let values: Vec<_> = line.values.iter().map(|v| fixed(*v, 2)).collect();
                    format!("{}: {}", line.name.split(' ').next().unwrap_or_default(), values.join(", "))
                })
                .collect::<Vec<_>>()
        });
        format!("Mass on token {} by layer. {}", position.get(), words.join("; "))
    });
    let heads = move || a.with(|a| a.as_ref().map_or(0, |a| a.heads));
    view! {
        <figure data-test="sink-depth">
            <figcaption class="sub">
                <strong>{move || format!("Mass on token {}, by layer", position.get())}</strong>
                <span>{move || format!("mean over later queries, {} heads", heads())}</span>
            </figcaption>
            <LineChart label width steps lines/>
        </figure>
    }
}

/// Mass on every position, with the null of each; a click examines a position.
#[component]
fn Positions(shared: Shared, width: RwSignal<f64>) -> impl IntoView {
    let Shared { store, position, a, b, letter, labels, .. } = shared;
    let colours = palette(store);
    let masses = move |sinks: Memo<Option<Arc<Sinks>>>| {
        Memo::new(move |_| {
            sinks.with(|sinks| {
                sinks.as_ref().map(|sinks| {
                    Arc::new(sinks.by_position().iter().map(|v| v.is_finite().then_some(*v)).collect::<Vec<_>>())
                })
            })
        })
    };
    let (in_a, in_b) = (masses(a), masses(b));
    let step = move || (width.get() - LEFT).max(1.0) / labels.with(|labels| labels.len().max(1)) as f64;
    let canvas = drawn(move |canvas| {
        let Some(context) = sharp(&canvas, width.get(), POSITIONS) else { return };
        if let Some(a) = in_a.get() {
            colours.with(|palette| {
                draw(&context, palette, width.get(), &a, in_b.get().as_ref().map(|b| b.as_slice()), position.get())
            });
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
    view! {
        <figure data-test="sink-positions">
            <figcaption class="sub">
                <strong>"Mass on any position"</strong>
                <span>{move || if b.with(Option::is_some) { format!("bars A, marks {}, black line: null", letter.get()) } else { "bars A, black line: null".into() }}</span>
            </figcaption>
            <canvas
                class="bars pick" node_ref=canvas on:click=choose role="img" style=format!("height:{POSITIONS}px")
                aria-label=move || format!("Mean mass of each position over heads and later queries; examined: token {}. Choose another with the field Position.", position.get())
            ></canvas>
            <svg class="chart names" aria-hidden="true" style=move || format!("height:{}px", 8.0 + 6.2 * longest() as f64)>{names}</svg>
        </figure>
    }
}

fn draw(
    context: &web_sys::CanvasRenderingContext2d,
    palette: &Palette,
    width: f64,
    a: &[Option<f32>],
    b: Option<&[Option<f32>]>,
    chosen: usize,
) {
    let (top, floor) = (6.0, POSITIONS - 6.0);
    let nulls: Vec<_> = (0..a.len()).map(|at| sinks::null(a.len(), at)).collect();
    let most = a.iter().chain(b.unwrap_or(&[])).chain(&nulls).flatten().fold(0.0f32, |most, v| most.max(*v));
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
    for (at, value) in b.unwrap_or(&[]).iter().enumerate().take(a.len()) {
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

/// What the null is, and what none of this proves.
#[component]
fn Foot(shared: Shared) -> impl IntoView {
    let Shared { position, a, .. } = shared;
    let null = move || {
        let tokens = a.with(|a| a.as_ref().map(|a| a.tokens))?;
        Some((tokens, sinks::null(tokens, position.get())?))
    };
    let quantity = Quantity::ValueWeighted.help();
    view! {
        <p class="cap" title=quantity>
            "Null: a causal row that spreads evenly gives every key it sees 1/(t+1)"
            {move || null().map(|(tokens, null)| format!("; the mean over queries t = {}…{} is {}", position.get() + 1, tokens - 1, fixed(null, 4)))}
            ". A weight is not an explanation; one prompt is not a law."
        </p>
    }
}
