//! Channels between heads, and what they carry: list recall with one channel of one head silent, alone, or louder.
//!
//! The pinned head is the one that hears; where it stands in the first layer and can hear no other, the head whose last row
//! looks most at the right thing takes its place. Of all heads before it the channel that it hears best is edited, and lists
//! of several lengths are asked: things are listed, all but one are named again, and the one that is left is asked for. The
//! control silences random channels of the same head.
//!
//! Source: Merullo et al., "Talking Heads", 2024 (paper 1). Reconstructed: the sentence, the norms folded in, the lengths.

use super::{Circuit, Counts, Given, Prompt, Watched, leads, margin, percent};
use crate::experiment::{Head, Through};
use crate::hook::{HookPoint, Site};
use crate::lens::channels::{Channel, Edit, Scaled};
use crate::lens::composition::{Composition, Score};
use crate::lens::exhibit::Drawn;
use crate::lens::finding::{Fact, Grid};
use crate::lens::study::{Shown, exhibit, grid, mean, sheet, told};
use crate::model::CpuModel;
use crate::train::circuits::Draw;
use crate::{Error, Result};

/// Lengths of lists; models are taught up to 8.
const LENGTHS: [usize; 8] = [2, 3, 4, 5, 6, 8, 10, 12];
/// Lists of each length.
const LISTS: usize = 10;
/// Random channels of the same head.
const RANDOM: usize = 4;
/// What is done to the channel, and by what it is multiplied.
const LOUDNESS: [(&str, f64); 4] = [("as it is", 1.0), ("silent", 0.0), ("doubled", 2.0), ("tripled", 3.0)];
/// The rows after those: the channel alone, then random ones silent.
const ALONE: usize = LOUDNESS.len();

/// Lists on which every head is watched.
const WATCHED: usize = 8;

/// Who hears, and the channel that is heard best.
struct Heard {
    reader: Head,
    writer: Head,
    chosen: usize,
    channels: Vec<Channel>,
    random: Vec<usize>,
}

/// The study.
pub struct Listing {
    given: Given,
    composition: Composition,
    lists: Vec<(usize, Prompt)>,
    /// How much more each head's last row looks at the right thing than at the others.
    looks: Vec<Vec<f32>>,
    heard: Option<Heard>,
    right: Counts,
    /// Lead of the answer over the other things, and attention of the reader on it, by row and length.
    margins: Vec<Vec<f32>>,
    weights: Vec<Vec<f32>>,
}

fn of(score: &Score, through: Through) -> f32 {
    match through {
        Through::Queries => score.q,
        Through::Keys => score.k,
        Through::Values => score.v,
    }
}

impl Listing {
    /// Lists nobody was trained on.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a pinned head the model does not have; [`Error::Tensor`] for a missing weight.
    pub fn new(given: Given) -> Result<Self> {
        let composition = Composition::new(&given.config, &given.weights)?;
        let last = Head { layer: given.config.layers - 1, head: given.config.heads - 1 };
        if given.pin.layer > last.layer || given.pin.head > last.head || last.layer == 0 {
            let remedy = format!("pin a head from L1H0 to {last}, one that other heads come before");
            return Err(Error::Unknown { what: "hearing head", name: given.pin.to_string(), remedy });
        }
        let mut draw = Draw::new(given.seed);
        let mut lists = Vec::new();
        for round in 0..LISTS {
            for (at, things) in LENGTHS.into_iter().enumerate() {
                let circuits = &given.circuits;
                let inner = crate::train::circuits::Given { words: &circuits.words, longest: given.config.context };
                let prompt =
                    given.held_out(|| circuits.list.item(&inner, &mut draw, things, (round * 7 + at) % things));
                if prompt.tokens.len() <= given.config.context {
                    lists.push((at, prompt));
                }
            }
        }
        let empty = vec![Vec::new(); (ALONE + 1 + RANDOM) * LENGTHS.len()];
        let looks = vec![Vec::new(); given.config.layers * given.config.heads];
        let (margins, weights) = (empty.clone(), empty);
        Ok(Self { given, composition, lists, looks, heard: None, right: Counts::default(), margins, weights })
    }

    /// Watches every head on one list; after the last of these the channel is chosen.
    fn watch(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        // The longest of every round come last, and lists of middle length say most.
        let (_, prompt) = &self.lists[(at * LENGTHS.len() + 3) % self.lists.len()];
        let base = self.given.base(model, prompt, &[Site::Pattern])?;
        let (query, keys) = (prompt.query(), prompt.tokens.len());
        let things = prompt.places("thing");
        for (index, head) in self.given.heads().into_iter().enumerate() {
            let pattern = base.captures.get(head.layer, Site::Pattern)?;
            let weight = |place: &usize| pattern.data.get((head.head * keys + query) * keys + place).copied();
            let right = |place: &&usize| prompt.tokens[**place] == prompt.answer();
            let (own, others): (Vec<&usize>, Vec<&usize>) = things.iter().partition(right);
            let mean_of = |places: Vec<&usize>| mean(places.into_iter().filter_map(weight));
            self.looks[index].push(mean_of(own) - mean_of(others));
        }
        if at + 1 == WATCHED {
            let heads = self.given.heads();
            let looks: Vec<f32> = self.looks.iter().map(|all| mean(all.iter().copied())).collect();
            let mover = super::strongest(&looks).into_iter().map(|at| heads[at]).find(|head| head.layer > 0);
            let reader = if self.given.pin.layer > 0 { Some(self.given.pin) } else { mover };
            self.heard = reader.map(|reader| self.listen(reader));
        }
        Ok(())
    }

    /// The channel of all heads before it that a head hears best.
    fn listen(&self, reader: Head) -> Heard {
        let mut best = (f32::NEG_INFINITY, Head::default(), 0);
        for writer in self.given.heads().into_iter().filter(|head| head.layer < reader.layer) {
            for (index, channel) in self.composition.channels(writer).iter().enumerate() {
                let heard = of(&self.composition.hears(channel, reader), self.given.set.through);
                if heard > best.0 {
                    best = (heard, writer, index);
                }
            }
        }
        let (_, writer, chosen) = best;
        let channels = self.composition.channels(writer);
        let mut random: Vec<usize> = (0..channels.len()).filter(|index| *index != chosen).collect();
        Draw::new(self.given.seed ^ 1).shuffle(&mut random);
        random.truncate(RANDOM);
        Heard { reader, writer, chosen, channels, random }
    }

    /// What each row of a batch does.
    fn edits(heard: &Heard) -> Vec<Edit<'_>> {
        let Heard { channels, chosen: index, random, .. } = heard;
        let chosen = &channels[*index];
        let loud = LOUDNESS.iter().map(|(_, scale)| vec![(chosen, *scale)]);
        let others = channels.iter().enumerate().filter(|(at, _)| at != index);
        let alone = others.map(|(_, channel)| (channel, 0.0)).collect();
        loud.chain([alone]).chain(random.iter().map(|index| vec![(&channels[*index], 0.0)])).collect()
    }

    fn rows(&self) -> Vec<String> {
        let own = LOUDNESS.iter().map(|(name, _)| name.to_string());
        own.chain(["alone".into(), "others silent*".into()]).collect()
    }

    /// A number of each row and length; random channels are one row, their mean.
    fn table(&self, number: impl Fn(usize) -> f32) -> Vec<f32> {
        let count = LENGTHS.len();
        let own = (0..(ALONE + 1) * count).map(&number);
        let random = (0..count).map(|at| mean((0..RANDOM).map(|r| number((ALONE + 1 + r) * count + at))));
        own.chain(random).collect()
    }
}

impl Circuit for Listing {
    fn all(&self) -> usize {
        WATCHED + self.lists.len()
    }

    fn step(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        let Some(at) = at.checked_sub(WATCHED) else { return self.watch(model, at) };
        let Some(heard) = &self.heard else { return Ok(()) };
        let (length, prompt) = &self.lists[at];
        let base = self.given.base(model, prompt, &[])?;
        let looks = HookPoint::new(heard.reader.layer, Site::Pattern);
        let edits = Self::edits(heard);
        let count = edits.len();
        let mut tap = Watched::new(Scaled { head: heard.writer, rows: edits }, &[looks]);
        let query = prompt.query();
        let again = self.given.again(model, &base);
        let logits = again.from(heard.writer.layer, count, Some(query), |_, _| {}, &mut tap)?;
        let patterns = tap.seen.get(looks.layer, Site::Pattern).ok().cloned();
        let reader = heard.reader.head;
        let (answer, things) = (prompt.answer(), prompt.places("thing"));
        let stands = things.iter().copied().find(|place| prompt.tokens[*place] == answer).unwrap_or(0);
        let listed: Vec<u32> = things.iter().map(|place| prompt.tokens[*place]).collect();
        let length = *length;
        for row in 0..count {
            let cell = row * LENGTHS.len() + length;
            self.right.note(cell, leads(logits.at(row), answer, &listed));
            self.margins[cell].push(margin(logits.at(row), answer, &listed));
            if let Some(patterns) = &patterns
                && let &[_, _, queries, keys] = patterns.shape.as_slice()
            {
                let start = (reader * queries + query) * keys + stands;
                self.weights[cell].push(patterns.at(row).get(start).copied().unwrap_or(f32::NAN));
            }
        }
        Ok(())
    }

    fn show(&self) -> Shown {
        let Some(heard) = &self.heard else { return (Some("Watching every head on lists …".into()), Vec::new()) };
        let Heard { reader, writer, chosen, ref channels, .. } = *heard;
        let through = self.given.set.through;
        let word = through.word().to_uppercase();
        let [down, across] = self.given.axes();
        let heads = self.given.heads();
        let loudest = |writer: &Head| -> f32 {
            let channels = self.composition.channels(*writer);
            let heard = channels.iter().map(|channel| of(&self.composition.hears(channel, reader), through));
            heard.fold(f32::NAN, f32::max)
        };
        let earlier = |head: &Head| head.layer < reader.layer;
        let best: Vec<f32> = heads.iter().map(|head| if earlier(head) { loudest(head) } else { f32::NAN }).collect();
        let score = |a: Head, b: Head| self.composition.score(a, b).map_or(f32::NAN, |score| of(&score, through));
        let whole: Vec<f32> = heads.iter().map(|head| score(*head, reader)).collect();
        // Against all pairs of heads as many layers apart.
        let standard = |writer: &Head| {
            let apart = reader.layer.checked_sub(writer.layer).filter(|apart| *apart > 0)?;
            let pairs = heads.iter().flat_map(|a| heads.iter().map(move |b| (*a, *b)));
            let all: Vec<f32> = pairs.filter(|(a, b)| a.layer + apart == b.layer).map(|(a, b)| score(a, b)).collect();
            let middle = mean(all.iter().copied());
            let spread = mean(all.iter().map(|score| (score - middle).powi(2))).sqrt();
            Some((score(*writer, reader) - middle) / spread)
        };
        let z: Vec<f32> = heads.iter().map(|head| standard(head).unwrap_or(f32::NAN)).collect();
        let looks_by_head = self.looks.iter().map(|all| mean(all.iter().copied())).collect();
        let sheets = vec![
            sheet("loudest", &format!("Its channel heard best, {word}"), "", best),
            sheet("whole", &format!("The whole head, {word}-composition"), "", whole),
            sheet("z", "The same in standard deviations of pairs as far apart", "", z),
            sheet("looks", "Looks at the right thing more than at others", "", looks_by_head),
        ];
        let baseline = Fact::new("baseline", "Independent random heads", self.composition.baseline(), "");
        let who = Grid { down, across, sheets, facts: vec![baseline], notes: Vec::new() };
        let heards: Vec<f32> =
            channels.iter().map(|channel| of(&self.composition.hears(channel, reader), through)).collect();
        let most = heards.get(chosen).copied().unwrap_or(f32::NAN);
        let bars = grid(
            ("head", vec![writer.to_string()]),
            ("channel", (0..heards.len()).map(|index| index.to_string()).collect()),
            vec![
                sheet("heard", "How well it is heard", "", heards),
                sheet("size", "Singular value", "", channels.iter().map(|channel| channel.size as f32).collect()),
            ],
        );
        let lengths = || ("things in the list", LENGTHS.map(|length| length.to_string()).to_vec());
        let rows = || ("channel", self.rows());
        let accuracy = self.table(|cell| self.right.share(cell));
        let margins = self.table(|cell| mean(self.margins[cell].iter().copied()));
        let weights = self.table(|cell| mean(self.weights[cell].iter().copied()));
        let overall = |row: usize, from: usize| {
            mean((from..LENGTHS.len()).map(|at| accuracy[row * LENGTHS.len() + at]).filter(|share| share.is_finite()))
        };
        let looks = |row: usize| mean(weights[row * LENGTHS.len()..][..LENGTHS.len()].iter().copied());
        let apart = overall(1, 0) - overall(ALONE + 1, 0);
        let mut verdict = format!(
            "{reader} hears channel {chosen} of {writer} best ({most:.2}; random heads {:.2}). Over all lists the one that is left is found \
             {} of the time as it is, {} with that channel silent, {} with a random channel of the same head silent; of lists of \
             10 and more {} as it is, {} doubled, {} tripled. Silent, {reader} looks at the right thing {:+.3} as much.",
            self.composition.baseline(),
            super::in_percent(overall(0, 0)),
            super::in_percent(overall(1, 0)),
            super::in_percent(overall(ALONE + 1, 0)),
            super::in_percent(overall(0, LENGTHS.len() - 2)),
            super::in_percent(overall(2, LENGTHS.len() - 2)),
            super::in_percent(overall(3, LENGTHS.len() - 2)),
            looks(1) - looks(0),
        );
        // Two lists in a hundred are within the noise of so few.
        verdict += match apart {
            apart if apart < -0.02 => " The channel carries more than a random one.",
            _ => " The channel carries no more than a random one: the paper’s gain does not show in this model.",
        };
        let verdict = told([most, apart, looks(1) - looks(0)], || verdict);
        let exhibits = vec![
            exhibit(
                "channels.who",
                &format!("Whom {reader} hears"),
                "From the weights alone. A channel is one singular direction of what a head writes.",
                Drawn::Cells,
                who,
            ),
            exhibit(
                "channels.which",
                &format!("Channels of {writer}"),
                "Loudest first; how well each is heard, where random heads score the line of the facts.",
                Drawn::Bars,
                bars,
            ),
            exhibit(
                "channels.accuracy",
                "Lists with the channel edited",
                "Share of lists whose missing thing is likelier than every other listed one. Lists longer than 8 were never \
                 taught. * mean of four random channels of the same head silent.",
                Drawn::Lines,
                grid(rows(), lengths(), vec![percent("accuracy", "Accuracy", accuracy.iter().copied())]),
            ),
            exhibit(
                "channels.margin",
                "Lead of the right thing",
                "Its logit less that of the likeliest other listed thing.",
                Drawn::Lines,
                grid(rows(), lengths(), vec![sheet("margin", "Lead", "", margins)]),
            ),
            exhibit(
                "channels.looks",
                &format!("How much {reader} looks at the right thing"),
                "Weight of its last row on the thing that is left.",
                Drawn::Cells,
                grid(rows(), lengths(), vec![sheet("weight", "Weight", "", weights)]),
            ),
        ];
        (verdict, exhibits)
    }
}
