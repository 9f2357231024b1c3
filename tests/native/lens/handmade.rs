//! A model made by hand that copies exactly: two layers, one head that writes the token before, one that looks where that is
//! the token it stands on. What instruments say of it is known without training.
//!
//! The residual stream has four parts: the token, the position, the token before, and what is said next, each one-hot.

use attnscope::experiment::{Head, Removal};
use attnscope::hook::{ActivationCache, Array, Selection, Site};
use attnscope::lens::base::{Again, Base};
use attnscope::lens::causal::Without;
use attnscope::lens::retrieval::{Passage, retrieved};
use attnscope::mechanism::Stack;
use attnscope::model::config::{Activation, Positions};
use attnscope::model::{Config, CpuModel, Weights};
use attnscope::train::circuits::Draw;

const VOCABULARY: usize = 16;
const CONTEXT: usize = 48;
const HEADS: usize = 3;
/// Where the parts of the stream begin: token, position, token before, next.
const PARTS: [usize; 4] = [0, VOCABULARY, VOCABULARY + CONTEXT, 2 * VOCABULARY + CONTEXT];
const WIDTH: usize = 3 * VOCABULARY + CONTEXT;
const PREVIOUS: Head = Head { layer: 0, head: 1 };
const INDUCTION: Head = Head { layer: 1, head: 2 };
/// A score this far above the others leaves them nothing.
const SHARP: f32 = 40.0;

fn config() -> Config {
    Config {
        context: CONTEXT,
        head_width: CONTEXT,
        positions: Positions::Learned,
        activation: Activation::Relu,
        gated: false,
        tied: false,
        ..Config::llama(VOCABULARY, WIDTH, 2, HEADS, HEADS, 1)
    }
}

/// Heads beside the two look about at random and write nothing.
fn weights() -> Weights {
    let mut weights = Weights::init(&config(), 3);
    for (name, array) in &mut weights.0 {
        let (about, norm) = (name.ends_with("w_q") || name.ends_with("w_k"), name.contains("ln"));
        array.data.iter_mut().for_each(|x| {
            *x = if norm {
                1.0
            } else if about {
                40.0 * *x
            } else {
                0.0
            }
        });
    }
    let hidden = HEADS * CONTEXT;
    let mut put = |name: &str, columns: usize, row: usize, column: usize, value: f32| {
        weights.0.get_mut(name).unwrap().data[row * columns + column] = value;
    };
    // The norm multiplies a stream of n ones by √(M/n); scores are divided by √D.
    let normed = |ones: usize| (WIDTH as f32 / ones as f32).sqrt();
    let sharp = |ones: usize| (SHARP * (CONTEXT as f32).sqrt()).sqrt() / normed(ones);
    for token in 0..VOCABULARY {
        put("embed", WIDTH, token, PARTS[0] + token, 1.0);
        put("unembed", VOCABULARY, PARTS[3] + token, token, 4.0);
    }
    for head in [PREVIOUS, INDUCTION] {
        for row in 0..WIDTH {
            for column in head.head * CONTEXT..(head.head + 1) * CONTEXT {
                for map in ["w_q", "w_k"] {
                    put(&format!("blocks.{}.attn.{map}", head.layer), hidden, row, column, 0.0);
                }
            }
        }
    }
    let at = PREVIOUS.head * CONTEXT;
    for position in 0..CONTEXT {
        put("positions", WIDTH, position, PARTS[1] + position, 1.0);
        put("blocks.0.attn.w_q", hidden, PARTS[1] + position, at + position.saturating_sub(1), sharp(2));
        put("blocks.0.attn.w_k", hidden, PARTS[1] + position, at + position, sharp(2));
    }
    for token in 0..VOCABULARY {
        put("blocks.0.attn.w_v", hidden, PARTS[0] + token, at + token, 1.0 / normed(2));
        put("blocks.0.attn.w_o", WIDTH, at + token, PARTS[2] + token, 1.0);
    }
    let at = INDUCTION.head * CONTEXT;
    for token in 0..VOCABULARY {
        put("blocks.1.attn.w_q", hidden, PARTS[0] + token, at + token, sharp(3));
        put("blocks.1.attn.w_k", hidden, PARTS[2] + token, at + token, sharp(3));
        put("blocks.1.attn.w_v", hidden, PARTS[0] + token, at + token, 1.0 / normed(3));
        put("blocks.1.attn.w_o", WIDTH, at + token, PARTS[3] + token, 1.0);
    }
    weights
}

/// Filler of the first ten tokens, a needle of five others somewhere in it, and at the end the needle said again.
struct Made {
    tokens: Vec<u32>,
    needle: std::ops::Range<usize>,
    queries: Vec<usize>,
}

fn passage(draw: &mut Draw) -> Made {
    let filler = |draw: &mut Draw, count: usize| (0..count).map(|_| draw.below(10) as u32).collect::<Vec<u32>>();
    let mut needle: Vec<u32> = (10..15).collect();
    draw.shuffle(&mut needle);
    let before = draw.between(2, 20);
    let mut tokens = filler(draw, before);
    let start = tokens.len();
    tokens.extend(&needle);
    tokens.extend(filler(draw, 32 - before));
    let asked = tokens.len();
    tokens.extend(&needle);
    // After its first token the needle's others are made, one by one.
    Made { tokens, needle: start + 1..start + needle.len(), queries: (asked..asked + needle.len() - 1).collect() }
}

/// Paper 29, check 3: the induction head retrieves, no other head does, and looking everywhere alike it copies no more.
#[test]
fn the_induction_head_of_a_made_model_retrieves_alone() {
    let (config, stack) = (config(), Stack::new("a", &[]).unwrap());
    let model = CpuModel::new(&config, &weights()).unwrap();
    let mut draw = Draw::new(7);
    let made: Vec<Made> = (0..20).map(|_| passage(&mut draw)).collect();
    let mut scores = [0.0; 2 * HEADS];
    let (mut right, mut without, mut all) = (0, [0; 2], 0);
    for made in &made {
        let base = Base::new(&model, &stack, 0, &made.tokens, &[Site::Pattern]).unwrap();
        let passage = Passage { tokens: &made.tokens, needle: made.needle.clone(), queries: &made.queries };
        for layer in 0..2 {
            let found = retrieved(&passage, base.captures.get(layer, Site::Pattern).unwrap());
            scores.iter_mut().skip(layer * HEADS).zip(found).for_each(|(sum, score)| *sum += score / 20.0);
        }
        let copied = |logits: &Array| {
            let likeliest = |row: &[f32]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap() as u32;
            made.queries.iter().filter(|query| likeliest(logits.at(**query)) == made.tokens[*query + 1]).count()
        };
        all += made.queries.len();
        right += copied(&base.logits);
        let again = Again { model: &model, stack: &stack, seed: 0, base: &base };
        // Masked as the reference masks it, and as much of a head that writes nothing.
        for (out, head) in [INDUCTION, Head { layer: 1, head: 0 }].into_iter().enumerate() {
            let mut tap = Without { rows: &[vec![head]], how: Removal::Uniform, donor: None };
            let mut logits = again.from(1, 1, None, |_, _| {}, &mut tap).unwrap();
            logits.shape.remove(0);
            without[out] += copied(&logits);
        }
    }
    for (at, score) in scores.iter().enumerate() {
        let head = Head { layer: at / HEADS, head: at % HEADS };
        assert_eq!(*score >= 0.95, head == INDUCTION, "{head} scores {score}");
        assert!(head == INDUCTION || *score < 0.2, "{head} scores {score}");
    }
    assert_eq!((right, without[1]), (all, all), "it copies exactly, whatever idle heads look at");
    let share = without[0] as f32 / all as f32;
    assert!(share < 2.0 / VOCABULARY as f32, "masked, it still copies {share}");
}

/// The head that writes the token before is what the induction head needs: without it nothing is found either.
#[test]
fn the_induction_head_hears_the_one_before() {
    let (config, stack) = (config(), Stack::new("a", &[]).unwrap());
    let model = CpuModel::new(&config, &weights()).unwrap();
    let made = passage(&mut Draw::new(9));
    let base = Base::new(&model, &stack, 0, &made.tokens, &[Site::Pattern]).unwrap();
    let on_needle = |captures: &ActivationCache| {
        let pattern = captures.get(1, Site::Pattern).unwrap();
        let n = made.tokens.len();
        let row = |query: usize| &pattern.data[(INDUCTION.head * n + query) * n..][..n];
        made.queries
            .iter()
            .map(|query| row(*query)[made.needle.clone()].iter().copied().fold(0.0, f32::max))
            .sum::<f32>()
            / made.queries.len() as f32
    };
    assert!(on_needle(&base.captures) > 0.99);
    struct Both<'a>(Without<'a>, ActivationCache);
    impl attnscope::hook::Tap for Both<'_> {
        fn wants(&self, at: attnscope::hook::HookPoint) -> bool {
            self.0.wants(at) || self.1.wants(at)
        }
        fn visit(&mut self, at: attnscope::hook::HookPoint, value: &Array) -> Option<Array> {
            let edited = if self.0.wants(at) { self.0.visit(at, value) } else { None };
            self.1.visit(at, edited.as_ref().unwrap_or(value));
            edited
        }
    }
    let rows = [vec![PREVIOUS]];
    let without = Without { rows: &rows, how: Removal::Zero, donor: None };
    let mut tap = Both(without, ActivationCache::new(Selection::sites(&[Site::Pattern])));
    model.run(&[&made.tokens], &stack, 0, &mut tap).unwrap();
    assert!(on_needle(&tap.1) < 0.2, "it finds {} without", on_needle(&tap.1));
}
