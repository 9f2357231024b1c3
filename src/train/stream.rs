//! Documents packed into rows of tokens, in an order that depends on the seed and the epoch only.
//!
//! Every document begins with the beginning token. An epoch shuffles the copies of all documents, joins them into one
//! stream, cuts it into rows and shuffles the rows, so that the rows of a batch come from different documents. Row `r` of
//! epoch `e` is therefore the same in every run, which is what makes resuming exact.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Tokens of one row and how much each prediction counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// One token more than the pass has queries.
    pub tokens: Vec<u16>,
    /// What the loss of predicting the token after each query counts; one less than the tokens.
    pub weights: Vec<f32>,
}

impl Row {
    /// A row whose predictions all count 1.
    pub fn even(tokens: &[u16]) -> Self {
        Self { tokens: tokens.to_vec(), weights: vec![1.0; tokens.len().saturating_sub(1)] }
    }
}

/// Encoded documents and how often an epoch repeats each.
pub struct Documents {
    /// Token ids of each document, the beginning token first.
    tokens: Vec<Vec<u16>>,
    /// One entry per copy: an index into `tokens`.
    copies: Vec<u32>,
}

impl Documents {
    /// No documents, to be filled with [`add`](Self::add).
    pub fn new() -> Self {
        Self { tokens: Vec::new(), copies: Vec::new() }
    }

    /// Adds encoded documents, each of which an epoch holds `repeats` times. Vocabularies have at most 65,536 entries.
    pub fn add(&mut self, documents: Vec<Vec<u32>>, beginning: u32, repeats: usize) {
        for document in documents {
            let index = self.tokens.len() as u32;
            self.tokens.push(std::iter::once(beginning).chain(document).map(|token| token as u16).collect());
            self.copies.extend(std::iter::repeat_n(index, repeats));
        }
    }

    /// Tokens in one epoch.
    pub fn epoch_tokens(&self) -> usize {
        self.copies.iter().map(|&index| self.tokens[index as usize].len()).sum()
    }

    /// Every document once, in the order they were added.
    pub fn stream(&self) -> Vec<u16> {
        self.tokens.concat()
    }

    /// The rows of epoch `epoch`.
    pub fn epoch(&self, epoch: usize, width: usize, seed: u64) -> Epoch {
        let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(epoch as u64));
        let mut copies = self.copies.clone();
        shuffle(&mut copies, &mut rng);
        let mut stream = Vec::with_capacity(self.epoch_tokens());
        for index in copies {
            stream.extend_from_slice(&self.tokens[index as usize]);
        }
        let mut order: Vec<u32> = (0..(stream.len().saturating_sub(1) / width) as u32).collect();
        shuffle(&mut order, &mut rng);
        Epoch { stream, order, width }
    }
}

impl Default for Documents {
    fn default() -> Self {
        Self::new()
    }
}

/// One epoch's rows in their order.
pub struct Epoch {
    stream: Vec<u16>,
    order: Vec<u32>,
    width: usize,
}

impl Epoch {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.order.len()
    }

    /// Row `index`: `width` + 1 tokens, so that every token but the last has a next one.
    pub fn row(&self, index: usize) -> &[u16] {
        let start = self.order[index] as usize * self.width;
        &self.stream[start..=start + self.width]
    }
}

/// Fisher–Yates.
fn shuffle<T>(items: &mut [T], rng: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        // The bias of the remainder is below one in a hundred billion for lists of this length.
        let other = (rng.next_u64() % (last as u64 + 1)) as usize;
        items.swap(last, other);
    }
}

/// Where in the data a run stands: rows of `width` + 1 tokens, one after the other, epoch after epoch.
pub struct Reader<'a> {
    documents: &'a Documents,
    width: usize,
    seed: u64,
    number: usize,
    epoch: Epoch,
    next: usize,
}

impl<'a> Reader<'a> {
    /// A reader whose next row is row `consumed` of the whole run.
    pub fn new(documents: &'a Documents, width: usize, seed: u64, consumed: usize) -> Self {
        let mut reader = Self { documents, width, seed, number: 0, epoch: documents.epoch(0, width, seed), next: 0 };
        // Every epoch holds the same tokens and therefore the same number of rows.
        let rows = reader.epoch.rows().max(1);
        reader.turn_to(consumed / rows);
        reader.next = consumed % rows;
        reader
    }

    /// The next row.
    pub fn next_row(&mut self) -> &[u16] {
        if self.next == self.epoch.rows() {
            self.turn_to(self.number + 1);
            self.next = 0;
        }
        self.next += 1;
        self.epoch.row(self.next - 1)
    }

    fn turn_to(&mut self, number: usize) {
        if number != self.number {
            self.epoch = self.documents.epoch(number, self.width, self.seed);
            self.number = number;
        }
    }
}
