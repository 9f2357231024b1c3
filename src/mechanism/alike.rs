//! How alike the patterns of layers are: what decides which layer may take over the pattern of which.

use crate::hook::Array;

/// What of two patterns is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// Each head with the head of the same index.
    HeadWise,
    /// The mean over heads.
    Averaged,
    /// Each head less its mean over the texts: what depends on what a text says.
    Content,
}

/// Patterns of one model on several texts of one length, ready to be compared.
pub struct Alike {
    layers: usize,
    heads: usize,
    /// Rows of heads, or of their mean: `[text][layer · head]` → the causal triangle in f64.
    texts: Vec<Vec<Vec<f64>>>,
}

impl Alike {
    /// Takes patterns `[L,H,Q,K]` of several texts; those of another shape than the first are left out.
    pub fn new(patterns: &[Array], compared: Compared) -> Self {
        let shape = patterns.first().map_or(&[][..], |first| &first.shape);
        let &[layers, heads, queries, keys] = shape else { return Self { layers: 0, heads: 0, texts: Vec::new() } };
        let triangle = |map: &[f32]| -> Vec<f64> {
            let rows = map.chunks(keys.max(1)).enumerate();
            rows.flat_map(|(query, row)| row.iter().take(query + 1 + keys - queries).map(|x| f64::from(*x))).collect()
        };
        let of_text = |pattern: &Array| -> Vec<Vec<f64>> {
            let maps: Vec<_> = pattern.data.chunks((queries * keys).max(1)).map(triangle).collect();
            if compared != Compared::Averaged {
                return maps;
            }
            maps.chunks(heads.max(1)).map(mean).collect()
        };
        let mut texts: Vec<_> = patterns.iter().filter(|pattern| pattern.shape == shape).map(of_text).collect();
        if compared == Compared::Content {
            for map in 0..layers * heads {
                let all: Vec<Vec<f64>> = texts.iter().map(|text| text[map].clone()).collect();
                let common = mean(&all);
                for text in &mut texts {
                    text[map].iter_mut().zip(&common).for_each(|(x, common)| *x -= common);
                }
            }
        }
        let heads = if compared == Compared::Averaged { 1 } else { heads };
        Self { layers, heads, texts }
    }

    /// Mean cosine over the texts of head `a` of layer `l` and head `b` of layer `m`.
    pub fn heads(&self, (l, a): (usize, usize), (m, b): (usize, usize)) -> f32 {
        let one = |text: &Vec<Vec<f64>>| cosine(&text[l * self.heads + a], &text[m * self.heads + b]);
        let sum: f64 = self.texts.iter().map(one).sum();
        (sum / self.texts.len().max(1) as f64) as f32
    }

    /// sim(l,m): mean over texts and heads of the cosine of patterns with the same head index.
    pub fn layers(&self, l: usize, m: usize) -> f32 {
        let sum: f32 = (0..self.heads).map(|head| self.heads((l, head), (m, head))).sum();
        sum / self.heads.max(1) as f32
    }

    /// All of [`Alike::layers`], `[L,L]`.
    pub fn matrix(&self) -> Vec<f32> {
        (0..self.layers).flat_map(|l| (0..self.layers).map(move |m| (l, m))).map(|(l, m)| self.layers(l, m)).collect()
    }

    /// For each head of `follower` one head of `leader`, each given once, the most alike pair first.
    pub fn matching(&self, leader: usize, follower: usize) -> Vec<usize> {
        let pairs = (0..self.heads).flat_map(|head| (0..self.heads).map(move |other| (head, other)));
        let alike = |(head, other)| (self.heads((follower, head), (leader, other)), head, other);
        let mut pairs: Vec<_> = pairs.map(alike).collect();
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut matched, mut taken) = (vec![None; self.heads], vec![false; self.heads]);
        for (_, head, other) in pairs {
            if matched[head].is_none() && !taken[other] {
                (matched[head], taken[other]) = (Some(other), true);
            }
        }
        matched.into_iter().enumerate().map(|(head, other)| other.unwrap_or(head)).collect()
    }
}

fn mean(maps: &[Vec<f64>]) -> Vec<f64> {
    let mut sum = vec![0.0; maps.first().map_or(0, Vec::len)];
    for map in maps {
        sum.iter_mut().zip(map).for_each(|(sum, x)| *sum += x / maps.len() as f64);
    }
    sum
}

/// 0 where one of them is zero.
fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 { dot(a, b) / norms } else { 0.0 }
}
