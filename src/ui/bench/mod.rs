//! The bench: every variant on one text on this device, quality against price. Nothing is computed before the visitor asks.

mod axes;
mod run;
mod table;

use super::format;
use super::route::{Nav, PlainBar};
use super::scatter::{Point, Scatter};
use super::stage::canvas::follow_width;
use super::theme;
use super::topbar::tier;
use crate::experiment::Experiment;
use axes::{Axes, Price, Quality};
use leptos::html::Div;
use leptos::prelude::*;
use run::{Bench, FINDER, LENGTHS, LONG, State};
use table::{Copy, Table};

/// The page.
#[component]
pub fn BenchPage() -> impl IntoView {
    let dark = RwSignal::new(theme::is_dark());
    theme::follow_system(dark);
    document().set_title("attnscope: bench");
    let (bench, axes) = (Bench::new(), Axes::new());
    let begin = move || match bench.is_long() {
        true => format!("Measure at {}", length_name(LONG)),
        false => "Measure".into(),
    };
    view! {
        <a class="skip" href="#main">"Skip to content"</a>
        <PlainBar dark/>
        <main id="main" class="page" tabindex="-1" data-test="bench" data-state=move || bench.runs().to_string()>
            <div class="page-head">
                <div>
                    <h1>"Quality against price"</h1>
                    <p>
                        "Every variant at its defaults, training-free on the weights of "{Experiment::default().model}
                        ", on one story it has never seen, one after the other on this device. Quality is the loss per token \
                         above softmax attention, and how many sentences hidden in a passage "{FINDER}" finds again; ratios are \
                         of this run."
                    </p>
                </div>
                <div class="row end">
                    <button
                        type="button" class="btn primary" data-test="bench-go"
                        on:click=move |_| if bench.runs() { bench.state.set(State::Rest) } else { bench.start() }
                    >{move || if bench.runs() { "Stop".into() } else { begin() }}</button>
                    <Copy bench/>
                </div>
            </div>
            <Status bench/>
            <Choices bench axes/>
            <Plot bench axes/>
            <Table bench/>
        </main>
        <footer class="foot"><span class="grow">"attnscope "{env!("CARGO_PKG_VERSION")}</span><Nav/></footer>
    }
}

/// `2048 tokens`.
fn length_name(at: usize) -> String {
    format!("{} tokens", LENGTHS[at])
}

/// How far it has come, on what, and what that can do at most.
#[component]
fn Status(bench: Bench) -> impl IntoView {
    let status = move || match bench.state.get() {
        State::Rest if bench.engine.with(Option::is_some) => "Done.".to_string(),
        State::Rest => "Nothing has run yet.".into(),
        State::Loading => "Loading the model…".into(),
        State::Running(done, all) => format!("{done} of {all} measured"),
        State::Failed(why) => why,
    };
    let engine = move || {
        bench.engine.get().map(|engine| {
            let note =
                if engine.software { ", a software adapter, whose times say nothing about a real GPU" } else { "" };
            format!("{} · {}{note}", tier(&engine), engine.adapter)
        })
    };
    let ceilings = move || {
        bench.ceilings.get().map(|ceilings| {
            let rate = |number: f64, unit: &str| {
                let (number, unit) = format::scaled(number, unit);
                format!("{number} {unit}/s")
            };
            let (bytes, flops) = (rate(ceilings.bytes_per_second, "B"), rate(ceilings.flops_per_second, "FLOP"));
            format!("Ceilings, by two programs that do nothing else: it reads {bytes} and computes {flops}.")
        })
    };
    // The maps of a pass grow with the square of its length, everything else with the length.
    let long = move || {
        let took = match bench.seconds.get() {
            Some(seconds) => format!("about {} to {} s here", (4.0 * seconds).ceil(), (16.0 * seconds).ceil()),
            None => "minutes on a processor".into(),
        };
        bench.is_long().then(|| {
            format!(
                "{} are more than the model was trained for: the story is read over and over with the same \
                 weights, so that time and memory are real, and Δ loss stays that of the longest length measured before. \
                 It takes {took}.",
                length_name(LONG)
            )
        })
    };
    view! {
        <p class="soft" aria-live="polite" data-test="bench-status">{status}" "{engine}</p>
        <p
            class="soft" data-test="ceilings" data-bytes=move || bench.ceilings.get().map(|c| c.bytes_per_second.to_string())
            data-flops=move || bench.ceilings.get().map(|c| c.flops_per_second.to_string())
        >{ceilings}</p>
        <p class="soft" hidden=move || !bench.is_long()>{long}</p>
    }
}

/// Length, price and quality.
#[component]
fn Choices(bench: Bench, axes: Axes) -> impl IntoView {
    let length = move |at: usize| {
        view! {
            <button
                type="button" data-test="bench-length" aria-pressed=move || (bench.length.get() == at).to_string()
                on:click=move |_| bench.length.set(at)
            >{length_name(at)}</button>
        }
    };
    let price =
        move |of: Price| view! { <option value=of.name() selected=move || axes.price.get() == of>{of.name()}</option> };
    let quality = move |of: Quality| view! { <option value=of.name() selected=move || axes.quality.get() == of>{of.name()}</option> };
    let choose_price = move |word: String| {
        if let Some(price) = Price::ALL.into_iter().find(|price| price.name() == word) {
            axes.price.set(price);
        }
    };
    let choose_quality = move |word: String| {
        if let Some(quality) = Quality::ALL.into_iter().find(|quality| quality.name() == word) {
            axes.quality.set(quality);
        }
    };
    view! {
        <div class="row tools-row">
            <div class="seg" role="group" aria-label="Tokens">{(0..LENGTHS.len()).map(length).collect_view()}</div>
            <label>
                "Quality "
                <select data-test="bench-quality" on:change:target=move |event| choose_quality(event.target().value())>
                    {Quality::ALL.map(quality)}
                </select>
            </label>
            <label>
                "Price "
                <select data-test="bench-axis" on:change:target=move |event| choose_price(event.target().value())>
                    {Price::ALL.map(price)}
                </select>
            </label>
        </div>
    }
}

/// One numbered point per variant.
#[component]
fn Plot(bench: Bench, axes: Axes) -> impl IntoView {
    let frame = NodeRef::<Div>::new();
    let width = RwSignal::new(0.0);
    follow_width(frame, width);
    let points = Signal::derive(move || {
        let point = |(index, name, x, y): (usize, String, f64, f64)| Point { number: index + 1, name, x, y };
        axes.points(bench).into_iter().map(point).collect::<Vec<_>>()
    });
    let price = Signal::derive(move || axes.price.get().name().to_string());
    let quality = Signal::derive(move || axes.quality.get().name().to_string());
    let scale = Signal::derive(move || axes.quality.get().scale());
    let most = Signal::derive(move || (axes.price.get() == Price::Share).then_some(100.0));
    let label = Signal::derive(move || {
        let words = points.with(|points| {
            points.iter().map(|p| format!("{}: {:.2}, {:+.3}", p.name, p.x, p.y)).collect::<Vec<_>>().join("; ")
        });
        format!("{} against {}. {words}", quality.get(), price.get())
    });
    view! {
        <div node_ref=frame class="plot-frame" hidden=move || points.with(Vec::is_empty)>
            <Scatter label price quality scale most width points/>
        </div>
    }
}
