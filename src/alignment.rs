//! Which places of two token sequences belong together, so that two prompts can be compared where they agree.
//!
//! Equal tokens are matched along a longest common subsequence. Between two matches, the tokens in which the texts differ
//! are paired one by one as far as both go: a name that stands for another name is aligned with it.

/// Most entries of the table in which common subsequences are searched: two texts of 2,048 tokens.
const LARGEST_TABLE: usize = 1 << 22;

/// The places of a sequence A and another one, in both directions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alignment {
    /// For each place of A its place in the other.
    to: Vec<Option<usize>>,
    /// For each place of the other its place in A.
    from: Vec<Option<usize>>,
    /// Places of A whose tokens are the same in the other.
    same: Vec<bool>,
}

impl Alignment {
    /// Aligns two sequences of token ids.
    ///
    /// ```
    /// # use attnscope::alignment::Alignment;
    /// // The second token was replaced, and one was put in before the last.
    /// let aligned = Alignment::new(&[1, 2, 3, 4], &[1, 9, 3, 8, 4]);
    /// assert_eq!(aligned.pairs().collect::<Vec<_>>(), [(0, 0), (1, 1), (2, 2), (3, 4)]);
    /// assert_eq!(aligned.same().collect::<Vec<_>>(), [(0, 0), (2, 2), (3, 4)]);
    /// assert_eq!((aligned.to_other(3), aligned.to_a(3)), (Some(4), None));
    /// ```
    pub fn new(a: &[u32], other: &[u32]) -> Self {
        let mut matches = common(a, other);
        let mut aligned = Self { to: vec![None; a.len()], from: vec![None; other.len()], same: vec![false; a.len()] };
        // A last match beyond both ends closes the last run.
        matches.push((a.len(), other.len()));
        let (mut x, mut y) = (0, 0);
        for (next_x, next_y) in matches {
            // A run in which they differ; where it has more tokens in one, the rest stands alone.
            while x < next_x && y < next_y {
                aligned.pair(x, y, a[x] == other[y]);
                (x, y) = (x + 1, y + 1);
            }
            if next_x < a.len() {
                aligned.pair(next_x, next_y, a[next_x] == other[next_y]);
            }
            (x, y) = (next_x + 1, next_y + 1);
        }
        aligned
    }

    fn pair(&mut self, x: usize, y: usize, same: bool) {
        (self.to[x], self.from[y], self.same[x]) = (Some(y), Some(x), same);
    }

    /// The place in the other sequence.
    pub fn to_other(&self, place: usize) -> Option<usize> {
        self.to.get(place).copied().flatten()
    }

    /// The place in A.
    pub fn to_a(&self, place: usize) -> Option<usize> {
        self.from.get(place).copied().flatten()
    }

    /// Whether the token at a place of A is the same in the other.
    pub fn is_same(&self, place: usize) -> bool {
        self.same.get(place).copied().unwrap_or(false)
    }

    /// Places that both have, A's first.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.to.iter().enumerate().filter_map(|(x, y)| Some((x, (*y)?)))
    }

    /// Places whose tokens are the same.
    pub fn same(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.pairs().filter(|(x, _)| self.same[*x])
    }
}

/// Places of a longest common subsequence, in order. A common beginning and end belong to it, so that only what lies
/// between is searched.
fn common(a: &[u32], other: &[u32]) -> Vec<(usize, usize)> {
    let head = a.iter().zip(other).take_while(|(x, y)| x == y).count();
    let (middle_a, middle_other) = (&a[head..], &other[head..]);
    let tail = middle_a.iter().rev().zip(middle_other.iter().rev()).take_while(|(x, y)| x == y).count();
    let (middle_a, middle_other) = (&middle_a[..middle_a.len() - tail], &middle_other[..middle_other.len() - tail]);

    // Texts that long with nothing in common at either end are paired as they come; the table would not fit in memory.
    let fits = middle_a.len().saturating_mul(middle_other.len()) <= LARGEST_TABLE;
    let (rows, columns) = if fits { (middle_a.len(), middle_other.len()) } else { (0, 0) };
    // length[x][y]: of the longest common subsequence of what follows x and y.
    let mut length = vec![vec![0u32; columns + 1]; rows + 1];
    for x in (0..rows).rev() {
        for y in (0..columns).rev() {
            length[x][y] = if middle_a[x] == middle_other[y] {
                length[x + 1][y + 1] + 1
            } else {
                length[x + 1][y].max(length[x][y + 1])
            };
        }
    }
    let mut places: Vec<_> = (0..head).map(|at| (at, at)).collect();
    let (mut x, mut y) = (0, 0);
    while x < rows && y < columns {
        if middle_a[x] == middle_other[y] {
            places.push((head + x, head + y));
            (x, y) = (x + 1, y + 1);
        } else if length[x + 1][y] >= length[x][y + 1] {
            x += 1;
        } else {
            y += 1;
        }
    }
    let (end_a, end_other) = (head + middle_a.len(), head + middle_other.len());
    places.extend((0..tail).map(|at| (end_a + at, end_other + at)));
    places
}
