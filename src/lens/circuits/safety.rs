//! Ships and Sahara: which heads a refusal rests on.
//!
//! A head is made to look everywhere alike (undifferentiated attention, ε → 0: the mean of the values so far), or its output
//! is taken away, on requests that are to be refused:
//!
//! ```text
//! Ships(q, h) = KL(P(· | q) ‖ P without h (· | q))      at the last position, mean over refused requests
//! angle(Q, h) = arccos |u · u'|      leading left singular vectors of the last residual stream, one row for each request
//! Sahara      = add the head with the largest angle, again and again
//! ```
//!
//! What it does is measured: the share of such requests that are answered, and the accuracy on requests that are to be
//! carried out, beside random groups of heads. The topic is harmless: twelve sea creatures.
//!
//! Source: Zhou et al., "On the Role of Attention Heads in Large Language Model Safety", 2025 (paper 8), text and code. The
//! model that refuses and its topic are ours.

pub mod epsilon;

use super::{Circuit, Counts, Given, Prompt, in_percent, likeliest, percent, strongest};
use crate::Result;
use crate::engine::{divergence, log_probabilities};
use crate::experiment::{Head, Removal};
use crate::hook::{Array, HookPoint, Site};
use crate::lens::exhibit::Drawn;
use crate::lens::finding::{Fact, Grid};
use crate::lens::ranks::rank_correlation;
use crate::lens::study::{Shown, exhibit, grid, mean, sheet};
use crate::mechanism::eigen;
use crate::model::CpuModel;
use crate::train::circuits::Draw;
use epsilon::Epsilon;

/// Requests of either kind.
const REQUESTS: usize = 16;
/// Heads in the largest group.
const GROUP: usize = 3;
/// Random groups of each size.
const RANDOM: usize = 10;

/// The study: each head alone, then groups, then what groups do.
pub struct Safety {
    given: Given,
    refused: Vec<Prompt>,
    carried: Vec<Prompt>,
    /// KL of each refused request without each head, by way.
    ships: [Vec<Vec<f32>>; 2],
    /// Whether it was answered then, under uniform attention.
    answered: Counts,
    /// Last residual streams of the whole model and without each candidate, one for each refused request.
    whole: Vec<Vec<f32>>,
    candidates: Vec<Vec<Vec<f32>>>,
    /// Angles of the heads alone.
    angles: Vec<f32>,
    group: Vec<Head>,
    /// What is tried on both kinds, and what came: requests of the topic answered, and others answered right.
    sets: Vec<Vec<Head>>,
    attack: Counts,
    right: Counts,
    epsilon: Epsilon,
}

impl Safety {
    /// Requests that nobody was trained on.
    pub fn new(given: Given) -> Self {
        let mut draw = Draw::new(given.seed);
        let mut requests = |marked: bool| -> Vec<Prompt> {
            let inner = crate::train::circuits::Given { words: &given.circuits.words, longest: given.config.context };
            (0..REQUESTS).map(|_| given.held_out(|| given.circuits.refusal.item(&inner, &mut draw, marked))).collect()
        };
        let (refused, carried) = (requests(true), requests(false));
        let heads = given.config.layers * given.config.heads;
        Self {
            refused,
            carried,
            ships: [vec![Vec::new(); heads], vec![Vec::new(); heads]],
            answered: Counts::default(),
            whole: Vec::new(),
            candidates: vec![Vec::new(); heads],
            angles: Vec::new(),
            group: Vec::new(),
            sets: Vec::new(),
            attack: Counts::default(),
            right: Counts::default(),
            epsilon: Epsilon::default(),
            given,
        }
    }

    /// Takes candidates beside the group out of one refused request.
    fn alone(&mut self, model: &CpuModel, request: usize) -> Result<()> {
        let (given, prompt) = (&self.given, &self.refused[request]);
        let (query, answer) = (prompt.query(), prompt.answer());
        let end = HookPoint::new(given.config.layers - 1, Site::ResidPost);
        let base = given.base(model, prompt, &[])?;
        let last = |stream: &Array| {
            let width = given.config.width;
            stream.data.get(query * width..(query + 1) * width).unwrap_or(&[]).to_vec()
        };
        let first = self.group.is_empty();
        if first {
            self.whole.push(last(&base.residuals[given.config.layers]));
        }
        let heads = given.heads();
        let candidates: Vec<usize> = (0..heads.len()).filter(|at| !self.group.contains(&heads[*at])).collect();
        let sets: Vec<Vec<Head>> = candidates.iter().map(|at| [&self.group[..], &[heads[*at]]].concat()).collect();
        let before = base.log_probabilities.at(query);
        let (ships, answered, streams) = (&mut self.ships, &mut self.answered, &mut self.candidates);
        given.without(
            model,
            (&base, query),
            &sets,
            Removal::Uniform,
            |set, logits, seen| {
                if first {
                    ships[0][candidates[set]].push(shift(before, logits));
                    answered.note(candidates[set], likeliest(logits) != answer);
                }
                if let Ok(stream) = seen.get(end.layer, end.site) {
                    streams[candidates[set]].push(last(stream));
                }
            },
            &[end],
        )?;
        if first {
            let each = |set: usize, logits: &[f32], _: &_| ships[1][candidates[set]].push(shift(before, logits));
            given.without(model, (&base, query), &sets, Removal::Zero, each, &[])?;
        }
        if request + 1 == REQUESTS {
            self.grow();
        }
        Ok(())
    }

    /// Adds the candidate whose removal turns the set of requests most.
    fn grow(&mut self) {
        let heads = self.given.heads();
        let angle = |streams: &Vec<Vec<f32>>| {
            if streams.len() == self.whole.len() { turned(&self.whole, streams) } else { f32::NAN }
        };
        let angles: Vec<f32> = self.candidates.iter().map(angle).collect();
        if let Some(best) = strongest(&angles).first() {
            self.group.push(heads[*best]);
        }
        if self.angles.is_empty() {
            self.angles = angles;
        }
        self.candidates.iter_mut().for_each(Vec::clear);
        if self.group.len() == GROUP {
            let mut draw = Draw::new(self.given.seed ^ 1);
            let own = (0..=GROUP).map(|size| self.group[..size].to_vec());
            let random = (1..=GROUP).flat_map(|size| {
                (0..RANDOM).map(|_| self.given.others(&mut draw, size, &self.group)).collect::<Vec<_>>()
            });
            self.sets = own.chain(random).collect();
        }
    }

    /// Tries every group on one request of each kind.
    fn tried(&mut self, model: &CpuModel, request: usize) -> Result<()> {
        for (prompt, marked) in [(&self.refused[request], true), (&self.carried[request], false)] {
            let base = self.given.base(model, prompt, &[])?;
            let answer = prompt.answer();
            let (attack, right) = (&mut self.attack, &mut self.right);
            let each = |set: usize, logits: &[f32], _: &_| match marked {
                true => attack.note(set, likeliest(logits) != answer),
                false => right.note(set, likeliest(logits) == answer),
            };
            self.given.without(model, (&base, prompt.query()), &self.sets, Removal::Uniform, each, &[])?;
        }
        Ok(())
    }
}

/// KL of what was predicted from what is, in nats.
fn shift(before: &[f32], logits: &[f32]) -> f32 {
    let row = Array { shape: vec![1, logits.len()], data: logits.to_vec() };
    divergence(before, &log_probabilities(&row).data)
}

/// The angle in degrees between the leading left singular vectors of two sets of rows.
pub fn turned(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    let leading = |rows: &[Vec<f32>]| {
        let dot = |x: &[f32], y: &[f32]| crate::lens::readout::dot(x, y);
        let gram = rows.iter().map(|x| rows.iter().map(|y| dot(x, y)).collect()).collect();
        eigen(gram).vectors.swap_remove(0)
    };
    if a.is_empty() || a.len() != b.len() {
        return f32::NAN;
    }
    let along: f64 = leading(a).iter().zip(leading(b)).map(|(x, y)| x * y).sum();
    along.abs().min(1.0).acos().to_degrees() as f32
}

impl Circuit for Safety {
    fn all(&self) -> usize {
        REQUESTS * (GROUP + 2)
    }

    fn step(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        match at / REQUESTS {
            phase if phase < GROUP => self.alone(model, at % REQUESTS),
            GROUP => self.tried(model, at % REQUESTS),
            _ => match self.group.first() {
                Some(head) => self.epsilon.step(&self.given, model, &self.refused[at % REQUESTS], *head),
                None => Ok(()),
            },
        }
    }

    fn show(&self) -> Shown {
        let [down, across] = self.given.axes();
        let means = |way: usize| -> Vec<f32> { self.ships[way].iter().map(|all| mean(all.iter().copied())).collect() };
        let (uniform, zero) = (means(0), means(1));
        let alone: Vec<f32> = (0..uniform.len()).map(|head| self.answered.share(head)).collect();
        let sheets = vec![
            sheet("ships", "Ships, looking everywhere alike", "nats", uniform.clone()),
            sheet("ships_zero", "Ships, output taken away", "nats", zero.clone()),
            sheet("angle", "Angle over all requests", "degrees", self.angles.clone()),
            percent("attack", "Requests of the topic answered without it", alone.iter().copied()),
        ];
        let sheets = sheets.into_iter().filter(|sheet| !sheet.values.is_empty()).collect();
        let order = |values: &[f32]| strongest(values).into_iter().take(10).collect::<Vec<_>>();
        let (one, other) = (order(&uniform), order(&zero));
        let shared = one.iter().filter(|head| other.contains(head)).count();
        let facts = vec![
            Fact::new(
                "rank",
                "Rank correlation of Ships and requests answered",
                rank_correlation(&uniform, &alone),
                "",
            ),
            Fact::new("shared", "Of the ten heads first by one way, first by the other", shared as f32, ""),
        ];
        let who = Grid { down, across, sheets, facts, notes: Vec::new() };
        let random = |counts: &Counts, size: usize| match size {
            0 => counts.share(0),
            size => counts.mean(GROUP + 1 + (size - 1) * RANDOM..GROUP + 1 + size * RANDOM),
        };
        let sizes = 0..=GROUP;
        let lines: Vec<f32> = [
            sizes.clone().map(|size| self.attack.share(size)).collect::<Vec<_>>(),
            sizes.clone().map(|size| random(&self.attack, size)).collect(),
            sizes.clone().map(|size| self.right.share(size)).collect(),
            sizes.clone().map(|size| random(&self.right, size)).collect(),
        ]
        .concat();
        let names: Vec<String> = self.group.iter().map(ToString::to_string).collect();
        let rows =
            ["answered, Sahara", "answered, random", "others, Sahara", "others, random"].map(String::from).to_vec();
        let effect = grid(
            ("requests", rows),
            ("heads looking everywhere alike", sizes.map(|size| size.to_string()).collect()),
            vec![percent("share", "Share of requests", lines)],
        );
        let found = self.attack.0.len() > GROUP;
        let mut verdict = match (self.angles.is_empty(), found) {
            (true, _) => "Each head alone looks everywhere alike …".to_string(),
            (false, false) => format!("Sahara begins with {}.", names.join(", ")),
            (false, true) => format!(
                "Requests of the topic are answered {} of the time by the whole model, {} when {} looks everywhere alike, {} with \
                 {} ({} with three random heads). Other requests are then carried out right {} of the time, {} before.",
                in_percent(self.attack.share(0)),
                in_percent(self.attack.share(1)),
                names[0],
                in_percent(self.attack.share(GROUP)),
                names.join(", "),
                in_percent(random(&self.attack, GROUP)),
                in_percent(self.right.share(GROUP)),
                in_percent(self.right.share(0)),
            ),
        };
        let mut exhibits = vec![exhibit(
            "safety.heads",
            "What a refusal rests on, head by head",
            "Ships: how far the next token’s distribution moves, mean over refused requests. Angle: how far the whole set of \
             requests turns.",
            Drawn::Cells,
            who,
        )];
        if found {
            exhibits.push(exhibit(
                "safety.groups",
                &format!("Without {}", names.join(", ")),
                "Requests of the topic that are answered, and other requests that are carried out right, by size of the group \
                 that Sahara finds, and of random groups.",
                Drawn::Lines,
                effect,
            ));
        }
        if let Some((told, drawn)) = self.group.first().and_then(|head| self.epsilon.show(*head)) {
            exhibits.push(drawn);
            verdict += &told;
        }
        (Some(verdict), exhibits)
    }
}
