//! Anchored answers: which letter is chosen when nothing says which, what writes it, and what edits of that do.
//!
//! Questions without a right option (the wanted word stands under no letter) leave only habit; the share of them that is
//! answered with the first letter is the anchored rate. Everything is read at the last position.
//!
//! ```text
//! layer      lens(feed-forward)[first letter] − mean of the other letters
//! dimension  m_i·v_i of the feed-forward: its ten largest |m_i|·‖v_i‖, by the same difference
//! edit 1     v_i ← v_i − α·(U_first − mean U) of one dimension, sign of m_i        edit 2   weights on the letters ← their mean
//! ```
//!
//! The lens is taken twice: with the final norm held as it was, so that parts add up, and as the paper has it, with a norm of
//! each part's own. Both edits are made without knowing the right answer; [`labelled`] makes the paper's own, which know it,
//! on questions that are answered wrong.
//!
//! Source: Li and Gao, "Anchored Answers", 2025 (paper 39), text and code. Edits without labels, the held norm and questions
//! without a right option are ours.

pub mod edits;
mod labelled;

pub use edits::{Dimension, even, swap};

use super::{Circuit, Counts, Given, Prompt, in_percent, percent, strongest};
use crate::Result;
use crate::experiment::Head;
use crate::hook::Site;
use crate::lens::exhibit::Drawn;
use crate::lens::finding::{Axis, Fact, Grid};
use crate::lens::readout::dot;
use crate::lens::study::{Shown, exhibit, grid, mean, sheet};
use crate::model::CpuModel;
use crate::train::circuits::Draw;
use edits::{Act, Edited};
use labelled::Labelled;

/// Questions without a right option, and with one.
const OPEN: usize = 40;
const ASKED: usize = 24;
const OPTIONS: usize = 4;
/// Dimensions of a question that are looked at, and how many are edited together.
const LARGEST: usize = 10;
const EDITED: usize = 4;
/// Strengths of an edit.
const ALPHAS: [f32; 3] = [0.1, 0.3, 1.0];
/// Heads whose last row is evened, and random draws of dimensions.
const HEADS: usize = 3;
const RANDOM: usize = 4;

/// The study.
pub struct Anchors {
    given: Given,
    open: Vec<Prompt>,
    asked: Vec<Prompt>,
    /// By letter.
    chosen: [usize; OPTIONS],
    /// Mean difference of each layer's feed-forward, each way of the lens.
    layers: [Vec<Vec<f32>>; 2],
    /// Sum of differences of every dimension that was among the largest; how often.
    dimensions: Vec<Vec<(f32, usize)>>,
    heads: Vec<Vec<f32>>,
    acts: Vec<(String, Act)>,
    /// First letter chosen on questions without a right option; right answers on the others.
    anchored: Counts,
    right: Counts,
    labelled: Labelled,
}

impl Anchors {
    /// Questions nobody was trained on.
    pub fn new(given: Given) -> Self {
        let mut draw = Draw::new(given.seed);
        let words = &given.circuits.words;
        let inner = crate::train::circuits::Given { words, longest: given.config.context };
        let asked = (0..ASKED)
            .map(|at| {
                given.held_out(|| given.circuits.choice.item(&inner, &mut draw, at % 2 == 0, OPTIONS, at / 2 % OPTIONS))
            })
            .collect();
        let open = (0..OPEN)
            .map(|_| {
                let mut item = given.circuits.choice.item(&inner, &mut draw, true, OPTIONS, 0);
                // The right option, which stood first, becomes another word that is not wanted.
                let (wanted, options) = (item.places("wanted"), item.places("option"));
                let pool: Vec<u32> = words.animals.iter().filter(|word| !item.tokens.contains(word)).copied().collect();
                if let (Some(first), Some(_)) = (options.first(), wanted.first()) {
                    item.tokens[*first] = draw.one(&pool);
                }
                given.prompt(item)
            })
            .collect();
        let (layers, heads) = (given.config.layers, given.config.heads);
        Self {
            open,
            asked,
            chosen: [0; OPTIONS],
            layers: [vec![Vec::new(); layers], vec![Vec::new(); layers]],
            dimensions: vec![vec![(0.0, 0); given.config.ffn]; layers],
            heads: vec![Vec::new(); layers * heads],
            acts: Vec::new(),
            anchored: Counts::default(),
            right: Counts::default(),
            labelled: Labelled::new(&given),
            given,
        }
    }

    fn letters(&self) -> &[u32] {
        &self.given.circuits.words.letters[..OPTIONS]
    }

    /// The first letter's direction less the mean of the others.
    fn anchor(&self) -> Result<Vec<f32>> {
        let mut direction = self.given.readout.direction(self.letters()[0])?.to_vec();
        for letter in &self.letters()[1..] {
            let other = self.given.readout.direction(*letter)?;
            direction.iter_mut().zip(other).for_each(|(x, y)| *x -= y / (OPTIONS - 1) as f32);
        }
        Ok(direction)
    }

    fn look(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        let prompt = &self.open[at];
        let config = &self.given.config;
        let (width, ffn, query) = (config.width, config.ffn, prompt.query());
        let base = self.given.base(model, prompt, &[Site::MlpOut, Site::MlpPost, Site::Result])?;
        let logits = base.logits.at(query);
        let letter = pick(logits, self.letters());
        let (anchor, readout) = (self.anchor()?, &self.given.readout);
        let norm = readout.freeze(base.residuals[config.layers].at(query));
        let held = |part: &[f32]| dot(&readout.through(part, norm), &anchor) as f32;
        let own = |part: &[f32]| dot(&readout.through(part, readout.freeze(part)), &anchor) as f32;
        for layer in 0..config.layers {
            let added = base.captures.get(layer, Site::MlpOut)?;
            let added = &added.data[query * width..(query + 1) * width];
            self.layers[0][layer].push(held(added));
            self.layers[1][layer].push(own(added));
            let post = base.captures.get(layer, Site::MlpPost)?;
            let post = &post.data[query * ffn..(query + 1) * ffn];
            let outer = self.given.weights.get(&format!("blocks.{layer}.ffn.w_out"))?;
            let sizes: Vec<f32> = post
                .iter()
                .zip(outer.data.chunks(width))
                .map(|(m, row)| m.abs() * row.iter().map(|x| x * x).sum::<f32>().sqrt())
                .collect();
            for dimension in strongest(&sizes).into_iter().take(LARGEST) {
                let written: Vec<f32> = outer.at(dimension).iter().map(|x| x * post[dimension]).collect();
                let entry = &mut self.dimensions[layer][dimension];
                *entry = (entry.0 + held(&written), entry.1 + 1);
            }
            let results = base.captures.get(layer, Site::Result)?;
            for head in 0..config.heads {
                let start = (head * prompt.tokens.len() + query) * width;
                self.heads[layer * config.heads + head].push(held(&results.data[start..start + width]));
            }
        }
        self.chosen[letter] += 1;
        if at + 1 == OPEN {
            self.plan();
        }
        Ok(())
    }

    /// Dimensions by how much they write the first letter over all questions, the most first.
    pub fn ranked(&self) -> Vec<(Dimension, f32)> {
        let each = |(layer, all): (usize, &Vec<(f32, usize)>)| {
            all.iter()
                .enumerate()
                .filter(|(_, (_, count))| *count > 0)
                .map(|(at, (sum, _))| (Dimension { layer, at }, sum / OPEN as f32))
                .collect::<Vec<_>>()
        };
        let mut all: Vec<_> = self.dimensions.iter().enumerate().flat_map(each).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all
    }

    fn plan(&mut self) {
        let ranked: Vec<Dimension> = self.ranked().into_iter().map(|(dimension, _)| dimension).collect();
        let first: Vec<Dimension> = ranked.iter().take(EDITED).copied().collect();
        let mut draw = Draw::new(self.given.seed ^ 1);
        let heads = self.given.heads();
        let strong = strongest(&self.heads.iter().map(|all| mean(all.iter().copied())).collect::<Vec<_>>());
        let top: Vec<Head> = strong.iter().take(HEADS).map(|at| heads[*at]).collect();
        self.acts.push(("as it is".into(), Act::Nothing));
        for alpha in ALPHAS {
            self.acts.push((format!("{EDITED} rows, α {alpha}"), Act::Rows(first.clone(), alpha)));
        }
        self.acts.push((format!("{HEADS} heads evened"), Act::Even(top)));
        self.acts.push(("all heads evened".into(), Act::Even(heads)));
        for _ in 0..RANDOM {
            let mut pool: Vec<Dimension> = ranked.iter().filter(|one| !first.contains(one)).copied().collect();
            draw.shuffle(&mut pool);
            pool.truncate(EDITED);
            self.acts.push((format!("{EDITED} random rows, α 1"), Act::Rows(pool, 1.0)));
        }
    }

    /// Every edit on one question; → whether the first letter, or the right one, is chosen.
    fn ask(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        let is_open = at < OPEN;
        let prompt = if is_open { &self.open[at] } else { &self.asked[at - OPEN] };
        let base = self.given.base(model, prompt, &[])?;
        let anchor = self.anchor()?;
        let mut tap = Edited {
            acts: self.acts.iter().map(|(_, act)| act).collect(),
            query: prompt.query(),
            letters: prompt.places("letter"),
            anchor: &anchor,
            post: None,
        };
        let again = self.given.again(model, &base);
        let logits = again.from(0, self.acts.len(), Some(prompt.query()), |_, _| {}, &mut tap)?;
        for row in 0..self.acts.len() {
            let letter = pick(logits.at(row), self.letters());
            match is_open {
                true => self.anchored.note(row, letter == 0),
                false => {
                    let right = self.letters()[letter] == prompt.answer();
                    self.right.note(row, right);
                }
            }
        }
        Ok(())
    }
}

/// The likeliest of some tokens.
fn pick(logits: &[f32], tokens: &[u32]) -> usize {
    let values: Vec<f32> = tokens.iter().map(|id| logits.get(*id as usize).copied().unwrap_or(f32::NAN)).collect();
    strongest(&values).first().copied().unwrap_or(0)
}

impl Circuit for Anchors {
    fn all(&self) -> usize {
        OPEN + OPEN + ASKED + labelled::ALL
    }

    fn step(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        match at.checked_sub(OPEN) {
            None => self.look(model, at),
            Some(at) if at < OPEN + ASKED => self.ask(model, at),
            Some(at) => {
                let heads = strongest(&self.heads.iter().map(|all| mean(all.iter().copied())).collect::<Vec<_>>());
                let all = self.given.heads();
                let most: Vec<Head> = heads.iter().take(HEADS).map(|head| all[*head]).collect();
                self.labelled.step(&self.given, model, at - OPEN - ASKED, &most)
            }
        }
    }

    fn show(&self) -> Shown {
        let asked: usize = self.chosen.iter().sum();
        let share = |letter: usize| self.chosen[letter] as f32 / asked.max(1) as f32;
        let names = ["A", "B", "C", "D"].map(String::from).to_vec();
        let habit = grid(
            ("questions", vec!["without a right option".into()]),
            ("letter", names),
            vec![percent("chosen", "Chosen", (0..OPTIONS).map(share))],
        );
        let layers: Vec<String> = (0..self.given.config.layers).map(|layer| format!("L{layer}")).collect();
        let by_layer =
            |which: usize| self.layers[which].iter().map(|all| mean(all.iter().copied())).collect::<Vec<_>>();
        let (held, own) = (by_layer(0), by_layer(1));
        let differences = grid(
            ("lens", ["norm as it was", "a norm of its own"].map(String::from).to_vec()),
            ("layer", layers),
            vec![sheet("delta", "A less the other letters", "", [held.clone(), own].concat())],
        );
        let [down, across] = self.given.axes();
        let heads = self.heads.iter().map(|all| mean(all.iter().copied())).collect();
        let by_head = Grid {
            down,
            across,
            sheets: vec![sheet("delta", "A less the other letters", "", heads)],
            ..Grid::default()
        };
        let ranked = self.ranked();
        let first: Vec<&(Dimension, f32)> = ranked.iter().take(8).collect();
        let rows = grid(
            ("row", vec!["adds".into()]),
            ("dimension", first.iter().map(|(one, _)| format!("L{} row {}", one.layer, one.at)).collect()),
            vec![sheet(
                "delta",
                "A less the other letters, mean over questions",
                "",
                first.iter().map(|(_, delta)| *delta).collect(),
            )],
        );
        let chance = 1.0 / OPTIONS as f32;
        // Two standard errors of a fair choice.
        let noise = 2.0 * (chance * (1.0 - chance) / asked.max(1) as f32).sqrt();
        let most = strongest(&(0..OPTIONS).map(share).collect::<Vec<_>>()).first().copied().unwrap_or(0);
        let letter = ["A", "B", "C", "D"][most];
        let mut verdict = format!(
            "Where no option is right, A is chosen {} of the time ({} would be chance), {letter} most ({}): {}.",
            in_percent(share(0)),
            in_percent(chance),
            in_percent(share(most)),
            if share(0) > chance + noise {
                "these answers are anchored at A"
            } else {
                "no anchoring at A beyond chance, unlike the paper’s GPT-2"
            },
        );
        let mut exhibits = vec![
            exhibit(
                "anchors.habit",
                "What is chosen without a right option",
                "Share of questions by letter.",
                Drawn::Bars,
                habit,
            ),
            exhibit(
                "anchors.layers",
                "Which feed-forward writes A",
                "Logit of A less the mean of the other letters, as each layer’s feed-forward adds it, under both lenses.",
                Drawn::Bars,
                differences,
            ),
            exhibit(
                "anchors.heads",
                "Which head writes A",
                "The same for what each head adds, the norm held.",
                Drawn::Cells,
                by_head,
            ),
            exhibit(
                "anchors.rows",
                "Rows of output projections that write A",
                "Of the ten largest dimensions of each feed-forward and question, those that add most to A, the norm held.",
                Drawn::Bars,
                rows,
            ),
        ];
        if !self.anchored.0.is_empty() {
            let own = self.acts.len() - RANDOM;
            let random = |counts: &Counts| counts.mean(own..own + RANDOM);
            let names: Vec<String> = self.acts[..own]
                .iter()
                .map(|(name, _)| name.clone())
                .chain([format!("{EDITED} random rows, α 1")])
                .collect();
            let of = |counts: &Counts| (0..own).map(|at| counts.share(at)).chain([random(counts)]).collect::<Vec<_>>();
            let (anchored, right) = (of(&self.anchored), of(&self.right));
            let numbers = [&anchored[..], &right[..]].concat();
            let tried = Grid {
                down: Axis::new("questions", ["A chosen, none right", "answered right"].map(String::from)),
                across: Axis::new("edit", names),
                sheets: vec![percent("share", "Share of questions", numbers)],
                facts: vec![Fact::new("chance", "A by chance", 100.0 * chance, "%")],
                notes: Vec::new(),
            };
            verdict += &format!(
                " Turning A down in the {EDITED} rows that write it most (α 1) leaves {}, as many random rows {}, evening {HEADS} \
                 heads {}; right answers go from {} to {}, {} and {}.",
                in_percent(anchored[3]),
                in_percent(random(&self.anchored)),
                in_percent(anchored[4]),
                in_percent(self.right.share(0)),
                in_percent(self.right.share(3)),
                in_percent(random(&self.right)),
                in_percent(self.right.share(4)),
            );
            exhibits.push(exhibit(
                "anchors.edits",
                "What edits do",
                "Share of questions without a right option that get A, and of questions with one that are answered right.",
                Drawn::Bars,
                tried,
            ));
        }
        let (more, drawn) = self.labelled.show(&self.given);
        exhibits.extend(drawn);
        verdict += &more.map_or(String::new(), |more| format!(" {more}"));
        ((asked > 0).then_some(verdict), exhibits)
    }
}
