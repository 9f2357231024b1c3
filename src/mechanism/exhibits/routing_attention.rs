//! Paper 51: the cluster of every token, how full clusters are, how their centroids move, and what routing finds.

use super::recall::Variant;
use super::scene::mass;
use super::{Offer, Scene, drawn, fact, grid, marks, missing, of_pairs, of_tokens, recall, shares, sheet};
use crate::Result;
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::finding::Axis;
use crate::mechanism::Stack;
use crate::mechanism::routing_attention::{BLOCKS, K_MEANS, RANDOM, RoutingAttentionParams};
use crate::mechanism::routing_attention_clusters::{self as clusters, Centroids, Tokens};
use crate::spec::Params;

/// What it draws.
pub const ALL: &[Offer] = &[
    Offer::new(
        "clusters",
        "The cluster of every token",
        Drawn::Tokens,
        of_text,
        "Nearest centroid of each token’s query and of its key in the pinned head, at the time it was read. A query sees the \
         last keys of its own cluster.",
    ),
    Offer::new(
        "occupancy",
        "How full the clusters are",
        Drawn::Bars,
        occupancy,
        "Queries and keys of the pinned head in each cluster.",
    ),
    Offer::new(
        "drift",
        "How centroids move",
        Drawn::Lines,
        drift,
        "Cosine of each centroid of the pinned head with where it began, after every token.",
    ),
    Offer::new(
        "lists",
        "Tokens in no list, in one, in several",
        Drawn::Bars,
        lists,
        "Share of the keys of the pinned head that so many lists of window nearest keys take, one list for each centroid at \
         the end of the text. Only mode paper attends by lists.",
    ),
    Offer::new(
        "pairs",
        "The sparse map it stands for",
        Drawn::Map,
        pairs,
        "What the pinned head would look at with the whole past, from the queries and keys it has here, and what it looks at \
         here. Outlined: pairs that are attended to.",
    ),
    recall::offer(recalled, "All but plain attention see at most as many keys; local: no head routes."),
];

const NO_CLUSTERS: &str = "Blocks are cut by position; no token belongs to a cluster.";

/// Where the tokens of the pinned head belong; none where position alone sorts them.
fn of_head(scene: &Scene<'_>) -> Result<Option<(RoutingAttentionParams, Tokens)>> {
    let p: RoutingAttentionParams = scene.params();
    if p.clustering == BLOCKS {
        return Ok(None);
    }
    let at = scene.grid(scene.head.layer);
    let [q, k] = clusters::sides(&p, &at, &scene.vectors(scene.head.layer)?);
    let tokens = clusters::tokens(&p, &at, q, k).into_iter().nth(scene.head.head);
    Ok(tokens.map(|tokens| (p, tokens)))
}

fn routes(scene: &Scene<'_>, p: &RoutingAttentionParams) -> bool {
    (scene.head.head as f32) < (p.routing * scene.heads as f32 + 0.5).floor()
}

fn note(scene: &Scene<'_>, p: &RoutingAttentionParams) -> Vec<String> {
    let silent = !routes(scene, p);
    silent
        .then(|| format!("{} does not route: it sees recent blocks, whatever its clusters.", scene.head))
        .into_iter()
        .collect()
}

fn names(p: &RoutingAttentionParams) -> Vec<String> {
    (0..p.clusters).map(|cluster| format!("cluster {cluster}")).collect()
}

fn of_text(scene: &Scene<'_>) -> Result<Exhibit> {
    let Some((p, tokens)) = of_head(scene)? else { return missing(NO_CLUSTERS) };
    let values = tokens.nearest.concat().into_iter().map(|cluster| cluster as f32).collect();
    let rows = ["queries", "keys"].map(String::from);
    let mut grid = of_tokens(scene, "side", rows, vec![sheet("cluster", "cluster", "", values)]);
    grid.notes = note(scene, &p);
    let [queries, keys] = &tokens.nearest;
    let same = queries.iter().zip(keys).filter(|(query, key)| query == key).count();
    let share = same as f32 / queries.len().max(1) as f32;
    grid.facts.push(fact("same", "Tokens whose query and key share a cluster", share, "of all"));
    Ok(Exhibit { classes: names(&p), ..drawn(grid) })
}

fn occupancy(scene: &Scene<'_>) -> Result<Exhibit> {
    let Some((p, tokens)) = of_head(scene)? else { return missing(NO_CLUSTERS) };
    let count = |side: &Vec<usize>, cluster: usize| side.iter().filter(|own| **own == cluster).count() as f32;
    let clusters = 0..p.clusters as usize;
    let values: Vec<f32> = tokens.nearest.iter().flat_map(|side| clusters.clone().map(|c| count(side, c))).collect();
    let keys = &values[values.len() / 2..];
    let empty = keys.iter().filter(|count| **count == 0.0).count();
    let rows = Axis::new("side", ["queries", "keys"].map(String::from));
    let mut grid = grid(rows, Axis::new("cluster", names(&p)), vec![sheet("tokens", "tokens", "", values.clone())]);
    grid.facts.push(fact("empty", "Clusters without a key", empty as f32, "clusters"));
    Ok(drawn(grid))
}

fn drift(scene: &Scene<'_>) -> Result<Exhibit> {
    let p: RoutingAttentionParams = scene.params();
    if p.clustering != K_MEANS {
        return missing("These centroids do not learn, or there are none.");
    }
    let at = scene.grid(scene.head.layer);
    let [_, k] = clusters::sides(&p, &at, &scene.vectors(scene.head.layer)?);
    let [_, _, n, width] = k.dims();
    let keys: Vec<f32> = k.into_data().iter().skip(scene.head.head * n * width).take(n * width).collect();
    let begin = clusters::begin(&p, &at, scene.head.head);
    let mut centroids = Centroids::new(&begin, width);
    let cosine = |centroids: &Centroids, c: usize| {
        let (a, b) = (centroids.sum(c), &begin[c * width..(c + 1) * width]);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f32::MIN_POSITIVE)
    };
    let count = p.clusters as usize;
    let mut values = vec![0.0; count * n];
    for (token, key) in keys.chunks(width).enumerate() {
        centroids.learn(centroids.nearest(key), key, p.decay);
        (0..count).for_each(|c| values[c * n + token] = cosine(&centroids, c));
    }
    let mut grid =
        of_tokens(scene, "cluster", names(&p), vec![sheet("cosine", "cosine with its beginning", "", values)]);
    grid.notes = note(scene, &p);
    Ok(drawn(grid))
}

fn lists(scene: &Scene<'_>) -> Result<Exhibit> {
    let Some((p, tokens)) = of_head(scene)? else { return missing(NO_CLUSTERS) };
    let lists: Vec<Vec<f32>> =
        tokens.keys.iter().map(|products| clusters::marks(products, p.window as usize)).collect();
    let times: Vec<usize> =
        (0..scene.tokens).map(|token| lists.iter().filter(|list| list[token] > 0.5).count()).collect();
    let share = |low: usize, high: usize| {
        times.iter().filter(|times| (low..=high).contains(times)).count() as f32 / scene.tokens as f32
    };
    let values = vec![share(0, 0), share(1, 1), share(2, usize::MAX)];
    let columns = Axis::new("lists", ["in none", "in one", "in several"].map(String::from));
    let rows = Axis::new("head", [scene.head.to_string()]);
    Ok(drawn(grid(rows, columns, vec![shares("share", "share of the keys", values)])))
}

fn pairs(scene: &Scene<'_>) -> Result<Exhibit> {
    let p: RoutingAttentionParams = scene.params();
    let (layer, head, n) = (scene.head.layer, scene.head.head, scene.tokens);
    let exact = scene.exact(layer)?;
    let full = exact.pattern_of(head, n);
    let kept = scene.kept(layer, head);
    let count = kept.iter().filter(|kept| **kept).count();
    let window = p.window as usize;
    let far = (0..n * n).filter(|pair| kept[*pair] && pair / n - pair % n >= window).count();
    let share = mass(full, &kept);
    let sheets = vec![
        shares("full", "with the whole past", full.to_vec()),
        shares("own", "in this pane", scene.pattern(layer, head).to_vec()),
        marks("kept", "attended to", kept),
    ];
    let mut grid = of_pairs(scene, sheets);
    grid.notes = note(scene, &p);
    grid.facts.push(fact("share", "Share of the causal pairs", count as f32 / (n * (n + 1) / 2) as f32, ""));
    grid.facts.push(fact("mass", "Weight on them with the whole past", share, ""));
    grid.facts.push(fact(
        "far",
        "Pairs that a window of as many keys misses",
        far as f32 / count.max(1) as f32,
        "of them",
    ));
    Ok(Exhibit { outlined: Some("kept".into()), ..drawn(grid) })
}

const NAMES: [(&str, &str); 4] =
    [("full", "full"), ("own", "this pane"), ("random", "random centroids"), ("local", "local")];

fn variants(scene: &Scene<'_>) -> Result<[Stack; 4]> {
    let p: RoutingAttentionParams = scene.params();
    let random = RoutingAttentionParams { clustering: RANDOM, ..p.clone() };
    let local = RoutingAttentionParams { routing: 0.0, ..p };
    Ok([Stack::new("a", &[])?, scene.stack.clone(), scene.with(random.values()), scene.with(local.values())])
}

fn recalled(scene: &Scene<'_>) -> Result<Vec<Variant>> {
    Ok(recall::named(NAMES, variants(scene)?))
}
