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
    /// Whether it is about the position examined for sinks.
    pub of_position: bool,
}

/// The settings that choose what is explained.
fn asked(set: &Instruments) -> Instruments {
    Instruments { answer: set.answer, against: set.against, ..Instruments::default() }
}

/// The settings of an evaluation.
fn evaluation(set: &Instruments) -> Instruments {
    Instruments { over: set.over, items: set.items, how: set.how, ..Instruments::default() }
}

/// The settings of the study of facts.
fn facts(set: &Instruments) -> Instruments {
    let Instruments { shots, template, lambda_a, lambda_m, .. } = *set;
    Instruments { shots, template, lambda_a, lambda_m, ..Instruments::default() }
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
        of_position: false,
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
        of_position: false,
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
        of_position: false,
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
        of_position: false,
    },
    Analysis {
        id: "evidence",
        name: "Evidence beside roles",
        help: "What the loss rises by without each head alone, on the prompt and on random tokens that stand again.",
        source: "Olsson et al., In-context Learning and Induction Heads, 2022; Wang et al., 2023 (ablations)",
        view: View::Grid,
        many_passes: true,
        reads: |set| Instruments { how: set.how, ..Instruments::default() },
        of_pinned: false,
        of_position: false,
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
        of_position: false,
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
        of_position: false,
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
        of_position: false,
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
        of_position: false,
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
        of_position: false,
    },
    Analysis {
        id: "norms",
        name: "Norms at a position",
        help: "How large the stream is at the examined position, how quiet its keys and values are, and whether queries point to it.",
        source: "Gu et al., When Attention Sink Emerges, 2025 (paper 52); Sun et al., Massive Activations, 2024",
        view: View::Exhibits,
        many_passes: false,
        reads: |_| Instruments::default(),
        of_pinned: false,
        of_position: true,
    },
    Analysis {
        id: "needles",
        name: "Needles",
        help: "How often a sentence hidden in a passage is found again, by length and depth.",
        source: "Wu et al., Retrieval Head, 2024 (paper 29); Yen et al., HELMET, 2025 (paper 66)",
        view: View::Study,
        many_passes: true,
        reads: evaluation,
        of_pinned: false,
        of_position: false,
    },
    Analysis {
        id: "helmet",
        name: "HELMET-mini",
        help: "Seven categories of long-context tasks whose right answers are known exactly.",
        source: "Yen et al., HELMET, 2025 (paper 66); the tasks are ours",
        view: View::Study,
        many_passes: true,
        reads: evaluation,
        of_pinned: false,
        of_position: false,
    },
    Analysis {
        id: "choices",
        name: "Answer choices",
        help: "How much probability falls on the choices of a question, and whether that goes with being right.",
        source: "Wiegreffe et al., 2023 (paper 65); the questions are ours",
        view: View::Study,
        many_passes: true,
        reads: evaluation,
        of_pinned: false,
        of_position: false,
    },
    Analysis {
        id: "sink_set",
        name: "Sinks over texts",
        help: "Sink rates over many texts by threshold, position, layer and head, with intervals.",
        source: "Gu et al., When Attention Sink Emerges, 2025 (paper 52)",
        view: View::Study,
        many_passes: true,
        reads: |_| Instruments::default(),
        of_pinned: false,
        of_position: true,
    },
    Analysis {
        id: "sink_acts",
        name: "The first position",
        help: "What the loss over many texts, or of the prompt, changes by when the first token or a position’s score is changed.",
        source: "Gu et al., 2025 (paper 52); Yu et al., ACT, 2024 (paper 37)",
        view: View::Study,
        many_passes: true,
        reads: |set| Instruments { bias: set.bias, own: set.own, ..Instruments::default() },
        of_pinned: false,
        of_position: true,
    },
    Analysis {
        id: "sink_tracking",
        name: "Sink while writing",
        help: "What each new token rests on while a text is written.",
        source: "Gu et al., 2025 (paper 52); the measure is ours",
        view: View::Study,
        many_passes: true,
        reads: |_| Instruments::default(),
        of_pinned: false,
        of_position: false,
    },
    Analysis {
        id: "streaming",
        name: "Streaming",
        help: "The loss as a text streams through a window, with and without its first tokens.",
        source: "Xiao et al., Efficient Streaming Language Models with Attention Sinks, 2024",
        view: View::Study,
        many_passes: true,
        reads: |_| Instruments::default(),
        of_pinned: false,
        of_position: false,
    },
    Analysis {
        id: "features",
        name: "Attributions",
        help: "Which tokens a prediction rests on by ten methods, how far they agree, and which find the words that decide.",
        source: "Neely et al., A Song of (Dis)agreement, 2022 (paper 20)",
        view: View::Study,
        many_passes: true,
        reads: |set| Instruments { answer: set.answer, ..Instruments::default() },
        of_pinned: false,
        of_position: false,
    },
    Analysis {
        id: "channels",
        name: "Channels",
        help: "The singular directions in which earlier heads write, how well the pinned head hears them, and list recall with \
               the one heard best silent, alone or louder.",
        source: "Merullo et al., Talking Heads, 2024 (paper 1); the lists are ours",
        view: View::Study,
        many_passes: true,
        reads: |set| Instruments { through: set.through, ..Instruments::default() },
        of_pinned: true,
        of_position: false,
    },
    Analysis {
        id: "retrieval",
        name: "Retrieval heads",
        help: "Which heads look at a needle’s words just when they are said, and what is found and known without them.",
        source: "Wu et al., Retrieval Head, 2024 (paper 29); the passages are ours",
        view: View::Study,
        many_passes: true,
        reads: |_| Instruments::default(),
        of_pinned: false,
        of_position: false,
    },
    Analysis {
        id: "letters",
        name: "Letters",
        help: "Which parts turn the right option of a question into its letter, and how few of them suffice.",
        source: "Lieberum et al., Does Circuit Analysis Interpretability Scale?, 2023 (paper 12); the questions are ours",
        view: View::Study,
        many_passes: true,
        reads: |set| Instruments { shots: set.shots, options: set.options, ..Instruments::default() },
        of_pinned: false,
        of_position: false,
    },
    Analysis {
        id: "safety",
        name: "Ships and Sahara",
        help: "Which heads a refusal rests on, alone and in groups, and what is answered without them.",
        source: "Zhou et al., On the Role of Attention Heads in Large Language Model Safety, 2025 (paper 8); the topic is ours",
        view: View::Study,
        many_passes: true,
        reads: |_| Instruments::default(),
        of_pinned: false,
        of_position: false,
    },
    Analysis {
        id: "recall",
        name: "Factual recall",
        help: "Who brings a person to the end of a sentence, what feed-forwards make of it, and what the last layer takes back.",
        source: "Lv et al., Interpreting Key Mechanisms of Factual Recall, 2024 (paper 45); the facts are ours",
        view: View::Study,
        many_passes: true,
        reads: facts,
        of_pinned: false,
        of_position: false,
    },
    Analysis {
        id: "anchors",
        name: "Anchored answers",
        help: "Which letter is chosen when no option is right, what writes it, and what edits of that do.",
        source: "Li and Gao, Anchored Answers, 2025 (paper 39); the questions and edits without labels are ours",
        view: View::Study,
        many_passes: true,
        reads: |_| Instruments::default(),
        of_pinned: false,
        of_position: false,
    },
    Analysis {
        id: "calibration",
        name: "Calibration, head by head",
        help: "Which heads answer better with their sinks beyond the first token turned down, chosen on one half of the items \
               and judged on the other.",
        source: "Yu et al., ACT, 2024 (paper 37); the items and the two halves are ours",
        view: View::Study,
        many_passes: true,
        reads: |_| Instruments::default(),
        of_pinned: false,
        of_position: false,
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
