//! Tasks with exact ground truth: every item solved again from its text alone, by programs that see nothing else.

use attnscope::tokenizer::Tokenizer;
use attnscope::train::circuits::choice::Choice;
use attnscope::train::circuits::facts::{Facts, RELATIONS};
use attnscope::train::circuits::rows::{Rows, SHARES, Shares};
use attnscope::train::circuits::{CHOICE_BIAS, Circuits, Draw, Given, Item, Split, Task, Words, score};
use attnscope::train::curriculum::{self, Curriculum};
use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

/// A tokenizer learned from a few words and those of the tasks.
fn tokenizer() -> &'static Tokenizer {
    static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
    TOKENIZER.get_or_init(|| {
        let document =
            "When they went to the park. The secret of the list is in the answer, which is. Reply: Left: Done:";
        let section = attnscope::train::corpus::Section {
            file: "words".into(),
            documents: vec![document.into(); 50],
            repeats: 1,
        };
        curriculum::loaded(&Curriculum::Circuits.tokenizer(&[section]).unwrap()).unwrap()
    })
}

fn circuits() -> &'static Circuits {
    static CIRCUITS: OnceLock<Circuits> = OnceLock::new();
    CIRCUITS.get_or_init(|| Circuits::new(tokenizer()).unwrap())
}

fn items(task: Task, split: Split) -> Vec<Item> {
    (0..200).map(|seed| circuits().item(task, split, 200, seed)).collect()
}

fn text(tokens: &[u32]) -> String {
    tokenizer().decode(tokens).unwrap()
}

#[test]
fn items_say_where_they_ask_and_answers_stand_there() {
    for task in Task::ALL {
        for split in [Split::Training, Split::HeldOut] {
            for (seed, item) in items(task, split).iter().enumerate() {
                let name = format!("{} {seed}: {:?}", task.id(), text(&item.tokens));
                assert_eq!(*item, circuits().item(task, split, 200, seed as u64), "{name} is not the same twice");
                assert_eq!(Split::of(item), split, "{name}");
                assert!(item.tokens.len() <= 200 && !item.questions.is_empty(), "{name}");
                for question in &item.questions {
                    let answer = item.tokens[question.at];
                    assert!(question.at > 0 && question.answers.contains(&answer), "{name}");
                    assert!(!question.distractors.is_empty(), "{name} has no wrong answer");
                    assert!(question.distractors.iter().all(|wrong| !question.answers.contains(wrong)), "{name}");
                }
                // What a page shows is text: reading it again must give these tokens, except for sequences of any tokens.
                if task != Task::Induction {
                    assert_eq!(tokenizer().encode(&text(&item.tokens), false).unwrap(), item.tokens, "{name}");
                }
            }
        }
    }
}

#[test]
fn held_out_items_are_a_sixteenth_of_all() {
    let mut held_out = 0;
    for seed in 0..1600 {
        let given = Given { words: &circuits().words, longest: 100 };
        let item = circuits().indirect_object.draw(&given, &mut Draw::new(seed));
        held_out += usize::from(Split::of(&item) == Split::HeldOut);
    }
    assert!((60..=140).contains(&held_out), "{held_out} of 1600 are held out, 100 were expected");
}

/// What a reader of the text alone would answer.
fn solve(task: Task, prompt: &[u32]) -> Vec<String> {
    let said = text(prompt);
    let words: Vec<&str> = said.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let last = words.last().copied().unwrap_or_default();
    let is = |list: &[u32], word: &str| list.iter().any(|id| text(&[*id]).trim() == word);
    let all = &circuits().words;
    match task {
        Task::Induction => {
            let at = prompt[..prompt.len() - 1].iter().position(|token| token == prompt.last().unwrap()).unwrap();
            vec![text(&prompt[at + 1..=at + 1]).trim().into()]
        }
        Task::Recall => {
            let name = words.iter().rev().find(|word| is(&all.names, word)).unwrap();
            let at = words.iter().position(|word| word == name).unwrap();
            vec![words[at..].iter().find(|word| is(&all.objects, word)).unwrap().to_string()]
        }
        Task::List | Task::IndirectObject => {
            let list = if task == Task::List { &all.objects } else { &all.names };
            let mut counts: HashMap<&str, usize> = HashMap::new();
            words.iter().filter(|word| is(list, word)).for_each(|word| *counts.entry(word).or_default() += 1);
            counts.iter().filter(|(_, count)| **count == 1).map(|(word, _)| word.to_string()).collect()
        }
        Task::GreaterThan => {
            let number: u32 = words.iter().find_map(|word| word.parse().ok()).unwrap();
            (number + 1..100).map(|number| number.to_string()).collect()
        }
        Task::Facts => {
            let known = words.iter().rev().find(|word| is(&all.known, word)).unwrap();
            let person = all.known.iter().position(|id| text(&[*id]).trim() == *known).unwrap();
            let sentence = said.rsplit('.').next().unwrap();
            let has = |cues: &[&str]| cues.iter().any(|cue| sentence.contains(cue));
            let relation = match (has(&["lives", "home", "meet"]), has(&["eat", "food", "lunch"])) {
                (true, _) => 0,
                (_, true) => 1,
                _ => 2,
            };
            vec![text(&[Facts::truth(all, person, RELATIONS[relation])]).trim().into()]
        }
        Task::Choice => {
            let question = said.lines().next().unwrap();
            let options: Vec<(&str, &str)> = said.lines().filter_map(|line| line.trim().split_once(": ")).collect();
            let lists =
                [("animal", &all.animals), ("food", &all.foods), ("place", &all.places), ("colour", &all.colours)];
            let kind = lists.iter().find(|(kind, _)| question.contains(&format!(" {kind}?")));
            let right = |option: &str| match kind {
                Some((_, list)) => is(list, option),
                None => question.contains(&format!(" {option}?")),
            };
            options.iter().filter(|(_, option)| right(option)).map(|(letter, _)| letter.to_string()).collect()
        }
        Task::Refusal => {
            let things: Vec<&str> = words
                .iter()
                .copied()
                .filter(|word| [&all.objects, &all.animals, &all.foods, &all.marked].iter().any(|list| is(list, word)))
                .collect();
            if things.iter().any(|thing| is(&all.marked, thing)) {
                return vec!["sorry".into()];
            }
            let second = said.contains("last of") || said.contains("Skip");
            vec![things[usize::from(second)].into()]
        }
        Task::Needle => {
            let needle = said.split("The secret of").nth(1).unwrap().split('.').next().unwrap();
            let code: Vec<&str> = needle.split_whitespace().skip(2).collect();
            vec![code[usize::from(last != "is")].into()]
        }
    }
}

#[test]
fn every_answer_follows_from_the_text_and_no_other_does() {
    for task in Task::ALL {
        for (seed, item) in items(task, Split::HeldOut).iter().enumerate() {
            for question in &item.questions {
                let expected: HashSet<String> = solve(task, &item.tokens[..question.at]).into_iter().collect();
                let name = format!("{} {seed}: {:?}", task.id(), text(&item.tokens[..question.at]));
                let came: HashSet<String> =
                    question.answers.iter().map(|answer| text(&[*answer]).trim().to_string()).collect();
                assert_eq!(came, expected, "{name}");
            }
        }
    }
}

#[test]
fn knobs_do_what_they_say() {
    let words = &circuits().words;
    let given = Given { words, longest: 200 };
    let mut draw = Draw::new(1);
    for (pairs, back) in [(2, 0), (6, 0), (6, 5), (12, 7)] {
        let item = circuits().recall.item(&given, &mut draw, 2, pairs, back);
        assert_eq!((item.places("key").len(), item.gap), (pairs, Some(2 * back + 1)), "{}", text(&item.tokens));
    }
    for missing in 0..5 {
        let item = circuits().list.item(&given, &mut draw, 5, missing);
        assert_eq!(item.tokens[item.places("thing")[missing]], item.questions[0].answers[0]);
        assert_eq!((item.places("thing").len(), item.places("done").len()), (5, 4));
    }
    for options in 2..=5 {
        for right in 0..options {
            let item = circuits().choice.item(&given, &mut draw, true, options, right);
            assert_eq!(item.questions[0].answers, [words.letters[right]]);
            assert_eq!(item.questions[0].distractors.len(), options - 1);
        }
    }
    let first = |bias: f64| {
        let mut draw = Draw::new(2);
        let one = |_| circuits().choice.draw(&given, &mut draw, bias).questions[0].answers[0] == words.letters[0];
        (0..2000).map(one).filter(|first| *first).count() as f64 / 2000.0
    };
    for bias in [0.0, 0.25, CHOICE_BIAS, 1.0] {
        assert!((first(bias) - bias).abs() < 0.035, "A is right in {} of exams made for {bias}", first(bias));
    }
    for (length, depth) in [(60, 0.0), (120, 0.5), (250, 1.0)] {
        let item = circuits().needle.item(&given, &mut draw, length, depth);
        let at = item.places("needle")[0] as f32;
        assert!((length - 30..=length).contains(&item.tokens.len()), "{} of {length}", item.tokens.len());
        assert!((at - depth * (length as f32 - 26.0)).abs() < 20.0, "needle at {at} for depth {depth} of {length}");
    }
}

/// No relation of a person tells another, and no list is used so unevenly that guessing its favourite does well.
#[test]
fn facts_must_be_known_one_by_one() {
    let words = &circuits().words;
    let of = |relation| (0..words.known.len()).map(|person| Facts::truth(words, person, relation)).collect::<Vec<_>>();
    for relation in RELATIONS {
        let mut counts: HashMap<u32, usize> = HashMap::new();
        of(relation).into_iter().for_each(|answer| *counts.entry(answer).or_default() += 1);
        assert!(counts.values().all(|count| *count <= 4), "{relation:?}: {counts:?}");
    }
    let [home, food, colour] = RELATIONS.map(of);
    for (a, b) in [(&home, &food), (&home, &colour), (&food, &colour)] {
        let pairs: HashSet<(u32, u32)> = a.iter().copied().zip(b.iter().copied()).collect();
        assert!(pairs.len() >= 20, "{} of 24 pairs differ", pairs.len());
    }
}

#[test]
fn rows_are_functions_of_their_index_and_weigh_answers_most() {
    let rows = |seed: u64| {
        let circuits = Circuits::new(tokenizer()).unwrap();
        Rows::new(circuits, Shares::parse(SHARES).unwrap(), 0, (1..2000).map(|token| token % 300).collect(), seed)
    };
    let source = rows(7);
    let mut answered = 0.0;
    for index in 0..60 {
        for width in [128, 256] {
            let row = source.row(index, width);
            assert_eq!(row, source.row(index, width));
            assert_eq!((row.tokens.len(), row.weights.len()), (width + 1, width));
            if index % 5 == 0 {
                assert!(row.weights.iter().all(|weight| *weight == 0.5), "every fifth row is a story");
            } else {
                answered += row.weights.iter().filter(|weight| **weight > 0.4).sum::<f32>();
                assert_eq!(row.tokens[0], 0);
            }
        }
    }
    assert!(answered > 1000.0, "answers weigh {answered}");
    assert_ne!(source.row(1, 128), rows(8).row(1, 128), "another seed gives other rows");
    // The weight that stands before a token is what predicting it counts.
    let only = Rows::new(Circuits::new(tokenizer()).unwrap(), Shares::parse("choice=1").unwrap(), 0, Vec::new(), 1);
    let row = only.row(1, 128);
    let heavy: Vec<u32> =
        (0..128).filter(|at| row.weights[*at] > 1.0).map(|at| u32::from(row.tokens[at + 1])).collect();
    assert!(!heavy.is_empty() && heavy.iter().all(|token| circuits().words.letters.contains(token)), "{heavy:?}");
}

#[test]
fn shares_that_cannot_be_read_are_refused_by_part() {
    for (shares, part) in
        [("induction=1,b", "b"), ("induction=x", "induction=x"), ("recall=0", "every share"), ("nap=1", "nap")]
    {
        let refused = Shares::parse(shares).unwrap_err().to_string();
        assert!(refused.contains(part), "{refused}");
    }
}

#[test]
fn a_tokenizer_without_the_words_is_refused_by_word() {
    let bytes = attnscope::train::vocabulary::train(&[], 257).unwrap();
    let refused = Words::new(&curriculum::loaded(&bytes).unwrap()).unwrap_err().to_string();
    assert!(refused.contains("“ Lily”"), "{refused}");
    assert!(Choice::new(tokenizer()).is_ok());
}

#[test]
fn judging_counts_any_right_answer() {
    let question = attnscope::train::circuits::Question { at: 1, answers: vec![0, 1], distractors: vec![2] };
    let half = score::judge(&question, &[0.0, 0.0, 0.0, 0.0]);
    assert!((half.nats - 2f64.ln()).abs() < 1e-6 && half.right && !half.preferred);
    let sure = score::judge(&question, &[0.0, 30.0, 0.0, 0.0]);
    assert!(sure.nats < 1e-6 && sure.right && sure.preferred);
}
