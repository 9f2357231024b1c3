//! Lenses on patterns whose answers are known by hand.

mod analyses;
mod channels;
mod circuits;
mod composing;
mod directions;
mod edits;
mod handmade;
mod instruments;
mod interventions;
mod settings;
mod shipped;
mod stored;
mod studies;
mod trained;

use attnscope::experiment::{Head, Metric};
use attnscope::hook::Array;
use attnscope::lens::roles::{Probe, Tally, probes};
use attnscope::lens::sinks::{Sinks, View, Without, importance, masses, null, null_without, verdict, viewed};
use attnscope::lens::{Patterns, RowRule, heads};
use attnscope::outcome::Token;

/// One head whose row q puts `weight(q, k)` on key k; later keys are masked.
fn pattern(tokens: usize, weight: impl Fn(usize, usize) -> f32) -> Array {
    wall(1, 1, tokens, |_, query, key| weight(query, key))
}

fn wall(layers: usize, heads: usize, tokens: usize, weight: impl Fn(usize, usize, usize) -> f32) -> Array {
    let mut data = Vec::new();
    for head in 0..layers * heads {
        for query in 0..tokens {
            data.extend((0..tokens).map(|key| if key > query { f32::NAN } else { weight(head, query, key) }));
        }
    }
    Array::new([layers, heads, tokens, tokens], data).unwrap()
}

fn even(query: usize, _key: usize) -> f32 {
    1.0 / (query + 1) as f32
}

/// All weight on `sink` once it is there, on itself before.
fn all_on(sink: usize) -> impl Fn(usize, usize) -> f32 {
    move |query, key| if key == sink.min(query) { 1.0 } else { 0.0 }
}

fn sinks(array: &Array) -> Sinks {
    Sinks::new(&Patterns::new(array, None, None).unwrap())
}

fn close(came: f32, expected: f32) {
    assert!((came - expected).abs() < 1e-5, "{came} is not {expected}");
}

/// The table of section 6 of the product description: null on token 0, and how often the naive 1/T it is.
#[test]
fn null_is_the_printed_table() {
    let table = [(8, 0.245), (16, 0.159), (32, 0.099), (64, 0.059), (128, 0.035), (256, 0.020)];
    for (tokens, printed) in table {
        let null = null(tokens, 0).unwrap();
        assert!((null - printed).abs() < 5.1e-4, "T = {tokens}: {null} is not {printed}");
    }
    assert!((null(512, 0).unwrap() - 0.0114).abs() < 5e-5);
    assert!((null(1024, 0).unwrap() - 0.0064).abs() < 5e-5);
    for (tokens, ratio) in [(8, 2.0), (16, 2.5), (32, 3.2), (64, 3.8), (128, 4.5), (256, 5.1), (512, 5.8), (1024, 6.5)]
    {
        let times = null(tokens, 0).unwrap() * tokens as f32;
        assert!((times - ratio).abs() < 0.06, "T = {tokens}: {times} is not {ratio}");
    }
}

#[test]
fn even_attention_is_the_null_everywhere() {
    let sinks = sinks(&pattern(64, even));
    for position in 0..63 {
        close(sinks.mean(position).unwrap() / null(64, position).unwrap(), 1.0);
    }
    assert_eq!(sinks.mean(63), None, "nothing comes after the last token");
    assert_eq!(null(64, 63), None);
    // H_64 / 64, from the checks of paper 52.
    assert!((sinks.by_head(0)[0] - 0.0741).abs() < 5e-5);
    assert_eq!(sinks.rate(0, 0.3), 0.0);
}

#[test]
fn a_column_of_ones_has_mass_one() {
    let sinks = sinks(&pattern(16, all_on(0)));
    close(sinks.mean(0).unwrap(), 1.0);
    assert_eq!(sinks.rate(0, 0.3), 1.0);
    assert_eq!(sinks.heads_above(0, 0.999), 1);
    close(sinks.mean(1).unwrap(), 0.0);
}

/// Paper 52, check (a): T = 4, every row looks at the first token.
#[test]
fn importance_by_hand() {
    let head = pattern(4, all_on(0));
    let rows: Vec<f32> = head.data.iter().map(|weight| if weight.is_nan() { 0.0 } else { *weight }).collect();
    assert_eq!(importance(4, &rows), [1.0, 0.0, 0.0, 0.0]);
    // The divisor is the number of queries that see the key: alpha of the last token of 64 even rows is 1/64.
    let last = sinks(&pattern(64, even)).by_head(63)[0];
    close(last, 1.0 / 64.0);
}

#[test]
fn a_sink_at_another_position_is_found() {
    let array = wall(2, 2, 32, |head, query, key| match head {
        0 => all_on(3)(query, key),
        _ => even(query, key),
    });
    let sinks = sinks(&array);
    assert_eq!(sinks.strongest(), Some(3));
    assert!(sinks.by_layer(3)[0] > sinks.by_layer(3)[1]);
    assert_eq!(sinks.heads_above(3, 0.3), 1);
    // Without it, every head is even.
    let without = Without::new(&Patterns::new(&array, None, None).unwrap(), 3).unwrap();
    assert_ne!(without.next, 3);
    assert!(without.renormalised);
    assert!(without.mass / without.null < 1.01, "{without:?}");
}

#[test]
fn a_late_position_with_one_reader_is_no_sink() {
    // A previous-token head puts all weight on the position before the last, but only one query does.
    let array = wall(1, 2, 32, |head, query, key| match head {
        0 => f32::from(u8::from(key == query.saturating_sub(1))),
        _ => 0.5 * all_on(0)(query, key) + 0.5 * even(query, key),
    });
    assert_eq!(sinks(&array).strongest(), Some(0));
}

#[test]
fn removing_renormalises_only_rows_that_sum_to_one() {
    let half = |query: usize, key: usize| 0.5 * all_on(0)(query, key) + 0.5 * even(query, key);
    let array = pattern(8, half);
    let patterns = Patterns::new(&array, None, None).unwrap();
    assert_eq!(patterns.rule, RowRule::One);
    let rows = viewed(&patterns.head(0, 0).unwrap(), View::Without(0)).unwrap();
    for (query, row) in rows.chunks(8).enumerate() {
        assert_eq!(row[0], 0.0);
        close(row.iter().sum(), if query == 0 { 0.0 } else { 1.0 });
    }
    assert!(Without::new(&patterns, 0).unwrap().renormalised);

    // A slot takes 0.4 of every row: what it leaves must not be blown up to one.
    let array = pattern(8, |query, key| 0.6 * half(query, key));
    let slot = Array::new([1, 1, 8], vec![0.4; 8]).unwrap();
    let patterns = Patterns::new(&array, Some(&slot), None).unwrap();
    assert_eq!(patterns.rule, RowRule::AtMostOne);
    let rows = viewed(&patterns.head(0, 0).unwrap(), View::Without(0)).unwrap();
    close(rows[7 * 8..].iter().sum(), 0.6 * 0.5 * 7.0 / 8.0);
    assert!(!Without::new(&patterns, 0).unwrap().renormalised);
    close(Sinks::new(&patterns).slot[0], 0.4);
}

#[test]
fn rows_that_sum_to_anything_go_through_the_proxy() {
    let array = pattern(8, |query, key| 3.0 * all_on(0)(query, key) + 1.0);
    let patterns = Patterns::new(&array, None, None).unwrap();
    assert_eq!(patterns.rule, RowRule::Free);
    let shares = patterns.head(0, 0).unwrap().shares(7);
    close(shares[0], 4.0 / 11.0);
    close(shares.iter().sum(), 1.0);
    let sinks = Sinks::new(&patterns);
    assert!(sinks.proxied && !sinks.renormalises);
    assert!(verdict(&sinks, None, 0, "Once", 0.3).ends_with("shares of their row."));
}

#[test]
fn value_weights_move_mass_to_loud_values() {
    let array = pattern(8, even);
    // The first token is looked at like every other, but writes nothing.
    let norms = Array::new([1, 1, 8], vec![0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]).unwrap();
    let sinks = Sinks::new(&Patterns::new(&array, None, Some(&norms)).unwrap());
    close(sinks.value_weighted(0).unwrap(), 0.0);
    let expected = (2..8).map(|query| 1.0 / query as f32).sum::<f32>() / 6.0;
    close(sinks.value_weighted(1).unwrap(), expected);
    close(null_without(8, 1, 0).unwrap(), expected);
    assert_eq!(self::sinks(&array).value_weighted(0), None, "no norms, no number");
}

#[test]
fn masked_pairs_weigh_nothing() {
    // A window of 2: the first token is lost to all but its neighbour.
    let array = pattern(8, |query, key| match query - key {
        0 if query == 0 => 1.0,
        0 | 1 => 0.5,
        _ => f32::NAN,
    });
    let sinks = sinks(&array);
    close(sinks.mean(0).unwrap(), 0.5 / 7.0);
    assert!(sinks.renormalises);
    assert_eq!(masses(2, &[1.0, 0.0, 0.25, 0.75])[0], 0.25);
}

#[test]
fn metrics_of_known_heads() {
    let array = wall(1, 3, 16, |head, query, key| match head {
        0 => even(query, key),
        1 => all_on(0)(query, key),
        _ => f32::from(u8::from(key == query.saturating_sub(1))),
    });
    let patterns = Patterns::new(&array, None, None).unwrap();
    let of = |metric| heads::metric(metric, &patterns, Some(&patterns), 0);
    let entropy = of(Metric::Entropy);
    close(entropy[0], (1..=16).map(|keys| (keys as f32).ln()).sum::<f32>() / 16.0);
    close(entropy[1], 0.0);
    let distance = of(Metric::Distance);
    close(distance[1], (0..16).sum::<usize>() as f32 / 16.0);
    close(distance[2], 15.0 / 16.0);
    close(of(Metric::Previous)[2], 1.0);
    close(of(Metric::SinkMass)[1], 1.0);
    assert_eq!(of(Metric::Difference), [0.0; 3]);
    let other = wall(1, 3, 16, |_, query, key| even(query, key));
    let other = Patterns::new(&other, None, None).unwrap();
    close(heads::metric(Metric::Difference, &patterns, Some(&other), 0)[1], 1.0 - 1.0 / 16.0);
    assert!(heads::metric(Metric::Difference, &patterns, None, 0)[0].is_nan());
}

#[test]
fn sentences_name_what_is_read() {
    let array = pattern(4, all_on(0));
    let patterns = Patterns::new(&array, None, None).unwrap();
    let token = |text: &str| Token { text: text.into(), ..Token::default() };
    let tokens = ["Once", " upon", " a", " time"].map(token);
    let said = heads::sentence(Head { layer: 2, head: 1 }, &patterns.head(0, 0).unwrap(), &tokens, 0);
    assert!(said.starts_with("L2H1 reads most from “Once” (0) 100%"), "{said}");
    assert!(said.contains("100% of later attention rests on token 0, 2.77 × the null"), "{said}");
    let verdict = verdict(&Sinks::new(&patterns), None, 0, "Once", 0.3);
    assert!(verdict.contains("1 of 1 heads"), "{verdict}");
}

#[test]
fn arrays_that_do_not_fit_are_refused() {
    let square = Array::new([1, 2, 3, 3], vec![0.0; 18]).unwrap();
    let slot = Array::new([1, 1, 3], vec![0.0; 3]).unwrap();
    assert_eq!(Patterns::new(&square, Some(&slot), None).unwrap_err().code(), "shape");
    assert_eq!(Patterns::new(&slot, None, None).unwrap_err().code(), "shape");
    assert!(Patterns::new(&square, None, None).unwrap().head(0, 2).is_none());
}

fn probe_set() -> Vec<Probe> {
    let vocabulary: Vec<u32> = (10..200).collect();
    probes(7, &vocabulary, 6, 12, Some(1))
}

#[test]
fn probes_repeat_and_their_controls_do_not() {
    let set = probe_set();
    assert_eq!(set.len(), 6);
    assert_eq!(set, probe_set(), "the same seed gives the same probes");
    assert_ne!(set[0].repeated, set[1].repeated);
    for probe in &set {
        assert_eq!((probe.lead, probe.half, probe.repeated.len()), (1, 12, 25));
        assert_eq!(probe.repeated[0], 1);
        assert_eq!(probe.repeated[1..13], probe.repeated[13..25]);
        let mut distinct = probe.repeated[1..13].to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 12, "no token stands twice in one half");
        assert!(distinct.iter().all(|id| (10..200).contains(id)));
        assert_eq!(probe.shuffled[..13], probe.repeated[..13]);
        assert!(
            probe.shuffled[13..].iter().zip(&probe.repeated[13..]).all(|(a, b)| a != b),
            "no token keeps its place"
        );
        assert!(probe.random_keys.iter().enumerate().all(|(query, key)| *key <= query));
    }
    assert_eq!(probes(7, &[5, 6, 7], 1, 12, None)[0].half, 3, "a small vocabulary gives short probes");
}

/// What a perfect head of each role would do with these tokens.
fn perfect(role: &str, tokens: &[u32], query: usize, key: usize) -> f32 {
    let earlier = (1..query).find(|earlier| tokens[*earlier] == tokens[query]);
    let target = match role {
        "previous_token" => query.saturating_sub(1),
        "first_token" => 0,
        "self" => query,
        "duplicate" => earlier.unwrap_or(0),
        _ => earlier.map_or(0, |earlier| earlier + 1),
    };
    f32::from(u8::from(key == target))
}

#[test]
fn roles_of_perfect_heads_are_found_and_their_controls_are_not() {
    const ROLES: [&str; 5] = ["previous_token", "first_token", "self", "duplicate", "induction"];
    let set = probe_set();
    let mut tally = Tally::new(7);
    for probe in &set {
        let of = |tokens: &[u32]| {
            wall(1, 6, tokens.len(), |head, query, key| match ROLES.get(head) {
                Some(role) => perfect(role, tokens, query, key),
                None => even(query, key),
            })
        };
        let (repeated, shuffled) = (of(&probe.repeated), of(&probe.shuffled));
        tally.add(
            probe,
            &Patterns::new(&repeated, None, None).unwrap(),
            &Patterns::new(&shuffled, None, None).unwrap(),
        );
    }
    let report = tally.report();
    assert_eq!((report.probes, report.seed), (6, 7));
    for (head, role) in ROLES.iter().enumerate() {
        let scores = &report.roles[head];
        assert_eq!(scores.role, *role);
        close(scores.score[head], 1.0);
        assert!(scores.shuffled[head] < scores.threshold, "{role}: {}", scores.shuffled[head]);
        assert!(report.labels(head).contains(role), "{role}: {:?}", report.labels(head));
        assert_eq!(scores.false_positive_rate, 0.0, "{role}: {:?}", scores.shuffled);
    }
    assert_eq!(report.labels(5), Vec::<&str>::new(), "an even head has no clear role");
}

#[test]
fn a_head_that_keeps_its_distance_is_exposed_by_the_control() {
    // It looks 12 back whatever stands there: duplicate by its score, and just as much on shuffled probes.
    let set = probe_set();
    let mut tally = Tally::new(7);
    for probe in &set {
        let array = pattern(25, |query, key| f32::from(u8::from(key == query.saturating_sub(12))));
        let patterns = Patterns::new(&array, None, None).unwrap();
        tally.add(probe, &patterns, &patterns);
    }
    let report = tally.report();
    let duplicate = report.roles.iter().find(|role| role.role == "duplicate").unwrap();
    close(duplicate.score[0], 1.0);
    close(duplicate.shuffled[0], 1.0);
    assert_eq!(duplicate.false_positive_rate, 1.0);
}
