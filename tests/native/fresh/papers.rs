//! The list of papers: complete, and every experiment of it is one that runs.

use attnscope::catalogue::shipped;
use attnscope::experiment::{Tab, link};
use attnscope::lens::analysis;
use attnscope::mechanism::{ALL, Stack};
use attnscope::papers::{Number, all, beside_softmax, shown_by};

#[test]
fn all_68_are_there_in_order() {
    let numbers: Vec<u32> = all().unwrap().iter().map(|paper| paper.number).collect();
    assert_eq!(numbers, (1..=68).collect::<Vec<_>>());
}

#[test]
fn every_experiment_of_a_paper_stacks_its_mechanism() {
    let papers = all().unwrap();
    for paper in papers.iter().filter(|paper| paper.show.is_some()) {
        let show = paper.show.as_ref().unwrap();
        let experiment = show.experiment().unwrap();
        assert!(link::read(&show.link).unwrap().notices.is_empty(), "{}", show.link);
        for (name, pane) in ["a", "b"].iter().zip(&experiment.panes) {
            Stack::new(name, &pane.stack).unwrap_or_else(|error| panic!("paper {}: {error}", paper.number));
        }
        if show.number == Number::Study {
            let study = analysis::by_id(experiment.instruments.study.word()).unwrap();
            assert!(
                study.source.contains(&format!("paper {}", paper.number)),
                "{} is another's: {}",
                paper.number,
                study.source
            );
            assert_eq!(experiment.view.tab, Tab::Studies);
        }
        let own = |id: &str| {
            show.number == Number::Study || ALL.iter().any(|m| m.id == id && m.paper.number == Some(paper.number))
        };
        assert!(
            experiment.panes.iter().any(|pane| pane.stack.iter().any(|chip| own(&chip.id))),
            "paper {} shows another's",
            paper.number
        );
        // What the link of the card opens is recognised as this paper's.
        let opened = link::read(&link::write(&experiment)).unwrap().experiment;
        assert_eq!(shown_by(&papers, &opened).map(|(paper, _)| paper.number), Some(paper.number));
        assert!(show.takeaway.ends_with('.'), "{}", show.takeaway);
    }
}

#[test]
fn every_mechanism_of_a_paper_can_be_opened() {
    for entry in shipped().unwrap() {
        Stack::new("b", &beside_softmax(&entry).panes[1].stack).unwrap();
    }
}
