//! Maps that grow while tokens are written: the pinned head of each pane over the prompt and what follows it.
//!
//! Rows are asked for when tokens have come, never for each: while writing goes on, most of the time belongs to it, and when
//! it rests the map catches up. Rows that are known stay; only those behind them are asked for. An engine that has to run a
//! pass for them is left alone until it rests.

use super::Store;
use crate::api::client::Trouble;
use crate::api::{Command, Reply};
use crate::experiment::Head;
use crate::ui::stage::maps::Sheet;
use crate::ui::stage::scene::within;
use gloo::timers::future::TimeoutFuture;
use leptos::prelude::*;
use leptos::task::spawn_local;
use web_time::Instant;

/// Least time between two questions while tokens are being written.
const REST_MILLIS: u32 = 250;

/// Writing has at least this multiple of the time that its maps take.
const SHARE: u32 = 4;

/// The map of one head over prompt and continuation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Grown {
    /// Which head.
    pub head: Head,
    /// Its weights, as far as they have come.
    pub sheet: Option<Sheet>,
    /// Whether its rows come from what the continuation kept.
    pub kept: bool,
    /// Why there are no more rows.
    pub trouble: Option<Trouble>,
    /// Whether somebody asks for rows already.
    pending: bool,
}

impl Store {
    /// The grown map of a pane, while it is that of the continuation on screen.
    pub fn grown(self, pane: usize) -> Option<Grown> {
        self.continuation(pane)?;
        self.grown.with(|grown| grown.get(&pane).cloned())
    }

    /// Lets the map of a pane catch up with what it has written.
    pub fn grow(self, pane: usize) {
        let busy = self.grown.try_update(|grown| std::mem::replace(&mut grown.entry(pane).or_default().pending, true));
        if busy != Some(false) {
            return;
        }
        spawn_local(async move {
            loop {
                let (count, head, start) = (self.written_so_far(pane), self.pinned(), Instant::now());
                let more = self.ask_written(pane, head).await;
                let rest = (start.elapsed().as_millis() as u32 * SHARE).max(REST_MILLIS);
                if self.written_so_far(pane) == count && self.pinned() == head || !more {
                    break;
                }
                if untrack(|| self.is_writing()) {
                    TimeoutFuture::new(rest).await;
                }
                while self.repeats(pane) && untrack(|| self.is_writing()) {
                    TimeoutFuture::new(REST_MILLIS).await;
                }
            }
            self.grown.update(|grown| grown.entry(pane).or_default().pending = false);
        });
    }

    /// The text on screen is another one now.
    pub(super) fn forget_grown(self) {
        self.grown.update(|grown| grown.values_mut().for_each(|grown| (grown.sheet, grown.trouble) = (None, None)));
    }

    fn pinned(self) -> Head {
        untrack(|| within(self, self.experiment.with(|experiment| experiment.view.pin)))
    }

    /// Whether the rows of a pane take passes of their own.
    fn repeats(self, pane: usize) -> bool {
        self.grown.with_untracked(|grown| grown.get(&pane).is_some_and(|grown| grown.sheet.is_some() && !grown.kept))
    }

    /// Asks for the rows behind those that are known; whether it makes sense to ask again.
    async fn ask_written(self, pane: usize, head: Head) -> bool {
        let before = self.grown.with_untracked(|grown| {
            grown.get(&pane).filter(|grown| grown.head == head).and_then(|grown| grown.sheet.clone())
        });
        let basis = || self.continuing.with_untracked(|continuing| continuing.basis.clone());
        let asked_of = basis();
        let first = before.as_ref().map_or(0, |sheet| sheet.tokens);
        let answer = self.ask(Command::Written { pane, head, first }).await;
        let rows = answer.and_then(|answer| match (answer.reply, answer.buffers.into_iter().next()) {
            (Reply::Written { keys, kept, .. }, Some(rows)) => Ok((keys, kept, rows)),
            _ => Err(Trouble::unexpected()),
        });
        if basis() != asked_of {
            // It belongs to a text that is gone; whoever writes the new one asks again.
            return false;
        }
        let more = rows.is_ok();
        self.grown.update(|grown| {
            let place = grown.entry(pane).or_default();
            place.head = head;
            match rows {
                Ok((keys, kept, rows)) => {
                    place.sheet = Sheet::grown(before.as_ref(), keys, &rows);
                    (place.kept, place.trouble) = (kept, None);
                }
                Err(trouble) => place.trouble = Some(trouble),
            }
        });
        more
    }
}
