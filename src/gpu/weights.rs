//! Weights as the kernels want them: queries, keys and values side by side, gate and linear part in turn.

use crate::Result;
use crate::hook::Array;
use crate::model::config::{Config, Norm, Pairing, Positions};
use crate::model::weights::Weights;
use std::collections::BTreeMap;

/// Name of a buffer of zeros, as long as the longest bias: what stands for a bias that a model does not have.
pub const ZEROS: &str = "zeros";
/// Name of the table of rotations (cos, sin) [positions,D/2].
pub const TURNS: &str = "turns";

/// Every array that stays on the device, by buffer.
///
/// # Errors
/// [`crate::Error::Tensor`] when a weight is missing.
pub fn resident(config: &Config, weights: &Weights, positions: usize) -> Result<BTreeMap<String, Vec<f32>>> {
    let mut list = BTreeMap::new();
    let mut put = |name: String, values: Vec<f32>| list.insert(name, values);
    let copy = |name: &str| Result::Ok(weights.get(name)?.data.clone());

    put("embed".into(), copy("embed")?);
    if !config.tied {
        put("unembed".into(), copy("unembed")?);
    }
    match config.positions {
        Positions::Learned => {
            put("positions".into(), copy("positions")?);
        }
        Positions::Rotary { theta, .. } => {
            put(TURNS.into(), turns(theta, config.head_width, positions));
        }
    }
    let norms = (0..config.layers).flat_map(|layer| [format!("blocks.{layer}.ln1"), format!("blocks.{layer}.ln2")]);
    for norm in norms.chain(["ln_final".into()]) {
        put(format!("{norm}.w"), copy(&format!("{norm}.w"))?);
        if config.norm == Norm::Layer {
            put(format!("{norm}.b"), copy(&format!("{norm}.b"))?);
        }
    }
    for layer in 0..config.layers {
        let (attn, ffn) = (format!("blocks.{layer}.attn"), format!("blocks.{layer}.ffn"));
        let get = |part: &str, name: &str| weights.get(&format!("{part}.{name}"));
        put(format!("{attn}.w_qkv"), beside(&[get(&attn, "w_q")?, get(&attn, "w_k")?, get(&attn, "w_v")?]));
        put(format!("{attn}.w_o"), get(&attn, "w_o")?.data.clone());
        if config.attention_bias {
            put(format!("{attn}.b_qkv"), beside(&[get(&attn, "b_q")?, get(&attn, "b_k")?, get(&attn, "b_v")?]));
            put(format!("{attn}.b_o"), get(&attn, "b_o")?.data.clone());
        }
        put(format!("{ffn}.w_out"), get(&ffn, "w_out")?.data.clone());
        let inner = |gate: &str, linear: &str| {
            Result::Ok(match config.gated {
                true => in_turn(get(&ffn, gate)?, get(&ffn, linear)?),
                false => get(&ffn, linear)?.data.clone(),
            })
        };
        put(format!("{ffn}.w_inner"), inner("w_gate", "w_in")?);
        if config.ffn_bias {
            put(format!("{ffn}.b_inner"), inner("b_gate", "b_in")?);
            put(format!("{ffn}.b_out"), get(&ffn, "b_out")?.data.clone());
        }
    }
    let qkv = (config.heads + 2 * config.kv_heads) * config.head_width;
    let longest = config.vocabulary.max(2 * config.ffn).max(config.width).max(qkv);
    put(ZEROS.into(), vec![0.0; longest]);
    Ok(list)
}

/// Step between the first entries of two pairs, and gap between the entries of one.
pub fn pairing(pairing: Pairing, width: usize) -> [usize; 2] {
    match pairing {
        Pairing::Half => [1, width / 2],
        Pairing::Adjacent => [2, 1],
    }
}

/// (cos, sin) of position · theta^(-2 pair / width), in f64 as in the burn model.
fn turns(theta: f64, width: usize, positions: usize) -> Vec<f32> {
    let pairs = width / 2;
    let turn = |index: usize| {
        let angle = (index / pairs) as f64 * theta.powf(-2.0 * (index % pairs) as f64 / width as f64);
        [angle.cos() as f32, angle.sin() as f32]
    };
    (0..positions * pairs).flat_map(turn).collect()
}

/// Matrices of equal height, or vectors, side by side.
fn beside(parts: &[&Array]) -> Vec<f32> {
    let rows = |array: &Array| if array.shape.len() == 2 { array.shape[0] } else { 1 };
    let height = parts.first().map_or(0, |array| rows(array));
    let row = |index: usize| parts.iter().flat_map(move |array| row_of(array, index, height));
    (0..height).flat_map(row).copied().collect()
}

fn row_of(array: &Array, row: usize, height: usize) -> &[f32] {
    let width = array.data.len() / height.max(1);
    array.data.get(row * width..(row + 1) * width).unwrap_or(&[])
}

/// Two arrays of one shape, entry by entry in turn.
fn in_turn(a: &Array, b: &Array) -> Vec<f32> {
    a.data.iter().zip(&b.data).flat_map(|(a, b)| [*a, *b]).collect()
}
