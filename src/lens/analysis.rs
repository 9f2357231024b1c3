//! Every instrument that answers a question about one pane, by id, with the view it is drawn in.
//!
//! Settings are those of [`crate::experiment::Instruments`], so that an experiment and an id are a whole question. The
//! page, the command line (`attnscope analyse`) and the tests loop over [`ALL`].

use super::finding::View;
use crate::experiment::Instruments;
use crate::{Error, Result};

/// An instrument.
#[derive(Debug, Clone, Copy)]
pub struct Analysis {
    /// Its id in JSON, on the command line and in `data-*`.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it says, in one sentence.
    pub help: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// How its finding is drawn.
    pub view: View,
    /// Whether it takes many passes, and so runs when it is asked to, with progress.
    pub many_passes: bool,
    /// The settings it reads, everything else at its default: while they are equal, so is the answer.
    pub reads: fn(&Instruments) -> Instruments,
    /// Whether it is about the pinned head.
    pub of_pinned: bool,
}

/// The settings that choose what is explained.
fn asked(set: &Instruments) -> Instruments {
    Instruments { answer: set.answer, against: set.against, ..Instruments::default() }
}

/// Every instrument.
pub const ALL: &[Analysis] = &[
    Analysis {
        id: "logit_lens",
        name: "Logit lens",
        help: "What the model would say if it stopped before each layer.",
        source: "nostalgebraist, interpreting GPT: the logit lens, 2020",
        view: View::Readings,
        many_passes: false,
        reads: |set| Instruments { norm: set.norm, ..asked(set) },
        of_pinned: false,
    },
    Analysis {
        id: "attribution",
        name: "Direct logit attribution",
        help: "A logit as the sum of what every part writes, the final norm held fixed.",
        source: "Elhage et al., A Mathematical Framework for Transformer Circuits, 2021",
        view: View::Parts,
        many_passes: false,
        reads: asked,
        of_pinned: false,
    },
    Analysis {
        id: "ablation",
        name: "Ablation",
        help: "The next token and the loss with some heads taken out.",
        source: "Wang et al., Interpretability in the Wild, 2023 (mean ablation); Michel et al., 2019 (zero)",
        view: View::Ablated,
        many_passes: false,
        reads: |set| Instruments { ablate: set.ablate.clone(), how: set.how, ..asked(set) },
        of_pinned: false,
    },
    Analysis {
        id: "sweep",
        name: "Ablation of every head",
        help: "What taking out each head alone does.",
        source: "Michel et al., Are Sixteen Heads Really Better than One?, 2019",
        view: View::Grid,
        many_passes: true,
        reads: |set| Instruments { how: set.how, ..asked(set) },
        of_pinned: false,
    },
    Analysis {
        id: "patching",
        name: "Activation patching",
        help: "How much of the clean answer returns when one activation of the clean prompt is put into the corrupted one.",
        source: "Meng et al., Locating and Editing Factual Associations in GPT, 2022; Wang et al., 2023",
        view: View::Grid,
        many_passes: true,
        reads: |set| Instruments { corrupted: set.corrupted.clone(), site: set.site, ..asked(set) },
        of_pinned: false,
    },
    Analysis {
        id: "paths",
        name: "Path patching",
        help: "How much of the clean answer returns when one earlier head speaks to the pinned head as in the clean prompt.",
        source: "Wang et al., 2023; Goldowsky-Dill et al., Localizing Model Behavior with Path Patching, 2023",
        view: View::Grid,
        many_passes: true,
        reads: |set| Instruments { corrupted: set.corrupted.clone(), through: set.through, ..asked(set) },
        of_pinned: true,
    },
    Analysis {
        id: "composition",
        name: "Composition",
        help: "How strongly the pinned head’s matrices read what each earlier head writes, from the weights alone.",
        source: "Elhage et al., 2021; Merullo et al., Talking Heads, 2024 (paper 1)",
        view: View::Grid,
        many_passes: false,
        reads: |_| Instruments::default(),
        of_pinned: true,
    },
    Analysis {
        id: "exhibits",
        name: "Drawings",
        help: "What the mechanisms of a pane draw of their pass; of the one chosen on the paper tab, where one is chosen.",
        source: "the playground section of each paper’s specification",
        view: View::Exhibits,
        many_passes: false,
        reads: |_| Instruments::default(),
        of_pinned: true,
    },
    Analysis {
        id: "exhibits_slow",
        name: "Drawings of many passes",
        help: "The same for drawings that compare settings of a mechanism by passes of their own.",
        source: "the playground section of each paper’s specification",
        view: View::Exhibits,
        many_passes: true,
        reads: |_| Instruments::default(),
        of_pinned: true,
    },
];

/// The instrument with this id.
///
/// # Errors
/// [`Error::Unknown`] naming the ids there are.
pub fn by_id(id: &str) -> Result<&'static Analysis> {
    ALL.iter().find(|analysis| analysis.id == id).ok_or_else(|| Error::Unknown {
        what: "analysis",
        name: id.into(),
        remedy: format!("there are {}", ALL.iter().map(|analysis| analysis.id).collect::<Vec<_>>().join(", ")),
    })
}
