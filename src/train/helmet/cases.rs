//! What each task is about: documents that are asked about, others of the same form, a question and its answer.

use super::Task;
use super::passage::{Case, Gold, say};
use super::tasks::{Helmet, Pair};
use crate::train::circuits::Draw;

/// Events that are noted, and documents that may be ranked.
const NOTED: usize = 3;
const RANKED: usize = 8;

/// People who have not been spoken of yet.
pub(super) struct Names(pub Vec<u32>);

impl Names {
    fn next(&mut self) -> Option<u32> {
        self.0.pop()
    }
}

impl Helmet {
    /// One case with at most `others` documents that are not asked for.
    pub(super) fn case(&self, task: Task, draw: &mut Draw, names: &mut Names, others: usize) -> (Case, Gold) {
        match task {
            Task::Keys | Task::ManyKeys | Task::LongKeys | Task::Needle => self.keys(task, draw, names, others),
            Task::ManyValues => self.values(draw, names, others),
            Task::OneHop => self.one_hop(draw, names, others),
            Task::TwoHops => self.two_hops(draw, names, others),
            Task::Cite => self.cite(draw, names, others),
            Task::Rank => self.rank(draw, others),
            Task::Labels => self.labels(draw, 3, others),
            Task::MoreLabels => self.labels(draw, 5, others),
            Task::Where => self.last(&self.went, draw, names, others),
            Task::Whose => self.last(&self.gave, draw, names, others),
            Task::Notes => self.notes(draw, names, others),
        }
    }

    /// A case whose answer must stand inside what is written.
    fn inside(
        &self,
        asked: Vec<Vec<u32>>,
        others: Vec<Vec<u32>>,
        question: Vec<u32>,
        answer: Vec<u32>,
    ) -> (Case, Gold) {
        let gold = Gold::Inside(self.text(&answer));
        (Case { asked, others, question, answer }, gold)
    }

    fn keys(&self, task: Task, draw: &mut Draw, names: &mut Names, others: usize) -> (Case, Gold) {
        let words = &self.words;
        let things = [&words.objects[..], &words.foods].concat();
        let things = draw.distinct(&things, things.len());
        let pair = if task == Task::LongKeys { &self.long_secret } else { &self.secret };
        let count = match task {
            Task::Needle => 0,
            Task::Keys => others.min(3),
            _ => others,
        };
        let mut fills = Vec::new();
        for value in things.chunks_exact(2).take(count + 1) {
            let Some(key) = names.next() else { break };
            let [k, l, m] = [(); 3].map(|()| draw.one(&words.animals));
            fills.push([("key", key), ("k", k), ("l", l), ("m", m), ("a", value[0]), ("b", value[1])]);
        }
        let mut documents: Vec<_> = fills.iter().map(|fill| say(&pair.says, fill)).collect();
        let others = documents.split_off(documents.len().min(1));
        let question = fills.first().map(|fill| say(&pair.asks, fill)).unwrap_or_default();
        self.inside(documents, others, question, things[..2].to_vec())
    }

    fn values(&self, draw: &mut Draw, names: &mut Names, others: usize) -> (Case, Gold) {
        const OF_ONE: usize = 4;
        let things = draw.distinct(&self.words.objects, self.words.objects.len());
        let (own, rest) = things.split_at(OF_ONE.min(things.len()));
        let key = names.next().unwrap_or_default();
        let one = |key, thing| say(&self.has.says, &[("key", key), ("a", thing)]);
        let asked = own.iter().map(|thing| one(key, *thing)).collect();
        let others = rest.iter().take(others).map_while(|thing| Some(one(names.next()?, *thing))).collect();
        let gold = Gold::Values(own.iter().map(|thing| self.text(&[*thing])).collect());
        (Case { asked, others, question: say(&self.has.asks, &[("key", key)]), answer: own.to_vec() }, gold)
    }

    fn one_hop(&self, draw: &mut Draw, names: &mut Names, others: usize) -> (Case, Gold) {
        let words = &self.words;
        let facts = [(&self.has, &words.objects), (&self.likes, &words.foods), (&self.lives, &words.places)];
        let of = draw.below(facts.len());
        let lists = facts.map(|(_, list)| draw.distinct(list, list.len()));
        let most = lists.iter().map(Vec::len).min().unwrap_or(0);
        let document = |key, at: usize| -> Vec<u32> {
            let sentence = |(fact, list): (&(&Pair, _), &Vec<u32>)| say(&fact.0.says, &[("key", key), ("a", list[at])]);
            facts.iter().zip(&lists).flat_map(sentence).collect()
        };
        let key = names.next().unwrap_or_default();
        let others = (1..most).take(others).map_while(|at| Some(document(names.next()?, at))).collect();
        self.inside(vec![document(key, 0)], others, say(&facts[of].0.asks, &[("key", key)]), vec![lists[of][0]])
    }

    fn two_hops(&self, draw: &mut Draw, names: &mut Names, others: usize) -> (Case, Gold) {
        let foods = draw.distinct(&self.words.foods, self.words.foods.len());
        let mut first = None;
        let mut asked = Vec::new();
        let mut rest = Vec::new();
        for food in foods.iter().take(others + 1) {
            let (Some(key), Some(friend)) = (names.next(), names.next()) else { break };
            let knows = say(&self.friend.says, &[("key", key), ("a", friend)]);
            let likes = say(&self.likes.says, &[("key", friend), ("a", *food)]);
            match first {
                None => (first, asked) = (Some(key), vec![knows, likes]),
                Some(_) => rest.extend([knows, likes]),
            }
        }
        let question = say(&self.friend_likes.asks, &[("key", first.unwrap_or_default())]);
        self.inside(asked, rest, question, foods[..foods.len().min(1)].to_vec())
    }

    fn cite(&self, draw: &mut Draw, names: &mut Names, others: usize) -> (Case, Gold) {
        let things = draw.distinct(&self.words.objects, self.words.objects.len());
        let numbers = draw.distinct(&self.words.numbers, self.words.numbers.len());
        let (mut key, mut documents) = (None, Vec::new());
        for (thing, number) in things.iter().take(others / 2 + 1).zip(numbers.chunks_exact(2)) {
            let Some(name) = names.next() else { break };
            key = key.or(Some(name));
            let says = |at: usize| say(&self.cited[at], &[("n", number[at]), ("key", name), ("a", *thing)]);
            documents.extend([says(0), says(1)]);
        }
        let others = documents.split_off(documents.len().min(2));
        let answer = vec![things[0], numbers[0], numbers[1]];
        let cited = [numbers[0], numbers[1]].iter().filter_map(|id| self.text(&[*id]).trim().parse().ok()).collect();
        let gold = Gold::Cited { answer: self.text(&answer[..1]), documents: cited };
        let question = say(&self.has.asks, &[("key", key.unwrap_or_default())]);
        (Case { asked: documents, others, question, answer }, gold)
    }

    fn rank(&self, draw: &mut Draw, others: usize) -> (Case, Gold) {
        let words = &self.words;
        let lists = [&words.colours, &words.animals, &words.places].map(|list| draw.distinct(list, list.len()));
        let numbers = draw.distinct(&words.numbers, RANKED.min(others + 4));
        let mut grades = Vec::new();
        // The first four have all grades; of the others each part is met by chance.
        for at in 0..numbers.len() {
            let grade = if at < 4 { 3 - at } else { draw.below(3) };
            grades.push(grade);
        }
        let holes = ["colour", "animal", "place"];
        let document = |at: usize, draw: &mut Draw| {
            let mut met = [false; 3];
            let mut parts = [0, 1, 2];
            draw.shuffle(&mut parts);
            parts[..grades[at]].iter().for_each(|part| met[*part] = true);
            let mut fill = vec![("n", numbers[at])];
            for (part, hole) in holes.iter().enumerate() {
                let wrong = &lists[part][1..];
                fill.push((hole, if met[part] { lists[part][0] } else { wrong[at % wrong.len().max(1)] }));
            }
            say(&self.offer.says, &fill)
        };
        let mut asked: Vec<_> = (0..numbers.len()).map(|at| document(at, draw)).collect();
        draw.shuffle(&mut asked);
        let query: Vec<_> = holes.iter().zip(&lists).map(|(hole, list)| (*hole, list[0])).collect();
        let mut best: Vec<usize> = (0..numbers.len()).collect();
        best.sort_by_key(|at| std::cmp::Reverse(grades[*at]));
        let number = |at: usize| self.text(&[numbers[at]]).trim().parse().unwrap_or(0);
        let gold = Gold::Ranked((0..numbers.len()).map(|at| (number(at), grades[at] as u32)).collect());
        let answer = best.into_iter().map(|at| numbers[at]).collect();
        (Case { asked, others: Vec::new(), question: say(&self.offer.asks, &query), answer }, gold)
    }

    /// Every class once a round, in a new order, until there is no more room; the asked word has not been shown.
    fn labels(&self, draw: &mut Draw, classes: usize, others: usize) -> (Case, Gold) {
        let words = &self.words;
        let mut kinds = [&words.animals, &words.foods, &words.places, &words.objects, &words.colours];
        draw.shuffle(&mut kinds);
        let labels = draw.distinct(&words.numbers, classes);
        let mut lists: Vec<_> = kinds[..classes].iter().map(|list| draw.distinct(list, list.len())).collect();
        let of = draw.below(classes);
        let asked = lists[of].pop().unwrap_or_default();
        let mut shots = Vec::new();
        let rounds = lists.iter().map(Vec::len).min().unwrap_or(0);
        (0..rounds.min(others)).for_each(|round| {
            let mut order: Vec<usize> = (0..classes).collect();
            draw.shuffle(&mut order);
            let shot = |class: usize| say(&self.label.says, &[("key", lists[class][round]), ("a", labels[class])]);
            shots.extend(order.into_iter().map(shot));
        });
        let gold = Gold::First(self.text(&[labels[of]]));
        let question = say(&self.label.asks, &[("key", asked)]);
        (Case { asked: Vec::new(), others: shots, question, answer: vec![labels[of]] }, gold)
    }

    /// Where somebody, or a thing, is after moving twice: the answer is what the later sentence says.
    fn last(&self, pair: &Pair, draw: &mut Draw, names: &mut Names, others: usize) -> (Case, Gold) {
        let words = &self.words;
        let moves_people = std::ptr::eq(pair, &self.went);
        let things = draw.distinct(&words.objects, words.objects.len());
        let mut moved = |at: usize, draw: &mut Draw| {
            let key = if moves_people { names.next()? } else { *things.get(at)? };
            let [first, then] = match moves_people {
                true => draw.distinct(&words.places, 2).try_into().ok()?,
                false => [names.next()?, names.next()?],
            };
            let giver = draw.one(&words.names);
            let says = |to, by| say(&pair.says, &[("key", key), ("a", to), ("b", by)]);
            Some((key, then, [says(first, giver), says(then, first)]))
        };
        let (key, then, asked) = moved(0, draw).unwrap_or_default();
        let others: Vec<_> = (1..=others).map_while(|at| moved(at, draw)).flat_map(|(.., moves)| moves).collect();
        self.inside(asked.to_vec(), others, say(&pair.asks, &[("key", key)]), vec![then])
    }

    fn notes(&self, draw: &mut Draw, names: &mut Names, others: usize) -> (Case, Gold) {
        let things = draw.distinct(&self.words.objects, self.words.objects.len());
        let (mut asked, mut answer, mut lines) = (Vec::new(), Vec::new(), Vec::new());
        for thing in things.iter().take(NOTED.min(others.max(1))) {
            let Some(key) = names.next() else { break };
            let fill = [("key", key), ("a", *thing)];
            asked.push(say(&self.noted, &fill));
            let line = say(&self.found, &fill);
            lines.push(self.text(&line));
            answer.extend(line);
        }
        let places = draw.distinct(&self.words.places, self.words.places.len());
        let went = |place: &u32| Some(say(&self.went.says, &[("key", names.next()?), ("a", *place)]));
        let others = places.iter().take(others).map_while(went).collect();
        let gold = Gold::Lines { lines, form: "found".into() };
        (Case { asked, others, question: say(&self.notes, &[]), answer }, gold)
    }
}
