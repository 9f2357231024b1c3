//! # TransMLA: keys and values as one latent that every head reads in its own way
//!
//! Grouped-query attention is rewritten as multi-head latent attention: a token leaves one latent behind, and each head
//! reads keys and values from it through its own up-projections. In mode `exact` the latent is what was cached before and
//! nothing changes; raise `noise` to see what the old form could not express, heads of one group that see different keys.
//! In mode `compressed` most of the latent is dropped: lower `rank` and watch the loss pay for the smaller cache.
//!
//! ## Definition
//!
//! ```text
//! exact        c = [turn(k) ; v]                        2ℓ numbers per token, ℓ = G·D
//!              k[i] = U_K[i]·turn(k)   v[i] = U_V[i]·v  U copies the block of head i's group; U_K + noise·‖U_K‖ of noise
//! orthogonal   U_V·W_V = A·S·Bᵀ of each group:  c = [turn(k) ; √S·Bᵀ·x]   U_V = A·√S   in place of copies and v = W_V·x
//!
//! compressed   k̂ = T·k      q̂[i] = T[:, group of i]·q[i]                          scores: q̂·k̂ = q·k
//!              k_R = turn(first rope_heads·D entries of k̂)                         d_R numbers
//!              c   = Pᵀ·[k̂ without those / ratio ; v]                              r = rank·ℓ numbers
//!              k   = [k_R ; c]   q[i] = [turn(q̂[i]) ; ratio·P_K·q̂[i]]              v[i] = P_V[group of i]·c
//! ```
//!
//! T turns the G key–value heads into each other, frequency by frequency (RoRoPE): for each frequency the eigenvectors,
//! largest first, of the second moments of the G real and imaginary parts, so that the first turned head holds most. It
//! commutes with turning by position. With `freq_fold` F, F neighbouring frequencies are taken as one, which does not
//! commute. P are the first r eigenvectors of the second moments of the bracket; ratio is the mean norm of the position-free
//! key entries over that of the values when `balanced`, else 1; `separate` leaves out the moments between keys and values.
//!
//! ## Shapes
//!
//! q `[B,H,Q,D]`, k, v `[B,G,Q,D]` → absorbed: q `[B,H,Q,E]`, k `[B,1,Q,E]`, v `[B,1,Q,r]` and per head the map `[r,D]` of
//! what it mixes; E = d_R + r. Not absorbed: keys and values of each head, as they were. `spread` `[H,D,G,D]`; `maps`
//! `[9,G,D,G,D]`, measured: T, Pᵀ of [k ; v] with T and ratio in it, ratio·P_K with T in it, P_V; or v to latent and back.
//!
//! ## Neutral setting
//!
//! `mode = exact` without noise, whatever `values`. `compressed` with `rope_heads` and `rank` at their ends is the same up to rounding.
//!
//! ## Errors
//!
//! None beyond parameter ranges; ranks and heads beyond what there is count as all. Where there is no model to measure,
//! `compressed` reads noise and shows noise.
//!
//! ## Numerics
//!
//! Scores are divided by √D whatever the width of a latent. Normalizers that look at vectors see latents when absorbed.
//!
//! ## Source
//!
//! Meng, Tang, Yao, Zhang, "TransMLA: Multi-head Latent Attention Is All You Need", NeurIPS 2025; the exact form from the
//! first revision of the authors' code (MuLabPKU/TransMLA), the compressed one from `partial_rope.py` and `lora_qkv.py`.
//!
//! - The code calibrates on 128 samples of 256 tokens. Here it is 8 of 128, of fables that come with the program.
//! - Where fewer than a head's frequencies keep turning, those of the first turned head with the highest frequency stay;
//!   the code has a collapse factor. Norms are root mean squares of each channel, means are over all channels.
//! - Measured on stories-3m: the exact form costs nothing. One turned head with positions costs 0.16 nats, 0.65 without
//!   turning the heads, 0.11 with two frequencies as one, 1.32 with eight. The loss rises with every smaller rank: at 42 %
//!   of the cache by 0.31, unbalanced by 0.33, separate by 0.34 (`tests/golden/papers.shipped.json`).
//! - The damping of the code's moments moves no eigenvector and is left out. A model that does not rotate has position-free
//!   keys throughout. Not trained here: the up-projections, which is what the paper is after.
//! - The orthogonal start of the values is another pair of factors of the same product; a bias of v goes through them.

use super::trans_mla_maps::{Kept, joined, maps, of_heads};
use super::{
    Cost, Fill, Grid, Input, Law, Mechanism, Memory, Paper, Place, Plug, Projected, ProjectionMod, Stage, Tolerance,
    Turned,
};
use crate::catalogue::Provenance;
use crate::spec::{Value, choice};
use burn::tensor::Tensor;

crate::params! {
    /// Controls of TransMLA.
    pub struct TransMlaParams {
        /// Whether the latent holds all that was cached or less.
        mode: u32 = 0, choice("exact", "compressed");
        /// Whether scores are taken on latents, which is what a decode does, or on keys made from them.
        absorbed: bool = true, flag();
        /// How much noise the exact up-projections of keys get, relative to their size.
        noise: f32 = 0.0, real(0.0, 1.0, 0.05);
        /// What the exact latent holds of values: themselves, or their coordinates in orthogonal factors.
        values: u32 = 0, choice("copied", "orthogonal");
        /// Size of the compressed latent, in units of all key entries of a token.
        rank: f32 = 1.0, real(0.05, 2.0, 0.05), unit "ℓ";
        /// How many turned heads keep positions; parts of a head keep its highest frequencies.
        rope_heads: f32 = 1.0, real(0.0, 16.0, 0.25), unit "heads";
        /// How many neighbouring frequencies are taken as one.
        freq_fold: i32 = 1, int(1, 8, 1), unit "frequencies";
        /// Whether heads are turned so that the first ones hold most of the keys.
        rorope: bool = true, flag();
        /// Whether keys are brought to the size of values before they are compressed together.
        balanced: bool = true, flag();
        /// Whether keys and values are compressed together or each for itself.
        latent: u32 = 0, choice("joint", "separate");
    }
}

pub(super) const COMPRESSED: u32 = choice::<TransMlaParams>("mode", "compressed");
pub(super) const SEPARATE: u32 = choice::<TransMlaParams>("latent", "separate");
pub(super) const ORTHOGONAL: u32 = choice::<TransMlaParams>("values", "orthogonal");

struct TransMla;

impl ProjectionMod for TransMla {
    type Params = TransMlaParams;
    const INPUTS: &'static [Input] = &[
        Input { name: "spread", axes: "HDGD", other: 0, fill: Fill::Normal(1.0) },
        Input { name: "maps", axes: "NGDGD", other: 9, fill: Fill::Measured(maps) },
    ];

    fn project(p: &TransMlaParams, at: &Grid, given: Projected, _memory: &mut Memory) -> Turned {
        if p.mode == COMPRESSED { compressed(p, at, given) } else { exact(p, at, given.turn()) }
    }

    fn cost(p: &TransMlaParams, at: &Grid, width: usize, rotates: bool) -> Cost {
        let latent = at.kv_heads * width;
        // Widths of what scores are taken on and of what is mixed.
        let (turning, rank, cached) = if p.mode == COMPRESSED {
            let kept = Kept::new(p, at.kv_heads, width, rotates);
            (kept.turning(), kept.rank, kept.turning() + kept.rank)
        } else {
            (0, latent, 2 * latent)
        };
        let (scored, mixed) = (turning + rank, rank);
        if p.absorbed {
            return Cost { cached, per_token: at.heads * width * (scored + mixed), per_pair: scored + mixed };
        }
        // Keys and values are made anew from the latent of each earlier token.
        Cost { cached, per_token: 0, per_pair: width * 2 * rank + turning + 2 * width }
    }

    fn stages(p: &TransMlaParams, at: &Place) -> Option<Vec<Stage>> {
        let stage =
            |function, makes, heads, count| Stage::new("project_rows", function, makes).over(heads).count(count);
        let (heads, groups, width) = (at.heads, at.kv_heads, at.width);
        Some(if p.mode == COMPRESSED {
            let kept = Kept::new(p, groups, width, at.rotates);
            let wide = (kept.heads() + 1) * width;
            vec![
                stage("latent_entry", "latent", 1, kept.rank).of_keys(),
                stage("latent_query", "q", heads, wide),
                stage("latent_key", "k", groups, wide).of_keys(),
                stage("latent_value", "v", groups, width).of_keys(),
            ]
        } else {
            let noisy = p.noise > 0.0;
            let (over, key) = if noisy { (heads, "noisy_key") } else { (groups, "key") };
            let mut stages = vec![stage("query", "q", heads, width), stage(key, "k", over, width).of_keys()];
            if p.values == ORTHOGONAL {
                stages.push(stage("orthogonal_entry", "latent", 1, groups * width).of_keys());
                stages.push(stage("orthogonal_value", "v", over, width).of_keys());
            } else if noisy {
                stages.push(stage("copied_value", "v", heads, width).of_keys());
            }
            stages
        })
    }
}

/// The latent holds all of k and v, rotated.
fn exact(p: &TransMlaParams, at: &Grid, given: Turned) -> Turned {
    let [_, kv_heads, _, width] = given.k.dims();
    let latent = kv_heads * width;
    let copies = of_heads(at, Tensor::eye(latent, &at.device)); // [1,H,D,ℓ]
    // ‖U_K‖ of a head is √D over D·ℓ entries.
    let spread = at.input::<4>(0).reshape([1, at.heads, width, latent]) * (p.noise / (latent as f32).sqrt());
    let u_k = copies.clone() + spread;
    let (k, v) = (joined(given.k), joined(given.v)); // [B,1,Q,ℓ]
    let (v, u_v) = if p.values == ORTHOGONAL {
        let map = |index: usize| at.input::<5>(1).reshape([9 * latent, latent]).narrow(0, index * latent, latent);
        (v.matmul(map(0).transpose().unsqueeze()), of_heads(at, map(1)))
    } else {
        (v, copies)
    };
    if p.absorbed {
        Turned { q: given.q.matmul(u_k), k, v, in_keys: false, out: Some(u_v.swap_dims(2, 3)) }
    } else {
        let (k, v) = (k.matmul(u_k.swap_dims(2, 3)), v.matmul(u_v.swap_dims(2, 3)));
        Turned { q: given.q, k, v, in_keys: false, out: None }
    }
}

/// The latent holds what keeps its position, and a part of the rest.
fn compressed(p: &TransMlaParams, at: &Grid, given: Projected) -> Turned {
    let [batch, heads, queries, width] = given.q.dims();
    let latent = at.kv_heads * width;
    let kept = Kept::new(p, at.kv_heads, width, given.rotation.is_some());
    let maps = at.input::<5>(1).reshape([9 * latent, latent]);
    let part = |first: usize, rows: usize| maps.clone().slice_dim(0, first * latent..first * latent + rows);
    let down = part(1, 4 * latent).reshape([2 * latent, 2 * latent]).slice_dim(0, 0..kept.rank); // [r,2ℓ]
    let (read_k, read_v) = (of_heads(at, part(5, kept.rank)), of_heads(at, part(7, kept.rank))); // [1,H,D,r]

    // Halves first, whichever entries the family pairs, so that one table says what turns.
    let halves = |x: Tensor<4>| match &given.rotation {
        Some(rotation) => rotation.halves(x),
        None => x,
    };
    let (q, k) = (halves(given.q), joined(halves(given.k)));
    let c = Tensor::cat(vec![k.clone(), joined(given.v)], 3).matmul(down.transpose().unsqueeze()); // [B,1,Q,r]
    let (mut q_parts, mut k_parts) = (Vec::new(), Vec::new());
    if let Some(rotation) = given.rotation.as_ref().filter(|_| kept.heads() > 0) {
        let turn = part(0, kept.heads() * width); // [N·D,ℓ]
        let k_hat = k.matmul(turn.clone().transpose().unsqueeze()); // [B,1,Q,N·D]
        let q_hat = q.clone().matmul(of_heads(at, turn)); // [B,H,Q,N·D]
        for head in 0..kept.heads() {
            let mask = at.tensor(kept.mask(head), [1, 1, 1, width]);
            let one = |x: &Tensor<4>| {
                rotation.turn_halves(x.clone().slice_dim(3, head * width..(head + 1) * width)) * mask.clone()
            };
            q_parts.push(one(&q_hat));
            k_parts.push(one(&k_hat));
        }
    }
    if p.absorbed {
        q_parts.push(q.matmul(read_k));
        k_parts.push(c.clone());
        let (q, k) = (Tensor::cat(q_parts, 3), Tensor::cat(k_parts, 3));
        return Turned { q, k, v: c, in_keys: true, out: Some(read_v.swap_dims(2, 3)) };
    }
    q_parts.push(q);
    let mut k_parts: Vec<_> = k_parts.into_iter().map(|k| k.expand([batch, heads, queries, width])).collect();
    k_parts.push(c.clone().matmul(read_k.swap_dims(2, 3)));
    let (q, k) = (Tensor::cat(q_parts, 3), Tensor::cat(k_parts, 3));
    Turned { q, k, v: c.matmul(read_v.swap_dims(2, 3)), in_keys: false, out: None }
}

/// Grouped queries as latent attention.
pub const MECHANISM: Mechanism = Mechanism {
    id: "trans_mla",
    name: "TransMLA",
    summary: "Rewrites grouped-query attention as latent attention, exactly or with a smaller cache.",
    paper: Paper {
        number: Some(11),
        title: "TransMLA: Multi-head Latent Attention Is All You Need",
        authors: "Meng, Tang, Yao, Zhang",
        year: 2025,
        url: "https://arxiv.org/abs/2502.07864",
        place: "the authors' code, both revisions; without training",
        provenance: Provenance::Code,
    },
    laws: &[
        Law::Causal,
        Law::Prefix(&[]),
        Law::RowsSumToOne(&[]),
        Law::ReducesTo { other: "softmax", at: &[] },
        Law::ReducesTo { other: "softmax", at: &[("absorbed", Value::Flag(false))] },
    ],
    parity: Tolerance::F32,
    wgsl: Some(include_str!("../../shaders/mechanism/trans_mla.wgsl")),
    plug: Plug::projection_mod::<TransMla>(),
    exhibits: super::exhibits::trans_mla::ALL,
};
