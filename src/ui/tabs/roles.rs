//! Head roles of the wall's pane, from probes: who passes, by how much, what shuffled probes would have given, and what the
//! model loses without the head.

use super::asked::Progress;
use super::interventions::is_short;
use super::wall_pane;
use crate::experiment::{Head, Removal};
use crate::lens::finding::Found;
use crate::lens::roles::{RoleReport, RoleScores};
use crate::ui::format::{fixed, signed};
use crate::ui::segment::segment;
use crate::ui::stage::scene::{pane_letter, within};
use crate::ui::store::Store;
use leptos::prelude::*;
use std::sync::Arc;

/// Longer prompts are swept over when the visitor says so.
const SWEPT_AT_ONCE: usize = 64;
/// Δ loss of every head: on the prompt, and where random tokens stand again; empty until it was computed.
type Evidence = Memo<[Vec<Option<f32>>; 2]>;

/// Heads shown for each role; the pinned head comes in addition.
const TOP: usize = 4;

/// The tab.
#[component]
pub fn RolesTab() -> impl IntoView {
    let store = Store::here();
    let pane = wall_pane(store);
    // Asked again whenever the pane's mechanisms change; the store knows what it has already.
    let stack = Memo::new(move |_| {
        store.experiment.with(|e| (e.model.clone(), e.bos, e.seed, e.panes.get(pane.get()).cloned()))
    });
    Effect::new(move |_| {
        // Read, not only tracked: a memo that nobody has read does not follow its sources.
        stack.with(|_| ());
        if store.ready() {
            store.request_roles(pane.get());
        }
    });
    let fetched = Memo::new(move |_| store.roles(pane.get()));
    // Behind the report, which does not wait for it.
    let scored = Memo::new(move |_| fetched.with(|fetched| fetched.value.is_some() && !fetched.pending));
    Effect::new(move |_| {
        store.experiment.track();
        if scored.get() && store.ready() && is_short(store, SWEPT_AT_ONCE) {
            store.request_finding(pane.get(), "evidence", false);
        }
    });
    let pin = Memo::new(move |_| within(store, store.experiment.with(|experiment| experiment.view.pin)));
    let heads =
        Memo::new(move |_| store.outcome.with(|outcome| outcome.as_ref().map_or(0, |outcome| outcome.model.heads)));
    let body = move || {
        let fetched = fetched.get();
        match (fetched.value, fetched.trouble) {
            (_, Some(trouble)) => view! { <p class="verdict bad" role="alert">{trouble.message}</p> }.into_any(),
            (Some(report), _) if heads.get() > 0 => view! { <Report report pane heads pin/> }.into_any(),
            _ => view! { <p class="verdict">"Probing every head with random tokens …"</p> }.into_any(),
        }
    };
    view! {
        <div
            class="stack" data-test="roles" class:waiting=move || fetched.with(|fetched| fetched.pending)
            aria-busy=move || fetched.with(|fetched| fetched.pending).to_string()
        >
            {body}
        </div>
    }
}

/// A role as people read it.
pub fn role_name(role: &str) -> &str {
    match role {
        "previous_token" => "Previous token",
        "first_token" => "First token",
        "self" => "Self",
        "duplicate" => "Duplicate",
        "induction" => "Induction",
        "local" => "Local",
        "delimiter" => "Delimiter",
        "copying" => "Copying",
        "copy_suppression" => "Copy suppression",
        "retrieval" => "Retrieval",
        "letter" => "Letter",
        "content" => "Content",
        "name_mover" => "Name mover",
        "s_inhibition" => "S-inhibition",
        "list" => "List",
        "safety" => "Safety",
        other => other,
    }
}

/// The roles of one head in words, for a tag beside its name.
pub fn roles_in_words(report: &RoleReport, index: usize) -> String {
    let labels: Vec<_> = report.labels(index).into_iter().map(|role| role_name(role).to_lowercase()).collect();
    if labels.is_empty() { "no clear role".into() } else { labels.join(", ") }
}

#[component]
fn Report(report: Arc<RoleReport>, pane: Memo<usize>, heads: Memo<usize>, pin: Memo<Head>) -> impl IntoView {
    let all = report.roles.first().map_or(0, |role| role.score.len());
    let clear = (0..all).filter(|head| !report.labels(*head).is_empty()).count();
    let counts = report.roles.iter().map(|role| {
        let passing = role.score.iter().filter(|score| **score > role.threshold).count();
        let count = if passing == 0 { "none".to_string() } else { passing.to_string() };
        view! { <b>{count}</b> {format!(" {}", role_name(&role.role).to_lowercase())} }
    });
    let counts: Vec<_> = counts.collect();
    let last = counts.len().saturating_sub(1);
    let joined =
        counts.into_iter().enumerate().map(|(at, count)| view! { {count} {if at == last { ". " } else { ", " }} });
    let pinned = {
        let report = Arc::clone(&report);
        move || {
            let head = pin.get();
            format!("{head}: {}", roles_in_words(&report, head.layer * heads.get() + head.head))
        }
    };
    let (probes, seed) = (report.probes, report.seed);
    let store = Store::here();
    let answered = Memo::new(move |_| store.finding(pane.get(), "evidence"));
    let evidence: Evidence = Memo::new(move |_| {
        answered.with(|answered| {
            let found = answered.fetched.value.as_ref().filter(|_| answered.fresh).map(|finding| &finding.found);
            let of = |id: &str| match found {
                Some(Found::Grid(grid)) => {
                    let sheet = grid.sheets.iter().find(|sheet| sheet.id == id);
                    // A memo compares, and NaN would never be equal.
                    let some = |value: &f32| value.is_finite().then_some(*value);
                    sheet.map(|sheet| sheet.values.iter().map(some).collect()).unwrap_or_default()
                }
                _ => Vec::new(),
            };
            ["prompt", "repeats"].map(of)
        })
    });
    let tables = report.roles.clone().into_iter().map(|role| view! { <Role role heads pin evidence/> }).collect_view();
    view! {
        <p class="verdict" data-test="roles-verdict" data-clear=clear data-of=all>
            {move || format!("Heads of {} by role: ", pane_letter(pane.get()))}
            {joined.collect_view()}
            <b>{all - clear}</b>
            {format!(" of {all} have no clear role.")}
        </p>
        <p class="soft" data-test="roles-pinned">{pinned}</p>
        <div class="row wrap" data-test="evidence">
            <span class="soft">"Without a head:"</span>
            {segment("how", "What stands in a head’s place", Removal::word, |set| set.how, |set, how| set.how = how)}
            <Progress
                answered=Signal::derive(move || answered.get())
                again=Callback::new(move |()| store.request_finding(pane.get_untracked(), "evidence", true))
            />
        </div>
        <table class="tbl roles">
            <thead>
                <tr>
                    <th scope="col">"Head"</th>
                    <th scope="col"><span class="sr">"Score as a bar, threshold as a line"</span></th>
                    <th scope="col">"Score"</th>
                    <th scope="col">"Shuffled"</th>
                    <th scope="col" title="What the loss of the prompt rises by without the head, in nats per token">"Δ prompt"</th>
                    <th scope="col" title="The same where random tokens stand again, which only copying can foresee">"Δ repeats"</th>
                </tr>
            </thead>
            {tables}
        </table>
        <p class="cap">
            {format!(
                "Mean weight over {probes} probes of random tokens, a sequence and its repetition, seed {seed}. Shuffled: the same \
                 cells with the second half shuffled, or a key drawn at random. Bold passes the threshold. False positives: share \
                 of heads that pass it on shuffled probes. A head may have several roles or none. Δ: what the loss rises by, in nats \
                 per token, without that head alone, on the prompt and where random tokens stand again; heads back each other up, \
                 so that a small one does not unmake a role."
            )}
        </p>
    }
}

/// One role: its rule, its best heads, and the pinned head.
#[component]
fn Role(role: RoleScores, heads: Memo<usize>, pin: Memo<Head>, evidence: Evidence) -> impl IntoView {
    let store = Store::here();
    let role = StoredValue::new(role);
    let rows = move || {
        let (heads, pin) = (heads.get().max(1), pin.get());
        let mut order: Vec<usize> = (0..role.with_value(|role| role.score.len())).collect();
        role.with_value(|role| order.sort_by(|a, b| role.score[*b].total_cmp(&role.score[*a])));
        let pinned = pin.layer * heads + pin.head;
        let mut shown: Vec<usize> = order.iter().copied().take(TOP).collect();
        if !shown.contains(&pinned) && order.contains(&pinned) {
            shown.push(pinned);
        }
        let row = |index: usize| {
            let head = Head { layer: index / heads, head: index % heads };
            let (score, shuffled, threshold) = role.with_value(|role| {
                (role.score[index], role.shuffled.get(index).copied().unwrap_or(f32::NAN), role.threshold)
            });
            let passes = score > threshold;
            let bar = format!("width:{:.1}%", 100.0 * score.clamp(0.0, 1.0));
            let line = format!("left:{:.1}%", 100.0 * threshold.clamp(0.0, 1.0));
            let risen = move |kind: usize| evidence.with(|all| all[kind].get(index).copied().flatten());
            let text = move |kind: usize| risen(kind).map_or_else(|| "–".into(), |value| signed(value, 2));
            view! {
                <tr class:on=index == pinned data-test="role-head" data-head=head.to_string() data-score=score data-shuffled=shuffled
                    data-prompt=move || risen(0) data-repeats=move || risen(1)
                >
                    <td>
                        <button
                            type="button" class="link mono" title="Pin this head"
                            on:click=move |_| store.look(|view| view.pin = head)
                        >
                            {head.to_string()}
                        </button>
                    </td>
                    <td><span class="meter" aria-hidden="true"><i style=bar></i><b style=line></b></span></td>
                    <td class="num" class:hi=passes class:lo=!passes>{fixed(score, 2)}</td>
                    <td class="num lo">{fixed(shuffled, 2)}</td>
                    <td class="num">{move || text(0)}</td>
                    <td class="num">{move || text(1)}</td>
                </tr>
            }
        };
        shown.into_iter().map(row).collect_view()
    };
    let (name, word, help, threshold, rate) = role.with_value(|role| {
        (
            role_name(&role.role).to_string(),
            role.role.clone(),
            role.help.clone(),
            role.threshold,
            role.false_positive_rate,
        )
    });
    let rule = format!("passes above {} · false positives {:.0}%", fixed(threshold, 2), 100.0 * rate);
    view! {
        <tbody data-test="role" data-role=word data-threshold=threshold data-false-positive-rate=rate>
            <tr class="head">
                <th colspan="6" scope="rowgroup">
                    <span class="row spread">
                        <strong>{name}</strong>
                        <span class="rule">{rule}</span>
                    </span>
                    <small>{help}</small>
                </th>
            </tr>
            {rows}
        </tbody>
    }
}
