//! Whether few directions of the heads that tell options apart suffice, and whether they mean “the N-th one”.
//!
//! Directions are found on plain questions ([`Subspace`]). Then queries and keys, and values too, keep only the first ρ of
//! them, on plain questions and on the same ones under other labels ([`Mutation`]). Random directions of the same heads stand
//! beside them. Scores and mixes are what is edited, so that heads which share keys do not share the edit.

use super::mutation::{Mutated, Mutation};
use super::seats::Seat;
use super::subspace::{From, Read, Subspace};
use super::{NAMES, log_probability};
use crate::Result;
use crate::hook::{ActivationCache, Array, HookPoint, Selection, Site, Tap};
use crate::lens::base::Base;
use crate::lens::circuits::{Counts, Given, Prompt, ROWS, in_percent, leads, percent};
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::finding::{Axis, Fact, Grid};
use crate::lens::study::{exhibit, grid, mean, sheet, told};
use crate::model::CpuModel;
use crate::train::circuits::Draw;

/// Numbers of directions; the last one is all of them.
const RANKS: [usize; 6] = [1, 2, 3, 4, 8, usize::MAX];
/// Three tell four items apart.
const RANK: usize = 2;
/// Random subspaces of that rank.
const RANDOM: usize = 20;

/// What is left of the heads in one row of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Left {
    /// Which subspaces: those of keys, those of queries, then random ones.
    of: usize,
    rank: usize,
    values: bool,
}

/// The test of one model, question by question.
pub struct LowRank {
    /// Heads, where they look and at which option.
    seats: Vec<Seat>,
    /// What each head read of each plain question.
    reads: Vec<Vec<Read>>,
    /// Subspaces of every head.
    subspaces: Vec<Vec<Subspace>>,
    /// By mutation and way: loss on the right label, mean weight of the heads on the option they look at.
    loss: Vec<Vec<Vec<f32>>>,
    weight: Vec<Vec<Vec<f32>>>,
    right: Vec<Counts>,
    probe: Counts,
}

impl LowRank {
    /// Of these heads.
    pub fn new(seats: Vec<Seat>) -> Self {
        let count = Mutation::ALL.len();
        Self {
            reads: vec![Vec::new(); seats.len()],
            seats,
            subspaces: Vec::new(),
            loss: vec![Vec::new(); count],
            weight: vec![Vec::new(); count],
            right: vec![Counts::default(); count],
            probe: Counts::default(),
        }
    }

    fn ways(&self, mutation: Mutation) -> Vec<Option<Left>> {
        let of = |of: usize, values: bool| RANKS.map(|rank| Some(Left { of, rank, values }));
        let mut ways = vec![None];
        ways.extend([of(0, false), of(0, true), of(1, false)].concat());
        if mutation == Mutation::Plain {
            ways.extend((0..RANDOM).map(|at| Some(Left { of: 2 + at, rank: RANKS[RANK], values: false })));
        }
        ways
    }

    /// Where each head looks in a question.
    fn places(&self, question: &Mutated) -> Vec<Vec<usize>> {
        let of = |seat: &Seat| question.places.iter().map(|place| place + seat.offset).collect();
        self.seats.iter().map(of).collect()
    }

    /// Reads one plain question.
    pub fn read(&mut self, given: &Given, model: &CpuModel, prompt: &Prompt) -> Result<()> {
        let mut draw = Draw::new(given.seed);
        let Some(plain) = Mutation::Plain.of(given, prompt, &mut draw) else { return Ok(()) };
        let places = self.places(&plain);
        let sites = [Site::Q, Site::K, Site::V, Site::RotQ, Site::RotK];
        let base = given.base(model, prompt, &sites)?;
        for ((seat, places), reads) in self.seats.iter().zip(&places).zip(&mut self.reads) {
            let head = seat.head;
            let either = |turned: Site, plain: Site| {
                let found = base.captures.get(head.layer, turned);
                found.or_else(|_| base.captures.get(head.layer, plain))
            };
            let parts = Parts {
                queries: either(Site::RotQ, Site::Q)?,
                keys: either(Site::RotK, Site::K)?,
                values: base.captures.get(head.layer, Site::V)?,
            };
            reads.push(parts.read(given.config.heads, 0, head.head, prompt.query(), places));
        }
        Ok(())
    }

    fn find(&mut self, seed: u64) {
        let all = |from: From| self.reads.iter().map(|reads| Subspace::new(reads, from)).collect::<Vec<_>>();
        let keys = all(From::Keys);
        let mut draw = Draw::new(seed ^ 2);
        let random = (0..RANDOM).map(|_| keys.iter().map(|own| own.random(&mut draw)).collect()).collect::<Vec<_>>();
        self.subspaces = [vec![keys.clone(), all(From::Queries)], random].concat();
    }

    /// Asks one question under one mutation with ever fewer directions.
    pub fn ask(&mut self, given: &Given, model: &CpuModel, prompt: &Prompt, mutation: usize) -> Result<()> {
        if self.subspaces.is_empty() {
            self.find(given.seed);
        }
        let kind = Mutation::ALL[mutation];
        let mut draw = Draw::new(given.seed ^ u64::from(prompt.answer()) ^ (prompt.tokens.len() as u64) << 8);
        let Some(question) = kind.of(given, prompt, &mut draw) else { return Ok(()) };
        let places = self.places(&question);
        let base = Base::new(model, &given.stack, given.seed, &question.tokens, &[])?;
        let query = question.tokens.len() - 1;
        let first = self.seats.iter().map(|seat| seat.head.layer).min().unwrap_or(0);
        let label = question.labels[question.right];
        let ways = self.ways(kind);
        self.loss[mutation].resize(ways.len(), Vec::new());
        self.weight[mutation].resize(ways.len(), Vec::new());
        for (chunk, rows) in ways.chunks(ROWS).enumerate() {
            let mut tap = Compressed {
                seats: &self.seats,
                subspaces: &self.subspaces,
                rows,
                query,
                places: &places,
                scale: f64::from(given.config.scale()),
                own: Selection::sites(&[Site::Q, Site::K, Site::V, Site::RotQ, Site::RotK, Site::Pattern]),
                now: None,
                seen: ActivationCache::new(Selection::default()),
                looks: vec![0.0; rows.len()],
                right: question.right,
                read: Read::default(),
            };
            let logits = given.again(model, &base).from(first, rows.len(), Some(query), |_, _| {}, &mut tap)?;
            for row in 0..rows.len() {
                let way = chunk * ROWS + row;
                self.loss[mutation][way].push(-log_probability(logits.at(row), label));
                self.weight[mutation][way].push(tap.looks[row]);
                self.right[mutation].note(way, leads(logits.at(row), label, &question.labels));
            }
            if chunk == 0 {
                let read = tap.read;
                self.tell(mutation, &read);
            }
        }
        Ok(())
    }

    /// Which option each key of the first head is nearest to, by plain questions.
    fn tell(&mut self, mutation: usize, read: &Read) {
        let centres = self.centres();
        let Some(own) = self.subspaces.first().and_then(|all| all.first()) else { return };
        for (option, at) in own.coordinates(&read.keys, RANKS[RANK]).iter().enumerate() {
            let far = |centre: &Vec<f64>| at.iter().zip(centre).map(|(x, y)| (x - y).powi(2)).sum::<f64>();
            let nearest = (0..centres.len()).min_by(|a, b| far(&centres[*a]).total_cmp(&far(&centres[*b])));
            self.probe.note(mutation, nearest == Some(option));
        }
    }

    /// Mean coordinates of the keys of each option in the first directions of the first head.
    fn centres(&self) -> Vec<Vec<f64>> {
        let (Some(own), Some(reads)) = (self.subspaces.first().and_then(|all| all.first()), self.reads.first()) else {
            return Vec::new();
        };
        let all: Vec<Vec<Vec<f64>>> = reads.iter().map(|read| own.coordinates(&read.keys, RANKS[RANK])).collect();
        let centre = |option: usize| {
            let mean = |at: usize| all.iter().map(|read| read[option][at]).sum::<f64>() / all.len() as f64;
            (0..RANKS[RANK]).map(mean).collect()
        };
        (0..reads.first().map_or(0, |read| read.keys.len())).map(centre).collect()
    }

    /// The finding in words, and its drawings; nothing before the first question was asked.
    pub fn show(&self) -> (Option<String>, Vec<Exhibit>) {
        if self.loss[0].is_empty() {
            return (None, Vec::new());
        }
        let names: Vec<String> = self.seats.iter().map(|seat| seat.head.to_string()).collect();
        let loss = |mutation: usize, way: usize| mean(self.loss[mutation].get(way).into_iter().flatten().copied());
        let weight = |mutation: usize, way: usize| mean(self.weight[mutation].get(way).into_iter().flatten().copied());
        let curve = |read: &dyn Fn(usize, usize) -> f32| {
            let line = |of: usize| (0..RANKS.len()).map(move |rank| 1 + of * RANKS.len() + rank);
            (0..3).flat_map(line).map(|way| read(0, way)).collect::<Vec<f32>>()
        };
        let three = 1 + RANK;
        let random: Vec<f32> = (0..RANDOM).map(|at| loss(0, 1 + 3 * RANKS.len() + at)).collect();
        let worse = random.iter().filter(|other| **other > loss(0, three)).count();
        let mut ranks = grid(
            ("directions", ["of keys", "of keys, values too", "of queries"].map(String::from).to_vec()),
            ("kept", RANKS.map(|rank| if rank == usize::MAX { "all".into() } else { rank.to_string() }).to_vec()),
            vec![
                sheet("loss", "Loss", "nats", curve(&loss)),
                sheet("weight", "Weight on the option each looks at", "", curve(&weight)),
            ],
        );
        ranks.facts.extend([
            Fact::new("whole", "Loss as it is", loss(0, 0), "nats"),
            Fact::new("random", "With three random directions, mean of 20", mean(random.iter().copied()), "nats"),
            Fact::new("worse", "Of 20 random threes, worse than the three found", worse as f32, ""),
        ]);
        // Where no tokens for a mutation are there, nothing was asked.
        let asked: Vec<usize> = (0..Mutation::ALL.len()).filter(|at| !self.loss[*at].is_empty()).collect();
        let centres = self.centres();
        let rows: Vec<String> = asked.iter().map(|at| Mutation::ALL[*at].name(centres.len())).collect();
        let ways = [0, three, three + RANKS.len()];
        let table = |read: &dyn Fn(usize, usize) -> f32| {
            asked.iter().flat_map(|at| ways.map(|way| read(*at, way))).collect::<Vec<f32>>()
        };
        let labels = grid(
            ("labels", rows.clone()),
            ("heads", ["as they are", "3 directions", "3, values too"].map(String::from).to_vec()),
            vec![
                sheet("loss", "Loss on the right label", "nats", table(&loss)),
                percent(
                    "right",
                    &format!("Right label likeliest of {}", centres.len()),
                    table(&|at, way| self.right[at].share(way)).into_iter(),
                ),
                sheet("weight", "Weight on the option each looks at", "", table(&weight)),
            ],
        );
        let probe = asked.iter().map(|at| self.probe.share(*at));
        let order = grid(
            ("keys", vec![names[0].clone()]),
            ("labels", rows),
            vec![percent("probe", "Options told from their keys", probe)],
        );
        let options = centres.len();
        let middles = Grid {
            down: Axis::new("option", NAMES[..centres.len()].iter().map(|name| name.to_string())),
            across: Axis::new("direction", (1..=RANKS[RANK]).map(|at| at.to_string())),
            sheets: vec![sheet("centre", "Mean coordinate", "", centres.iter().flatten().map(|x| *x as f32).collect())],
            ..Grid::default()
        };
        let exhibits = vec![
            exhibit(
                "letters.rank",
                &format!("How few directions of {} suffice", names.join(", ")),
                "Queries and keys, and values too, keep only the directions in which options differ most; what options share \
                 stays. With all directions nothing is changed.",
                Drawn::Lines,
                ranks,
            ),
            exhibit(
                "letters.labels",
                "The same directions under other labels",
                &format!(
                    "Directions were found on {}. If they mean “first, second, third …”, they serve any labels.",
                    Mutation::Plain.name(options)
                ),
                Drawn::Cells,
                labels,
            ),
            exhibit(
                "letters.probe",
                "Which option a key belongs to",
                &format!(
                    "Each key in three directions goes to the nearest mean of plain questions; one in {options} is chance."
                ),
                Drawn::Bars,
                order,
            ),
            exhibit(
                "letters.directions",
                &format!("Where the options lie for {}", names[0]),
                "Mean coordinates of the keys of each option in the first three directions.",
                Drawn::Cells,
                middles,
            ),
        ];
        let capitals = Mutation::ALL.iter().position(|one| *one == Mutation::Capitals).unwrap_or(0);
        let shown =
            [weight(0, 0), weight(0, three), weight(capitals, 0), loss(0, 0), loss(0, three), loss(capitals, 0)];
        let verdict = told(shown.into_iter().chain(random.iter().copied()), || {
            let looks: Vec<String> = self.seats.iter().map(Seat::words).collect();
            format!(
                "Options are told apart by {}: {:.2} of the weight, {:.2} with three directions of queries and keys, {:.2} as it is \
                 under random capitals. The loss is {:.3}, with the three directions {:.3}, with three random ones {:.3} ({worse} of \
                 {RANDOM} worse); under random capitals {:.1}, though {} of their keys are told apart by order alone.",
                looks.join(", "),
                shown[0],
                shown[1],
                shown[2],
                shown[3],
                shown[4],
                mean(random.iter().copied()),
                shown[5],
                in_percent(self.probe.share(capitals)),
            )
        });
        (verdict, exhibits)
    }
}

/// Queries, keys and values of one layer, `[B,N,Q,D]`.
struct Parts<'a> {
    queries: &'a Array,
    keys: &'a Array,
    values: &'a Array,
}

fn vector(of: &Array, row: usize, head: usize, at: usize) -> &[f32] {
    let &[_, heads, positions, width] = of.shape.as_slice() else { return &[] };
    let start = ((row * heads + head) * positions + at) * width;
    of.data.get(start..start + width).unwrap_or(&[])
}

impl Parts<'_> {
    fn group(&self, heads: usize, head: usize) -> usize {
        head * self.keys.shape.get(1).copied().unwrap_or(1) / heads.max(1)
    }

    fn read(&self, heads: usize, row: usize, head: usize, query: usize, places: &[usize]) -> Read {
        let group = self.group(heads, head);
        let all = |of: &Array| places.iter().map(|place| vector(of, row, group, *place).to_vec()).collect();
        Read { query: vector(self.queries, row, head, query).to_vec(), keys: all(self.keys), values: all(self.values) }
    }
}

/// Leaves few directions of some heads at one query, in every row others.
struct Compressed<'a> {
    seats: &'a [Seat],
    subspaces: &'a [Vec<Subspace>],
    rows: &'a [Option<Left>],
    query: usize,
    /// Of every seat.
    places: &'a [Vec<usize>],
    scale: f64,
    own: Selection,
    /// The layer that `seen` is of.
    now: Option<usize>,
    seen: ActivationCache,
    /// Mean weight of the heads on the options they look at, row by row.
    looks: Vec<f32>,
    right: usize,
    /// What the first head read in the first row.
    read: Read,
}

impl Compressed<'_> {
    fn parts(&self, layer: usize) -> Option<Parts<'_>> {
        let of = |site| self.seen.values.get(&HookPoint::new(layer, site));
        Some(Parts {
            queries: of(Site::RotQ).or(of(Site::Q))?,
            keys: of(Site::RotK).or(of(Site::K))?,
            values: of(Site::V)?,
        })
    }

    /// The heads of a layer with what is left of them, row by row.
    fn left(&self, layer: usize) -> impl Iterator<Item = (usize, usize, Left, &Subspace)> {
        self.rows.iter().enumerate().filter_map(|(row, left)| Some((row, (*left)?))).flat_map(move |(row, left)| {
            let here = self.seats.iter().enumerate().filter(move |(_, seat)| seat.head.layer == layer);
            here.filter_map(move |(at, _)| Some((row, at, left, self.subspaces.get(left.of)?.get(at)?)))
        })
    }

    fn scores(&self, layer: usize, value: &Array) -> Option<Array> {
        let parts = self.parts(layer)?;
        let &[_, heads, queries, keys] = value.shape.as_slice() else { return None };
        let mut edited = value.clone();
        let dot = |a: &[f64], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * f64::from(*b)).sum::<f64>();
        for (row, at, left, subspace) in self.left(layer) {
            let (head, places) = (self.seats[at].head, &self.places[at]);
            let read = parts.read(heads, row, head.head, self.query, places);
            let (query, kept) = subspace.keep(&read, left.rank);
            let before: Vec<f64> = read.query.iter().map(|x| f64::from(*x)).collect();
            let start = ((row * heads + head.head) * queries + self.query) * keys;
            let group = parts.group(heads, head.head);
            for (at, score) in edited.data.get_mut(start..start + keys)?.iter_mut().enumerate().take(self.query + 1) {
                let key = vector(parts.keys, row, group, at);
                let after = match places.iter().position(|place| *place == at) {
                    Some(option) => query.iter().zip(&kept[option]).map(|(a, b)| a * b).sum(),
                    None => dot(&query, key),
                };
                *score += (self.scale * (after - dot(&before, key))) as f32;
            }
        }
        Some(edited)
    }

    fn mixes(&self, layer: usize, value: &Array) -> Option<Array> {
        let parts = self.parts(layer)?;
        let pattern = self.seen.values.get(&HookPoint::new(layer, Site::Pattern))?;
        let &[_, heads, queries, width] = value.shape.as_slice() else { return None };
        let mut edited = value.clone();
        for (row, at, left, subspace) in self.left(layer).filter(|(_, _, left, _)| left.values) {
            let (head, places) = (self.seats[at].head, &self.places[at]);
            let read = parts.read(heads, row, head.head, self.query, places);
            let kept = subspace.keep_values(&read.values, left.rank);
            let weights = vector(pattern, row, head.head, self.query);
            let start = ((row * heads + head.head) * queries + self.query) * width;
            let mix = edited.data.get_mut(start..start + width)?;
            for ((place, own), kept) in places.iter().zip(&read.values).zip(&kept) {
                let weight = f64::from(weights.get(*place).copied().unwrap_or(0.0));
                mix.iter_mut().zip(own.iter().zip(kept)).for_each(|(x, (own, kept))| {
                    *x += (weight * (kept - f64::from(*own))) as f32;
                });
            }
        }
        Some(edited)
    }
}

impl Tap for Compressed<'_> {
    fn wants(&self, at: HookPoint) -> bool {
        let here = self.seats.iter().any(|seat| seat.head.layer == at.layer);
        here && (matches!(at.site, Site::Scores | Site::Z) || self.own.has(at))
    }

    fn visit(&mut self, at: HookPoint, value: &Array) -> Option<Array> {
        if self.now != Some(at.layer) {
            (self.now, self.seen) = (Some(at.layer), ActivationCache::new(Selection::default()));
        }
        match at.site {
            Site::Scores => return self.scores(at.layer, value),
            Site::Z => return self.mixes(at.layer, value),
            _ => {}
        }
        self.seen.values.insert(at, value.clone());
        if at.site == Site::Pattern {
            let (seats, all) = (self.seats, self.places);
            for (seat, places) in seats.iter().zip(all).filter(|(seat, _)| seat.head.layer == at.layer) {
                let place = places[seat.target(self.right)];
                for (row, look) in self.looks.iter_mut().enumerate() {
                    let weights = vector(value, row, seat.head.head, self.query);
                    *look += weights.get(place).copied().unwrap_or(0.0) / seats.len() as f32;
                }
            }
            let first = seats.first().zip(all.first()).filter(|(seat, _)| seat.head.layer == at.layer);
            let heads = value.shape.get(1).copied().unwrap_or(1);
            if let (Some((seat, places)), Some(parts)) = (first, self.parts(at.layer)) {
                self.read = parts.read(heads, 0, seat.head.head, self.query, places);
            }
        }
        None
    }
}
