//! The bench: every variant on one text on this device, quality against price.
//!
//! The page has an engine of its own and asks it for one quote after the other, softmax first, so that every ratio is one
//! of the same run. Nothing is computed before the visitor asks.

use super::format;
use super::route::{Nav, PlainBar};
use super::scatter::{Point, Scatter};
use super::stage::canvas::follow_width;
use super::store::drive::{base, wanted_engine};
use super::theme;
use super::topbar::{copy_text, tier};
use crate::api::client::{Client, Trouble};
use crate::api::{Command, Reply};
use crate::catalogue::{self, Entry};
use crate::experiment::{Chip, Experiment};
use crate::outcome::{Ceilings, EngineFacts, LONG_TOKENS, Price, Quote};
use crate::papers::STORY;
use leptos::html::Div;
use leptos::prelude::*;
use leptos::task::spawn_local;

/// Lengths that are measured.
const LENGTHS: [usize; 2] = [128, 512];

/// Tokens drawn for the speed of decoding.
const DRAWN: usize = 16;

/// A price by which variants are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axis {
    Share,
    Kv,
    Flops,
    Pass,
    Decode,
}

impl Axis {
    const ALL: [Axis; 5] = [Axis::Share, Axis::Kv, Axis::Flops, Axis::Pass, Axis::Decode];

    fn name(self) -> &'static str {
        match self {
            Axis::Share => "scores computed, % of causal pairs",
            Axis::Kv => "KV cache, kB",
            Axis::Flops => "MFLOP per token",
            Axis::Pass => "measured pass, × softmax",
            Axis::Decode => "measured time per drawn token, × softmax",
        }
    }

    /// The price of a quote; `softmax` is that of plain attention in the same run.
    fn of(self, quote: &Quote, softmax: &Quote) -> Option<f64> {
        Some(match self {
            Axis::Share => 100.0 * f64::from(quote.price.score_share),
            Axis::Kv => quote.price.kv_bytes as f64 / 1e3,
            Axis::Flops => quote.price.flops_per_token as f64 / 1e6,
            Axis::Pass => f64::from(quote.price.millis / softmax.price.millis),
            Axis::Decode => f64::from(softmax.tokens_per_second? / quote.tokens_per_second?),
        })
    }
}

/// A variant with what was found.
#[derive(Clone, PartialEq)]
struct Row {
    entry: Entry,
    /// One per length, as far as they have come.
    quotes: [Option<Quote>; LENGTHS.len()],
    trouble: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    Rest,
    Loading,
    Running(usize),
    Failed(String),
}

#[derive(Clone, Copy)]
struct Bench {
    rows: RwSignal<Vec<Row>>,
    state: RwSignal<State>,
    engine: RwSignal<Option<EngineFacts>>,
    ceilings: RwSignal<Option<Ceilings>>,
    /// Index of the length shown; beyond them the closed form at [`LONG_TOKENS`].
    length: RwSignal<usize>,
    axis: RwSignal<Axis>,
}

impl Bench {
    fn new() -> Self {
        let mut entries = catalogue::shipped().unwrap_or_default();
        entries.sort_by_key(|entry| (entry.id != "softmax", entry.number, entry.id.clone()));
        let row = |entry| Row { entry, quotes: Default::default(), trouble: None };
        Self {
            rows: RwSignal::new(entries.into_iter().map(row).collect()),
            state: RwSignal::new(State::Rest),
            engine: RwSignal::new(None),
            ceilings: RwSignal::new(None),
            length: RwSignal::new(0),
            axis: RwSignal::new(Axis::Share),
        }
    }

    fn runs(self) -> bool {
        self.state.with(|state| matches!(state, State::Loading | State::Running(_)))
    }

    fn start(self) {
        self.state.set(State::Loading);
        self.rows.update(|rows| rows.iter_mut().for_each(|row| (row.quotes, row.trouble) = Default::default()));
        spawn_local(async move {
            let client = Client::default();
            if let Err(trouble) = self.measure(&client).await {
                self.state.set(State::Failed(trouble.message));
            }
            client.end();
        });
    }

    /// Every variant at every length. A variant that fails says why and leaves the others alone.
    async fn measure(self, client: &Client) -> Result<(), Trouble> {
        let model = Experiment::default().model;
        let open = Command::Open { model, base: base(), engine: wanted_engine() };
        let Reply::Opened { engine, .. } = client.call(&open, |_, _| {}).await?.reply else {
            return Err(Trouble::unexpected());
        };
        self.engine.set(Some(engine));
        let ids: Vec<String> = self.rows.with_untracked(|rows| rows.iter().map(|row| row.entry.id.clone()).collect());
        if let Reply::Ceilings { ceilings } = client.call(&Command::Ceilings, |_, _| {}).await?.reply {
            self.ceilings.set(Some(ceilings));
        }
        // The first pass of an engine is slower than all others; it is not counted.
        self.ask(client, "softmax", LENGTHS[0]).await.ok();
        for (at, length) in LENGTHS.into_iter().enumerate() {
            for (index, id) in ids.iter().enumerate() {
                if !self.runs() {
                    return Ok(());
                }
                self.state.set(State::Running(at * ids.len() + index));
                let answer = self.ask(client, id, length).await;
                self.rows.update(|rows| match answer {
                    Ok(quote) => rows[index].quotes[at] = Some(quote),
                    Err(trouble) => rows[index].trouble = Some(trouble.message),
                });
            }
            if at == 0 {
                self.length.set(0);
            }
        }
        self.state.set(State::Rest);
        Ok(())
    }

    async fn ask(self, client: &Client, id: &str, tokens: usize) -> Result<Quote, Trouble> {
        let command = Command::Quote { stack: vec![Chip::new(id)], text: STORY.into(), tokens, drawn: DRAWN };
        match client.call(&command, |_, _| {}).await?.reply {
            Reply::Quote { quote } => Ok(quote),
            _ => Err(Trouble::unexpected()),
        }
    }

    /// The quotes of the length shown, with their places in the list.
    fn shown(self) -> Vec<(usize, Entry, Quote)> {
        let at = self.at();
        self.rows.with(|rows| {
            let quoted = |(index, row): (usize, &Row)| Some((index, row.entry.clone(), row.quotes[at].clone()?));
            rows.iter().enumerate().filter_map(quoted).collect()
        })
    }

    /// Whose quotes are shown. The closed form stands in every quote, and the first length's come first.
    fn at(self) -> usize {
        if self.is_long() { 0 } else { self.length.get() }
    }

    fn is_long(self) -> bool {
        self.length.get() >= LENGTHS.len()
    }
}

/// The page.
#[component]
pub fn BenchPage() -> impl IntoView {
    let dark = RwSignal::new(theme::is_dark());
    theme::follow_system(dark);
    document().set_title("attnscope: bench");
    let bench = Bench::new();
    let frame = NodeRef::<Div>::new();
    let width = RwSignal::new(0.0);
    follow_width(frame, width);
    let points = Signal::derive(move || {
        let shown = bench.shown();
        let Some(softmax) = shown.iter().find(|(index, ..)| *index == 0).map(|(.., quote)| quote.clone()) else {
            return Vec::new();
        };
        let point = |(index, entry, quote): (usize, Entry, Quote)| {
            let y = f64::from(quote.loss? - softmax.loss?);
            Some(Point { number: index + 1, name: entry.name, x: bench.axis.get().of(&quote, &softmax)?, y })
        };
        shown.into_iter().filter_map(point).collect()
    });
    let label = Signal::derive(move || {
        let words = points.with(|points| {
            points.iter().map(|p| format!("{}: {:.2}, Δ loss {:+.3}", p.name, p.x, p.y)).collect::<Vec<_>>()
        });
        format!("Quality against price ({}). {}", bench.axis.get().name(), words.join("; "))
    });
    let all = LENGTHS.len() * bench.rows.with_untracked(Vec::len);
    let status = move || match bench.state.get() {
        State::Rest if bench.engine.with(Option::is_some) => "Done.".to_string(),
        State::Rest => "Nothing has run yet.".into(),
        State::Loading => "Loading the model…".into(),
        State::Running(done) => format!("{done} of {all} measured"),
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
    let length = move |at: usize, name: String| {
        view! {
            <button
                type="button" data-test="bench-length" aria-pressed=move || (bench.length.get() == at).to_string()
                on:click=move |_| bench.length.set(at)
            >{name}</button>
        }
    };
    let axis = move |axis: Axis| {
        view! { <option value=axis.name() selected=move || bench.axis.get() == axis>{axis.name()}</option> }
    };
    let choose = move |word: String| {
        if let Some(axis) = Axis::ALL.into_iter().find(|axis| axis.name() == word) {
            bench.axis.set(axis);
        }
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
                         above softmax attention; ratios are of this run."
                    </p>
                </div>
                <div class="row end">
                    <button
                        type="button" class="btn primary" data-test="bench-go"
                        on:click=move |_| if bench.runs() { bench.state.set(State::Rest) } else { bench.start() }
                    >{move || if bench.runs() { "Stop" } else { "Measure" }}</button>
                    <Copy bench/>
                </div>
            </div>
            <p class="soft" aria-live="polite" data-test="bench-status">{status}" "{engine}</p>
            <p
                class="soft" data-test="ceilings" data-bytes=move || bench.ceilings.get().map(|c| c.bytes_per_second.to_string())
                data-flops=move || bench.ceilings.get().map(|c| c.flops_per_second.to_string())
            >{ceilings}</p>
            <div class="row tools-row">
                <div class="seg" role="group" aria-label="Tokens">
                    {LENGTHS.into_iter().enumerate().map(|(at, n)| length(at, format!("{n} tokens"))).collect_view()}
                    {length(LENGTHS.len(), format!("{LONG_TOKENS} tokens, closed form"))}
                </div>
                <label>
                    "Price "
                    <select data-test="bench-axis" on:change:target=move |event| choose(event.target().value())>
                        {Axis::ALL.map(axis).collect_view()}
                    </select>
                </label>
            </div>
            <div node_ref=frame class="plot-frame" hidden=move || bench.is_long() || points.with(Vec::is_empty)>
                <Scatter label price=Signal::derive(move || bench.axis.get().name().to_string()) width points/>
            </div>
            <Table bench/>
        </main>
        <footer class="foot"><span class="grow">"attnscope "{env!("CARGO_PKG_VERSION")}</span><Nav/></footer>
    }
}

const COLUMNS: [&str; 10] = [
    "Variant",
    "Δ loss",
    "loss",
    "scores",
    "KV cache",
    "FLOP / token",
    "pass, ms",
    "of compute",
    "tokens / s",
    "of reading",
];

/// The cells of one row: text, and the ratio to softmax under it where that says more.
fn cells(bench: Bench, row: &Row, softmax: Option<&Quote>) -> Vec<(String, Option<String>)> {
    let long = bench.is_long();
    let at = bench.at();
    let Some(quote) = &row.quotes[at] else {
        let first = row.trouble.clone().unwrap_or_else(|| "–".into());
        return std::iter::once((first, None)).chain((2..COLUMNS.len()).map(|_| ("–".into(), None))).collect();
    };
    let price = |quote: &Quote| -> Price { if long { quote.long.clone() } else { quote.price.clone() } };
    let (own, plain) = (price(quote), softmax.map(price));
    let times = |own: f64, plain: Option<f64>| {
        plain.filter(|plain| *plain > 0.0 && !long).map(|plain| format!("{} ×", format::fixed((own / plain) as f32, 2)))
    };
    let scaled = |number: f64, unit: &str| {
        let (number, unit) = format::scaled(number, unit);
        format!("{number} {unit}")
    };
    let share = |reached: f64, most: fn(&Ceilings) -> f64| {
        bench.ceilings.with(|ceilings| ceilings.as_ref().map(|c| format!("{:.1} %", 100.0 * reached / most(c))))
    };
    let measured =
        |text: Option<String>| if long { "not measured".into() } else { text.unwrap_or_else(|| "–".into()) };
    let delta =
        quote.loss.zip(softmax.and_then(|softmax| softmax.loss)).map(|(own, plain)| format!("{:+.3}", own - plain));
    vec![
        (measured(delta), None),
        (measured(quote.loss.map(|loss| format!("{loss:.3}"))), None),
        (measured(Some(format!("{:.1} %", 100.0 * own.score_share))), None),
        (
            scaled(own.kv_bytes as f64, "B"),
            plain.as_ref().map(|plain| format!("{:.2} ×", own.kv_bytes as f64 / plain.kv_bytes.max(1) as f64)),
        ),
        (scaled(own.flops_per_token as f64, "FLOP"), None),
        (
            measured(Some(format::millis(own.millis))),
            times(own.millis.into(), plain.as_ref().map(|plain| plain.millis.into())),
        ),
        (measured(share(quote.pass_flops as f64 * 1e3 / f64::from(quote.price.millis), |c| c.flops_per_second)), None),
        (
            measured(quote.tokens_per_second.map(|rate| format::fixed(rate, 0))),
            quote.tokens_per_second.and_then(|rate| times(rate.into(), softmax?.tokens_per_second.map(f64::from))),
        ),
        (
            measured(
                quote
                    .tokens_per_second
                    .and_then(|rate| share(quote.bytes_per_token as f64 * f64::from(rate), |c| c.bytes_per_second)),
            ),
            None,
        ),
    ]
}

#[component]
fn Table(bench: Bench) -> impl IntoView {
    let rows = move || {
        let at = bench.at();
        bench.rows.with(|rows| {
            let softmax = rows.first().and_then(|row| row.quotes[at].as_ref());
            let line = |(index, row): (usize, &Row)| {
                let number = row.entry.number.map(|number| format!("paper {number}"));
                let cells = cells(bench, row, softmax).into_iter().map(|(text, under)| {
                    view! { <td class="num">{text}{under.map(|under| view! { <small>{under}</small> })}</td> }
                });
                let quote = row.quotes[at].as_ref();
                view! {
                    <tr
                        data-test="bench-row" data-mechanism=row.entry.id.clone() data-loss=quote.and_then(|quote| quote.loss).map(|loss| loss.to_string())
                        data-share=quote.map(|quote| quote.price.score_share.to_string()) data-trouble=row.trouble.clone()
                    >
                        <th scope="row"><span class="mono">{index + 1}</span>" "{row.entry.name.clone()}<small>{number}</small></th>
                        {cells.collect_view()}
                    </tr>
                }
            };
            rows.iter().enumerate().map(line).collect_view()
        })
    };
    view! {
        <div class="wide-table">
            <table class="tbl">
                <thead><tr>{COLUMNS.map(|name| view! { <th scope="col">{name}</th> }).collect_view()}</tr></thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
    }
}

/// Copies the table as Markdown.
#[component]
fn Copy(bench: Bench) -> impl IntoView {
    let said = RwSignal::new("Copy table");
    let text = move || {
        let at = bench.at();
        bench.rows.with_untracked(|rows| {
            let softmax = rows.first().and_then(|row| row.quotes[at].as_ref());
            let line = |row: &Row| {
                let cells = cells(bench, row, softmax).into_iter().map(|(text, under)| match under {
                    Some(under) => format!("{text} ({under})"),
                    None => text,
                });
                format!("| {} | {} |", row.entry.name, cells.collect::<Vec<_>>().join(" | "))
            };
            let rule = format!("|{}", "---|".repeat(COLUMNS.len()));
            let head = format!("| {} |", COLUMNS.join(" | "));
            [head, rule].into_iter().chain(rows.iter().map(line)).collect::<Vec<_>>().join("\n")
        })
    };
    let copy = move |_| {
        let text = text();
        spawn_local(async move { said.set(if copy_text(&text).await { "Copied" } else { "No clipboard here" }) });
    };
    view! { <button type="button" class="btn" data-test="bench-copy" on:click=copy>{said}</button> }
}
