//! Vectors that a mechanism makes of projections, as dispatches before the attention step.

use super::attend::{NO_TWIN, unsupported};
use super::kernel::Kernel;
use super::plan::{Attend, Plan, constant};
use crate::Result;
use crate::mechanism::{Place, Placed, Side, Stack, Stage, Twin};
use crate::model::step::Sizes;

/// Projections of whole sequences, before they turn.
pub struct Unturned<'a> {
    /// Buffer of q `[B,H,Q,D]`.
    pub q: &'a str,
    /// Buffer of k `[B,G,K,D]`.
    pub k: &'a str,
    /// Buffer of v `[B,G,K,D]`.
    pub v: &'a str,
    /// Buffer of turns (cos, sin) `[positions,D/2]`, where the family rotates.
    pub turns: Option<&'a str>,
    /// Step and gap of entries that rotate together; see [`pairing`](super::weights::pairing).
    pub pairing: [usize; 2],
}

impl Plan {
    /// [`Plan::attend`] on vectors that the stack makes of projections; where it makes none, on those of `at`.
    ///
    /// # Errors
    /// As [`Plan::attend`].
    pub fn attend_projected(&mut self, stack: &Stack, given: &Unturned<'_>, at: &Attend<'_>) -> Result<()> {
        let placed = match stack.projection_mods.as_slice() {
            [] => return self.attend(stack, at),
            [placed] => placed,
            [_, other, ..] => {
                return Err(unsupported(other.mechanism.id, "gpu, which runs one change of projections in a pane"));
            }
        };
        let id = placed.mechanism.id;
        let place = Place {
            layer: at.layer,
            layers: at.layers,
            heads: at.sizes.heads,
            kv_heads: at.sizes.kv_heads,
            keys: at.sizes.keys,
            width: at.sizes.width,
            rotates: given.turns.is_some(),
            measured: None,
        };
        let Twin::Project(_, _, stages) = placed.mechanism.plug.twin else { return self.attend(stack, at) };
        let Some(stages) = stages(&placed.values, &place).filter(|_| placed.mechanism.wgsl.is_some()) else {
            return Err(unsupported(id, NO_TWIN));
        };
        let (mut sizes, mut made) = (at.sizes, Vec::new());
        let mut names = [at.q.to_string(), at.k.to_string(), at.v.to_string()];
        for stage in &stages {
            let name = self.vectors(placed, given, at, stage, &made)?;
            match stage.makes {
                "q" => (names[0], sizes.width) = (name, stage.count),
                "k" => (names[1], sizes.kv_heads) = (name, stage.domain),
                "v" => names[2] = name,
                other => made.push(other),
            }
        }
        if sizes.width > constant("row", "MOST_WIDTH")? {
            return Err(unsupported(id, "gpu, whose kernels hold narrower vectors than these"));
        }
        let [q, k, v] = &names;
        let room = Sizes { kv_heads: sizes.kv_heads, width: sizes.width, ..at.room };
        self.mixed = Some(at.sizes.width);
        let done = self.attend(stack, &Attend { q, k, v, sizes, room, ..*at });
        self.mixed = None;
        done
    }

    /// One stage; returns the buffer it fills.
    fn vectors(
        &mut self,
        placed: &Placed,
        given: &Unturned<'_>,
        at: &Attend<'_>,
        stage: &Stage,
        made: &[&'static str],
    ) -> Result<String> {
        let id = placed.mechanism.id;
        let tokens = |sizes: &Sizes| if stage.side == Side::Queries { sizes.queries } else { sizes.keys };
        let words = at.room.batch * stage.domain * tokens(&at.room) * stage.count;
        let target = self.storage(format!("{id}_{}", stage.makes), words);
        // Where nothing turns, the table is never read.
        let turns = given.turns.unwrap_or(given.q);
        let read = [("q", given.q), ("k", given.k), ("v", given.v), ("turns", turns)];
        let mut binds: Vec<(String, String)> = vec![("made".into(), target.clone())];
        binds.extend(read.map(|(name, buffer)| (format!("{id}_{name}"), buffer.into())));
        binds.extend(made.iter().map(|name| (format!("{id}_{name}"), format!("{id}_{name}"))));
        binds.extend(at.binds_of(placed));
        let names = read.map(|(name, _)| name).into_iter().chain(made.iter().copied()).collect();
        let shape = vec![
            ("layer", at.layer.into()),
            ("layers", at.layers.into()),
            ("batch", at.sizes.batch.into()),
            ("heads", at.sizes.heads.into()),
            ("kv_heads", at.sizes.kv_heads.into()),
            ("queries", at.sizes.queries.into()),
            ("keys", at.sizes.keys.into()),
            ("width", at.sizes.width.into()),
            ("tokens", tokens(&at.sizes).into()),
            ("vectors", stage.domain.into()),
            ("first", if stage.side == Side::Queries { at.first_query } else { 0 }.into()),
            ("count", stage.count.into()),
            ("step", given.pairing[0].into()),
            ("gap", given.pairing[1].into()),
            ("rotates", usize::from(given.turns.is_some()).into()),
        ];
        let binds: Vec<(&str, &str)> = binds.iter().map(|(name, buffer)| (name.as_str(), buffer.as_str())).collect();
        let kernel = Kernel::stage(placed.mechanism, stage, names, false);
        self.step(kernel, &binds, shape, [tokens(&at.sizes), at.sizes.batch * stage.domain, 1])?;
        Ok(target)
    }
}
