//! Names of activations, and what observes or edits them.
//!
//! The vocabulary is TransformerLens's, typed: [`HookPoint`] prints as `blocks.3.attn.hook_pattern` and parses back. A
//! [`Tap`] is offered every activation it [`Tap::wants`]; it may look ([`ActivationCache`]) or replace ([`Patch`]).

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A host array: row-major f32 with its sizes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Array {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Row-major values; their number is the product of `shape`.
    pub data: Vec<f32>,
}

impl Array {
    /// Checks that the number of values fits the sizes.
    ///
    /// # Errors
    /// [`Error::Shape`] when it does not.
    pub fn new(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Result<Self> {
        let shape = shape.into();
        // Sizes from a file may overflow the product, and would then fit by chance.
        let count = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
        if count != Some(data.len()) {
            return Err(Error::Shape {
                who: "array".into(),
                tensor: "data".into(),
                expected: format!("{shape:?}"),
                came: format!("{} values", data.len()),
            });
        }
        Ok(Self { shape, data })
    }

    /// The slice at leading index `index`: one layer, one head, one row.
    pub fn at(&self, index: usize) -> &[f32] {
        let size = self.data.len() / self.shape.first().copied().unwrap_or(1).max(1);
        self.data.get(index * size..(index + 1) * size).unwrap_or(&[])
    }
}

macro_rules! sites {
    ($($(#[doc = $help:literal])+ $site:ident = $name:literal, $axes:literal, per_layer $per_layer:literal;)*) => {
        /// Where in the model an activation lives.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Site { $($(#[doc = $help])+ $site,)* }

        impl Site {
            /// Every site, in the order of the forward pass.
            pub const ALL: &'static [Site] = &[$(Site::$site),*];
            /// The name inside its block, or the whole name for sites outside blocks.
            pub fn name(self) -> &'static str { match self { $(Site::$site => $name),* } }
            /// Axis letters of the activation.
            pub fn axes(self) -> &'static str { match self { $(Site::$site => $axes),* } }
            /// Whether every block has one.
            pub fn per_layer(self) -> bool { match self { $(Site::$site => $per_layer),* } }
        }
    };
}

sites! {
    /// Token embedding.
    Embed = "hook_embed", "BQM", per_layer false;
    /// Learned position embedding, where the family has one.
    PosEmbed = "hook_pos_embed", "BQM", per_layer false;
    /// Residual stream before the block.
    ResidPre = "hook_resid_pre", "BQM", per_layer true;
    /// Normalised input of attention.
    Ln1 = "ln1.hook_normalized", "BQM", per_layer true;
    /// Queries before rotation.
    Q = "attn.hook_q", "BHQD", per_layer true;
    /// Keys before rotation.
    K = "attn.hook_k", "BGKD", per_layer true;
    /// Values.
    V = "attn.hook_v", "BGKD", per_layer true;
    /// Queries after rotation, where the family rotates.
    RotQ = "attn.hook_rot_q", "BHQD", per_layer true;
    /// Keys after rotation, where the family rotates.
    RotK = "attn.hook_rot_k", "BGKD", per_layer true;
    /// Scores after score mods and masks; removed entries hold `MASKED`.
    Scores = "attn.hook_attn_scores", "BHQK", per_layer true;
    /// Weights of the normalizer over keys.
    Pattern = "attn.hook_pattern", "BHQK", per_layer true;
    /// Weight of the normalizer's slot beside the keys, where it has one. Ours.
    Slot = "attn.hook_slot", "BHQ", per_layer true;
    /// Mix of values per head.
    Z = "attn.hook_z", "BHQD", per_layer true;
    /// What each head adds to the residual stream.
    Result = "attn.hook_result", "BHQM", per_layer true;
    /// Output of attention.
    AttnOut = "hook_attn_out", "BQM", per_layer true;
    /// Residual stream between attention and feed-forward; a model in which they stand side by side has none.
    ResidMid = "hook_resid_mid", "BQM", per_layer true;
    /// Normalised input of the feed-forward.
    Ln2 = "ln2.hook_normalized", "BQM", per_layer true;
    /// Feed-forward before the activation (the gate, in gated families).
    MlpPre = "mlp.hook_pre", "BQF", per_layer true;
    /// Feed-forward after the activation (times the linear part, in gated families).
    MlpPost = "mlp.hook_post", "BQF", per_layer true;
    /// Output of the feed-forward.
    MlpOut = "hook_mlp_out", "BQM", per_layer true;
    /// Residual stream after the block.
    ResidPost = "hook_resid_post", "BQM", per_layer true;
    /// Final norm.
    LnFinal = "ln_final.hook_normalized", "BQM", per_layer false;
    /// Vocabulary logits.
    Logits = "logits", "BQV", per_layer false;
}

/// One activation of one forward pass. Sites outside blocks have layer 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HookPoint {
    /// Zero-based layer.
    pub layer: usize,
    /// Where in the block.
    pub site: Site,
}

impl HookPoint {
    /// A point.
    pub fn new(layer: usize, site: Site) -> Self {
        Self { layer, site }
    }
}

impl fmt::Display for HookPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.site.per_layer() {
            write!(f, "blocks.{}.{}", self.layer, self.site.name())
        } else {
            f.write_str(self.site.name())
        }
    }
}

fn site_by_name(name: &str, per_layer: bool) -> Option<Site> {
    Site::ALL.iter().copied().find(|site| site.per_layer() == per_layer && site.name() == name)
}

impl FromStr for HookPoint {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let unknown = || Error::Unknown {
            what: "hook",
            name: text.into(),
            remedy: "hooks are named like blocks.0.attn.hook_pattern, hook_embed or logits".into(),
        };
        match text.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
            Some((layer, name)) => Ok(Self {
                layer: layer.parse().map_err(|_| unknown())?,
                site: site_by_name(name, true).ok_or_else(unknown)?,
            }),
            None => Ok(Self { layer: 0, site: site_by_name(text, false).ok_or_else(unknown)? }),
        }
    }
}

/// A set of hook points, written with `*` for every layer: `blocks.*.attn.hook_pattern,logits`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection(Vec<(Option<usize>, Site)>);

impl Selection {
    /// These sites at every layer.
    pub fn sites(sites: &[Site]) -> Self {
        Self(sites.iter().map(|site| (None, *site)).collect())
    }

    /// Whether the point was asked for.
    pub fn has(&self, at: HookPoint) -> bool {
        self.0.iter().any(|(layer, site)| *site == at.site && layer.is_none_or(|layer| layer == at.layer))
    }

    /// Adds one point.
    pub fn with(mut self, at: HookPoint) -> Self {
        self.0.push((Some(at.layer), at.site));
        self
    }
}

impl FromStr for Selection {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let one = |item: &str| match item.strip_prefix("blocks.*.") {
            Some(name) => Ok((None, HookPoint::from_str(&format!("blocks.0.{name}"))?.site)),
            None => HookPoint::from_str(item).map(|at| (at.site.per_layer().then_some(at.layer), at.site)),
        };
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(one).collect::<Result<_>>().map(Self)
    }
}

/// Observes or edits activations during a forward pass.
pub trait Tap {
    /// Whether this activation should be offered; engines skip the readback of what nobody wants.
    fn wants(&self, at: HookPoint) -> bool;
    /// Looks at an activation; `Some` replaces it (same shape), `None` leaves it.
    fn visit(&mut self, at: HookPoint, value: &Array) -> Option<Array>;
}

/// Records what a [`Selection`] asks for.
#[derive(Debug, Clone, Default)]
pub struct ActivationCache {
    wanted: Selection,
    /// What was recorded.
    pub values: BTreeMap<HookPoint, Array>,
}

impl ActivationCache {
    /// An empty cache that will record `wanted`.
    pub fn new(wanted: Selection) -> Self {
        Self { wanted, values: BTreeMap::new() }
    }

    /// One recorded activation.
    ///
    /// # Errors
    /// [`Error::Unknown`] when it was not recorded.
    pub fn get(&self, layer: usize, site: Site) -> Result<&Array> {
        let at = HookPoint { layer, site };
        self.values.get(&at).ok_or_else(|| Error::Unknown {
            what: "capture",
            name: at.to_string(),
            remedy: "ask for it before the run".into(),
        })
    }
}

impl Tap for ActivationCache {
    fn wants(&self, at: HookPoint) -> bool {
        self.wanted.has(at)
    }
    fn visit(&mut self, at: HookPoint, value: &Array) -> Option<Array> {
        self.values.insert(at, value.clone());
        None
    }
}

/// How an activation is taken out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ablation {
    /// Multiply by this factor; 0 is zero ablation.
    Scale(f32),
    /// Replace each query row of a pattern by the uniform causal row.
    Uniform,
    /// Replace by the mean over query positions.
    Mean,
}

/// Replaces activations by stored ones (activation patching), whole or one head of them.
#[derive(Debug, Clone, Default)]
pub struct Patch {
    edits: Vec<(HookPoint, Option<usize>, Edit)>,
}

#[derive(Debug, Clone)]
enum Edit {
    Replace(Array),
    Ablate(Ablation),
}

impl Patch {
    /// Replaces the activation at `at` (of one head when `head` is given) by `value`, which has the whole shape.
    pub fn replace(mut self, at: HookPoint, head: Option<usize>, value: Array) -> Self {
        self.edits.push((at, head, Edit::Replace(value)));
        self
    }

    /// Ablates the activation at `at` (of one head when `head` is given).
    pub fn ablate(mut self, at: HookPoint, head: Option<usize>, how: Ablation) -> Self {
        self.edits.push((at, head, Edit::Ablate(how)));
        self
    }
}

impl Tap for Patch {
    fn wants(&self, at: HookPoint) -> bool {
        self.edits.iter().any(|(point, ..)| *point == at)
    }

    fn visit(&mut self, at: HookPoint, value: &Array) -> Option<Array> {
        let mut edited = value.clone();
        for (_, head, edit) in self.edits.iter().filter(|(point, ..)| *point == at) {
            // [B,H,…]: a head is a stripe of the second axis; without a head the stripe is everything.
            let heads = if head.is_some() { value.shape.get(1).copied().unwrap_or(1) } else { 1 };
            let batch = if head.is_some() { value.shape.first().copied().unwrap_or(1) } else { 1 };
            let stripe = value.data.len() / (heads * batch).max(1);
            for b in 0..batch {
                let start = (b * heads + head.unwrap_or(0)) * stripe;
                let Some(target) = edited.data.get_mut(start..start + stripe) else { continue };
                match edit {
                    Edit::Replace(source) => {
                        if let Some(source) = source.data.get(start..start + stripe) {
                            target.copy_from_slice(source);
                        }
                    }
                    Edit::Ablate(how) => how.apply(target, value.shape.last().copied().unwrap_or(1)),
                }
            }
        }
        Some(edited)
    }
}

impl Ablation {
    /// Takes out whole rows of `width` values: the stripe of one head. For [`Ablation::Uniform`] a row is a query's, and
    /// they repeat every `width` queries.
    pub fn apply(&self, rows: &mut [f32], width: usize) {
        match self {
            Ablation::Scale(factor) => rows.iter_mut().for_each(|value| *value *= factor),
            Ablation::Uniform => {
                for (index, row) in rows.chunks_mut(width).enumerate() {
                    let query = index % width;
                    for (key, value) in row.iter_mut().enumerate() {
                        *value = if key <= query { 1.0 / (query + 1) as f32 } else { 0.0 };
                    }
                }
            }
            Ablation::Mean => {
                let count = (rows.len() / width).max(1) as f32;
                let mut mean = vec![0.0; width];
                for row in rows.chunks(width) {
                    mean.iter_mut().zip(row).for_each(|(m, value)| *m += value / count);
                }
                rows.chunks_mut(width).for_each(|row| row.copy_from_slice(&mean));
            }
        }
    }
}
