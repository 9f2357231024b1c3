//! The tokenizer of llama2.c: pieces with scores, joined best score first.
//!
//! It is ours and not the `tokenizers` crate's, whose merging ranks *pairs*: llama2.c ranks the joined *piece*, so that
//! two different pairs that join to one piece are equally good and the leftmost wins (`a·aa` against `aa·a`). No fixed
//! ranking of pairs reproduces that.

use crate::{Error, Result};
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

/// The id of byte 0; byte b has the id `FIRST_BYTE + b`.
const FIRST_BYTE: u32 = 3;
/// Longest piece that is believed; longer ones mean a damaged file.
const LONGEST_PIECE: usize = 1024;

/// Pieces and their scores, by id.
#[derive(Debug, Clone)]
pub(super) struct Pieces {
    pieces: Vec<(Vec<u8>, f32)>,
    ids: HashMap<Vec<u8>, u32>,
}

impl Pieces {
    pub(super) const BOS: u32 = 1;
    pub(super) const EOS: u32 = 2;

    /// Reads the file, which holds exactly `vocabulary` pieces: the longest length (i32), then per piece its score (f32),
    /// length (i32) and bytes, little-endian.
    pub(super) fn read(file: &str, bytes: &[u8], vocabulary: usize) -> Result<Self> {
        let broken = |problem: String| Error::file(file, problem);
        let mut rest = bytes;
        let truncated = |what: &str| broken(format!("ends inside {what}; it is truncated or no llama2.c tokenizer"));
        let word = |rest: &mut &[u8], what: &str| match rest.split_first_chunk::<4>() {
            Some((word, tail)) => {
                *rest = tail;
                Ok(*word)
            }
            None => Err(truncated(what)),
        };
        word(&mut rest, "its header")?;
        let mut pieces = Vec::new();
        let mut ids = HashMap::new();
        for id in 0..vocabulary {
            let what = format!("piece {id} of {vocabulary}");
            let score = f32::from_le_bytes(word(&mut rest, &what)?);
            let length = i32::from_le_bytes(word(&mut rest, &what)?);
            let length = usize::try_from(length).ok().filter(|length| *length <= LONGEST_PIECE);
            let (Some(length), true) = (length, score.is_finite()) else {
                return Err(broken(format!(
                    "piece {id} has an impossible length or score; this is not a llama2.c tokenizer"
                )));
            };
            let Some((piece, tail)) = rest.split_at_checked(length) else {
                return Err(truncated(&what));
            };
            rest = tail;
            ids.entry(piece.to_vec()).or_insert(id as u32);
            pieces.push((piece.to_vec(), score));
        }
        if !rest.is_empty() {
            let many = rest.len();
            return Err(broken(format!("has {many} bytes after its {vocabulary} pieces; it belongs to another model")));
        }
        if pieces.len() < FIRST_BYTE as usize + 256 {
            return Err(broken(format!("has {} pieces, too few for the 256 bytes", pieces.len())));
        }
        Ok(Self { pieces, ids })
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// One leading space, one id per character or per byte, then the best join until none is left.
    pub(super) fn encode(&self, text: &str) -> Vec<u32> {
        if text.is_empty() {
            return Vec::new();
        }
        let mut ids: Vec<u32> = self.ids.get(b" ".as_slice()).copied().into_iter().collect();
        for character in text.chars() {
            let mut buffer = [0; 4];
            let bytes = character.encode_utf8(&mut buffer).as_bytes();
            match self.ids.get(bytes) {
                Some(id) => ids.push(*id),
                None => ids.extend(bytes.iter().map(|byte| u32::from(*byte) + FIRST_BYTE)),
            }
        }
        self.joined(ids)
    }

    /// Joins neighbours, best score first and the leftmost of equals, until none is left; in time n·log n, since a prompt
    /// may be one long word.
    fn joined(&self, mut ids: Vec<u32>) -> Vec<u32> {
        let count = ids.len();
        // Neighbours by index; `count` behind the last. A join keeps the left index.
        let mut next: Vec<usize> = (1..=count).collect();
        let mut previous: Vec<usize> = (0..count).map(|at| at.wrapping_sub(1)).collect();
        let mut waiting = BinaryHeap::new();
        let offer = |waiting: &mut BinaryHeap<Join>, ids: &[u32], left: usize, right: usize| {
            if let (Some(a), Some(b)) = (ids.get(left), ids.get(right))
                && let Some((score, id)) = self.join(*a, *b)
            {
                waiting.push(Join { score, left, right, pair: [*a, *b], id });
            }
        };
        (0..count).for_each(|left| offer(&mut waiting, &ids, left, left + 1));
        let mut gone = vec![false; count];
        while let Some(Join { left, right, pair, id, .. }) = waiting.pop() {
            // What has joined otherwise meanwhile no longer stands there.
            let stands = !gone[left] && !gone[right] && next[left] == right && [ids[left], ids[right]] == pair;
            if !stands {
                continue;
            }
            (ids[left], gone[right], next[left]) = (id, true, next[right]);
            if let Some(behind) = previous.get_mut(next[left]) {
                *behind = left;
            }
            offer(&mut waiting, &ids, previous[left], left);
            offer(&mut waiting, &ids, left, next[left]);
        }
        ids.into_iter().zip(gone).filter(|(_, gone)| !gone).map(|(id, _)| id).collect()
    }

    fn join(&self, left: u32, right: u32) -> Option<(f32, u32)> {
        let joined = [self.bytes(left), self.bytes(right)].concat();
        let id = *self.ids.get(&joined)?;
        self.pieces.get(id as usize).map(|(_, score)| (*score, id))
    }

    /// The piece as it stands in the file.
    fn bytes(&self, id: u32) -> &[u8] {
        self.pieces.get(id as usize).map_or(&[], |(piece, _)| piece)
    }

    /// What the token stands for: a byte, or the piece itself.
    pub(super) fn meaning(&self, id: u32) -> Vec<u8> {
        match id.checked_sub(FIRST_BYTE).and_then(|byte| u8::try_from(byte).ok()) {
            Some(byte) => vec![byte],
            None => self.bytes(id).to_vec(),
        }
    }

    /// Text of ids; one space directly after BOS belongs to the encoding and is dropped.
    pub(super) fn decode(&self, ids: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (index, id) in ids.iter().enumerate() {
            if *id < FIRST_BYTE {
                continue;
            }
            let meaning = self.meaning(*id);
            let after_bos = index > 0 && ids[index - 1] == Self::BOS;
            bytes.extend_from_slice(meaning.strip_prefix(b" ").filter(|_| after_bos).unwrap_or(&meaning));
        }
        bytes
    }
}

/// Two neighbours that a piece stands for.
struct Join {
    score: f32,
    left: usize,
    right: usize,
    pair: [u32; 2],
    id: u32,
}

impl Ord for Join {
    /// The better score is greater, and of equals the one further left; zero has one sign.
    fn cmp(&self, other: &Self) -> Ordering {
        (self.score + 0.0).total_cmp(&(other.score + 0.0)).then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Join {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Join {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Join {}
