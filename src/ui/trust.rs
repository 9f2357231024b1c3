//! What makes numbers trustworthy, in the dialog about the engine: every part of the self-check, what went wrong, and a
//! button that compares the run on screen with the definition.

use super::format;
use super::store::Store;
use crate::experiment::PANE_NAMES;
use crate::outcome::{Check, EngineFacts, Verified};
use leptos::prelude::*;

/// Parts of the self-check, incidents, and the comparison.
#[component]
pub fn Trust(engine: EngineFacts) -> impl IntoView {
    let checks = engine.checks.iter().map(part).collect_view();
    let incidents = engine.incidents.iter().cloned().map(|text| view! { <li>{text}</li> }).collect_view();
    let some = !engine.incidents.is_empty();
    view! {
        <div data-test="trust">
            <h3>"Can these numbers be trusted?"</h3>
            <p class="soft">
                "Before a model or a mechanism is used on this device, it computes a small example whose results are stored, in
                f64. Logits may differ by the amount shown, a mechanism by its tolerance, which counts as 1."
            </p>
            <table class="checks">
                <thead><tr><th>"Part"</th><th>"Deviation"</th><th>"Allowed"</th><th></th></tr></thead>
                <tbody>{checks}</tbody>
            </table>
        </div>
        {some.then(|| view! { <div><h3>"What happened"</h3><ul data-test="incidents">{incidents}</ul></div> })}
        <Verify/>
    }
}

fn part(check: &Check) -> impl IntoView + use<> {
    let passed = check.passed();
    view! {
        <tr data-test="check" data-part=check.part.clone() data-passed=passed.to_string()>
            <td>{check.part.clone()}</td><td class="num">{deviation(check.deviation)}</td><td class="num">{format::four(check.allowed)}</td>
            <td class=if passed { "passed" } else { "refused" }>{if passed { "passed" } else { "failed" }}</td>
        </tr>
    }
}

fn deviation(value: f32) -> String {
    if value == f32::MAX { "not finite".into() } else { format::four(value) }
}

#[component]
fn Verify() -> impl IntoView {
    let store = Store::here();
    let fetched = move || store.verification();
    let pending = move || fetched().pending;
    let words = move || if pending() { "Computing the definition…" } else { "Verify this run" };
    let result = move || {
        let fetched = fetched();
        if let Some(trouble) = fetched.trouble {
            return view! { <p class="refusal">{trouble.message}</p> }.into_any();
        }
        let Some(found) = fetched.value else {
            return view! { <p class="soft">"Runs every pane again beside the definition and shows where the largest difference lies."</p> }
                .into_any();
        };
        let agrees = found.panes.iter().all(Verified::agrees);
        let rows = PANE_NAMES.iter().zip(&found.panes).map(|(name, pane)| row(name, pane)).collect_view();
        let layers = found.panes.iter().map(|pane| pane.layers.len()).max().unwrap_or(0);
        let heads = (0..layers).map(|layer| view! { <th>{format!("L{layer}")}</th> }).collect_view();
        view! {
            <p>{format!("Compared {}: largest difference behind each layer, as a share of the largest entry there.", found.what)}</p>
            <div class="scroll" data-test="verified" data-agrees=agrees.to_string()>
                <table class="checks"><thead><tr><th>"Pane"</th>{heads}<th>"logits"</th><th></th></tr></thead><tbody>{rows}</tbody></table>
            </div>
        }
        .into_any()
    };
    view! {
        <div class="verify">
            <h3>"Beside the definition"</h3>
            <button class="btn" data-test="verify" disabled=pending on:click=move |_| store.verify()>{words}</button>
            {result}
        </div>
    }
}

fn row(name: &str, pane: &Verified) -> impl IntoView + use<> {
    let agrees = pane.agrees();
    let cells = pane.layers.iter().map(|share| view! { <td class="num">{deviation(*share)}</td> }).collect_view();
    view! {
        <tr data-test="verified-pane" data-logits=pane.logits.to_string()>
            <td>{name.to_uppercase()}</td>{cells}<td class="num">{deviation(pane.logits)}</td>
            <td class=if agrees { "passed" } else { "refused" }>{if agrees { "agrees" } else { "differs" }}</td>
        </tr>
    }
}
