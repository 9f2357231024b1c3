//! Paper 61: how fast heads forget, the signed map of an operator without softmax, what the state holds, and the time of the
//! three algorithms.

use super::{Offer, Scene, by_head, drawn, fact, grid, missing, of_pairs, of_tokens, sheet};
use crate::Result;
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::finding::Axis;
use crate::mechanism::lightning_attention::{LEFT, LightningAttentionParams, RIGHT, SOFTMAX, rate};
use crate::mechanism::{Grid, Memory, Twin, Vectors};
use crate::model::attention::normal;
use crate::spec::Params;
use burn::tensor::{Tensor, TensorData};
use std::f32::consts::LN_2;
use web_time::Instant;

/// What it draws.
pub const ALL: &[Offer] = &[
    Offer::new(
        "half_lives",
        "Half-lives of the heads",
        Drawn::Cells,
        half_lives,
        "After so many tokens half of a head’s memory of a token is left: ln 2 / −ln λ. The second sheet is λ, what is left \
         after one token.",
    ),
    Offer::new(
        "fade",
        "How a memory fades",
        Drawn::Lines,
        fade,
        "What is left of a token’s weight after so many tokens, for every head of the pinned layer.",
    ),
    Offer::new(
        "map",
        "The map it stands for",
        Drawn::Map,
        map,
        "Weights λ^(distance) · q·k of the pinned head, signed and of no particular sum, and without their fading.",
    ),
    Offer::new(
        "state",
        "How much the state holds",
        Drawn::Lines,
        state,
        "Frobenius norm of the state of every head of the pinned layer after each token.",
    ),
    Offer::slow(
        "time",
        "Time of the algorithms",
        Drawn::Lines,
        time_frame,
        time_row,
        "Microseconds per token of one attention step of this model’s size on random vectors, by the number of tokens, on the \
         processor: the fastest of three runs. right is measured up to 512 tokens.",
    ),
];

const SOFT: &str = "The operator is softmax: nothing fades.";

/// a of every head of a layer; λ = exp(-a).
fn rates(scene: &Scene<'_>, layer: usize) -> Vec<f32> {
    let p: LightningAttentionParams = scene.params();
    rate(&p, &scene.grid(layer)).into_data().iter().collect()
}

fn fades(scene: &Scene<'_>) -> bool {
    scene.params::<LightningAttentionParams>().operator != SOFTMAX
}

fn half_lives(scene: &Scene<'_>) -> Result<Exhibit> {
    let rates: Vec<f32> = (0..scene.layers).flat_map(|layer| rates(scene, layer)).collect();
    if !fades(scene) || rates.iter().all(|rate| *rate == 0.0) {
        return missing("Nothing fades at this setting.");
    }
    let lives = rates.iter().map(|rate| if *rate > 0.0 { LN_2 / rate } else { f32::NAN }).collect();
    let left = rates.iter().map(|rate| (-rate).exp()).collect();
    let mut grid =
        by_head(scene, vec![sheet("half_life", "half-life", "tokens", lives), super::shares("lambda", "λ", left)]);
    let reach = |rate: &&f32| **rate > 0.0 && LN_2 / **rate < scene.tokens as f32;
    let count = rates.iter().filter(reach).count();
    grid.facts.push(fact("short", "Heads that forget half within this text", count as f32, "heads"));
    Ok(drawn(grid))
}

fn fade(scene: &Scene<'_>) -> Result<Exhibit> {
    if !fades(scene) {
        return missing(SOFT);
    }
    let rates = rates(scene, scene.head.layer);
    let values = rates.iter().flat_map(|rate| (0..scene.tokens).map(move |distance| (-rate * distance as f32).exp()));
    let sheets = vec![super::shares("left", "what is left", values.collect())];
    let rows = Axis::new("head", (0..scene.heads).map(|head| format!("L{}H{head}", scene.head.layer)));
    Ok(drawn(grid(rows, Axis::new("distance", (0..scene.tokens).map(|distance| distance.to_string())), sheets)))
}

fn map(scene: &Scene<'_>) -> Result<Exhibit> {
    let (layer, head, n) = (scene.head.layer, scene.head.head, scene.tokens);
    let own = scene.pattern(layer, head);
    let rate = if fades(scene) { rates(scene, layer).get(head).copied().unwrap_or(0.0) } else { 0.0 };
    let causal = |pair: usize, value: f32| if pair % n <= pair / n { value } else { f32::NAN };
    let weights: Vec<f32> = own.iter().enumerate().map(|(pair, weight)| causal(pair, *weight)).collect();
    let mut sheets = vec![sheet("weight", "weight", "", weights.clone())];
    if fades(scene) {
        let products = scene.vectors(layer)?;
        let products: Vec<f32> =
            products.q.clone().matmul(products.keys().swap_dims(2, 3)).into_data().iter().collect();
        let of_head = products.into_iter().skip(head * n * n).take(n * n).enumerate();
        sheets.push(sheet("product", "q·k", "", of_head.map(|(pair, product)| causal(pair, product)).collect()));
    }
    let mut grid = of_pairs(scene, sheets);
    let all: f32 = weights.iter().filter(|weight| !weight.is_nan()).map(|weight| weight.abs()).sum();
    let negative: f32 = weights.iter().filter(|weight| **weight < 0.0).map(|weight| weight.abs()).sum();
    grid.facts.push(fact("negative", "Share of negative weight", negative / all.max(f32::MIN_POSITIVE), ""));
    grid.facts.push(fact("lambda", "λ of this head", (-rate).exp(), ""));
    Ok(drawn(grid))
}

fn state(scene: &Scene<'_>) -> Result<Exhibit> {
    if !fades(scene) {
        return missing("Softmax keeps keys and values, not a state.");
    }
    let vectors = scene.vectors(scene.head.layer)?;
    let width = scene.head_width();
    let host = |x: Tensor<4>| -> Vec<f32> { x.into_data().iter().collect() };
    let (k, v) = (host(vectors.keys()), host(vectors.values()));
    let mut values = Vec::new();
    for (head, rate) in rates(scene, scene.head.layer).into_iter().enumerate() {
        let keep = (-rate).exp();
        let mut state = vec![0.0f32; width * width];
        for token in 0..scene.tokens {
            let row = (head * scene.tokens + token) * width;
            for (at, cell) in state.iter_mut().enumerate() {
                *cell = keep * *cell + k[row + at / width] * v[row + at % width];
            }
            values.push(state.iter().map(|x| x * x).sum::<f32>().sqrt());
        }
    }
    let rows = (0..scene.heads).map(|head| format!("L{}H{head}", scene.head.layer));
    let mut grid = of_tokens(scene, "head", rows, vec![sheet("norm", "norm of the state", "", values)]);
    let numbers = (scene.heads * width * width) as f32;
    grid.facts.push(fact("numbers", "Numbers in the states of a layer", numbers, "at any length"));
    Ok(drawn(grid))
}

const LENGTHS: [usize; 5] = [64, 128, 256, 512, 1024];
const ALGORITHMS: [&str; 4] = ["softmax", "left", "right", "block"];
/// Longest text that is read token by token: it only costs more of the same time.
const LONGEST_RIGHT: usize = 512;

fn time_frame(_: &Scene<'_>) -> Result<Exhibit> {
    let empty = vec![f32::NAN; ALGORITHMS.len() * LENGTHS.len()];
    let lengths = Axis::new("tokens", LENGTHS.map(|length| length.to_string()));
    let rows = Axis::new("algorithm", ALGORITHMS.map(String::from));
    Ok(drawn(grid(rows, lengths, vec![sheet("time", "time per token", "µs", empty)])))
}

fn time_row(scene: &Scene<'_>, row: usize) -> Result<Vec<Vec<f32>>> {
    let plain = LightningAttentionParams { operator: 0, ..scene.params() };
    let p = match ALGORITHMS.get(row) {
        Some(&"softmax") => LightningAttentionParams { operator: SOFTMAX, ..plain },
        Some(&"left") => LightningAttentionParams { algorithm: LEFT, ..plain },
        Some(&"right") => LightningAttentionParams { algorithm: RIGHT, ..plain },
        _ => LightningAttentionParams { algorithm: 0, ..plain },
    };
    let values = p.values();
    let Twin::Mix(mix, ..) = scene.placed.mechanism.plug.twin else { return Ok(Vec::new()) };
    let at = scene.grid(scene.head.layer);
    let of_length = |tokens: &usize| {
        if p.algorithm == RIGHT && *tokens > LONGEST_RIGHT {
            return f32::NAN;
        }
        let noise = |name: &str, heads: usize| -> Tensor<4> {
            let data = normal(heads * tokens * scene.head_width(), 1.0, name, 0, scene.seed);
            Tensor::from_data(TensorData::new(data, [1, heads, *tokens, scene.head_width()]), &at.device)
        };
        let at = Grid { queries: *tokens, keys: *tokens, ..at.clone() };
        let run = || {
            let vectors = Vectors {
                q: noise("time.q", scene.heads),
                k: noise("time.k", scene.kv_heads),
                v: noise("time.v", scene.kv_heads),
                scale: scene.model.config().scale(),
                corrected: None,
            };
            let start = Instant::now();
            // Reading the result back waits for it.
            let _ = mix(&values, &at, vectors, &mut Memory::default()).z.into_data();
            start.elapsed().as_secs_f32() * 1e6 / *tokens as f32
        };
        (0..3).map(|_| run()).fold(f32::INFINITY, f32::min)
    };
    Ok(vec![LENGTHS.iter().map(of_length).collect()])
}
