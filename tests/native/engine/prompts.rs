//! Two prompts side by side: each pane's numbers are those of its own text, differences are taken where the texts agree.

use super::{close, engine, experiment, run};
use attnscope::alignment::Alignment;
use attnscope::engine::divergence;
use attnscope::experiment::{Experiment, Head};
use attnscope::hook::Selection;
use attnscope::outcome::arrays;
use pollster::block_on;
use proptest::prelude::*;

const A: &str = "One day, a girl";
const B: &str = "One day, the big girl";

fn two() -> Experiment {
    Experiment { prompt_b: Some(B.into()), ..experiment(A, &[&[], &[]]) }
}

#[test]
fn a_pane_with_its_own_prompt_has_the_numbers_of_that_prompt() {
    let mut engine = engine();
    let both = run(&mut engine, &two()).unwrap();
    let head = Head { layer: 1, head: 1 };
    let maps = block_on(engine.head(1, head)).unwrap();
    let alone = run(&mut engine, &experiment(B, &[&[]])).unwrap();
    let maps_alone = block_on(engine.head(0, head)).unwrap();
    assert_eq!(both.panes[1].tokens, alone.tokens);
    assert_eq!(both.tokens_of(1), &alone.tokens[..]);
    assert!(both.panes[0].tokens.is_empty());
    assert_eq!(both.panes[1].loss, alone.panes[0].loss);
    assert_eq!(both.panes[1].logits, alone.panes[0].logits);
    assert_eq!(both.panes[1].arrays[arrays::VALUE_NORMS], alone.panes[0].arrays[arrays::VALUE_NORMS]);
    let bits = |data: &[f32]| data.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let pattern =
        |outcome: &attnscope::outcome::Outcome, pane: usize| outcome.panes[pane].arrays[arrays::PATTERN].clone();
    assert_eq!(bits(&pattern(&both, 1).data), bits(&pattern(&alone, 0).data));
    assert_eq!(bits(&maps.pattern.data), bits(&maps_alone.pattern.data));
}

#[test]
fn differences_are_taken_where_the_texts_agree() {
    let mut engine = engine();
    let outcome = run(&mut engine, &two()).unwrap();
    let ids = |tokens: &[attnscope::outcome::Token]| tokens.iter().map(|token| token.id).collect::<Vec<_>>();
    let aligned = Alignment::new(&ids(&outcome.tokens), &ids(outcome.tokens_of(1)));
    let same: Vec<_> = aligned.same().filter(|(x, y)| *x > 0 && *y > 0).collect();
    assert!(!same.is_empty() && same.iter().any(|(x, y)| x != y), "the texts are shifted against each other");
    let loss = |pane: usize, at: usize| f64::from(outcome.panes[pane].token_loss[at - 1]);
    let expected = same.iter().map(|(x, y)| loss(1, *y) - loss(0, *x)).sum::<f64>() / same.len() as f64;
    let versus = outcome.panes[1].versus_a.clone().unwrap();
    close(versus.delta_loss.unwrap(), expected, 1e-6);
    let last = |pane| block_on(engine.pass(&two(), pane, Selection::default())).map(|pass| pass.logits).unwrap();
    let logs: Vec<_> = [0, 1].map(last).iter().map(attnscope::engine::log_probabilities).collect();
    let row = |pane: usize| logs[pane].at(logs[pane].shape[0] - 1);
    close(versus.kl_next, f64::from(divergence(row(0), row(1))), 1e-6);
    let pairs: Vec<_> = aligned.pairs().collect();
    let mean = pairs.iter().map(|(x, y)| f64::from(divergence(logs[0].at(*x), logs[1].at(*y)))).sum::<f64>();
    close(versus.kl_mean, mean / pairs.len() as f64, 1e-6);
}

#[test]
fn the_same_text_twice_is_one_prompt_and_an_empty_one_is_refused() {
    let mut engine = engine();
    let plain = run(&mut engine, &experiment(A, &[&[], &[]])).unwrap();
    let twice = run(&mut engine, &Experiment { prompt_b: Some(A.into()), ..experiment(A, &[&[], &[]]) }).unwrap();
    assert_eq!(plain.panes[1].versus_a, twice.panes[1].versus_a);
    assert!(twice.panes[1].tokens.is_empty());
    // Without a pane B nobody reads it.
    let one = run(&mut engine, &Experiment { prompt_b: Some(B.into()), ..experiment(A, &[&[]]) }).unwrap();
    assert_eq!(one.panes[0].loss, plain.panes[0].loss);
    let empty = Experiment { prompt_b: Some(String::new()), bos: false, ..experiment(A, &[&[], &[]]) };
    let refused = run(&mut engine, &empty).unwrap_err();
    assert_eq!(refused.code(), "parse");
    assert!(refused.to_string().contains("pane B"), "{refused}");
}

proptest! {
    #[test]
    fn an_alignment_keeps_the_order_and_what_is_equal(a in prop::collection::vec(0u32..6, 0..40), b in prop::collection::vec(0u32..6, 0..40)) {
        let aligned = Alignment::new(&a, &b);
        let pairs: Vec<_> = aligned.pairs().collect();
        for pair in pairs.windows(2) {
            prop_assert!(pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
        }
        for (x, y) in &pairs {
            prop_assert_eq!(aligned.to_a(*y), Some(*x));
            prop_assert_eq!(aligned.is_same(*x), a[*x] == b[*y]);
        }
        prop_assert_eq!((0..b.len()).filter(|y| aligned.to_a(*y).is_some()).count(), pairs.len());
        // As many equal tokens as the longest common subsequence has, by the textbook's table.
        let mut table = vec![vec![0usize; b.len() + 1]; a.len() + 1];
        for x in 0..a.len() {
            for y in 0..b.len() {
                table[x + 1][y + 1] = if a[x] == b[y] { table[x][y] + 1 } else { table[x][y + 1].max(table[x + 1][y]) };
            }
        }
        prop_assert!(aligned.same().count() >= table[a.len()][b.len()]);
    }
}
