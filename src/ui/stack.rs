//! The stack of one pane as chips: what each does, in which order they act, adding and removing.

use super::icons::{Glyph, Icon};
use super::overlay::Sheet;
use super::stage::scene::pane_letter;
use super::store::Store;
use crate::catalogue::{Entry, Role};
use crate::experiment::{Chip, Pane, Tab};
use leptos::prelude::*;

/// The normalizer a pane has when it names none.
const PLAIN: &str = "softmax";

/// The chips of a pane and the button that adds one.
#[component]
pub fn Chips(
    /// Index of the pane.
    pane: usize,
) -> impl IntoView {
    let store = Store::here();
    // Values are left out: a chip is not made anew while its slider moves.
    let ids = Memo::new(move |_| store.experiment.with(|experiment| stack_ids(experiment.panes.get(pane))));
    view! {
        <div class="chips" role="group" aria-label=format!("Mechanisms of pane {}, in the order in which they act", pane_letter(pane))>
            <For each=move || ids.get().into_iter().enumerate() key=|(index, id)| (*index, id.clone()) let((index, id))>
                <ChipButton pane index id/>
            </For>
            <Add pane/>
        </div>
    }
}

fn stack_ids(pane: Option<&Pane>) -> Vec<String> {
    pane.map(|pane| pane.stack.iter().map(|chip| chip.id.clone()).collect()).unwrap_or_default()
}

fn edit(store: Store, pane: usize, change: impl FnOnce(&mut Vec<Chip>)) {
    store.edit(|experiment| {
        if let Some(pane) = experiment.panes.get_mut(pane) {
            change(&mut pane.stack);
        }
    });
}

#[component]
fn ChipButton(pane: usize, index: usize, id: String) -> impl IntoView {
    let store = Store::here();
    let open = RwSignal::new(false);
    let entry = store.entry(&id);
    let name = entry.as_ref().map_or_else(|| id.clone(), |entry| entry.name.clone());
    let known = entry.is_some();
    let class = Signal::derive(move || match (known, differs(store, pane, index)) {
        (false, _) => "chip refused".to_string(),
        (true, true) => "chip differs".into(),
        (true, false) => "chip".into(),
    });
    let on_button = name.clone();
    view! {
        <Sheet open class label="" test=format!("chip-{id}") button=move || on_button.clone()>
            <AboutChip pane index entry=entry.clone() id=id.clone() open/>
        </Sheet>
    }
}

/// Whether a chip is not in A, or not with these values.
fn differs(store: Store, pane: usize, index: usize) -> bool {
    pane > 0
        && store.experiment.with(|experiment| {
            let chip = experiment.panes.get(pane).and_then(|pane| pane.stack.get(index));
            let a = experiment.panes.first();
            chip.zip(a).is_some_and(|(chip, a)| !a.stack.contains(chip))
        })
}

/// What a chip is, its parameters in words, and what can be done with it.
#[component]
fn AboutChip(pane: usize, index: usize, entry: Option<Entry>, id: String, open: RwSignal<bool>) -> impl IntoView {
    let store = Store::here();
    let role = entry.as_ref().map(|entry| entry.role);
    // Order matters only among chips of one role: scores are changed, then masked, then normalised.
    let neighbour = move |step: isize| {
        let other = index.checked_add_signed(step)?;
        let id = store
            .experiment
            .with_untracked(|experiment| experiment.panes.get(pane)?.stack.get(other).map(|chip| chip.id.clone()))?;
        (store.entry(&id)?.role == role? && role? == Role::ScoreMod).then_some(other)
    };
    let swap = move |other: usize| {
        open.set(false);
        edit(store, pane, |stack| stack.swap(index, other));
    };
    let earlier = neighbour(-1).map(|other| view! { <button on:click=move |_| swap(other)>"Act earlier"</button> });
    let later = neighbour(1).map(|other| view! { <button on:click=move |_| swap(other)>"Act later"</button> });
    let plain = id == PLAIN;
    let remove = move |_| {
        open.set(false);
        edit(store, pane, |stack| {
            stack.remove(index);
            if role.is_some_and(|role| role.excludes(Role::Normalizer)) {
                stack.insert(index.min(stack.len()), Chip::new(PLAIN));
            }
        });
    };
    let removal = match (plain, role) {
        (true, _) => "Remove: a pane needs a normalizer; add another to replace it",
        (false, Some(Role::Normalizer | Role::Mixer)) => "Remove, back to softmax",
        _ => "Remove",
    };
    let paper = {
        let id = id.clone();
        move |_| {
            open.set(false);
            let id = id.clone();
            store.look(|view| (view.tab, view.paper) = (Tab::Paper, id));
        }
    };
    let known = entry.is_some();
    let facts = entry.map(|entry| {
        let params = entry.params.iter().map(|param| view! { <div><dt>{words(&param.key)}</dt><dd>{param.help.clone()}</dd></div> });
        view! { <p><strong>{entry.name.clone()}</strong>" "{entry.role.title()}". "{entry.summary.clone()}</p><dl>{params.collect_view()}</dl> }
    });
    view! {
        <div class="about-chip">
            {facts.ok_or_else(|| view! { <p class="refusal">"This page knows no mechanism named "{id}"."</p> }.into_any()).map_or_else(|refusal| refusal, IntoAny::into_any)}
            <div class="actions">
                {earlier}{later}
                {known.then(|| view! { <button data-test="open-paper" on:click=paper>"Open its page"</button> })}
                <button data-test="remove" disabled=plain on:click=remove>{removal}</button>
            </div>
        </div>
    }
}

/// The catalogue under a button.
#[component]
fn Add(pane: usize) -> impl IntoView {
    let store = Store::here();
    let open = RwSignal::new(false);
    let groups = move || {
        let entries = store.catalogue();
        let mut roles: Vec<Role> = entries.iter().map(|entry| entry.role).collect();
        roles.sort_unstable();
        roles.dedup();
        let group = |role: Role| {
            let items = entries.iter().filter(|entry| entry.role == role).cloned();
            let items = items.map(|entry| view! { <Item pane entry open/> }).collect_view();
            view! { <div><h3>{capital(role.title())}</h3>{items}</div> }
        };
        roles.into_iter().map(group).collect_view()
    };
    view! {
        <Sheet
            open class=Signal::stored("chip".to_string()) label=format!("Add a mechanism to pane {}", pane_letter(pane)) test="add"
            button=move || view! { <Glyph icon=Icon::Add/>"Add" }
        >
            <div class="catalogue" data-test="catalogue">{groups()}</div>
        </Sheet>
    }
}

#[component]
fn Item(pane: usize, entry: Entry, open: RwSignal<bool>) -> impl IntoView {
    let store = Store::here();
    let stack = store.experiment.with_untracked(|experiment| stack_ids(experiment.panes.get(pane)));
    let present = stack.contains(&entry.id);
    // What cannot stand beside the new mechanism makes room for it, and the item says so.
    let (id, role) = (entry.id.clone(), entry.role);
    let role_of = move |id: &str| store.entry(id).map(|other| other.role);
    let replaced: Vec<String> =
        stack.iter().filter(|other| role_of(other).is_some_and(|other| role.excludes(other))).cloned().collect();
    let names = replaced.iter().map(|id| store.entry(id).map_or_else(|| id.clone(), |other| other.name));
    let names = names.collect::<Vec<_>>().join(", ");
    let why = match replaced.as_slice() {
        _ if present => Some("already in this pane".to_string()),
        [] => None,
        [one] if role_of(one) == Some(role) => Some(format!("takes the place of {names}: a pane has one of these")),
        _ => Some(format!("takes the place of {names}: it {}", role.title())),
    };
    let add = move |_| {
        open.set(false);
        edit(store, pane, |stack| {
            stack.retain(|chip| !replaced.contains(&chip.id));
            // Chips stand in the order in which their roles act.
            let place = |stack: &[Chip], role: Role| {
                stack.iter().position(|chip| role_of(&chip.id).is_some_and(|other| other > role)).unwrap_or(stack.len())
            };
            stack.insert(place(stack, role), Chip::new(&id));
            let weighs = |chip: &Chip| role_of(&chip.id).is_some_and(|role| role.excludes(Role::Normalizer));
            if !stack.iter().any(weighs) {
                stack.insert(place(stack, Role::Normalizer), Chip::new(PLAIN));
            }
        });
    };
    view! {
        <button data-test=format!("add-{}", entry.id) disabled=present on:click=add>
            <strong>{entry.name.clone()}</strong>
            <small>{entry.summary.clone()}</small>
            {why.map(|why| view! { <small class="why">{why}</small> })}
        </button>
    }
}

/// A snake_case key as words: `slope_range` → `Slope range`.
pub fn words(key: &str) -> String {
    capital(&key.replace('_', " "))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
