//! A labelled colour bar: ends, quantity, mode, and the colour of masked pairs.

use super::canvas::{drawn, paint};
use super::colour::Scaling;
use super::scene::Scene;
use leptos::prelude::*;

/// The bar under a map.
#[component]
pub fn ColourBar(
    /// What the ends stand for.
    #[prop(into)]
    scaling: Signal<Scaling>,
    /// The quantity.
    #[prop(into)]
    name: Signal<String>,
) -> impl IntoView {
    let scene = Scene::here();
    let bar = drawn(move |canvas| {
        let diverging = scaling.get().diverging;
        scene.palette.with(|palette| paint(&canvas, 256, 1, |x, _| palette.along(diverging, x as f32 / 255.0)));
    });
    let ticks = move || {
        let scaling = scaling.get();
        scaling.ticks().into_iter().map(|value| view! { <span>{scaling.tick_words(value)}</span> }).collect_view()
    };
    let low = move || {
        let Scaling { diverging, high, .. } = scaling.get();
        if diverging { -high } else { 0.0 }
    };
    view! {
        <div class="cbar" data-test="colour-bar" data-low=low data-high=move || scaling.get().high>
            <div>
                <canvas node_ref=bar aria-hidden="true"></canvas>
                <div class="ticks">{ticks}</div>
            </div>
            <span class="masked">"masked"</span>
            <div class="what">{move || format!("{}, {}", name.get(), scaling.get().words())}</div>
        </div>
    }
}
