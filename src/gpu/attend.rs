//! The attention step as dispatches: the row kernel, and the stages of mechanisms before it or in its place.

use super::kernel::Kernel;
use super::plan::{Attend, Past, Plan, Word, constant};
use super::source;
use crate::mechanism::{Input, Place, Placed, Side, Stack, Stage, Twin};
use crate::model::step::Sizes;
use crate::{Error, Result};

/// Storage buffers that every device binds to one kernel.
pub const MOST_STORAGE: usize = 8;

/// What a skeleton's grid counts in its first dimension; the second is batch × heads but for `norm_rows`.
enum Across {
    Tokens,
    Queries,
    /// Keys, one per lane.
    Keys,
    Lists,
    Chunks,
    /// Entries of a state, one per lane.
    States,
    /// Columns of a state, a few per workgroup.
    Columns,
    /// Nothing: one workgroup goes through all keys.
    Once,
}

fn across(skeleton: &str) -> Result<Across> {
    match skeleton {
        "token_values" | "token_sums" => Ok(Across::Tokens),
        "attend_rows" | "choose_rows" | "list_rows" | "mix_chunks" | "norm_rows" => Ok(Across::Queries),
        "scan_columns" => Ok(Across::Keys),
        "top_rows" => Ok(Across::Lists),
        "chunk_states" => Ok(Across::Chunks),
        "scan_states" => Ok(Across::States),
        "scan_tokens" => Ok(Across::Columns),
        "follow_tokens" => Ok(Across::Once),
        other => Err(Error::Internal(format!("{other} is no skeleton of a stage"))),
    }
}

impl Plan {
    /// Adds the attention step of a stack.
    ///
    /// # Errors
    /// [`Error::Gpu`] when heads or rows are larger than the kernel's workgroup memory; [`Error::Unsupported`] for a stack
    /// that runs on the processor only.
    pub fn attend(&mut self, stack: &Stack, at: &Attend<'_>) -> Result<()> {
        fits(at)?;
        if let Some(placed) = stack.projection_mods.first().filter(|_| self.mixed.is_none()) {
            return Err(unsupported(placed.mechanism.id, "gpu, whose cache holds keys as the model has them"));
        }
        if let Some(mixer) = &stack.mixer {
            return match at.state {
                None => self.stages(stack, mixer, at).map(|_| ()),
                Some(state) => self.follow(mixer, state, at),
            };
        }
        let chosen = match &stack.selector {
            // Stages that choose go by causal pairs.
            Some(selector) if stack.reach() > 0 => {
                return Err(unsupported(selector.mechanism.id, "gpu, whose selectors never look at later keys"));
            }
            Some(selector) => self.stages(stack, selector, at)?.contains(&"choose_rows"),
            None => false,
        };
        match stack.pattern_mods.as_slice() {
            [] if self.tiles(stack, at, chosen)? => match at.capture {
                None => Ok(()),
                // z is the same whether or not somebody looks: maps come from a kernel of their own.
                Some(_) => {
                    let spare =
                        self.storage("spare", at.room.batch * at.shown * at.room.queries * self.mixed_width(at));
                    self.rows(stack, &Attend { z: &spare, ..*at }, chosen, None)
                }
            },
            [] => self.rows(stack, at, chosen, None),
            [placed] => {
                let reworks = self.stages(stack, placed, at)?.contains(&"rework_rows");
                self.rows(stack, at, chosen, reworks.then_some(placed))
            }
            [_, other, ..] => Err(unsupported(other.mechanism.id, "gpu, which runs one pattern mod in a pane")),
        }
    }

    /// Adds the maps alone, of a stack that does not act in stages; z is spoilt.
    ///
    /// # Errors
    /// As [`Plan::attend`].
    pub fn maps(&mut self, stack: &Stack, at: &Attend<'_>) -> Result<()> {
        fits(at)?;
        self.rows(stack, at, false, None)
    }

    /// The tile kernel, where the stack has one and there are rows enough to share a tile; whether it was planned.
    fn tiles(&mut self, stack: &Stack, at: &Attend<'_>, chosen: bool) -> Result<bool> {
        let widths = [at.sizes.width, self.mixed_width(at)];
        if at.sizes.queries == 1 || widths.iter().any(|width| width % 4 > 0) {
            return Ok(false);
        }
        let kernel = match self.alone {
            true => Kernel::attend_alone(stack, at.state.is_some(), chosen),
            false => Kernel::attend_tiles(stack, widths[1], at.state.is_some(), chosen),
        };
        let Some(mut kernel) = kernel else { return Ok(false) };
        if matches!(at.past, Past::Rings { .. }) {
            kernel.pieces.push(("rows_whole", "rows_split"));
        }
        let (binds, storage) = self.row_binds(stack, at, chosen, &kernel);
        if storage > MOST_STORAGE {
            return Ok(false);
        }
        let [queries, heads, _] = at.groups();
        let spans = if self.alone { widths[1].div_ceil(32) } else { 1 };
        let rows = source::kernel(kernel.name)?.constant("TILE_ROWS")? as usize;
        self.step(kernel, &borrowed(&binds), self.row_shape(at), [queries.div_ceil(rows), heads, spans])?;
        Ok(true)
    }

    /// What a kernel of rows or tiles is bound to without captures, and how much of that is storage.
    fn row_binds(
        &self,
        stack: &Stack,
        at: &Attend<'_>,
        chosen: bool,
        kernel: &Kernel,
    ) -> (Vec<(String, String)>, usize) {
        let mut binds = at.binds(at.z);
        binds.extend(chosen.then(|| ("chosen".into(), "chosen".into())));
        binds.extend(at.state.map(|state| ("state".into(), state.into())));
        let in_kernel = |placed: &&Placed| kernel.mechanisms.iter().any(|m| m.id == placed.mechanism.id);
        let placed: Vec<&Placed> = stack.iter().filter(in_kernel).collect();
        binds.extend(placed.iter().flat_map(|placed| at.binds_of(placed)));
        let uniforms: usize = placed.iter().map(|placed| uniforms_of(placed)).sum();
        let storage = binds.len() - uniforms - usize::from(at.state.is_some());
        if let Past::Rings { rings, .. } = at.past {
            binds.push(("rings".into(), rings.into()));
        }
        (binds, storage)
    }

    /// The row kernel on scores, masks and normalizer of a stack, with what a selector chose and a pattern mod reworks.
    fn rows(&mut self, stack: &Stack, at: &Attend<'_>, chosen: bool, rework: Option<&Placed>) -> Result<()> {
        let mut kernel = Kernel::attend_rows(stack, at.capture.is_some(), at.state.is_some(), chosen);
        match at.past {
            Past::Rings { copied: false, .. } => kernel = kernel.ringed(),
            Past::Rings { copied: true, .. } => kernel.pieces.push(("rows_whole", "rows_split")),
            _ => (),
        }
        let (mut binds, mut storage) = self.row_binds(stack, at, chosen, &kernel);
        if let Some(maps) = at.capture {
            binds.push(("maps".into(), maps.into()));
            storage += 1;
        }
        if let Some(placed) = rework {
            let made = self.made.get(placed.mechanism.id).cloned().unwrap_or_default();
            let before = binds.len();
            binds.extend(at.binds_of(placed));
            binds.extend(made.iter().map(|name| own(placed, name)).map(|name| (name.clone(), name)));
            storage += binds.len() - before - uniforms_of(placed);
            kernel = kernel.reworked(placed.mechanism, made);
        }
        if storage > MOST_STORAGE {
            let ids: Vec<_> = stack.iter().map(|placed| placed.mechanism.id).collect();
            let came = "gpu, whose kernels bind at most eight buffers and need more here";
            return Err(unsupported(&ids.join(" "), came));
        }
        // Maps show every pair and a pattern mod may look at any; otherwise only the chosen keys are touched.
        if chosen && at.capture.is_none() && rework.is_none() && storage < MOST_STORAGE {
            binds.push(("listed".into(), self.list(at)?));
            kernel = kernel.listed();
        }
        let shape = self.row_shape(at);
        self.step(kernel, &borrowed(&binds), shape, at.groups())
    }

    /// Lists the chosen keys of each row.
    fn list(&mut self, at: &Attend<'_>) -> Result<String> {
        let rows = at.room.batch * at.room.heads * at.room.queries;
        let listed = self.storage("listed", rows * (at.room.keys + 1));
        let stage = Stage::new("list_rows", "", "listed");
        let binds = [("chosen", "chosen"), ("listed", listed.as_str())];
        self.step(Kernel::new("list_rows", &[]), &binds, shape(at, &stage), groups(&at.sizes, &stage)?)?;
        Ok(listed)
    }

    /// The shape of the row kernel.
    fn row_shape(&self, at: &Attend<'_>) -> Vec<(&'static str, Word)> {
        let mixed = [("mix_width", self.mixed_width(at).into())];
        at.shape().into_iter().chain(mixed).collect()
    }

    /// Entries of a value.
    fn mixed_width(&self, at: &Attend<'_>) -> usize {
        self.mixed.unwrap_or(at.sizes.width)
    }

    /// Adds a mixer's step behind the tokens of a continuation: its state takes the new ones up, or its weights go over all
    /// keys that are there. A norm that it has goes over all heads and follows ([`Plan::normed`], [`Mixing::norm`]).
    fn follow(&mut self, mixer: &Placed, state: &str, at: &Attend<'_>) -> Result<()> {
        let mut binds = at.binds(at.z);
        binds.push(("state".into(), state.into()));
        let (stage, groups) = match (mixing(mixer, &at.place()).map(|mixing| mixing.weight), at.past) {
            (Some(Some(weight)), Past::Whole) => (Stage::new("attend_rows", weight, "z"), at.groups()),
            (Some(None), Past::State(memory)) => {
                binds.push(("memory".into(), memory.into()));
                let name = if self.alone { "carry_state_alone" } else { "carry_state" };
                let columns = source::kernel(name)?.constant("COLUMNS")? as usize;
                (Stage::new(name, "carry", "z"), [at.sizes.width.div_ceil(columns), at.sizes.heads, 1])
            }
            _ => return Err(unsupported(mixer.mechanism.id, "gpu, where this mixer has no decode state")),
        };
        binds.extend(at.binds_of(mixer));
        let kernel = Kernel::stage(mixer.mechanism, &stage, Vec::new(), false).behind();
        let shape = self.row_shape(at);
        self.step(kernel, &borrowed(&binds), shape, groups)
    }

    /// Adds the norm of a mixer's output: the rows of `raw`, all heads together, go to z.
    ///
    /// # Errors
    /// As [`Plan::step`].
    pub(super) fn normed(&mut self, mixer: &Placed, function: &'static str, raw: &str, at: &Attend<'_>) -> Result<()> {
        let stage = Stage::new("norm_rows", function, "z");
        let scale = self.storage("scale", at.room.batch * at.room.heads * at.room.queries);
        let mut binds = vec![("raw".into(), raw.into()), ("made".into(), at.z.into()), ("scale".into(), scale)];
        binds.extend(at.binds_of(mixer));
        let kernel = Kernel::stage(mixer.mechanism, &stage, Vec::new(), false);
        self.step(kernel, &borrowed(&binds), shape(at, &stage), groups(&at.sizes, &stage)?)
    }

    /// Adds the stages of a mechanism, those that make maps only where they are captured; returns their skeletons.
    fn stages(&mut self, stack: &Stack, placed: &Placed, at: &Attend<'_>) -> Result<Vec<&'static str>> {
        let id = placed.mechanism.id;
        let (Twin::Select(_, stages, _) | Twin::Rework(_, stages, _) | Twin::Mix(_, stages, _)) =
            placed.mechanism.plug.twin
        else {
            return Err(Error::Internal(format!("{id} has no stages")));
        };
        if at.state.is_some() {
            return Err(unsupported(id, "gpu, but the stages of this mechanism need the whole sequence"));
        }
        let measured = placed.mechanism.plug.inputs.first().and_then(|input| measured(stack, placed, input, at));
        let place = Place { measured, ..at.place() };
        let Some(stages) = stages(&placed.values, &place).filter(|_| placed.mechanism.wgsl.is_some()) else {
            return Err(unsupported(id, NO_TWIN));
        };
        let is_made =
            |stage: &Stage| stage.needs.is_empty() || self.made.get(id).is_some_and(|made| made.contains(&stage.needs));
        let stages: Vec<Stage> = stages.into_iter().filter(is_made).collect();
        for stage in &stages {
            if stage.skeleton != "rework_rows" && (stage.makes != "maps" || at.capture.is_some()) {
                self.stage(stack, placed, at, stage)?;
            }
            let also = (stage.skeleton == "norm_rows").then_some("scale");
            let made = self.made.entry(id).or_default();
            for name in [stage.makes].into_iter().chain(also) {
                if !["z", "maps", "chosen"].contains(&name) && !made.contains(&name) {
                    made.push(name);
                }
            }
        }
        Ok(stages.iter().map(|stage| stage.skeleton).collect())
    }

    fn stage(&mut self, stack: &Stack, placed: &Placed, at: &Attend<'_>, stage: &Stage) -> Result<()> {
        let rows = |sizes: &Sizes| sizes.batch * sizes.heads * sizes.queries;
        if stage.skeleton == "attend_rows" && stage.function.is_empty() {
            let spare = self.storage(own(placed, "spare"), rows(&at.room) * at.room.width);
            let maps = self.storage(own(placed, stage.makes), rows(&at.room) * (2 * at.room.keys + 1));
            let chosen = stack.selector.as_ref().is_some_and(|selector| selector.mechanism.id != placed.mechanism.id);
            let whole = Attend { z: &spare, capture: Some(&maps), first_head: 0, shown: at.sizes.heads, ..*at };
            return self.rows(stack, &whole, chosen, None);
        }
        let made = self.made.get(placed.mechanism.id).cloned().unwrap_or_default();
        let target = match stage.makes {
            "z" => at.z.to_string(),
            // The row kernel mixes values even when only its maps are wanted.
            "maps" => self.storage(own(placed, "spare"), rows(&at.room) * at.room.width),
            "chosen" => self.storage("chosen", words(stage, &at.room)?),
            name => self.storage(own(placed, name), words(stage, &at.room)?),
        };
        let mut binds = at.binds(&target);
        let x = if stage.side == Side::Queries { at.q } else { at.k };
        binds.extend([("x".into(), x.into()), ("made".into(), target)]);
        for name in &made {
            binds.extend([(name.to_string(), own(placed, name)), (own(placed, name), own(placed, name))]);
        }
        binds.extend(at.binds_of(placed));
        if stage.skeleton == "norm_rows" {
            let scale = self.storage(own(placed, "scale"), rows(&at.room));
            binds.push(("scale".into(), scale));
        }
        let capture = at.capture.filter(|_| stage.makes == "maps");
        binds.extend(capture.map(|maps| ("maps".into(), maps.into())));
        let kernel = Kernel::stage(placed.mechanism, stage, made, capture.is_some());
        if stage.skeleton == "attend_rows" {
            let shape = self.row_shape(at);
            return self.step(kernel, &borrowed(&binds), shape, at.groups());
        }
        self.step(kernel, &borrowed(&binds), shape(at, stage), groups(&at.sizes, stage)?)
    }
}

/// How a mixer goes on behind the tokens so far.
pub(super) struct Mixing {
    /// Its function of the row kernel; a state carries the tokens where it has none.
    weight: Option<&'static str>,
    /// Its function of the norm over all heads that follows, where one does.
    pub norm: Option<&'static str>,
}

/// Says it of a mixer; `None` where it needs more than its state or the keys: features or routes of earlier tokens.
pub(super) fn mixing(placed: &Placed, place: &Place) -> Option<Mixing> {
    let Twin::Mix(_, stages, state) = placed.mechanism.plug.twin else { return None };
    placed.mechanism.wgsl?;
    let mut stages = stages(&placed.values, place)?;
    stages.retain(|stage| stage.makes != "maps");
    let norm = stages.pop_if(|stage| stage.skeleton == "norm_rows").map(|stage| stage.function);
    if state(&placed.values, place.width).is_some() {
        let is_state =
            |stage: &Stage| ["scan_tokens", "chunk_states", "scan_states", "mix_chunks"].contains(&stage.skeleton);
        return stages.iter().all(is_state).then_some(Mixing { weight: None, norm });
    }
    match stages[..] {
        [Stage { skeleton: "attend_rows", function, .. }] if !function.is_empty() => {
            Some(Mixing { weight: Some(function), norm })
        }
        _ => None,
    }
}

/// Refuses what is larger than the workgroup memory of a kernel.
fn fits(at: &Attend<'_>) -> Result<()> {
    let most_keys = source::kernel("attend_rows")?.constant("MOST_KEYS")? as usize;
    let most_width = constant("row", "MOST_WIDTH")?;
    for (what, came, most) in [
        ("keys", at.sizes.keys, most_keys),
        ("entries per head", at.sizes.width, most_width),
        ("heads", at.sizes.heads, Input::MOST_HEADS),
    ] {
        if came > most {
            let problem =
                format!("{came} {what} are more than the {most} the attention kernel holds; use the CPU engine");
            return Err(Error::Gpu { problem });
        }
    }
    Ok(())
}

/// The first number that was measured for an input.
fn measured(stack: &Stack, placed: &Placed, input: &Input, at: &Attend<'_>) -> Option<f32> {
    let count = input.shape(at.sizes.heads, at.sizes.kv_heads, at.sizes.width).iter().product();
    stack.measured(placed, input, at.layer, count)?.first().copied()
}

/// Its parameters, and inputs that are bound as uniforms.
fn uniforms_of(placed: &Placed) -> usize {
    1 + placed.mechanism.plug.inputs.iter().filter(|input| input.is_per_head()).count()
}

fn own(placed: &Placed, name: &str) -> String {
    format!("{}_{name}", placed.mechanism.id)
}

fn borrowed(binds: &[(String, String)]) -> Vec<(&str, &str)> {
    binds.iter().map(|(binding, buffer)| (binding.as_str(), buffer.as_str())).collect()
}

/// Why a mechanism of the processor alone is refused.
pub(super) const NO_TWIN: &str = "gpu, but this mechanism has no GPU twin here";

/// The refusal of a stack that runs on the processor only.
pub(super) fn unsupported(id: &str, came: &str) -> Error {
    Error::Unsupported { file: id.into(), key: "engine".into(), expected: "cpu".into(), came: came.into() }
}

/// Number of vectors and of their heads on the side of a stage.
fn tokens(sizes: &Sizes, stage: &Stage) -> [usize; 2] {
    match stage.side {
        Side::Queries => [sizes.queries, sizes.heads],
        Side::Keys => [sizes.keys, sizes.kv_heads],
    }
}

fn chunks(sizes: &Sizes, stage: &Stage) -> usize {
    sizes.keys.div_ceil(stage.domain.max(1))
}

/// Number of lists of `top_rows`.
fn lists(sizes: &Sizes, stage: &Stage) -> usize {
    if stage.count == 0 { sizes.queries } else { stage.count }
}

/// Size of what a stage makes, in 32-bit words.
fn words(stage: &Stage, room: &Sizes) -> Result<usize> {
    let per_head = match across(stage.skeleton)? {
        Across::Tokens | Across::Once => tokens(room, stage)[0] * stage.count,
        Across::Keys => room.queries * room.keys,
        Across::Queries if stage.skeleton == "choose_rows" => room.queries * room.keys,
        Across::Lists => lists(room, stage) * room.keys,
        Across::Chunks | Across::States => chunks(room, stage) * room.width * room.width,
        Across::Queries | Across::Columns => room.queries * room.width,
    };
    Ok(room.batch * room.heads * per_head)
}

fn groups(sizes: &Sizes, stage: &Stage) -> Result<[usize; 3]> {
    let heads = sizes.batch * sizes.heads;
    let lanes = constant("lanes", "LANES")?;
    Ok(match across(stage.skeleton)? {
        Across::Tokens => [tokens(sizes, stage)[0], heads, 1],
        Across::Queries if stage.skeleton == "norm_rows" => [sizes.queries, sizes.batch, 1],
        Across::Queries => [sizes.queries, heads, 1],
        Across::Keys => [sizes.keys.div_ceil(lanes), heads, 1],
        Across::Lists => [lists(sizes, stage), heads, 1],
        Across::Once => [1, heads, 1],
        Across::Chunks => [chunks(sizes, stage), heads, 1],
        Across::States => [(sizes.width * sizes.width).div_ceil(lanes), heads, 1],
        Across::Columns => {
            [sizes.width.div_ceil(source::kernel("scan_tokens")?.constant("COLUMNS")? as usize), heads, 1]
        }
    })
}

/// The shape of every skeleton but the row kernel; see `shaders/shared/step.wgsl`.
fn shape(at: &Attend<'_>, stage: &Stage) -> Vec<(&'static str, Word)> {
    let [tokens, sources] = tokens(&at.sizes, stage);
    let is_key = stage.side == Side::Keys;
    let domain = if stage.domain == 0 { at.sizes.keys } else { stage.domain };
    vec![
        ("layer", at.layer.into()),
        ("layers", at.layers.into()),
        ("batch", at.sizes.batch.into()),
        ("heads", at.sizes.heads.into()),
        ("kv_heads", at.sizes.kv_heads.into()),
        ("queries", at.sizes.queries.into()),
        ("keys", at.sizes.keys.into()),
        ("width", at.sizes.width.into()),
        ("first_query", at.first_query.into()),
        ("tokens", tokens.into()),
        ("sources", sources.into()),
        ("first", if is_key { 0 } else { at.first_query }.into()),
        ("is_key", usize::from(is_key).into()),
        ("count", stage.count.into()),
        ("domain", domain.into()),
        ("lists", lists(&at.sizes, stage).into()),
        ("scale", at.scale.into()),
    ]
}
