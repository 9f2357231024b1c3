//! From which importance on a head counts as a sink, on a slider: the same ε wherever sinks are counted.

use crate::ui::format::fixed;
use crate::ui::store::Store;
use leptos::prelude::*;

/// Limits of the slider, and its step.
const RANGE: (f32, f32, f32) = (0.05, 0.9, 0.05);

/// The slider.
#[component]
pub fn Epsilon() -> impl IntoView {
    let store = Store::here();
    let epsilon = Memo::new(move |_| store.experiment.with(|experiment| experiment.view.epsilon));
    let fill = move || {
        let (low, high, _) = RANGE;
        format!("--fill:{:.1}%", 100.0 * (epsilon.get() - low) / (high - low))
    };
    view! {
        <label class="epsilon">
            <span>"Threshold ε"</span>
            <input
                type="range" min=RANGE.0 max=RANGE.1 step=RANGE.2 data-test="epsilon" style=fill
                prop:value=move || epsilon.get().to_string()
                on:input:target=move |event| if let Ok(to) = event.target().value().parse() {
                    store.drag("epsilon", |experiment| experiment.view.epsilon = to)
                }
            />
            <span class="num">{move || fixed(epsilon.get(), 2)}</span>
        </label>
    }
}
