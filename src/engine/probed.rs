//! Inputs that a mechanism wants measured on the model, such as the gates of DuoAttention: the plain model reads random
//! tokens that stand twice, once per model, and each stack is measured on what came of it.

use super::Engine;
use super::plan::Plan;
use super::texts::{Texts, all_layers};
use super::{Forward, Request};
use crate::Result;
use crate::experiment::Experiment;
use crate::hook::{Array, Selection, Site};
use crate::lens::roles::probes;
use crate::mechanism::{Probed, Stack};
use crate::model::attention::uniform;
use crate::model::config::Positions;

/// Probes, and tokens of one half: windows up to about twice that leave something to measure, and the patterns of a model
/// of 144 heads stay below 20 MB.
const PROBES: usize = 2;
const HALF: usize = 64;
/// Seed of the probes: what is measured belongs to the model, not to an experiment.
const SEED: u64 = 25;

impl Engine {
    /// `stack` with everything measured that its inputs ask for; `seed` is the experiment's.
    ///
    /// # Errors
    /// Those of the passes.
    pub async fn measured(&mut self, mut stack: Stack, seed: u64) -> Result<Stack> {
        if stack.measures() {
            let mut probed = match self.probed.take() {
                Some(probed) => probed,
                None => self.probe().await?,
            };
            probed.noise = uniform(probed.layers * probed.kv_heads, "probed.noise", 0, seed);
            stack.measure(&probed);
            self.probed = Some(probed);
        }
        Ok(stack)
    }

    /// A checked experiment, its stacks measured.
    ///
    /// # Errors
    /// Those of [`Plan::new`] and of the passes.
    pub(super) async fn plan(&mut self, experiment: &Experiment) -> Result<Plan> {
        let mut plan = Plan::new(experiment, &self.config, self.tokenizer())?;
        for stack in std::mem::take(&mut plan.stacks) {
            plan.stacks.push(self.measured(stack, plan.seed).await?);
        }
        Ok(plan)
    }

    /// Reads the probes with the plain model.
    async fn probe(&mut self) -> Result<Probed> {
        let (layers, heads, kv_heads) = (self.config.layers, self.config.heads, self.config.kv_heads);
        let plain = Stack::new("a", &[])?;
        let bos = self.tokenizer().bos();
        let half = HALF.min((self.config.context - usize::from(bos.is_some())) / 2);
        let probes = probes(SEED, &self.vocabulary(), PROBES, half, bos);
        let (lead, half) = probes.first().map_or((0, 0), |probe| (probe.lead, probe.half));
        let (mut patterns, mut values) = (Vec::new(), Vec::new());
        for probe in &probes {
            let wants = Selection::sites(&[Site::Pattern, Site::V]);
            let request = Request { tokens: &probe.repeated, stack: &plain, seed: SEED, wants };
            let captures = self.runner.forward(request).await?.captures;
            patterns.push(all_layers(&captures, Site::Pattern)?);
            values.push(all_layers(&captures, Site::V)?);
        }
        let Texts { patterns: texts, values: of_texts, moments } = self.read_texts(&plain).await?;
        let (width, rotates) = (self.config.head_width, self.config.positions != Positions::Learned);
        Ok(Probed {
            layers,
            heads,
            kv_heads,
            width,
            rotates,
            lead,
            half,
            patterns,
            texts,
            values: [values, of_texts],
            value_rows: self.value_rows()?,
            moments,
            trial: self.trial(),
            noise: Vec::new(),
        })
    }
    /// Of each layer the products `[G,D,D]` of the rows of its value projection, head by head.
    fn value_rows(&self) -> Result<Vec<Array>> {
        let (groups, width) = (self.config.kv_heads, self.config.head_width);
        let weights = self.runner.cpu.weights();
        let layer = |layer: usize| {
            let w = weights.get(&format!("blocks.{layer}.attn.w_v"))?; // [M,G·D]
            let mut products = vec![0.0f32; groups * width * width];
            for row in w.data.chunks(groups * width) {
                for (head, row) in row.chunks(width).enumerate() {
                    for (a, products) in row.iter().zip(products[head * width * width..].chunks_mut(width)) {
                        products.iter_mut().zip(row).for_each(|(product, b)| *product += a * b);
                    }
                }
            }
            Array::new([groups, width, width], products)
        };
        (0..self.config.layers).map(layer).collect()
    }
}
