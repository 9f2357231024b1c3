//! A plot of quality against price: one numbered point per variant.

use super::tabs::chart::{decimal, round_up};
use leptos::prelude::*;

/// One variant.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Its number, the same as in the table.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// What it costs.
    pub x: f64,
    /// How much worse it is.
    pub y: f64,
}

const HEIGHT: f64 = 360.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 16.0;
const FLOOR: f64 = 318.0;
/// Ticks of the loss axis, where they fit.
const TICKS: [f64; 9] = [-1.0, -0.1, 0.0, 0.1, 0.5, 1.0, 2.0, 4.0, 8.0];

/// Signed square root: variants close to softmax are told apart although others are far off.
fn bend(value: f64) -> f64 {
    value.signum() * value.abs().sqrt()
}

/// Points over a price axis from zero up and a loss axis in square-root scale.
#[component]
pub fn Scatter(
    /// What is seen, for those who do not see it.
    #[prop(into)]
    label: Signal<String>,
    /// Name and unit of the price.
    #[prop(into)]
    price: Signal<String>,
    /// Width in CSS pixels.
    #[prop(into)]
    width: Signal<f64>,
    /// The points.
    #[prop(into)]
    points: Signal<Vec<Point>>,
) -> impl IntoView {
    let draw = move || {
        let (points, width) = (points.get(), width.get().max(240.0));
        let (high, unit) = round_up(points.iter().map(|point| point.x).fold(0.0, f64::max));
        let worst = points.iter().map(|point| point.y).fold(0.5, f64::max) * 1.1;
        let best = points.iter().map(|point| point.y).fold(-0.02, f64::min) * 1.1;
        let x = |value: f64| LEFT + value / high * (width - LEFT - RIGHT);
        let y = |value: f64| TOP + (bend(worst) - bend(value)) / (bend(worst) - bend(best)) * (FLOOR - TOP);
        let across = TICKS.into_iter().filter(|tick| (best..=worst).contains(tick)).map(|tick| {
            let class = if tick == 0.0 { "axis" } else { "grid" };
            let sign = if tick > 0.0 { "+" } else { "" };
            view! {
                <line x1=LEFT - 4.0 x2=width - RIGHT y1=y(tick) y2=y(tick) class=class></line>
                <text x=LEFT - 10.0 y=y(tick) + 3.5 text-anchor="end" class="tk">{format!("{sign}{tick}")}</text>
            }
        });
        let up = (0..).map(|i| f64::from(i) * unit).take_while(|tick| *tick <= high + unit / 2.0).map(|tick| {
            view! {
                <line x1=x(tick) x2=x(tick) y1=TOP y2=FLOOR + 4.0 class="grid"></line>
                <text x=x(tick) y=FLOOR + 17.0 text-anchor="middle" class="tk">{decimal(tick, unit)}</text>
            }
        });
        let dots = points.iter().map(|point| {
            let baseline = point.number == 1;
            view! {
                <g class="dot" class:baseline=baseline data-test="point" data-number=point.number data-x=point.x data-y=point.y>
                    <title>{format!("{} {}: {}, Δ loss {:+.3}", point.number, point.name, price.get_untracked(), point.y)}</title>
                    <circle cx=x(point.x) cy=y(point.y) r="10"></circle>
                    <text x=x(point.x) y=y(point.y) + 4.0 text-anchor="middle">{point.number}</text>
                </g>
            }
        });
        view! {
            <svg class="chart scatter" role="img" aria-label=label.get() viewBox=format!("0 0 {width} {HEIGHT}") height=HEIGHT width=width>
                {across.collect_view()} {up.collect_view()}
                <text x=width - RIGHT y=FLOOR + 34.0 text-anchor="end">{price.get()}" →"</text>
                <text x=LEFT + 4.0 y=TOP + 8.0>"↑ Δ loss, nats per token, square-root scale"</text>
                {dots.collect_view()}
            </svg>
        }
    };
    view! { <div class="chart-frame" style=format!("height:{HEIGHT}px")>{draw}</div> }
}
