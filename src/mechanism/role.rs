//! The roles: one small typed trait each, the data they exchange, and the plug that erases a mechanism's types.
//!
//! | Trait | Turns | Into |
//! |---|---|---|
//! | [`ProjectionMod`] | q, k, v before rotation | rotated q, k, v, and what a cache would hold |
//! | [`ScoreMod`] | scores | scores |
//! | [`MaskMod`] | positions | pairs that are kept |
//! | [`Selector`] | scores, q, k, v | pairs that are kept, and log-weights added to their scores |
//! | [`Normalizer`] | rows of scores | weights |
//! | [`PatternMod`] | weights | weights |
//! | [`Mixer`] | q, k, v | z, and the weights it stands for |
//!
//! Every trait is asked at a [`Grid`], which also holds the extra inputs that the mechanism declares. Traits with a
//! [`Memory`] may carry tensors from layer to layer and from decode step to decode step.

use super::{Grid, Memory, Place, Probed, Stage, Stages};
use crate::catalogue::Role;
use crate::spec::{Param, Params, Value};
use burn::tensor::{Bool, Tensor};

pub use crate::model::rotary::Rotation;

/// A tensor a mechanism reads besides q, k and v, one per layer.
#[derive(Debug, Clone, Copy)]
pub struct Input {
    /// snake_case name in npz files and WGSL.
    pub name: &'static str,
    /// Axis letters, for example `HD`; a letter that is none of the model's is [`Input::other`] long.
    pub axes: &'static str,
    /// Size of an axis of the mechanism's own, such as a number of random features.
    pub other: usize,
    /// How it is filled when nobody learned it.
    pub fill: Fill,
}

/// How an [`Input`] is filled when nobody learned it. Noise is seeded by experiment, mechanism, layer and name.
#[derive(Debug, Clone, Copy)]
pub enum Fill {
    /// Zeros.
    Zero,
    /// Normal noise of this standard deviation.
    Normal(f32),
    /// Even noise in 0..1.
    Uniform,
    /// Rows of a normal matrix made orthogonal in blocks as tall as a row is long; their lengths stay those of
    /// independent normal rows.
    Orthogonal,
    /// Measured on the model: values of the mechanism → the tensors of all layers one behind the other. Numbers in 0..1;
    /// even noise where there is no model to measure.
    Measured(fn(&[Value], &Probed) -> Vec<f32>),
}

impl Input {
    /// Most heads of an input with one number per head.
    pub const MOST_HEADS: usize = 256;

    /// Whether it is one number per head, which a GPU keeps beside the parameters.
    pub fn is_per_head(&self) -> bool {
        matches!(self.axes, "H" | "G")
    }

    /// Its sizes in a model of these numbers of heads and this head width.
    pub fn shape(&self, heads: usize, kv_heads: usize, width: usize) -> Vec<usize> {
        let size = |letter| match letter {
            'H' => heads,
            'G' => kv_heads,
            'D' => width,
            _ => self.other,
        };
        self.axes.chars().map(size).collect()
    }
}

/// Changes queries, keys and values before they meet.
pub trait ProjectionMod {
    /// Its parameters.
    type Params: Params;
    /// Extra tensors it reads, per layer.
    const INPUTS: &'static [Input] = &[];
    /// Projections of the new tokens, before rotation → vectors as attention takes them, rotated, of any number G of
    /// key–value heads that divides H. Keys and values of earlier tokens are those it returned for them.
    fn project(p: &Self::Params, at: &Grid, given: Projected, memory: &mut Memory) -> Turned;
    /// What a decode of this layer costs, of heads of this width that rotate or not.
    fn cost(p: &Self::Params, at: &Grid, width: usize, rotates: bool) -> Cost;
    /// What the GPU twin runs before attention: one stage makes `q` and one `k`, of one width, and one `v` of D entries where
    /// values change or there are other numbers of key–value heads. None without a GPU twin.
    fn stages(_p: &Self::Params, _at: &Place) -> Option<Vec<Stage>> {
        None
    }
}

/// What one layer costs in a decode where keys and values are not those of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Numbers that the cache keeps of each token, projected in place of keys and values.
    pub cached: usize,
    /// Multiplications per new token besides projections.
    pub per_token: usize,
    /// Multiplications per query head and key that it sees.
    pub per_pair: usize,
}

/// Projections of the new tokens, before rotation.
pub struct Projected {
    /// `[B,H,Q,D]`
    pub q: Tensor<4>,
    /// `[B,G,Q,D]`
    pub k: Tensor<4>,
    /// `[B,G,Q,D]`
    pub v: Tensor<4>,
    /// Turns queries or keys by their positions; absent where the family does not rotate.
    pub rotation: Option<Rotation>,
}

/// Queries, keys and values as attention takes them.
pub struct Turned {
    /// `[B,H,Q,E]` of any width E.
    pub q: Tensor<4>,
    /// `[B,G,Q,E]`
    pub k: Tensor<4>,
    /// `[B,G,Q,F]`; F is D unless there is an `out`.
    pub v: Tensor<4>,
    /// Whether v is the last F entries of k, so that a cache that holds keys holds values, too.
    pub in_keys: bool,
    /// The map `[1,H,F,D]` of each head from what it mixes to z, where values are not of the model's width.
    pub out: Option<Tensor<4>>,
}

impl Projected {
    /// The plain step: queries and keys turned, values as they are.
    pub fn turn(self) -> Turned {
        let turn = |x: Tensor<4>| match &self.rotation {
            Some(rotation) => rotation.turn(x),
            None => x,
        };
        Turned { q: turn(self.q), k: turn(self.k), v: self.v, in_keys: false, out: None }
    }
}

/// Changes one score.
pub trait ScoreMod {
    /// Its parameters.
    type Params: Params;
    /// Extra tensors it reads, per layer.
    const INPUTS: &'static [Input] = &[];
    /// scores `[B,H,Q,K]` → scores `[B,H,Q,K]`
    fn score(p: &Self::Params, at: &Grid, scores: Tensor<4>) -> Tensor<4>;
}

/// Keeps or drops one pair, from positions alone. The causal mask is applied beside it.
pub trait MaskMod {
    /// Its parameters.
    type Params: Params;
    /// Extra tensors it reads, per layer.
    const INPUTS: &'static [Input] = &[];
    /// → keep, broadcastable to `[B,H,Q,K]`
    fn keep(p: &Self::Params, at: &Grid) -> Tensor<4, Bool>;
    /// How many first keys every query sees, whatever the causal mask and other masks say.
    fn reach(_p: &Self::Params) -> usize {
        0
    }
}

/// Chooses among the kept pairs by looking at scores or vectors, and may count some of them more than once.
pub trait Selector {
    /// Its parameters.
    type Params: Params;
    /// Extra tensors it reads, per layer.
    const INPUTS: &'static [Input] = &[];
    /// rows after score mods and masks → which pairs stay. Pairs that masks removed stay removed whatever it says.
    fn select(p: &Self::Params, at: &Grid, rows: &Rows, memory: &mut Memory) -> Selected;
    /// When a decode computes tokens once more without the selector and keeps those keys and values in place of what it had.
    fn corrects(_p: &Self::Params) -> Option<Corrects> {
        None
    }
    /// What the GPU twin runs before the row kernel; the last stage makes `chosen`; at a place where every pair stays it is
    /// missing. None without a GPU twin.
    fn stages(_p: &Self::Params, _at: &Place) -> Option<Vec<Stage>> {
        None
    }
}

/// What a selector makes of its rows.
pub struct Selected {
    /// True where a pair stays, broadcastable to `[B,H,Q,K]`.
    pub keep: Tensor<4, Bool>,
    /// Added to the scores that stay, broadcastable to `[B,H,Q,K]`: the logarithm of how often a pair counts.
    pub bias: Option<Tensor<4>>,
}

/// When a decode corrects its cache: behind every so many tokens that follow the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrects {
    /// Tokens of the prompt, which are read without the selector anyway.
    pub prompt: usize,
    /// Tokens between two corrections, at least 1.
    pub every: usize,
}

impl Corrects {
    /// How many first keys the query at `position` sees as they are after a correction; all others are the decode's own.
    ///
    /// ```
    /// # use attnscope::mechanism::Corrects;
    /// let corrects = Corrects { prompt: 3, every: 2 };
    /// assert_eq!([2, 3, 4, 5, 6, 7].map(|position| corrects.before(position)), [0, 3, 3, 5, 5, 7]);
    /// assert_eq!([2, 3, 4, 5].map(|position| corrects.again(position)), [2, 3, 3, 5]);
    /// assert_eq!([3, 4, 5, 6].map(|tokens| corrects.is_due(tokens)), [false, false, true, false]);
    /// ```
    pub fn before(&self, position: usize) -> usize {
        match position.checked_sub(self.prompt) {
            Some(drawn) => position - drawn % self.every,
            None => 0,
        }
    }

    /// Whether a correction follows the first `tokens` tokens.
    pub fn is_due(&self, tokens: usize) -> bool {
        tokens > self.prompt && self.before(tokens) == tokens
    }

    /// The first query that is asked again once `position` was the last: those of the prompt never are.
    pub fn again(&self, position: usize) -> usize {
        if position < self.prompt { position } else { self.before(position) }
    }

    /// The first position behind `position` whose query sees more of them.
    pub fn next(&self, position: usize) -> usize {
        if position < self.prompt { self.prompt } else { self.before(position) + self.every }
    }
}

/// Turns rows of scores into weights.
pub trait Normalizer {
    /// Its parameters.
    type Params: Params;
    /// Extra tensors it reads, per layer.
    const INPUTS: &'static [Input] = &[];
    /// rows of scores `[B,H,Q,K]` → weights `[B,H,Q,K]`; a row that keeps no key yields zeros, never NaN.
    fn weigh(p: &Self::Params, at: &Grid, rows: Rows) -> Weighted;
}

/// Changes weights after the normalizer: copies them between layers, moves weight between keys, scales heads.
pub trait PatternMod {
    /// Its parameters.
    type Params: Params;
    /// Extra tensors it reads, per layer.
    const INPUTS: &'static [Input] = &[];
    /// weights → weights; entries of pairs that are not kept are zero and stay zero.
    fn rework(p: &Self::Params, at: &Grid, weighted: Weighted, memory: &mut Memory) -> Weighted;
    /// Whether this layer uses the weights that its own queries and keys give; where not, a decode keeps no keys of it.
    fn needs_keys(_p: &Self::Params, _at: &Grid) -> bool {
        true
    }
    /// What the GPU twin runs. The last stage is `rework_rows`; at a place where weights stay as they are it is missing,
    /// and what the others make is kept for later layers. None without a GPU twin.
    fn stages(_p: &Self::Params, _at: &Place) -> Option<Vec<Stage>> {
        None
    }
}

/// Replaces the whole step from vectors to mixed values.
pub trait Mixer {
    /// Its parameters.
    type Params: Params;
    /// Extra tensors it reads, per layer.
    const INPUTS: &'static [Input] = &[];
    /// q, k, v → z. It is causal by itself: query rows begin at [`Grid::first_query`], and later keys must not be seen.
    fn mix(p: &Self::Params, at: &Grid, given: Vectors, memory: &mut Memory) -> Mixed;
    /// What the GPU twin runs; one stage makes `z` and one makes `maps`. None without a GPU twin.
    fn stages(_p: &Self::Params, _at: &Place) -> Option<Vec<Stage>> {
        None
    }
    /// Numbers that a decode keeps for each query head in place of all keys and values, of heads of this width; `None`
    /// where it keeps keys and values.
    fn state(_p: &Self::Params, _width: usize) -> Option<usize> {
        None
    }
}

/// What a mixer makes of its vectors.
pub struct Mixed {
    /// `[B,H,Q,D]`
    pub z: Tensor<4>,
    /// The weights `[B,H,Q,K]` with which z is the sum of values, possibly negative and of any sum; computed only when
    /// somebody looks.
    pub pattern: Box<dyn FnOnce() -> Tensor<4>>,
}

/// Rotated queries, and keys and values so far, of one layer.
#[derive(Debug, Clone)]
pub struct Vectors {
    /// `[B,H,Q,D]`
    pub q: Tensor<4>,
    /// `[B,G,K,D]`
    pub k: Tensor<4>,
    /// `[B,G,K,D]`
    pub v: Tensor<4>,
    /// What q·k is multiplied by, usually 1/√D.
    pub scale: f32,
    /// What stands in for some keys and values, where a decode would have corrected its cache.
    pub corrected: Option<Corrected>,
}

/// Keys and values that queries see in place of those of their own stream.
#[derive(Debug, Clone)]
pub struct Corrected {
    /// `[B,G,K,D]`
    pub k: Tensor<4>,
    /// `[B,G,K,D]`
    pub v: Tensor<4>,
    /// Which queries see which of these, `[1,1,Q,K]`.
    pub pairs: Tensor<4, Bool>,
}

impl Vectors {
    /// Keys, one head per query head `[B,H,K,D]`.
    pub fn keys(&self) -> Tensor<4> {
        share_heads(self.k.clone(), self.q.dims()[1])
    }

    /// Values, one head per query head `[B,H,K,D]`.
    pub fn values(&self) -> Tensor<4> {
        share_heads(self.v.clone(), self.q.dims()[1])
    }

    /// scale · q·kᵀ → `[B,H,Q,K]`, before any mod or mask.
    pub fn scores(&self) -> Tensor<4> {
        let of = |keys: Tensor<4>| (self.q.clone() * self.scale).matmul(keys.swap_dims(2, 3));
        let scores = of(self.keys());
        let Some(Corrected { k, pairs, .. }) = &self.corrected else { return scores };
        let shape = scores.dims();
        scores.mask_where(pairs.clone().expand(shape), of(share_heads(k.clone(), shape[1])))
    }

    /// The sum of values under weights `[B,H,Q,K]` → `[B,H,Q,D]`.
    pub fn mix(&self, weights: Tensor<4>) -> Tensor<4> {
        let Some(Corrected { v, pairs, .. }) = &self.corrected else { return weights.matmul(self.values()) };
        let shape = weights.dims();
        let pairs = pairs.clone().expand(shape);
        let own = weights.clone().mask_fill(pairs.clone(), 0.0).matmul(self.values());
        own + weights.mask_fill(pairs.bool_not(), 0.0).matmul(share_heads(v.clone(), shape[1]))
    }
}

/// Repeats each key–value head for the query heads of its group: `[B,G,K,D]` → `[B,H,K,D]`.
fn share_heads(kv: Tensor<4>, heads: usize) -> Tensor<4> {
    let [batch, kv_heads, keys, width] = kv.dims();
    let group = heads / kv_heads.max(1);
    if group == 1 {
        return kv;
    }
    kv.reshape([batch, kv_heads, 1, keys * width])
        .expand([batch, kv_heads, group, keys * width])
        .reshape([batch, heads, keys, width])
}

/// Either condition, each broadcast along the axes it lacks.
pub(super) fn either(a: Tensor<4, Bool>, b: Tensor<4, Bool>) -> Tensor<4, Bool> {
    let common: [usize; 4] = std::array::from_fn(|axis| a.dims()[axis].max(b.dims()[axis]));
    a.expand(common).bool_or(b.expand(common))
}

/// Masked scores and what a selector or normalizer may need beside them.
pub struct Rows {
    /// `[B,H,Q,K]`; entries that are not kept hold [`MASKED`](super::MASKED).
    pub scores: Tensor<4>,
    /// `[B,H,Q,K]`, true where a pair is kept.
    pub keep: Tensor<4, Bool>,
    /// What the scores were made of.
    pub vectors: Vectors,
}

/// What a normalizer makes of its rows.
pub struct Weighted {
    /// Weights over keys `[B,H,Q,K]`; zero where a pair is not kept.
    pub pattern: Tensor<4>,
    /// Weight that goes elsewhere than to a key.
    pub slot: Option<Slot>,
}

/// A place beside the keys that takes weight.
pub struct Slot {
    /// `[B,H,Q,1]`
    pub weight: Tensor<4>,
    /// What it adds to z per unit of weight, `[1,H,1,D]`.
    pub value: Tensor<4>,
}

/// Role, parameters and tensor code of a mechanism.
pub struct Plug {
    /// What it changes.
    pub role: Role,
    /// Its parameters.
    pub spec: &'static [Param],
    /// The name of its parameter struct, in Rust and WGSL.
    pub params: &'static str,
    /// Extra tensors it reads.
    pub inputs: &'static [Input],
    /// Its tensor code.
    pub twin: Twin,
    /// See [`MaskMod::reach`]; 0 for all other roles.
    pub reach: fn(&[Value]) -> usize,
}

/// The tensor code of a mechanism, its parameter type erased.
#[derive(Clone, Copy)]
pub enum Twin {
    /// See [`ProjectionMod`]: the step, what a decode costs, and the stages of the GPU twin.
    Project(fn(&[Value], &Grid, Projected, &mut Memory) -> Turned, fn(&[Value], &Grid, usize, bool) -> Cost, Stages),
    /// See [`ScoreMod`].
    Score(fn(&[Value], &Grid, Tensor<4>) -> Tensor<4>),
    /// See [`MaskMod`].
    Mask(fn(&[Value], &Grid) -> Tensor<4, Bool>),
    /// See [`Selector`]: the choice, its stages, and when a decode corrects its cache.
    Select(fn(&[Value], &Grid, &Rows, &mut Memory) -> Selected, Stages, fn(&[Value]) -> Option<Corrects>),
    /// See [`Normalizer`].
    Weigh(fn(&[Value], &Grid, Rows) -> Weighted),
    /// See [`PatternMod`].
    Rework(fn(&[Value], &Grid, Weighted, &mut Memory) -> Weighted, Stages, fn(&[Value], &Grid) -> bool),
    /// See [`Mixer`]: the step, its stages, and the numbers of its state.
    Mix(fn(&[Value], &Grid, Vectors, &mut Memory) -> Mixed, Stages, fn(&[Value], usize) -> Option<usize>),
}

impl Plug {
    /// The plug of a [`ProjectionMod`].
    pub const fn projection_mod<M: ProjectionMod>() -> Self {
        let twin = Twin::Project(
            |values, at, given, memory| M::project(&M::Params::from_values(values), at, given, memory),
            |values, at, width, rotates| M::cost(&M::Params::from_values(values), at, width, rotates),
            |values, at| M::stages(&M::Params::from_values(values), at),
        );
        Self::new::<M::Params>(Role::ProjectionMod, M::INPUTS, twin)
    }

    /// The plug of a [`ScoreMod`].
    pub const fn score_mod<M: ScoreMod>() -> Self {
        let twin = Twin::Score(|values, at, scores| M::score(&M::Params::from_values(values), at, scores));
        Self::new::<M::Params>(Role::ScoreMod, M::INPUTS, twin)
    }

    /// The plug of a [`MaskMod`].
    pub const fn mask_mod<M: MaskMod>() -> Self {
        let twin = Twin::Mask(|values, at| M::keep(&M::Params::from_values(values), at));
        let reach = |values: &[Value]| M::reach(&M::Params::from_values(values));
        Self { reach, ..Self::new::<M::Params>(Role::MaskMod, M::INPUTS, twin) }
    }

    /// The plug of a [`Selector`].
    pub const fn selector<M: Selector>() -> Self {
        let twin = Twin::Select(
            |values, at, rows, memory| M::select(&M::Params::from_values(values), at, rows, memory),
            |values, at| M::stages(&M::Params::from_values(values), at),
            |values| M::corrects(&M::Params::from_values(values)),
        );
        Self::new::<M::Params>(Role::Selector, M::INPUTS, twin)
    }

    /// The plug of a [`Normalizer`].
    pub const fn normalizer<M: Normalizer>() -> Self {
        let twin = Twin::Weigh(|values, at, rows| M::weigh(&M::Params::from_values(values), at, rows));
        Self::new::<M::Params>(Role::Normalizer, M::INPUTS, twin)
    }

    /// The plug of a [`PatternMod`].
    pub const fn pattern_mod<M: PatternMod>() -> Self {
        let twin = Twin::Rework(
            |values, at, weighted, memory| M::rework(&M::Params::from_values(values), at, weighted, memory),
            |values, at| M::stages(&M::Params::from_values(values), at),
            |values, at| M::needs_keys(&M::Params::from_values(values), at),
        );
        Self::new::<M::Params>(Role::PatternMod, M::INPUTS, twin)
    }

    /// The plug of a [`Mixer`].
    pub const fn mixer<M: Mixer>() -> Self {
        let twin = Twin::Mix(
            |values, at, given, memory| M::mix(&M::Params::from_values(values), at, given, memory),
            |values, at| M::stages(&M::Params::from_values(values), at),
            |values, width| M::state(&M::Params::from_values(values), width),
        );
        Self::new::<M::Params>(Role::Mixer, M::INPUTS, twin)
    }

    const fn new<P: Params>(role: Role, inputs: &'static [Input], twin: Twin) -> Self {
        Self { role, spec: P::SPEC, params: P::NAME, inputs, twin, reach: |_| 0 }
    }
}
