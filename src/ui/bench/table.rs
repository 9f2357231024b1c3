//! Every number of the bench, one variant a row, and the same as Markdown.

use super::run::{Bench, Row};
use crate::outcome::{Ceilings, Quote};
use crate::ui::format;
use crate::ui::topbar::copy_text;
use leptos::prelude::*;
use leptos::task::spawn_local;

const COLUMNS: [&str; 11] = [
    "Variant",
    "Δ loss",
    "loss",
    "needles",
    "scores",
    "KV cache",
    "FLOP / token",
    "pass, ms",
    "of compute",
    "tokens / s",
    "of reading",
];

/// The cells of one row: text, and the ratio to softmax under it where that says more.
fn cells(bench: Bench, row: &Row, first: Option<&Row>) -> Vec<(String, Option<String>)> {
    let at = bench.length.get();
    let needles = needles(row);
    let Some(quote) = &row.quotes[at] else {
        let first = row.trouble.clone().unwrap_or_else(|| "–".into());
        let rest = (2..COLUMNS.len()).map(|column| if column == 3 { needles.clone() } else { ("–".into(), None) });
        return std::iter::once((first, None)).chain(rest).collect();
    };
    let softmax = first.and_then(|row| row.quotes[at].as_ref());
    let plain = |of: fn(&Quote) -> f64| softmax.map(of).filter(|plain| *plain > 0.0);
    let ratio =
        |own: f64, plain: Option<f64>| plain.map(|plain| format!("{} ×", format::fixed((own / plain) as f32, 2)));
    let scaled = |number: f64, unit: &str| {
        let (number, unit) = format::scaled(number, unit);
        format!("{number} {unit}")
    };
    let share = |reached: Option<f64>, most: fn(&Ceilings) -> f64| {
        let most = bench.ceilings.with(|ceilings| ceilings.as_ref().map(most));
        reached.zip(most).map_or_else(|| "–".into(), |(reached, most)| format!("{:.1} %", 100.0 * reached / most))
    };
    let or_dash = |text: Option<String>| (text.unwrap_or_else(|| "–".into()), None);
    let delta = first.and_then(|first| row.loss_beyond(first, at)).map(|beyond| format!("{beyond:+.3}"));
    let rate = quote.tokens_per_second.map(f64::from);
    let read = rate.map(|rate| quote.bytes_per_token as f64 * rate);
    let multiplied = quote.pass_flops as f64 * 1e3 / f64::from(quote.price.millis);
    vec![
        or_dash(delta),
        or_dash(quote.loss.map(|loss| format!("{loss:.3}"))),
        needles,
        or_dash(quote.price.score_share.map(|share| format!("{:.1} %", 100.0 * share))),
        (
            scaled(quote.price.kv_bytes as f64, "B"),
            ratio(quote.price.kv_bytes as f64, plain(|quote| quote.price.kv_bytes as f64)),
        ),
        (scaled(quote.price.flops_per_token as f64, "FLOP"), None),
        (
            format::millis(quote.price.millis),
            ratio(quote.price.millis.into(), plain(|quote| quote.price.millis.into())),
        ),
        (share(Some(multiplied), |ceilings| ceilings.flops_per_second), None),
        (
            rate.map_or_else(|| "–".into(), |rate| format::fixed(rate as f32, 0)),
            softmax.and_then(|plain| pace(quote, plain)),
        ),
        (share(read, |ceilings| ceilings.bytes_per_second), None),
    ]
}

/// Speed of drawing beside that of softmax, or who drew where it was another.
fn pace(quote: &Quote, softmax: &Quote) -> Option<String> {
    quote.tokens_per_second.zip(softmax.tokens_per_second)?;
    Some(match quote.speed_beside(softmax) {
        Some(ratio) => format!("{} ×", format::fixed(ratio, 2)),
        None if softmax.drawn_on_gpu => "by the processor".into(),
        None => "by the GPU".into(),
    })
}

/// The share of needles found, its 95 % interval under it.
fn needles(row: &Row) -> (String, Option<String>) {
    let Some(found) = &row.needles else { return ("–".into(), None) };
    let [low, high] = found.interval.map(|end| 100.0 * end);
    (format!("{:.0} %", 100.0 * found.accuracy), Some(format!("{low:.0}–{high:.0}")))
}

/// The table.
#[component]
pub fn Table(bench: Bench) -> impl IntoView {
    let rows = move || {
        let at = bench.length.get();
        bench.rows.with(|rows| {
            let line = |(index, row): (usize, &Row)| {
                let number = row.entry.number.map(|number| format!("paper {number}"));
                let cells = cells(bench, row, rows.first()).into_iter().map(|(text, under)| {
                    view! { <td class="num">{text}{under.map(|under| view! { <small>{under}</small> })}</td> }
                });
                let quote = row.quotes[at].as_ref();
                let text = |number: Option<f32>| number.map(|number| number.to_string());
                view! {
                    <tr
                        data-test="bench-row" data-mechanism=row.entry.id.clone()
                        data-loss=text(quote.and_then(|quote| quote.loss))
                        data-beyond=text(rows.first().and_then(|first| row.loss_beyond(first, at)))
                        data-share=text(quote.and_then(|quote| quote.price.score_share))
                        data-millis=text(quote.map(|quote| quote.price.millis))
                        data-drawn-on-gpu=quote.map(|quote| quote.drawn_on_gpu.to_string())
                        data-needles=row.needles.as_ref().map(|found| found.accuracy.to_string())
                        data-trouble=row.trouble.clone()
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
pub fn Copy(bench: Bench) -> impl IntoView {
    let said = RwSignal::new("Copy table");
    let text = move || {
        bench.rows.with_untracked(|rows| {
            let line = |row: &Row| {
                let cells = cells(bench, row, rows.first()).into_iter().map(|(text, under)| match under {
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
        let text = untrack(text);
        spawn_local(async move { said.set(if copy_text(&text).await { "Copied" } else { "No clipboard here" }) });
    };
    view! { <button type="button" class="btn" data-test="bench-copy" on:click=copy>{said}</button> }
}
