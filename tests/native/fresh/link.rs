//! A link restores the experiment it was made of, whatever its text holds.

use attnscope::experiment::{
    Act, Chip, Effect, Experiment, Head, Instruments, LensLayout, LensNorm, Metric, Order, Over, Pane, PatchMetric,
    PatchSite, Quantity, Removal, Scale, Study, Tab, Through, View, link,
};
use attnscope::spec::Plain;
use proptest::prelude::*;

/// Text of anything, with what links, mail and chat programs stumble over mixed in.
fn text() -> impl Strategy<Value = String> {
    let nasty = prop_oneof![
        Just("&".to_string()),
        Just("=".into()),
        Just("#".into()),
        Just("%".into()),
        Just("%26".into()),
        Just("+".into()),
        Just("(".into()),
        Just("),".into()),
        Just(":".into()),
        Just("\r\n".into()),
        Just("\t \u{a0}".into()),
        Just("\"'<>`\\^{}|[]".into()),
        Just("👩‍👩‍👧‍👦🏳️‍🌈".into()),
        Just("שלום مرحبا\u{202e}".into()),
        "\\PC{0,12}",
        any::<char>().prop_map(String::from),
    ];
    // Short enough to stay readable, or long enough to be compressed.
    (prop::collection::vec(nasty, 0..24), prop_oneof![4 => Just(1usize), 1 => 2usize..80])
        .prop_map(|(parts, times)| parts.concat().repeat(times))
}

fn word() -> impl Strategy<Value = String> {
    // Parameters have words of their own for these two.
    "[a-z][a-z0-9_]{0,20}".prop_filter("a flag", |word| word != "true" && word != "false")
}

/// Numbers as controls make them.
fn short() -> impl Strategy<Value = f64> + Clone {
    prop_oneof![
        (-512i32..512).prop_map(f64::from),
        (-4000i32..4000).prop_map(|thousandths| f64::from(thousandths) / 1000.0),
    ]
}

fn panes(number: impl Strategy<Value = f64> + 'static) -> impl Strategy<Value = Vec<Pane>> {
    let value =
        prop_oneof![any::<bool>().prop_map(Plain::Flag), number.prop_map(Plain::Number), word().prop_map(Plain::Word)];
    let chip = (word(), prop::collection::btree_map(word(), value, 0..4)).prop_map(|(id, values)| Chip { id, values });
    prop::collection::vec(prop::collection::vec(chip, 0..4).prop_map(|stack| Pane { stack }), 1..=4)
}

fn one<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(all)
}

fn view() -> impl Strategy<Value = View> {
    let head = (0usize..100, 0usize..100).prop_map(|(layer, head)| Head { layer, head });
    let at = prop::option::of(0usize..4096);
    let words = (one(Quantity::ALL), one(Scale::ALL), one(Tab::ALL), one(Metric::ALL), one(Order::ALL));
    (head, at.clone(), at, words, 0usize..4, 0.0f32..1.0, 0usize..4096, word()).prop_map(
        |(pin, query, key, (quantity, scale, tab, metric, order), wall, epsilon, position, paper)| View {
            pin,
            query,
            key,
            quantity,
            scale,
            tab,
            metric,
            order,
            wall,
            epsilon,
            position,
            paper,
        },
    )
}

fn instruments() -> impl Strategy<Value = Instruments> {
    let id = prop::option::of(any::<u32>());
    let heads = prop::collection::vec((0usize..100, 0usize..100), 0..5);
    let words = (one(LensNorm::ALL), one(LensLayout::ALL), one(Act::ALL), one(Removal::ALL));
    let more = (one(Effect::ALL), one(PatchSite::ALL), one(PatchMetric::ALL), one(Through::ALL));
    let settings =
        ((0usize..=3, 2usize..=5, 0usize..=2), (0.0f32..=1.5, 0.0f32..=1.5), 0.0f32..=16.0, any::<(bool, bool)>());
    let studies = (one(Study::ALL), one(Over::ALL), 0usize..1000, settings);
    (id.clone(), id, heads, words, more, text(), studies).prop_map(
        |(
            answer,
            against,
            heads,
            (norm, layout, act, how),
            (effect, site, by, through),
            corrupted,
            (study, over, items, ((shots, options, template), (lambda_a, lambda_m), bias, (own, norms))),
        )| Instruments {
            answer,
            against,
            norm,
            layout,
            act,
            ablate: heads.into_iter().map(|(layer, head)| Head { layer, head }).collect(),
            how,
            effect,
            corrupted,
            site,
            by,
            through,
            study,
            over,
            items,
            shots,
            options,
            template,
            lambda_a,
            lambda_m,
            bias,
            own,
            norms,
        },
    )
}

fn experiment(panes: impl Strategy<Value = Vec<Pane>>) -> impl Strategy<Value = Experiment> {
    let model = text().prop_map(|text| text.chars().take(500).collect::<String>());
    (model, (text(), prop::option::of(text())), any::<bool>(), panes, view(), instruments(), any::<u64>()).prop_map(
        |(model, (prompt, prompt_b), bos, panes, view, instruments, seed)| Experiment {
            version: 1,
            model,
            prompt,
            prompt_b,
            bos,
            panes,
            view,
            instruments,
            seed,
            ..Experiment::default()
        },
    )
}

/// Whether a hash survives in an address bar and a message: printable ASCII without what ends a link.
fn is_safe(hash: &str) -> bool {
    hash.bytes().all(|byte| byte.is_ascii_graphic() && !b"#\"<>`\\^{}|[]".contains(&byte))
}

proptest! {
    #[test]
    fn a_link_restores_its_experiment(experiment in experiment(panes(prop_oneof![short(), prop::num::f64::NORMAL]))) {
        let hash = link::write(&experiment);
        prop_assert!(is_safe(&hash), "{hash}");
        for hash in [hash.clone(), format!("#{hash}")] {
            let opened = link::read(&hash).unwrap();
            prop_assert_eq!(&opened.experiment, &experiment);
            prop_assert!(opened.notices.is_empty(), "{:?}", opened.notices);
        }
    }

    #[test]
    fn anything_can_stand_in_the_address_bar(hash in "\\PC{0,80}", part in "(v|m|p|a|b|q|pin|eps|seed|wall|ablate|answer|how|v=2&z)=[a-z0-9(),:%&=.-]{0,40}") {
        // It may be refused, but with a reason, and never by a panic.
        for hash in [hash.clone(), part.clone(), format!("{part}&{hash}")] {
            if let Err(error) = link::read(&hash) {
                prop_assert!(matches!(error.code(), "parse" | "param"), "{error}");
            }
        }
    }

    #[test]
    fn json_restores_its_experiment(experiment in experiment(panes(short()))) {
        let text = serde_json::to_string(&experiment).unwrap();
        prop_assert_eq!(serde_json::from_str::<Experiment>(&text).unwrap(), experiment);
    }
}

#[test]
fn two_thousand_tokens_fit() {
    let prompt = "Once upon a time & a half = 50% of #1 + \"a\" 🎈 שלום\n".repeat(150);
    assert!(prompt.split_whitespace().count() > 2000);
    let experiment = Experiment { prompt, ..Experiment::default() };
    let hash = link::write(&experiment);
    assert!(is_safe(&hash));
    assert!(hash.starts_with("v=2&z=") && hash.len() < link::LONGEST_READABLE, "{}", hash.len());
    assert_eq!(link::read(&hash).unwrap().experiment, experiment);
}

#[test]
fn links_written_before_there_were_compressed_ones_open() {
    let old = "v=1&m=stories-3m&p=Tom%20%26%20Ann%20%3D%2050%25%20%2B%20%231&bos=0&seed=7&a=softmax\
               &b=streaming_window(sinks:4,window:16),softmax&pin=L3H2&q=5&k=1&show=value_weighted&scale=sqrt&tab=roles\
               &metric=entropy&order=sorted&wall=1&eps=0.25&pos=2&paper=alibi";
    let opened = link::read(old).unwrap();
    assert_eq!(opened.notices, Vec::<String>::new());
    let Experiment { prompt, bos, panes, view, seed, .. } = opened.experiment.clone();
    assert_eq!((prompt.as_str(), bos, seed), ("Tom & Ann = 50% + #1", false, 7));
    let window = Chip::new("streaming_window").with("sinks", 4.0).with("window", 16.0);
    assert_eq!(panes, [Pane { stack: vec![Chip::new("softmax")] }, Pane { stack: vec![window, Chip::new("softmax")] }]);
    assert_eq!((view.pin, view.query, view.key), (Head { layer: 3, head: 2 }, Some(5), Some(1)));
    assert_eq!((view.quantity, view.scale, view.tab), (Quantity::ValueWeighted, Scale::Sqrt, Tab::Roles));
    assert_eq!((view.metric, view.order, view.wall, view.epsilon), (Metric::Entropy, Order::Sorted, 1, 0.25));
    assert_eq!((view.position, view.paper.as_str()), (2, "alibi"));
    // What is short is written as it always was.
    assert_eq!(link::write(&opened.experiment), old);
}

#[test]
fn a_compressed_link_that_was_cut_or_changed_is_refused_and_parts_beside_it_are_read() {
    let experiment = Experiment { prompt: "over and out, ".repeat(400), ..Experiment::default() };
    let hash = link::write(&experiment);
    for end in [6, 7, hash.len() / 2, hash.len() - 1] {
        assert_eq!(link::read(&hash[..end]).unwrap_err().code(), "parse", "cut after {end}");
    }
    let other = if hash.as_bytes()[40] == b'A' { 'B' } else { 'A' };
    assert_eq!(link::read(&format!("{}{other}{}", &hash[..40], &hash[41..])).unwrap_err().code(), "parse");
    let opened = link::read(&format!("#{hash}&pin=L2H1&zoom=3")).unwrap();
    assert_eq!(opened.experiment.view.pin, Head { layer: 2, head: 1 });
    assert_eq!(opened.experiment.prompt, experiment.prompt);
    assert_eq!(opened.notices.len(), 1);
}

#[test]
fn the_first_example_survives_its_own_link() {
    let experiment = Experiment::default();
    assert_eq!(link::read(&link::write(&experiment)).unwrap().experiment, experiment);
    assert_eq!(link::read("").unwrap().experiment, experiment);
}

#[test]
fn links_of_newer_versions_open_as_far_as_they_are_understood() {
    let opened = link::read("#v=1&m=stories-3m&p=One&a=softmax&zoom=3").unwrap();
    assert_eq!(opened.experiment.prompt, "One");
    assert_eq!(opened.notices.len(), 1);
    assert!(opened.notices[0].contains("zoom"), "{:?}", opened.notices);
    for refused in ["v=2", "v=3", "v=2&z=", "v=2&z=%", "v=2&m=stories-3m"] {
        assert_eq!(link::read(refused).unwrap_err().code(), "parse", "{refused}");
    }
}
