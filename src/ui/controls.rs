//! Controls generated from the catalogue: one per parameter, none of them written by hand.

use super::icons::{Glyph, Icon};
use super::stack::words;
use super::stage::scene::pane_letter;
use super::store::Store;
use crate::catalogue::{Control, Entry, Range};
use crate::experiment::Experiment;
use crate::spec::Plain;
use leptos::prelude::*;

/// Every parameter of every mechanism of a pane.
#[component]
pub fn Params(
    /// Index of the pane.
    pane: usize,
) -> impl IntoView {
    let store = Store::here();
    let ids = Memo::new(move |_| {
        store.experiment.with(|experiment| {
            let chips = experiment.panes.get(pane).map(|pane| pane.stack.as_slice()).unwrap_or_default();
            chips.iter().map(|chip| chip.id.clone()).enumerate().collect::<Vec<_>>()
        })
    });
    let with_controls = move || {
        let entries = ids.get().into_iter().filter_map(|(index, id)| Some((index, store.entry(&id)?)));
        entries.filter(|(_, entry)| !entry.params.is_empty()).collect::<Vec<_>>()
    };
    view! {
        <div class="params">
            <For each=with_controls key=|(index, entry)| (*index, entry.id.clone()) let((index, entry))>
                <Group pane index entry/>
            </For>
        </div>
    }
}

#[component]
fn Group(pane: usize, index: usize, entry: Entry) -> impl IntoView {
    let store = Store::here();
    let controls = entry.params.into_iter().map(|control| {
        let (key, default) = (StoredValue::new(control.key.clone()), StoredValue::new(control.default.clone()));
        view! { <Param knob=Knob { store, pane, index, key, default } control mechanism=entry.id.clone()/> }
    });
    view! { <div class="group" role="group" aria-label=entry.name>{controls.collect_view()}</div> }
}

/// One value of the experiment.
#[derive(Clone, Copy)]
struct Knob {
    store: Store,
    pane: usize,
    index: usize,
    key: StoredValue<String>,
    default: StoredValue<Plain>,
}

impl Knob {
    fn get(self) -> Plain {
        let set = self.store.experiment.with(|experiment| {
            self.key.with_value(|key| experiment.panes.get(self.pane)?.stack.get(self.index)?.values.get(key).cloned())
        });
        set.unwrap_or_else(|| self.default.get_value())
    }

    fn number(self) -> f64 {
        match self.get() {
            Plain::Number(number) => number,
            _ => f64::NAN,
        }
    }

    fn changed(self) -> bool {
        self.get() != self.default.get_value()
    }

    /// Writes a value; the default is written by leaving the key out, so that equal experiments have equal links.
    fn put(self, value: Plain) -> impl FnOnce(&mut Experiment) {
        let (key, default) = (self.key.get_value(), self.default.get_value());
        move |experiment| {
            if let Some(chip) = experiment.panes.get_mut(self.pane).and_then(|pane| pane.stack.get_mut(self.index)) {
                if value == default {
                    chip.values.remove(&key);
                } else {
                    chip.values.insert(key, value);
                }
            }
        }
    }

    fn set(self, value: Plain) {
        self.store.edit(self.put(value));
    }

    fn drag(self, value: Plain) {
        let name = self.key.with_value(|key| format!("{}.{}.{key}", self.pane, self.index));
        self.store.drag(&name, self.put(value));
    }
}

#[component]
fn Param(knob: Knob, control: Control, mechanism: String) -> impl IntoView {
    let refusal = RwSignal::new(None::<String>);
    let id = format!("{}-{}-{}", pane_letter(knob.pane).to_lowercase(), knob.index, control.key);
    let name = words(&control.key);
    let test = format!("{mechanism}.{}", control.key);
    let help = control.help.clone();
    let body = match control.range.clone() {
        Range::Flag => view! { <Switch knob id=id.clone() help=help.clone()/><span></span><span></span> }.into_any(),
        Range::Choice { words } => view! { <Choice knob id=id.clone() words help=help.clone()/> }.into_any(),
        Range::Int { min, max, step } => {
            let bounds = Bounds { min: min.into(), max: max.into(), step: step.into(), whole: true };
            view! { <Slide knob id=id.clone() name=name.clone() control=control.clone() bounds refusal/> }.into_any()
        }
        Range::Real { min, max, step } => {
            let bounds = Bounds { min, max, step, whole: false };
            view! { <Slide knob id=id.clone() name=name.clone() control=control.clone() bounds refusal/> }.into_any()
        }
    };
    let reset = move |_| {
        refusal.set(None);
        knob.set(knob.default.get_value());
    };
    view! {
        <div class="param" data-test="param" data-param=test data-value=move || knob.get().to_string()>
            <label class="name" class:changed=move || knob.changed() for=id title=help.clone()>{name.clone()}</label>
            {body}
            <button
                type="button" class="reset" data-test="reset" data-on=move || knob.changed().to_string()
                aria-label=format!("Reset {name} to {}", control.default) title=format!("Back to {}", control.default) on:click=reset
            ><Glyph icon=Icon::Reset/></button>
            {move || refusal.get().map(|words| view! { <p class="refusal" role="alert">{words}</p> })}
        </div>
    }
}

/// What numbers a parameter takes.
#[derive(Clone, Copy)]
struct Bounds {
    min: f64,
    max: f64,
    step: f64,
    whole: bool,
}

impl Bounds {
    /// A typed number, or why it is refused.
    fn read(self, text: &str) -> Result<f64, String> {
        let expected = if self.whole { "a whole number" } else { "a number" };
        match text.trim().parse::<f64>() {
            Ok(number) if (self.min..=self.max).contains(&number) && (!self.whole || number.fract() == 0.0) => {
                Ok(number)
            }
            _ => Err(format!("must be {expected} from {} to {}", self.min, self.max)),
        }
    }
}

/// A slider and the number beside it.
#[component]
fn Slide(
    knob: Knob,
    id: String,
    name: String,
    control: Control,
    bounds: Bounds,
    refusal: RwSignal<Option<String>>,
) -> impl IntoView {
    let Bounds { min, max, step, .. } = bounds;
    let fill = move || format!("{:.2}%", 100.0 * ((knob.number() - min) / (max - min)).clamp(0.0, 1.0));
    let slide = move |text: String| {
        if let Ok(number) = bounds.read(&text) {
            refusal.set(None);
            knob.drag(Plain::Number(number));
        }
    };
    let label = name.clone();
    let typed = move |text: String| match bounds.read(&text) {
        Ok(number) => {
            refusal.set(None);
            knob.set(Plain::Number(number));
        }
        Err(why) => refusal
            .set(Some(format!("{label} is {} but {why}", if text.trim().is_empty() { "empty" } else { text.trim() }))),
    };
    let unit = control.unit.clone();
    let value_text = move || if unit.is_empty() { knob.get().to_string() } else { format!("{} {unit}", knob.get()) };
    view! {
        <input
            type="range" id=id min=min max=max step=step data-test="slider" title=control.help.clone() aria-valuetext=value_text
            style=("--fill", fill) prop:value=move || knob.number().to_string() on:input:target=move |event| slide(event.target().value())
        />
        <input
            type="number" min=min max=max step=if bounds.whole { "1".to_string() } else { "any".into() } data-test="number" aria-label=format!("{name}, number")
            aria-invalid=move || refusal.get().is_some().to_string()
            prop:value=move || knob.number().to_string() on:change:target=move |event| typed(event.target().value())
        />
        <span class="unit">{control.unit.clone()}</span>
    }
}

#[component]
fn Switch(knob: Knob, id: String, help: String) -> impl IntoView {
    let on = move || knob.get() == Plain::Flag(true);
    view! {
        <button
            type="button" class="switch" role="switch" data-test="switch" id=id title=help aria-checked=move || on().to_string()
            on:click=move |_| knob.set(Plain::Flag(!on()))
        ></button>
    }
}

#[component]
fn Choice(knob: Knob, id: String, words: Vec<String>, help: String) -> impl IntoView {
    let options = words.into_iter().map(|word| {
        let value = word.clone();
        let selected = move || knob.get() == Plain::Word(value.clone());
        view! { <option value=word.clone() selected=selected>{word.replace('_', " ")}</option> }
    });
    view! {
        <select id=id data-test="choice" title=help prop:value=move || knob.get().to_string() on:change:target=move |event| knob.set(Plain::Word(event.target().value()))>
            {options.collect_view()}
        </select>
    }
}
