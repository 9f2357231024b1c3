//! A small suite of long-context tasks with exact ground truth, after HELMET (paper 66): seven categories and a needle.
//!
//! The reference suite scores applications with texts and judges that do not fit a page. Here every category has generators
//! of its own over words that are one token each, so that a prompt has exactly the length asked for, what is right is known,
//! and a program judges. How a category is scored is the reference's: substring match, recall of values, citations, NDCG@10,
//! exact match, fluency times F1.
//!
//! ```text
//! prompt = answered examples · filler, cut at its front · documents, the asked one at its depth · question
//! ```
//!
//! Everything is drawn from hash(task, length, index). Source: Yen et al., "HELMET: How to Evaluate Long-Context Language
//! Models Effectively and Thoroughly", 2025; the tasks, their sizes and the examples (up to two, short, of the same form) are ours.

mod cases;
mod passage;
pub mod score;
mod tasks;

pub use passage::{Gold, Prompt};
pub use tasks::Helmet;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// One of a few keys in filler; two words of value.
    Keys,
    /// Every sentence is such a key.
    ManyKeys,
    /// Keys of four words, every sentence one.
    LongKeys,
    /// One key with four values.
    ManyValues,
    /// A fact of a person among others'.
    OneHop,
    /// A fact of somebody's friend.
    TwoHops,
    /// A fact, with the numbers of the two documents that say so.
    Cite,
    /// Numbers of documents, the one that meets most of a query first.
    Rank,
    /// The label of a word whose kind has been shown.
    Labels,
    /// The same with five kinds.
    MoreLabels,
    /// Where somebody is in the end.
    Where,
    /// Who has a thing in the end.
    Whose,
    /// All noted events.
    Notes,
    /// One key in filler, not part of the average.
    Needle,
}

impl Task {
    /// Every task.
    pub const ALL: [Task; 14] = [
        Task::Keys,
        Task::ManyKeys,
        Task::LongKeys,
        Task::ManyValues,
        Task::OneHop,
        Task::TwoHops,
        Task::Cite,
        Task::Rank,
        Task::Labels,
        Task::MoreLabels,
        Task::Where,
        Task::Whose,
        Task::Notes,
        Task::Needle,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Task::Keys => "keys",
            Task::ManyKeys => "many keys",
            Task::LongKeys => "long keys",
            Task::ManyValues => "many values",
            Task::OneHop => "one hop",
            Task::TwoHops => "two hops",
            Task::Cite => "cite",
            Task::Rank => "rank",
            Task::Labels => "3 labels",
            Task::MoreLabels => "5 labels",
            Task::Where => "where",
            Task::Whose => "whose",
            Task::Notes => "notes",
            Task::Needle => "needle",
        }
    }

    /// Its category; the needle is a control beside the seven.
    pub fn category(self) -> &'static str {
        match self {
            Task::Keys | Task::ManyKeys | Task::LongKeys | Task::ManyValues => "Recall",
            Task::OneHop | Task::TwoHops => "RAG",
            Task::Cite => "Cite",
            Task::Rank => "Re-rank",
            Task::Labels | Task::MoreLabels => "ICL",
            Task::Where | Task::Whose => "LongQA",
            Task::Notes => "Summ",
            Task::Needle => "NIAH",
        }
    }
}

/// The seven categories that are averaged.
pub const CATEGORIES: [&str; 7] = ["Recall", "RAG", "Cite", "Re-rank", "ICL", "LongQA", "Summ"];
