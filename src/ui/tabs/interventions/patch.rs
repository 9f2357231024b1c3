//! Activation patching: the page's prompt is the clean one, a second one is corrupted, and one activation after the other
//! is put from the first into the second.

use super::grid::{Drawn, Effects, of};
use super::is_short;
use crate::experiment::{Experiment, Head, Instruments, Pane, PatchMetric, PatchSite, View};
use crate::lens::analysis;
use crate::lens::finding::{ESTIMATE, Fact, Finding};
use crate::ui::format::{self, fixed, signed};
use crate::ui::segment::segment;
use crate::ui::store::Store;
use crate::ui::tabs::asked::{AskedFor, Progress, name, place};
use crate::ui::tabs::wall_pane;
use leptos::prelude::*;

/// Longer prompts are patched when the visitor says so.
const PATCHED_AT_ONCE: usize = 40;

/// Pairs of prompts whose answer is known, for the model that was taught the task.
const EXAMPLES: [(&str, &str, &str); 2] = [
    (
        "Who receives?",
        "When Mary and John went to the park, John gave the ball to",
        "When Mary and John went to the park, Mary gave the ball to",
    ),
    (
        "Other names",
        "When Mary and John went to the park, John gave the ball to",
        "When Tom and Anna went to the park, Anna gave the ball to",
    ),
];

/// The part of the tab.
#[component]
pub fn Patch() -> impl IntoView {
    let store = Store::here();
    let pane = wall_pane(store);
    let set = Memo::new(move |_| store.experiment.with(|experiment| experiment.instruments.clone()));
    let corrupted = Memo::new(move |_| set.with(|set| set.corrupted.clone()));
    Effect::new(move |_| {
        store.experiment.track();
        if store.ready() && is_short(store, PATCHED_AT_ONCE) && !corrupted.with(String::is_empty) {
            store.request_finding(pane.get(), "patching", false);
        }
    });
    let answered = Memo::new(move |_| store.finding(pane.get(), "patching"));
    let finding = Signal::derive(move || answered.with(|answered| answered.fetched.value.clone()));
    let site = Memo::new(move |_| set.with(|set| set.site));
    let drawn = Drawn {
        finding,
        sheet: Signal::derive(move || set.with(|set| set.by.word())),
        // Tokens read better down, and there is more room for them there; heads stand across as everywhere.
        turned: Signal::derive(move || site.get() != PatchSite::Heads),
        chosen: Callback::new(|_| false),
        choose: Callback::new(move |(layer, column)| {
            store.look(|view| match site.get_untracked() {
                PatchSite::Heads => view.pin = Head { layer, head: column },
                _ => view.pin.layer = layer,
            });
        }),
        test: "patch-table",
    };
    let verdict = move || {
        match finding.with(|finding| finding.as_ref().and_then(|finding| sentence(finding, &set.get()))) {
        Some(sentence) if !corrupted.with(String::is_empty) => sentence,
        _ => "Give a second prompt that differs from the page’s in a word or two and has as many tokens, or open an example.".into(),
    }
    };
    let waiting = move || answered.with(|answered| !answered.fresh || answered.fetched.pending);
    let facts = move || {
        let finding = finding.get()?;
        let row = |fact: Fact| {
            let value = if fact.id.starts_with("everything") {
                format!("{}%", fixed(100.0 * fact.value, 2))
            } else {
                signed(fact.value, 3)
            };
            view! { <tr data-test="fact" data-fact=fact.id data-value=fact.value><th scope="row">{fact.name}</th><td class="num">{value}</td></tr> }
        };
        // One line says that everything together restores the clean answer, whichever number it is judged by.
        let wanted = format!("everything_{}", set.with(|set| set.by.word()));
        let shown = |fact: &&Fact| match fact.id.as_str() {
            "rank" | "estimate_millis" => false,
            id => !id.starts_with("everything") || id == wanted,
        };
        let facts = of(&finding)?.facts.iter().filter(shown).cloned();
        Some(view! { <table class="tbl"><tbody>{facts.map(row).collect_view()}</tbody></table> })
    };
    let source = analysis::by_id("patching").map(|analysis| analysis.source).unwrap_or_default();
    let given = move || !corrupted.with(String::is_empty);
    view! {
        <p class="verdict" data-test="patch-verdict">{verdict}</p>
        <Corrupted/>
        <div hidden=move || !given()>
            <div class="stack">
                <AskedFor finding compared=true/>
                <Settings/>
                <Progress
                    answered=Signal::derive(move || answered.get())
                    again=Callback::new(move |()| store.request_finding(pane.get_untracked(), "patching", true))
                />
                <div
                    class="stack" class:waiting=waiting data-test="patching"
                    data-fresh=move || (!waiting() && finding.with(Option::is_some)).to_string()
                    data-millis=move || finding.with(|finding| finding.as_ref().map(|finding| finding.millis))
                >
                    <Effects drawn/>
                    <Estimate exact=drawn/>
                    {facts}
                </div>
            </div>
        </div>
        <p class="cap">
            "Effect: how far the answer of the corrupted prompt returns to that of the clean one when this one activation is taken \
             from the clean prompt. Blank cells are the same under both prompts and change nothing. "
            {format!("After {source}.")}
        </p>
    }
}

/// The same cells estimated by slopes, and how far their order is that of the exact ones.
#[component]
fn Estimate(exact: Drawn) -> impl IntoView {
    let finding = exact.finding;
    let drawn = Drawn { sheet: Signal::stored(ESTIMATE), test: "estimate-table", ..exact };
    let fact = move |id: &str| {
        finding.with(|finding| {
            let facts = &of(finding.as_deref()?)?.facts;
            facts.iter().find(|fact| fact.id == id).map(|fact| fact.value)
        })
    };
    let rank = Memo::new(move |_| fact("rank"));
    let millis = move || {
        let exact = finding.with(|finding| finding.as_ref().map_or(0.0, |finding| finding.millis));
        let all = fact("estimate_millis").unwrap_or_default();
        format!(
            "{} ms for all cells; the exact patches took {} ms.",
            format::millis(all),
            format::millis((exact - all).max(0.0))
        )
    };
    let missing = move || finding.with(|finding| of(finding.as_deref()?).and_then(|grid| grid.notes.first().cloned()));
    let agreement = move || {
        rank.get().map(|rank| {
            view! {
                <p class="verdict" data-test="rank" data-value=rank>
                    "Ranks of the estimated and the exact logit differences correlate by "<b>{signed(rank, 3)}</b>"."
                </p>
            }
        })
    };
    view! {
        <div class="stack" data-test="estimate">
            <p class="sub"><strong>"The same by attribution patching"</strong><span>"one pass back instead of one pass a cell"</span></p>
            {move || missing().map(|note| view! { <p class="soft" data-test="estimate-missing">{note}</p> })}
            {agreement}
            <div hidden=move || rank.get().is_none()>
                <Effects drawn/>
                <p class="cap">
                    "The slope of the logit difference at the corrupted prompt times what the clean activation differs by. "{millis}
                    " After Nanda, 2023."
                </p>
            </div>
        </div>
    }
}

/// The second prompt, and examples of both.
#[component]
pub fn Corrupted() -> impl IntoView {
    let store = Store::here();
    let corrupted = Memo::new(move |_| store.experiment.with(|experiment| experiment.instruments.corrupted.clone()));
    let example = move |(name, clean, other): (&'static str, &'static str, &'static str)| {
        let open = move |_| {
            store.edit(|experiment| {
                let instruments =
                    Instruments { act: experiment.instruments.act, corrupted: other.into(), ..Instruments::default() };
                *experiment = Experiment {
                    model: "circuits-2m".into(),
                    prompt: clean.into(),
                    bos: true,
                    panes: vec![Pane::default()],
                    // The head that moves the name, which earlier heads tell what to move.
                    view: View { tab: experiment.view.tab, pin: Head { layer: 3, head: 0 }, ..View::default() },
                    instruments,
                    ..experiment.clone()
                };
            });
        };
        view! { <button type="button" class="btn" data-test="patch-example" on:click=open>{name}</button> }
    };
    view! {
        <label class="field">
            <span>"Corrupted prompt; the page’s own prompt is the clean one"</span>
            <textarea
                rows="2" data-test="corrupted" prop:value=move || corrupted.get()
                on:change:target=move |event| {
                    let text = event.target().value();
                    store.edit(|experiment| experiment.instruments.corrupted = text);
                }
            ></textarea>
        </label>
        <div class="acts"><span class="soft">"Examples:"</span>{EXAMPLES.map(example)}</div>
    }
}

/// The result in a sentence.
fn sentence(finding: &Finding, set: &Instruments) -> Option<String> {
    let grid = of(finding)?;
    let sheet = grid.sheets.iter().find(|sheet| sheet.id == set.by.word())?;
    let total = sheet.total.filter(|total| total.abs() > 1e-6)?;
    let (at, most) = sheet.values.iter().copied().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let columns = grid.across.labels.len().max(1);
    let (down, across) = (&grid.down.labels[at / columns], grid.across.labels.get(at % columns)?);
    let answer = name(finding, finding.asked.answer);
    let against = finding.asked.against.map(|id| format!(" over “{}”", name(finding, id))).unwrap_or_default();
    let what = if grid.across.name == "head" { format!("Head {down}{across}") } else { format!("{down} at {across}") };
    Some(format!(
        "{what} alone restores {:.0}% of “{answer}”{against} after {}.",
        100.0 * most / total,
        place(finding, finding.asked.query)
    ))
}

/// What is patched, and the number it is judged by.
#[component]
fn Settings() -> impl IntoView {
    let name = |site| match site {
        PatchSite::ResidPre => "Residual",
        PatchSite::AttnOut => "Attention",
        PatchSite::MlpOut => "Feed-forward",
        PatchSite::Heads => "Heads",
    };
    view! {
        <div class="row wrap">
            {segment("site", "What is patched", name, |set| set.site, |set, site| set.site = site)}
            <Metrics/>
        </div>
    }
}

/// By which number a patch is judged.
#[component]
pub fn Metrics() -> impl IntoView {
    let name = |metric| match metric {
        PatchMetric::LogitDifference => "Logit difference",
        PatchMetric::LogProb => "log P",
        PatchMetric::Divergence => "KL",
    };
    segment("by", "Judged by", name, |set| set.by, |set, by| set.by = by)
}
