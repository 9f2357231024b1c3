//! Sentences in which the words that decide the answer are known, and how often each method finds them.
//!
//! | Task | Cues |
//! |---|---|
//! | refusal | the word of the marked topic |
//! | fact | the person |
//! | choice | the wanted word, the option that equals it, and its letter |
//!
//! The recall of a method is the share of the cues among its k largest scores, k the number of cues; guessing finds k of n.
//! Only sentences that the model answers right are counted, since else the cue decided nothing.

use super::{Method, Scored};
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::study::{exhibit, grid, mean, sheet};
use crate::train::circuits::facts::RELATIONS;
use crate::train::circuits::{Circuits, Draw, Given, Item};

/// The tasks, and sentences of each.
const TASKS: [&str; 3] = ["refusal", "fact", "choice"];
const EACH: usize = 4;
/// Options of a question, as many as were taught.
const OPTIONS: usize = 4;

/// One sentence.
#[derive(Debug, Clone, PartialEq)]
pub struct Planted {
    /// Which of the tasks.
    pub task: usize,
    /// Its tokens up to the answer.
    pub tokens: Vec<u32>,
    /// Where the words stand that decide.
    pub cues: Vec<usize>,
    /// What they decide.
    pub answer: u32,
}

/// Sentences of every task, the same for the same seed; `lead` stands before each.
pub fn planted(circuits: &Circuits, lead: &[u32], longest: usize, seed: u64) -> Vec<Planted> {
    let (mut draw, words) = (Draw::new(seed), &circuits.words);
    let given = Given { words, longest };
    let mut all = Vec::new();
    for at in 0..EACH {
        let refused = circuits.refusal.item(&given, &mut draw, true);
        let marked =
            (0..refused.prompt().len()).filter(|place| words.marked.contains(&refused.tokens[*place])).collect();
        let person = draw.below(words.known.len());
        let fact = circuits.facts.item(words, person, RELATIONS[at % RELATIONS.len()]);
        let named = fact.places("person");
        let choice = circuits.choice.item(&given, &mut draw, true, OPTIONS, at % OPTIONS);
        let (letters, options) = (choice.places("letter"), choice.places("option"));
        let right = [letters[at % OPTIONS], options[at % OPTIONS]];
        let decides = choice.places("wanted").into_iter().chain(right).collect();
        let items: [(Item, Vec<usize>); 3] = [(refused, marked), (fact, named), (choice, decides)];
        all.extend(items.into_iter().enumerate().map(|(task, (item, cues))| Planted {
            task,
            tokens: [lead, item.prompt()].concat(),
            cues: cues.into_iter().map(|place| place + lead.len()).collect(),
            answer: item.questions.first().and_then(|question| question.answers.first()).copied().unwrap_or_default(),
        }));
    }
    all
}

/// The share of the cues among as many largest scores; of tied ones the first count.
///
/// ```
/// use attnscope::lens::features::planted::recalled;
/// assert_eq!(recalled(&[0.1, 0.9, 0.2, 0.8], &[1, 3]), 1.0);
/// assert_eq!(recalled(&[0.1, 0.9, 0.2, 0.8], &[1, 2]), 0.5);
/// ```
pub fn recalled(scores: &[f32], cues: &[usize]) -> f32 {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let hit = order.iter().take(cues.len()).filter(|at| cues.contains(at)).count();
    hit as f32 / cues.len() as f32
}

/// How often each method finds the cues, in words and drawn; none before the first sentence was explained whole.
pub(super) fn show(
    planted: &[Planted],
    found: Option<&[Scored]>,
    methods: &[Method],
) -> Option<(String, Vec<Exhibit>)> {
    let of = |scored: &Scored, method: &Method| {
        let at = Method::ALL.iter().position(|other| other == method)?;
        scored.scores.get(at).cloned().flatten()
    };
    let whole = |scored: &&Scored| methods.iter().all(|method| of(scored, method).is_some());
    let explained: Vec<(&Planted, &Scored)> =
        planted.iter().zip(found?).filter(|(_, scored)| whole(scored) && scored.known).collect();
    let first = explained.first()?;
    let recall = |task: Option<usize>, method: &Method| {
        let own = explained.iter().filter(|(cue, _)| task.is_none_or(|task| cue.task == task));
        mean(own.filter_map(|(cue, scored)| Some(recalled(&of(scored, method)?, &cue.cues))))
    };
    let chance = |task: Option<usize>| {
        let own = explained.iter().filter(|(cue, _)| task.is_none_or(|task| cue.task == task));
        mean(own.map(|(cue, _)| cue.cues.len() as f32 / cue.tokens.len() as f32))
    };
    let rows: Vec<Option<usize>> = (0..TASKS.len()).map(Some).chain([None]).collect();
    let names: Vec<String> = methods.iter().map(|method| method.name().to_string()).collect();
    let numbers = rows.iter().flat_map(|task| {
        let own = methods.iter().map(|method| 100.0 * recall(*task, method));
        own.chain([100.0 * chance(*task)]).collect::<Vec<f32>>()
    });
    let ladder = grid(
        ("sentences", TASKS.map(String::from).into_iter().chain(["all".into()]).collect()),
        ("method", names.iter().cloned().chain(["guessing".into()]).collect()),
        vec![sheet("recall", "Cues found", "%", numbers.collect())],
    );
    let shade = |scores: Vec<f32>| {
        let most = scores.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        scores.into_iter().map(|score| score / most).collect::<Vec<f32>>()
    };
    let truth = (0..first.1.tokens.len()).map(|at| f32::from(u8::from(first.0.cues.contains(&at))));
    let ribbons = methods.iter().flat_map(|method| of(first.1, method).map(shade).unwrap_or_default());
    let tokens = grid(
        ("method", std::iter::once("the cues".to_string()).chain(names.iter().cloned()).collect()),
        ("token", first.1.tokens.clone()),
        vec![sheet("score", "share of the largest score", "", truth.chain(ribbons).collect())],
    );
    let all: Vec<f32> = methods.iter().map(|method| recall(None, method)).collect();
    let by = |pick: fn(f32, f32) -> bool| {
        (0..all.len()).reduce(|best, at| if pick(all[at], all[best]) { at } else { best }).unwrap_or(0)
    };
    let (best, worst) = (by(|a, b| a > b), by(|a, b| a < b));
    let told = format!(
        " In {} sentences whose deciding words are known, {} finds {:.0} % of them and {} {:.0} %, guessing {:.0} %.",
        explained.len(),
        names[best],
        100.0 * all[best],
        names[worst],
        100.0 * all[worst],
        100.0 * chance(None)
    );
    let caption = "Share of the deciding words among a method’s largest scores, as many as there are such words. The task \
                   says which decide, so this is a truth to hold methods against.";
    let drawn = vec![
        exhibit("cues", "Who finds the words that decide", caption, Drawn::Cells, ladder),
        exhibit(
            "planted",
            "A sentence whose cues are known",
            "The words that decide in the first line, then what each method points at.",
            Drawn::Tokens,
            tokens,
        ),
    ];
    Some((told, drawn))
}
