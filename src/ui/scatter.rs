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
    /// How good it is.
    pub y: f64,
}

/// How quality is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// A difference of losses in square-root scale, so that variants close to softmax are told apart although others are
    /// far off.
    Loss,
    /// From none to all.
    Percent,
}

impl Scale {
    fn ticks(self) -> &'static [f64] {
        match self {
            Scale::Loss => &[-1.0, -0.1, 0.0, 0.1, 0.5, 1.0, 2.0, 4.0, 8.0],
            Scale::Percent => &[0.0, 25.0, 50.0, 75.0, 100.0],
        }
    }

    /// The lowest and the highest value shown for these.
    fn range(self, values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
        match self {
            Scale::Loss => (values.clone().fold(-0.02, f64::min) * 1.1, values.fold(0.5, f64::max) * 1.1),
            Scale::Percent => (-4.0, 104.0),
        }
    }

    fn bend(self, value: f64) -> f64 {
        match self {
            Scale::Loss => value.signum() * value.abs().sqrt(),
            Scale::Percent => value,
        }
    }

    fn tick(self, value: f64) -> String {
        let sign = if self == Scale::Loss && value > 0.0 { "+" } else { "" };
        format!("{sign}{value}")
    }

    fn note(self) -> &'static str {
        match self {
            Scale::Loss => ", square-root scale; lower is better",
            Scale::Percent => "; higher is better",
        }
    }

    fn number(self, value: f64) -> String {
        match self {
            Scale::Loss => format!("{value:+.3}"),
            Scale::Percent => format!("{value:.0}"),
        }
    }
}

const HEIGHT: f64 = 360.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 16.0;
const FLOOR: f64 = 318.0;

/// Points over a price axis from zero up and a quality axis.
#[component]
pub fn Scatter(
    /// What is seen, for those who do not see it.
    #[prop(into)]
    label: Signal<String>,
    /// Name and unit of the price.
    #[prop(into)]
    price: Signal<String>,
    /// Name and unit of the quality.
    #[prop(into)]
    quality: Signal<String>,
    /// How quality is drawn.
    #[prop(into)]
    scale: Signal<Scale>,
    /// The highest price there can be, where there is one.
    #[prop(into)]
    most: Signal<Option<f64>>,
    /// Width in CSS pixels.
    #[prop(into)]
    width: Signal<f64>,
    /// The points.
    #[prop(into)]
    points: Signal<Vec<Point>>,
) -> impl IntoView {
    let draw = move || {
        let (points, width, scale) = (points.get(), width.get().max(240.0), scale.get());
        let dearest = points.iter().map(|point| point.x).fold(0.0, f64::max);
        let (high, unit) = round_up(most.get().unwrap_or(dearest));
        let (low, top) = scale.range(points.iter().map(|point| point.y));
        let bend = |value| scale.bend(value);
        let x = |value: f64| LEFT + value / high * (width - LEFT - RIGHT);
        let y = |value: f64| TOP + (bend(top) - bend(value)) / (bend(top) - bend(low)) * (FLOOR - TOP);
        let across = scale.ticks().iter().copied().filter(|tick| (low..=top).contains(tick)).map(|tick| {
            let class = if tick == 0.0 { "axis" } else { "grid" };
            view! {
                <line x1=LEFT - 4.0 x2=width - RIGHT y1=y(tick) y2=y(tick) class=class></line>
                <text x=LEFT - 10.0 y=y(tick) + 3.5 text-anchor="end" class="tk">{scale.tick(tick)}</text>
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
            let (cost, worth) = (decimal(point.x, unit / 10.0), scale.number(point.y));
            view! {
                <g class="dot" class:baseline=baseline data-test="point" data-number=point.number data-x=point.x data-y=point.y>
                    <title>{format!("{} {}: {} {cost}, {} {worth}", point.number, point.name, price.get(), quality.get())}</title>
                    <circle cx=x(point.x) cy=y(point.y) r="10"></circle>
                    <text x=x(point.x) y=y(point.y) + 4.0 text-anchor="middle">{point.number}</text>
                </g>
            }
        });
        view! {
            <svg class="chart scatter" role="img" aria-label=label.get() viewBox=format!("0 0 {width} {HEIGHT}") height=HEIGHT width=width>
                {across.collect_view()} {up.collect_view()}
                <text x=width - RIGHT y=FLOOR + 34.0 text-anchor="end">{price.get()}" →"</text>
                <text x=LEFT + 4.0 y=TOP + 8.0>"↑ "{quality.get()}{scale.note()}</text>
                {dots.collect_view()}
            </svg>
        }
    };
    view! { <div class="chart-frame" style=format!("height:{HEIGHT}px")>{draw}</div> }
}
