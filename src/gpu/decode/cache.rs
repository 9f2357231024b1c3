//! What each layer keeps of the tokens so far, and where that lies.
//!
//! ```text
//! whole   [G,room,D]   a row for every token         where any query may ask for any key, and where someone looks
//! rings   [S,D]        of each key–value head its    where masks end the need of a key: windows, halos, streaming heads
//!                      first tokens for good, then   beside retrieval heads, which keep a row for every token
//!                      rows taken in turn
//! state   [H,D,D]      no token                      where a mixer carries a matrix in their place
//! ```
//!
//! The last query that sees a key is known before the text is ([`Needs`]), so the row of a token follows from its position
//! and nothing is looked up: `pinned + (position - pinned) mod turning`. Stripes that stay for good while the tokens
//! between them go (s2_attention) do not fit that rule: there a head keeps every token.

use super::super::plan::constant;
use crate::Result;
use crate::mechanism::{Stack, Twin};
use crate::model::{Config, Needs, Ring};

/// What one layer keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Whole,
    /// Of each key–value head.
    Rings(Vec<Ring>),
    /// Numbers of each query head.
    State(usize),
}

impl Cache {
    /// What every layer keeps of `room` tokens under `stack`, whose inputs `seed` fills; everything where maps are made of
    /// it (`keep`).
    pub fn of_layers(config: &Config, stack: &Stack, seed: u64, room: usize, keep: bool) -> Vec<Self> {
        let of_layer = |layer| {
            if let Some(Twin::Mix(.., state)) = stack.mixer.as_ref().map(|mixer| mixer.mechanism.plug.twin) {
                let numbers = stack.mixer.as_ref().and_then(|mixer| state(&mixer.values, config.head_width));
                return Self(numbers.map_or(Kind::Whole, Kind::State));
            }
            if keep || stack.mask_mods.is_empty() {
                return Self(Kind::Whole);
            }
            let rings = Needs::of_layer(config, stack, seed, layer, room).rings(config.kv_heads);
            Self(rings.map_or(Kind::Whole, Kind::Rings))
        };
        (0..config.layers).map(of_layer).collect()
    }

    /// Whether some token takes the row of another.
    pub(super) fn is_ring(&self) -> bool {
        matches!(self.0, Kind::Rings(_))
    }

    /// Numbers of the state of each query head, where that is all that is kept.
    pub(super) fn state(&self) -> Option<usize> {
        match self.0 {
            Kind::State(numbers) => Some(numbers),
            _ => None,
        }
    }

    /// Rows of keys of all heads, of `kv_heads` with `room` each where nothing is lost.
    pub(super) fn rows(&self, kv_heads: usize, room: usize) -> usize {
        match &self.0 {
            Kind::Whole => kv_heads * room,
            Kind::Rings(rings) => rings.iter().map(Ring::rows).sum(),
            Kind::State(_) => 0,
        }
    }

    /// The words of `rings` in `shaders/shared/ring.wgsl`.
    pub(super) fn words(&self) -> Result<Vec<u32>> {
        let Kind::Rings(rings) = &self.0 else { return Ok(vec![0; ring_words()?]) };
        let mut first = 0;
        let mut words = Vec::new();
        for ring in rings {
            // Nobody takes turns in no rows, but the kernels divide by them.
            words.extend([first, ring.pinned, ring.turning.max(1), 0].map(|word| word as u32));
            first += ring.rows();
        }
        words.resize(ring_words()?, 0);
        Ok(words)
    }
}

/// Words of `rings`, however many heads there are.
pub(super) fn ring_words() -> Result<usize> {
    Ok(4 * constant("ring", "MOST_SOURCES")?)
}
