//! Centroids that follow the keys of one head, and where its tokens belong.

use super::routing_attention::{K_MEANS, RoutingAttentionParams};
use super::{Grid, Vectors};
use burn::tensor::Tensor;

/// Most clusters of a head.
pub(super) const MOST_CLUSTERS: usize = 32;

/// Added to the count of a cluster when it divides.
const SMOOTHING: f32 = 1e-5;

/// Where the tokens of one head belong.
pub(super) struct Tokens {
    /// The centroid nearest to each query, by row, and to each key, when it came.
    pub nearest: [Vec<usize>; 2],
    /// Products of each position's query with each centroid at the end, `[c][K]`; `None` for queries that are not here.
    pub queries: Vec<Vec<Option<f32>>>,
    /// The same of keys.
    pub keys: Vec<Vec<Option<f32>>>,
}

impl Tokens {
    /// Marks `[Q,K]` of each query's own key and of the last `window` keys before it that belong to its cluster.
    pub fn marks(&self, first_query: usize, window: usize) -> Vec<f32> {
        let [queries, keys] = &self.nearest;
        let mut marks = vec![0.0; queries.len() * keys.len()];
        for ((row, cluster), marks) in queries.iter().enumerate().zip(marks.chunks_mut(keys.len())) {
            let own = first_query + row;
            marks[own] = 1.0;
            let same = (0..own).rev().filter(|key| keys[*key] == *cluster).take(window);
            same.for_each(|key| marks[key] = 1.0);
        }
        marks
    }
}

/// Normalised queries `[B,H,Q,D]` and keys `[B,H,K,D]`; keys stand for queries too where they are tied.
pub(super) fn sides(p: &RoutingAttentionParams, at: &Grid, given: &Vectors) -> [Tensor<4>; 2] {
    let k = normalised(given.keys());
    let q = match p.tied {
        true => k.clone().slice_dim(2, at.first_query..at.first_query + at.queries),
        false => normalised(given.q.clone()),
    };
    [q, k]
}

/// Mean 0 and variance 1 over D.
fn normalised(x: Tensor<4>) -> Tensor<4> {
    let centred = x.clone() - x.mean_dim(3);
    let variance = centred.clone().square().mean_dim(3);
    centred / (variance + 1e-6).sqrt()
}

/// Where the tokens of every sequence and head belong.
pub(super) fn tokens(p: &RoutingAttentionParams, at: &Grid, q: Tensor<4>, k: Tensor<4>) -> Vec<Tokens> {
    let width = k.dims()[3];
    let host = |x: Tensor<4>| -> Vec<f32> { x.into_data().iter().collect() };
    let (q, k) = (host(q), host(k));
    let heads = q.chunks(at.queries * width).zip(k.chunks(at.keys * width)).enumerate();
    let of_head = |(index, (q, k)): (usize, (&[f32], &[f32]))| {
        follow(
            &begin(p, at, index % at.heads),
            [q, k],
            width,
            at.first_query,
            (p.clustering == K_MEANS).then_some(p.decay),
        )
    };
    heads.map(of_head).collect()
}

/// Centroids `[C,D]` of one head before the text.
pub(super) fn begin(p: &RoutingAttentionParams, at: &Grid, head: usize) -> Vec<f32> {
    let noise = normalised(at.input::<3>(0).unsqueeze_dim(0)); // [1,H,F,D]
    let [_, _, _, width] = noise.dims();
    let all: Vec<f32> = noise.into_data().iter().collect();
    all[head * MOST_CLUSTERS * width..][..p.clusters as usize * width].to_vec()
}

/// Centroids that learn from one key after the other.
pub(super) struct Centroids {
    width: usize,
    /// `[C,D]`
    sums: Vec<f32>,
    counts: Vec<f32>,
    total: f32,
}

impl Centroids {
    /// Centroids before the text `[C,D]`.
    pub fn new(begin: &[f32], width: usize) -> Self {
        let clusters = begin.len() / width;
        Self { width, sums: begin.to_vec(), counts: vec![1.0; clusters], total: clusters as f32 }
    }

    /// The sum of one cluster, which its centroid is a multiple of.
    pub fn sum(&self, cluster: usize) -> &[f32] {
        self.sums.get(cluster * self.width..(cluster + 1) * self.width).unwrap_or(&[])
    }

    /// Products of a vector with every centroid.
    pub fn products(&self, x: &[f32]) -> Vec<f32> {
        let clusters = self.counts.len() as f32;
        let product = |(c, count): (usize, &f32)| {
            let dot: f32 = self.sum(c).iter().zip(x).map(|(sum, x)| sum * x).sum();
            dot / ((count + SMOOTHING) / (self.total + clusters * SMOOTHING) * self.total)
        };
        self.counts.iter().enumerate().map(product).collect()
    }

    /// The nearest centroid.
    pub fn nearest(&self, x: &[f32]) -> usize {
        let products = self.products(x);
        (1..products.len()).fold(0, |best, c| if products[c] > products[best] { c } else { best })
    }

    /// Takes a key into its cluster.
    pub fn learn(&mut self, own: usize, key: &[f32], decay: f32) {
        self.sums.iter_mut().for_each(|sum| *sum *= decay);
        self.counts.iter_mut().for_each(|count| *count *= decay);
        let cluster = self.sums.iter_mut().skip(own * self.width).take(self.width);
        cluster.zip(key).for_each(|(sum, x)| *sum += (1.0 - decay) * x);
        self.counts[own] += 1.0 - decay;
        self.total = decay * self.total + (1.0 - decay);
    }
}

/// Goes through the tokens of one head. `begin` are the centroids before the text `[C,D]`; `sides` are queries `[Q,D]` and
/// keys `[K,D]`; centroids stay where they are without a decay.
pub(super) fn follow(
    begin: &[f32],
    sides: [&[f32]; 2],
    width: usize,
    first_query: usize,
    decay: Option<f32>,
) -> Tokens {
    let mut centroids = Centroids::new(begin, width);
    let [queries, keys] = sides.map(|side| side.chunks(width).collect::<Vec<_>>());
    let mut nearest = [Vec::new(), Vec::new()];
    for (position, key) in keys.iter().enumerate() {
        if position >= first_query {
            nearest[0].push(centroids.nearest(queries[position - first_query]));
        }
        let own = centroids.nearest(key);
        nearest[1].push(own);
        if let Some(decay) = decay {
            centroids.learn(own, key, decay);
        }
    }
    let ends = |vectors: &[&[f32]], absent: usize| {
        let of_token: Vec<Vec<f32>> = vectors.iter().map(|x| centroids.products(x)).collect();
        let of_cluster = |c: usize| {
            let here = of_token.iter().map(|products| Some(products[c]));
            std::iter::repeat_n(None, absent).chain(here).collect()
        };
        (0..begin.len() / width).map(of_cluster).collect()
    };
    Tokens { nearest, queries: ends(&queries, first_query), keys: ends(&keys, 0) }
}

/// Marks of the `window` tokens with the largest products, of equal ones the last.
pub(super) fn marks(products: &[Option<f32>], window: usize) -> Vec<f32> {
    let mut order: Vec<(f32, usize)> =
        products.iter().enumerate().filter_map(|(token, product)| product.map(|product| (product, token))).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
    let mut marks = vec![0.0; products.len()];
    order.into_iter().take(window).for_each(|(_, token)| marks[token] = 1.0);
    marks
}

#[cfg(test)]
mod tests {
    use super::{Centroids, follow, marks};
    use crate::model::attention::normal;

    const WIDTH: usize = 16;

    /// Of length √D, as normalised vectors are.
    fn long(mut x: Vec<f32>) -> Vec<f32> {
        for x in x.chunks_mut(WIDTH) {
            let size = x.iter().map(|x| x * x).sum::<f32>().sqrt();
            x.iter_mut().for_each(|x| *x *= (WIDTH as f32).sqrt() / size);
        }
        x
    }

    /// Paper 51, check (e): centroids find eight directions, starting from one token of each.
    #[test]
    fn centroids_find_directions() {
        let directions = long(normal(8 * WIDTH, 1.0, "directions", 0, 0));
        let noise = normal(200 * WIDTH, 0.3, "noise", 0, 0);
        let token = |at: usize| directions[at / WIDTH * 3 % 8 * WIDTH + at % WIDTH] + noise[at];
        let keys = long((0..200 * WIDTH).map(token).collect());
        // Token 3c belongs to direction 3 · 3c mod 8 = c.
        let begin: Vec<f32> = (0..8).flat_map(|c| keys[3 * c * WIDTH..(3 * c + 1) * WIDTH].to_vec()).collect();
        // Asked of the directions themselves behind the text: the products are those with the last centroids.
        let all = [keys, directions.clone()].concat();
        let last = follow(&begin, [&all, &all], WIDTH, 0, Some(0.9));
        for c in 0..8 {
            let of: Vec<f32> = (0..8).map(|d| last.keys[d][200 + c].unwrap()).collect();
            assert!((0..8).all(|d| d == c || of[d] < of[c]), "{c}: {of:?}");
        }
        assert!((0..200).all(|token| last.nearest[1][token] == token * 3 % 8));
    }

    /// Check (e): asked again and again for the eight directions alone, centroids that began beside them turn to them.
    #[test]
    fn centroids_turn_to_their_directions() {
        let directions = long(normal(8 * WIDTH, 1.0, "directions", 0, 0));
        let noise = normal(8 * WIDTH, 0.5, "noise", 0, 0);
        let begin = long(directions.iter().zip(&noise).map(|(x, noise)| x + noise).collect());
        let cosine = |a: &[f32], b: &[f32]| {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        };
        let mut centroids = Centroids::new(&begin, WIDTH);
        let direction = |c: usize| &directions[c * WIDTH..(c + 1) * WIDTH];
        let least = |centroids: &Centroids| (0..8).map(|c| cosine(centroids.sum(c), direction(c))).fold(1.0, f32::min);
        assert!(least(&centroids) < 0.95, "{}", least(&centroids));
        for step in 0..200 {
            let key = direction(step * 3 % 8);
            centroids.learn(centroids.nearest(key), key, 0.9);
        }
        assert!(least(&centroids) > 0.98, "{}", least(&centroids));
    }

    /// Check (c): lists have `window` members, and on even noise some tokens are in none and some in several.
    #[test]
    fn lists_are_balanced() {
        let keys = long(normal(256 * WIDTH, 1.0, "keys", 0, 0));
        let begin = long(normal(8 * WIDTH, 1.0, "begin", 0, 0));
        let tokens = follow(&begin, [&keys, &keys], WIDTH, 0, None);
        let lists: Vec<Vec<f32>> = tokens.keys.iter().map(|products| marks(products, 32)).collect();
        assert!(lists.iter().all(|list| list.iter().sum::<f32>() == 32.0));
        let times = |token: usize| lists.iter().filter(|list| list[token] > 0.5).count();
        let share = |wanted: fn(usize) -> bool| (0..256).filter(|token| wanted(times(*token))).count() as f32 / 256.0;
        let (none, several) = (share(|times| times == 0), share(|times| times > 1));
        assert!((0.25..0.45).contains(&none) && (0.15..0.45).contains(&several), "{none} {several}");
    }
}
