//! Heads that tell options apart at the last position: by the right one, or by one fixed place whatever is right.
//!
//! ```text
//! right   A[T, right option] − mean A[T, other options]
//! single  A[T, option N] − mean A[T, other options], N the option looked at most over all questions      “is it N?”
//! ```

use super::{EXCESS, KINDS, NAMES, Seen};
use crate::experiment::Head;
use crate::lens::study::mean;

/// A head, where behind a label it looks, and at which option.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seat {
    /// The head.
    pub head: Head,
    /// So many tokens behind a label; kinds of places follow one another there.
    pub offset: usize,
    /// The one option it looks at; none is the right one.
    pub option: Option<usize>,
    /// How much more than at the others.
    pub excess: f32,
}

impl Seat {
    /// The option it should look at when this one is right.
    pub fn target(&self, right: usize) -> usize {
        self.option.unwrap_or(right)
    }

    /// What it looks at, in words.
    pub fn words(&self) -> String {
        let place = KINDS[self.offset].1.to_lowercase();
        match self.option {
            Some(option) => format!("{} at {place} of {}", self.head, NAMES[option]),
            None => format!("{} at {place} of the right option", self.head),
        }
    }
}

/// The best seat of one head by each rule: the right option, and one fixed option.
pub(super) fn seats(seen: &[Seen], at: usize, head: Head) -> [Seat; 2] {
    let each = |offset: usize| {
        let on = |pick: &dyn Fn(&Seen) -> usize| {
            mean(seen.iter().map(|seen| {
                let (weights, option) = (&seen.looks[offset][at], pick(seen));
                weights[option] - (weights.iter().sum::<f32>() - weights[option]) / (weights.len() - 1) as f32
            }))
        };
        let options = seen.first().map_or(0, |seen| seen.looks[offset][at].len());
        let fixed = (0..options).map(|option| Seat { head, offset, option: Some(option), excess: on(&|_| option) });
        let most = fixed.reduce(|best, other| if other.excess > best.excess { other } else { best });
        let right = Seat { head, offset, option: None, excess: on(&|seen| seen.right) };
        [right, most.unwrap_or(right)]
    };
    let all: Vec<[Seat; 2]> = (0..KINDS.len()).map(each).collect();
    [0, 1].map(|rule| {
        let of = all.iter().map(|both| both[rule]);
        of.reduce(|best, other| if other.excess > best.excess { other } else { best }).unwrap_or(all[0][rule])
    })
}

/// The seats of all heads that pass by either rule, the surest first, at most `most`; the surest one in any case.
pub(super) fn chosen(seen: &[Seen], heads: &[Head], most: usize) -> Vec<Seat> {
    let best = |(at, head): (usize, &Head)| {
        let [right, single] = seats(seen, at, *head);
        if right.excess >= single.excess { right } else { single }
    };
    let mut all: Vec<Seat> = heads.iter().enumerate().map(best).filter(|seat| seat.excess.is_finite()).collect();
    all.sort_by(|a, b| b.excess.total_cmp(&a.excess));
    all.into_iter()
        .enumerate()
        .filter(|(place, seat)| *place == 0 || seat.excess > EXCESS)
        .map(|(_, seat)| seat)
        .take(most)
        .collect()
}
