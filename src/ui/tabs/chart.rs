//! Line charts small enough to live in the document, with axes that name their range.

use leptos::prelude::*;

/// One line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Name at the line's end.
    pub name: String,
    /// `a` solid, `b` dashed, `n` dotted: never told apart by colour alone.
    pub class: &'static str,
    /// Values from left to right; NaN leaves a gap.
    pub values: Vec<f32>,
}

const HEIGHT: f64 = 132.0;
const LEFT: f64 = 34.0;
/// Room for the names at the ends of the lines.
const RIGHT: f64 = 70.0;
const TOP: f64 = 8.0;
const FLOOR: f64 = 106.0;
/// Least distance between two names.
const NAME: f64 = 12.0;

/// Lines over named steps, from zero up.
#[component]
pub fn LineChart(
    /// What is seen, for those who do not see it.
    #[prop(into)]
    label: Signal<String>,
    /// Width in CSS pixels.
    #[prop(into)]
    width: Signal<f64>,
    /// Names of the steps.
    #[prop(into)]
    steps: Signal<Vec<String>>,
    /// The lines.
    #[prop(into)]
    lines: Signal<Vec<Line>>,
) -> impl IntoView {
    let draw = move || {
        let (steps, lines, width) = (steps.get(), lines.get(), width.get().max(160.0));
        let most =
            lines.iter().flat_map(|line| line.values.iter().copied()).filter(|v| v.is_finite()).fold(0.0, f32::max);
        let (high, unit) = round_up(f64::from(most));
        let x =
            |step: usize| LEFT + step as f64 * (width - LEFT - RIGHT) / (steps.len().saturating_sub(1)).max(1) as f64;
        let y = |value: f64| TOP + (1.0 - value / high) * (FLOOR - TOP);
        let ticks = (0..).map(|i| f64::from(i) * unit).take_while(|tick| *tick <= high + unit / 2.0).map(|tick| {
            let class = if tick == 0.0 { "axis" } else { "grid" };
            view! {
                <line x1=LEFT - 4.0 x2=width - RIGHT + 8.0 y1=y(tick) y2=y(tick) class=class></line>
                <text x=LEFT - 10.0 y=y(tick) + 3.5 text-anchor="end" class="tk">{decimal(tick, unit)}</text>
            }
        });
        let every = (steps.len() as f64 * 24.0 / (width - LEFT - RIGHT)).ceil().max(1.0) as usize;
        let names = steps.iter().enumerate().filter(|(step, _)| step % every == 0).map(|(step, name)| {
            view! { <text x=x(step) y=HEIGHT - 8.0 text-anchor="middle" class="tk">{name.clone()}</text> }
        });
        let ends = spread(
            lines
                .iter()
                .map(|line| line.values.iter().rev().find(|v| v.is_finite()).map_or(FLOOR, |v| y(f64::from(*v)))),
        );
        let drawn = lines.iter().zip(ends).map(|(line, end)| {
            let points = line.values.iter().enumerate().filter(|(_, value)| value.is_finite());
            let points: Vec<_> = points.map(|(step, value)| (x(step), y(f64::from(*value)))).collect();
            let path = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect::<Vec<_>>().join("L");
            let dots = (line.class != "n").then(|| {
                points
                    .iter()
                    .map(|(x, y)| view! { <circle cx=*x cy=*y r="2.5" class=format!("f{}", line.class)></circle> })
                    .collect_view()
            });
            view! {
                {(!path.is_empty()).then(|| view! { <path class=line.class d=format!("M{path}")></path> })}
                {dots}
                <text class=format!("t{}", line.class) x=width - RIGHT + 12.0 y=end + 3.5>{line.name.clone()}</text>
            }
        });
        view! {
            <svg class="chart" role="img" aria-label=label.get() viewBox=format!("0 0 {width} {HEIGHT}") height=HEIGHT>
                {ticks.collect_view()} {names.collect_view()} {drawn.collect_view()}
            </svg>
        }
    };
    view! { <div class="chart-frame" style=format!("height:{HEIGHT}px")>{draw}</div> }
}

/// A round limit not below `most`, and the step of its ticks: at most five of them.
pub fn round_up(most: f64) -> (f64, f64) {
    let most = if most > 0.0 { most } else { 1.0 };
    let rough = most / 4.0;
    let power = 10f64.powf(rough.log10().floor());
    let unit = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|step| *step >= rough - 1e-12)
        .unwrap_or(power);
    ((most / unit - 1e-9).ceil().max(1.0) * unit, unit)
}

/// A tick with as many decimals as its step needs.
pub fn decimal(value: f64, unit: f64) -> String {
    let decimals = (0..6).find(|d| ((unit * 10f64.powi(*d)).fract()).abs() < 1e-9).unwrap_or(6) as usize;
    format!("{value:.decimals$}")
}

/// The same heights, moved apart until names at them do not overlap; order is kept.
fn spread(heights: impl Iterator<Item = f64>) -> Vec<f64> {
    let heights: Vec<f64> = heights.collect();
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by(|a, b| heights[*a].total_cmp(&heights[*b]));
    let mut placed = heights;
    for pair in order.windows(2) {
        placed[pair[1]] = placed[pair[1]].max(placed[pair[0]] + NAME);
    }
    // What was pushed below the floor pushes back.
    let mut limit = FLOOR + 4.0;
    for index in order.into_iter().rev() {
        placed[index] = placed[index].min(limit);
        limit = placed[index] - NAME;
    }
    placed
}
