//! How much two panes differ, and on which token.

use super::format;
use super::pane::AddPane;
use super::stage::canvas::follow_width;
use super::stage::scene::{pane_letter, tokens};
use super::store::Store;
use crate::outcome::{PaneOutcome, Price, Token, Versus};
use leptos::html;
use leptos::prelude::*;

/// What the figures say beside A.
#[component]
pub fn Difference(
    /// Index of the pane that A is compared with.
    other: Memo<Option<usize>>,
) -> impl IntoView {
    let store = Store::here();
    let pane = move || other.get().unwrap_or(1);
    let letter = move || pane_letter(pane());
    let versus = Memo::new(move |_| store.with_pane(pane(), |pane| pane.versus_a.clone()).flatten());
    let loss = move |pane: usize| store.with_pane(pane, |pane| pane.loss).flatten();
    let number = move |read: fn(&Versus) -> Option<f32>| move || versus.with(|versus| versus.as_ref().and_then(read));
    let kl = number(|versus| Some(versus.kl_next));
    let mean = number(|versus| Some(versus.kl_mean));
    let delta = number(|versus| versus.delta_loss);
    let three = |value: Option<f32>| value.map_or("n/a".into(), |value| format::fixed(value, 3));
    let text = |value: Option<f32>| value.map(|value| value.to_string());
    view! {
        <section
            class="pane col-d" aria-label="Difference" data-test="difference" data-pane="d"
            data-kl=move || text(kl()) data-kl-mean=move || text(mean()) data-delta-loss=move || text(delta())
        >
            <header title=move || if store.aligned.with(Option::is_some) { "Same weights, two prompts" } else { "Same weights, same prompt" }><h2>"Difference"</h2><span class="grow"></span><AddPane/></header>
            <div class="figs live">
                <div class="fig">
                    <b>{move || three(kl())}<span class="unit">"nats"</span></b>
                    <span>"KL(A ‖ "{letter}"), next token"<br/><span class="muted">"mean over prompt "<span class="mono">{move || three(mean())}</span></span></span>
                </div>
                <div class="fig">
                    <b>{move || delta().map_or("n/a".into(), |value| format::signed(value, 3))}<span class="unit">"nats"</span></b>
                    <span>
                        {move || if store.aligned.with(Option::is_some) { "Δ loss on the tokens both have" } else { "Δ loss on the prompt" }}<br/>
                        <span class="muted">{move || store.aligned.with(Option::is_some).then_some("each on its own text: ")}"A "<span class="mono">{move || three(loss(0))}</span>" → "{letter}" "<span class="mono">{move || three(loss(pane()))}</span></span>
                    </span>
                </div>
            </div>
            <div class="sub"><strong>"Δ loss by token, "{letter}" − A"</strong><span>"nats"</span></div>
            <Losses other=Memo::new(move |_| pane())/>
            <Change other=Memo::new(move |_| pane())/>
        </section>
    }
}

/// The chart of Δ loss by token. A token is predicted from those before it, so the first has no loss.
#[component]
fn Losses(other: Memo<usize>) -> impl IntoView {
    let store = Store::here();
    let place = NodeRef::<html::Div>::new();
    let width = RwSignal::new(0.0);
    follow_width(place, width);
    let deltas = Memo::new(move |_| {
        let of = |pane| store.with_pane(pane, |pane: &PaneOutcome| pane.token_loss.clone()).unwrap_or_default();
        let (a, b) = (of(0), of(other.get()));
        let in_b = |at| same_in(store, other.get(), at).and_then(|at| b.get(at).copied()).unwrap_or(f32::NAN);
        a.into_iter().enumerate().map(|(at, a)| in_b(at) - a).collect::<Vec<f32>>()
    });
    let labels = Memo::new(move |_| tokens(store));
    let under = RwSignal::new(None::<usize>);
    let chart = Memo::new(move |_| deltas.with(|deltas| Chart::new(deltas, width.get())));
    let readout = move || {
        let words = |at: usize, lead: &str| {
            let token = labels.with(|labels| labels.get(at + 1).map(format::plain))?;
            let (a, b) = (token_loss(store, 0, at)?, token_loss(store, other.get(), same_in(store, other.get(), at)?)?);
            let delta = format::signed(b - a, 3);
            Some(format!(
                "{lead}{delta} at {token}: A {} → {} {}",
                format::fixed(a, 2),
                pane_letter(other.get()),
                format::fixed(b, 2)
            ))
        };
        match under.get() {
            Some(at) => words(at, ""),
            None => deltas.with(|deltas| largest(deltas)).and_then(|at| words(at, "largest ")),
        }
    };
    let point = move |event: web_sys::PointerEvent| {
        let x = f64::from(event.offset_x());
        under.set(chart.with_untracked(|chart| chart.token_at(x)));
    };
    let svg = move || {
        let chart = chart.get();
        let bars = [(true, "fb"), (false, "fa")]
            .map(|(up, class)| view! { <path class=class d=chart.bars(&deltas.get(), up)/> });
        let lines = chart.ticks().into_iter().map(|(value, y)| {
            view! {
                <line x1=LEFT - 4.0 x2=chart.width y1=y y2=y class=if value == 0.0 { "axis" } else { "grid" }/>
                <text x=LEFT - 8.0 y=y + 3.5 text-anchor="end" class="tk">{if value == 0.0 { "0".to_string() } else { format::signed(value, chart.decimals) }}</text>
            }
        });
        let names = labels.with(|labels| chart.names(labels)).into_iter().map(|(x, name)| {
            view! { <text class="tk" transform=format!("translate({x:.1} {}) rotate(90)", PLOT + 10.0)>{name}</text> }
        });
        let marker = under
            .get()
            .map(|at| view! { <line class="axis" x1=chart.middle(at) x2=chart.middle(at) y1="0" y2=PLOT + 4.0/> });
        view! {
            <svg
                class="chart" role="img" aria-label=move || readout().map(|words| format!("Δ loss by token, {words}"))
                viewBox=format!("0 0 {} {HEIGHT}", chart.width) style:height=format!("{HEIGHT}px")
            >{lines.collect_view()}{marker}{bars.into_iter().collect_view()}{names.collect_view()}</svg>
        }
    };
    view! {
        <div class="losses live" node_ref=place on:pointermove=point on:pointerleave=move |_| under.set(None)>
            {move || deltas.with(|deltas| !deltas.is_empty()).then(svg)}
            <p class="readout" data-test="loss-readout">{readout}</p>
        </div>
    }
}

fn token_loss(store: Store, pane: usize, at: usize) -> Option<f32> {
    store.with_pane(pane, |pane| pane.token_loss.get(at).copied()).flatten()
}

/// Which loss of a pane is that of the same token as A's loss `at`; none where its text has another token or none there. The
/// loss at a place is that of the token behind it.
fn same_in(store: Store, pane: usize, at: usize) -> Option<usize> {
    match store.aligned.get().filter(|_| pane == 1) {
        Some(aligned) => aligned.to_other(at + 1).filter(|_| aligned.is_same(at + 1))?.checked_sub(1),
        None => Some(at),
    }
}

fn largest(deltas: &[f32]) -> Option<usize> {
    (0..deltas.len()).filter(|at| deltas[*at].is_finite()).max_by(|a, b| deltas[*a].abs().total_cmp(&deltas[*b].abs()))
}

/// Left edge of the bars, bottom of the plot, and height with the labels, in pixels.
const LEFT: f64 = 34.0;
const PLOT: f64 = 108.0;
const HEIGHT: f64 = 164.0;
/// A turned label needs this much.
const LABEL_PIXELS: f64 = 11.0;
/// Letters that fit under the plot.
const LABEL_LETTERS: usize = 7;

/// Where everything of the chart stands.
#[derive(Debug, Clone, PartialEq)]
struct Chart {
    width: f64,
    count: usize,
    low: f32,
    high: f32,
    step: f32,
    decimals: usize,
}

impl Chart {
    fn new(deltas: &[f32], width: f64) -> Self {
        let finite = || deltas.iter().copied().filter(|value| value.is_finite());
        // Not smaller than a tenth of a nat, so that rounding noise does not look like a finding.
        let high = finite().fold(0.0f32, f32::max);
        let low = finite().fold(0.0f32, f32::min);
        let span = (high - low).max(0.1);
        let rough = span / 3.0;
        let decade = 10f32.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].map(|nice| nice * decade).into_iter().find(|step| *step >= rough).unwrap_or(rough);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let (low, high) = ((low / step).floor() * step, ((high / step).ceil() * step).max(step));
        Self { width: width.max(120.0), count: deltas.len(), low, high, step, decimals }
    }

    fn pitch(&self) -> f64 {
        (self.width - LEFT) / self.count.max(1) as f64
    }

    fn middle(&self, at: usize) -> f64 {
        LEFT + (at as f64 + 0.5) * self.pitch()
    }

    fn y(&self, value: f32) -> f64 {
        4.0 + f64::from((self.high - value) / (self.high - self.low)) * (PLOT - 4.0)
    }

    fn token_at(&self, x: f64) -> Option<usize> {
        let at = (x - LEFT) / self.pitch();
        (at >= 0.0 && (at as usize) < self.count).then_some(at as usize)
    }

    fn ticks(&self) -> Vec<(f32, f64)> {
        let count = ((self.high - self.low) / self.step).round() as usize;
        (0..=count)
            .map(|tick| self.low + tick as f32 * self.step)
            .map(|value| if value.abs() < self.step / 2.0 { 0.0 } else { value })
            .map(|value| (value, self.y(value)))
            .collect()
    }

    /// All bars of one direction as one path.
    fn bars(&self, deltas: &[f32], up: bool) -> String {
        let gap = if self.pitch() > 6.0 { 2.0 } else { 0.0 };
        let bar = |(at, value): (usize, &f32)| {
            let (x, zero, y) = (LEFT + at as f64 * self.pitch() + gap / 2.0, self.y(0.0), self.y(*value));
            let (top, height) = (y.min(zero), (y - zero).abs().max(1.0));
            format!("M{x:.1} {top:.1}h{:.1}v{height:.1}h{:.1}z", self.pitch() - gap, gap - self.pitch())
        };
        deltas.iter().enumerate().filter(|(_, value)| value.is_finite() && (**value > 0.0) == up).map(bar).collect()
    }

    /// Token labels, thinned so that none stands on another.
    fn names(&self, labels: &[Token]) -> Vec<(f64, String)> {
        let every = (LABEL_PIXELS / self.pitch()).ceil().max(1.0) as usize;
        let short = |token: &Token| {
            let name = format::plain(token);
            let cut = name.chars().take(LABEL_LETTERS - 1).collect::<String>();
            if name.chars().count() > LABEL_LETTERS { format!("{cut}…") } else { name }
        };
        let named = |at: usize| labels.get(at + 1).map(|token| (self.middle(at) - 3.5, short(token)));
        (0..self.count).step_by(every).filter_map(named).collect()
    }
}

/// How the price changes.
#[component]
fn Change(other: Memo<usize>) -> impl IntoView {
    let store = Store::here();
    let change = move |read: fn(&Price) -> f64| {
        move || {
            let of = |pane| store.with_pane(pane, |pane: &PaneOutcome| read(&pane.price));
            let (a, b) = (of(0)?, of(other.get())?);
            (a > 0.0).then(|| (100.0 * (b - a) / a) as f32)
        }
    };
    let shown = |percent: Option<f32>| {
        match percent {
        Some(percent) => view! { {format::signed(percent, if percent.abs() < 10.0 { 1 } else { 0 })}" "<span class="unit">"%"</span> }.into_any(),
        None => "–".into_any(),
    }
    };
    let kv = change(|price| price.kv_bytes as f64);
    let flops = change(|price| price.flops_per_token as f64);
    let millis = change(|price| f64::from(price.millis));
    let adapter = move || {
        store.outcome.with(|outcome| {
            outcome.as_ref().map(|outcome| {
                let engine = &outcome.engine;
                if engine.software {
                    format!("on {}, a software adapter", engine.adapter)
                } else {
                    format!("on {}", engine.adapter)
                }
            })
        })
    };
    view! {
        <dl class="price live" data-test="price-change" data-kv-percent=move || kv().map(|percent| percent.to_string())>
            <div><dt>"KV cache"</dt><dd>{move || shown(kv())}</dd></div>
            <div><dt>"FLOP"</dt><dd>{move || shown(flops())}</dd></div>
            <div title=adapter><dt>"measured pass"</dt><dd>{move || shown(millis())}</dd></div>
        </dl>
    }
}
