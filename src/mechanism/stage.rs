//! What a mechanism runs on the GPU besides or instead of the row kernel, as plain data.
//!
//! Score mods, masks and normalizers are functions that the row kernel calls. A selector, a pattern mod or a mixer needs
//! more: numbers per token, counts over tokens, a state carried along the sequence. Each such step is a [`Stage`]: a
//! skeleton of `shaders/skeleton`, which knows the order of the work, and a function of the mechanism's WGSL file, which
//! knows the formula. Stages run in order; what one makes, later ones read under the same name.
//!
//! | Skeleton | Makes | Asks `$_f`, the stage's function |
//! |---|---|---|
//! | `token_values` | `[B,H,T,C]` numbers of each query or key | `(p, Token, c) -> f32`; the vector is `token_row` |
//! | `token_sums` | `[B,H,T,C]` a sum over `domain` things | `(p, Token, c, thing) -> f32` |
//! | `scan_columns` | `[B,H,Q,K]` for each pair a sum over the rows of its column so far | `(p, Pair, q_row, k_row) -> f32` |
//! | `top_rows` | `[B,H,L,K]` 1 for the largest items of each list, else 0 | `(p, Head, list, item, k_row) -> f32`, MASKED for none; `$_quota(p, Head, list) -> u32` |
//! | `choose_rows` | `[B,H,Q,K]` log-weights, MASKED where dropped | `(p, Pair, q_row, k_row) -> f32` |
//! | `attend_rows` without a function | scores, pattern `[2,B,H,Q,K]` and slots `[B,H,Q]` of the stack so far | |
//! | `attend_rows` | z, or maps | `(p, Pair, q_row, k_row, s) -> f32`, then `$_rounds` and `$_step` as of a normalizer |
//! | `rework_rows` | z, by the rows of the stack; the last stage of a pattern mod | `$_gather(p, Pair, q_row, k_row, w, Fold) -> Fold`, optional; `$_rework(p, Pair, q_row, k_row, w, Fold) -> f32`; `$_rework_slot(p, q_row, w) -> f32`, optional |
//! | `chunk_states` | `[B,H,N,D,D]` what each chunk of `domain` tokens adds to a state | `$_carry(p, Head, steps) -> f32` |
//! | `scan_states` | the same, now the state before each chunk | `$_carry` |
//! | `mix_chunks` | `[B,H,Q,D]` pairs inside the chunk, the state for all before it | `$_carry`, and `$_f` as of `attend_rows` |
//! | `follow_tokens` | `[B,H,K,C]` nearest of C/2 - 1 centroids that follow the keys, and products with them at the end | `(p, is_key, q_row, k_row, d) -> f32` entry of a vector; `$_begin(p, Head, c, d) -> f32`; `$_carry` |
//! | `scan_tokens` | `[B,H,Q,D]` the state token by token | `$_carry` |
//! | `project_rows` | `[B,N,T,C]` `count` entries of `domain` vectors per token, named `q`, `k` or `v` where attention takes them | `(p, Projected, c) -> f32`, which reads `$_q`, `$_k`, `$_v` and `$_turns` before they turn |
//! | `norm_rows` | `[B,H,Q,D]` rows of `raw` over their root mean square, all heads together; `scale` `[B,H,Q]` | `(p) -> f32`, added under the root |
//!
//! `q_row` and `k_row` number rows of `[B,H,Q]` and `[B,H,K]`: entry `c` of a token lies at `row * C + c`. A list of
//! `top_rows` is a row of pairs where `count` is 0, else one of `count` lists of tokens. A stage's functions may also read
//! `shape.layer`, `layers`, `batch`, `heads`, `kv_heads`, `queries`, `keys`, `width`, `first_query` and `scale`, which every
//! skeleton has. What a stage makes stays until a stage of that name writes it again, in the same layer or a later one.

/// One kernel of a mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// Stem of the skeleton.
    pub skeleton: &'static str,
    /// The mechanism's function that fills it, without the mechanism's stem.
    pub function: &'static str,
    /// Which vectors a skeleton per token is about.
    pub side: Side,
    /// Name of what it makes: `z`, `chosen`, `maps` (scores and pattern for views, made only when somebody looks), or a
    /// name of the mechanism's own, which is `<id>_<name>` in WGSL.
    pub makes: &'static str,
    /// C, the number of values per token.
    pub count: usize,
    /// How many things `token_sums` goes through (0: all keys), vectors of a token, or the length of a chunk.
    pub domain: usize,
    /// Name of something that must have been made, in this layer or an earlier one, or the stage is left out; empty for
    /// nothing.
    pub needs: &'static str,
}

/// Queries or keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The H heads of queries.
    Queries,
    /// The keys, once per query head.
    Keys,
}

impl Stage {
    /// A stage of one value per query.
    pub const fn new(skeleton: &'static str, function: &'static str, makes: &'static str) -> Self {
        Self { skeleton, function, side: Side::Queries, makes, count: 1, domain: 0, needs: "" }
    }

    /// The same about keys.
    pub const fn of_keys(self) -> Self {
        Self { side: Side::Keys, ..self }
    }

    /// The same with `count` values per token.
    pub const fn count(self, count: usize) -> Self {
        Self { count, ..self }
    }

    /// The same, left out where nobody has made `needs`.
    pub const fn needs(self, needs: &'static str) -> Self {
        Self { needs, ..self }
    }

    /// The same over `domain` things.
    pub const fn over(self, domain: usize) -> Self {
        Self { domain, ..self }
    }
}

/// Where a mechanism says which stages it needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Zero-based layer.
    pub layer: usize,
    /// L.
    pub layers: usize,
    /// H.
    pub heads: usize,
    /// G.
    pub kv_heads: usize,
    /// Number of keys K.
    pub keys: usize,
    /// D.
    pub width: usize,
    /// The first number that was measured on the model for the mechanism's first input at this layer.
    pub measured: Option<f32>,
    /// Whether queries and keys turn by position; told to what changes projections.
    pub rotates: bool,
}

/// The stages of a mechanism at some values and place.
pub type Stages = fn(&[crate::spec::Value], &Place) -> Option<Vec<Stage>>;
