//! Paper 62: how far layers want the same keys, what a token sees in every layer, and what lists recover and cost.

use super::recall::Variant;
use super::scene::mass;
use super::{Offer, Scene, drawn, fact, grid, marks, missing, of_tokens, recall, shares, sheet};
use crate::Result;
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::finding::Axis;
use crate::mechanism::Stack;
use crate::mechanism::tidal_decode::{EVERY_LAYER, Layer, TIDAL, TidalDecodeParams, WINDOW, layer};
use crate::spec::Params;

/// What it draws.
pub const ALL: &[Offer] = &[
    Offer::new(
        "overlap",
        "How far layers want the same keys",
        Drawn::Cells,
        overlap,
        "Of the budget keys a layer looks at most, the share that another layer looks at most, mean over heads and over \
         queries with more keys than that, from the queries and keys of this pane. Outlined: a layer and the one whose list it \
         uses.",
    ),
    Offer::new(
        "ribbon",
        "What the pinned token sees in every layer",
        Drawn::Cells,
        ribbon,
        "Keys of the pinned query and head number, layer by layer; a layer that chooses sees everything and hands its list on.",
    ),
    Offer::new(
        "recovered",
        "What lists recover",
        Drawn::Lines,
        recovered,
        "By layer: share of a head’s own best budget keys that it sees, and share of its exact weight on what it sees, mean \
         over heads and over queries with more keys than that.",
    ),
    Offer::new(
        "reads",
        "Keys that are read for the last token",
        Drawn::Bars,
        reads,
        "Keys whose score is computed, over all layers and heads. A layer that chooses for itself has to read all of them.",
    ),
    Offer::slow(
        "budgets",
        "Loss by budget",
        Drawn::Cells,
        budgets_frame,
        budgets_row,
        "Loss on this prompt in nats per token above plain attention: two lists, one list, a list of its own in every layer \
         (the oracle), first and recent keys.",
    ),
    recall::offer(recalled, ""),
];

const ALL_KEYS: &str = "Every list holds every key at this budget: lower it or give a longer text.";

/// The keys each head of a layer looks at most, `[H,n]` lists of marks, for queries from `budget` on.
fn best(scene: &Scene<'_>, layer: usize, budget: usize) -> Result<Vec<Vec<bool>>> {
    let n = scene.tokens;
    let exact = scene.exact(layer)?;
    let of_row = |row: usize| {
        let weights = &exact.pattern[row * n..row * n + row % n + 1];
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]).then(b.cmp(a)));
        let mut marks = vec![false; n];
        order.into_iter().take(budget).for_each(|key| marks[key] = true);
        marks
    };
    let rows = (0..scene.heads * n).filter(|row| row % n >= budget);
    Ok(rows.map(of_row).collect())
}

/// The layer whose list each layer sees; none where it sees everything.
fn sources(scene: &Scene<'_>, p: &TidalDecodeParams) -> Vec<Option<usize>> {
    let mut chosen = None;
    let of_layer = |at: usize| match layer(p, at, scene.layers) {
        Layer::Full => None,
        Layer::Chooses => {
            chosen = Some(at);
            None
        }
        Layer::Sparse if p.lists == TIDAL => chosen,
        Layer::Sparse => (p.lists == EVERY_LAYER).then_some(at),
    };
    (0..scene.layers).map(of_layer).collect()
}

fn shared(a: &[Vec<bool>], b: &[Vec<bool>], budget: usize) -> f32 {
    let both = a.iter().zip(b).map(|(a, b)| a.iter().zip(b).filter(|(a, b)| **a && **b).count()).sum::<usize>();
    both as f32 / (a.len() * budget).max(1) as f32
}

fn overlap(scene: &Scene<'_>) -> Result<Exhibit> {
    let p: TidalDecodeParams = scene.params();
    let budget = p.budget as usize;
    if budget >= scene.tokens {
        return missing(ALL_KEYS);
    }
    let lists = (0..scene.layers).map(|layer| best(scene, layer, budget)).collect::<Result<Vec<_>>>()?;
    let values = lists.iter().flat_map(|a| lists.iter().map(move |b| shared(a, b, budget))).collect();
    let sources = sources(scene, &p);
    let used = sources.iter().flat_map(|source| (0..scene.layers).map(move |other| *source == Some(other)));
    let other = Axis { name: "list of layer".into(), ..scene.layer_axis() };
    let sheets = vec![shares("overlap", "keys in common", values), marks("used", "used", used)];
    Ok(Exhibit { outlined: Some("used".into()), ..drawn(grid(scene.layer_axis(), other, sheets)) })
}

const UNSEEN: f32 = 0.0;
const SEEN: f32 = 1.0;
const HANDED_ON: f32 = 2.0;

fn ribbon(scene: &Scene<'_>) -> Result<Exhibit> {
    let p: TidalDecodeParams = scene.params();
    let (n, query) = (scene.tokens, scene.query);
    let row = |layer: usize| scene.kept(layer, scene.head.head)[query * n..(query + 1) * n].to_vec();
    let sources = sources(scene, &p);
    let mut values = Vec::new();
    for at in 0..scene.layers {
        // The list is what the first layer that uses it sees.
        let user = (at + 1..scene.layers).find(|later| p.lists == TIDAL && sources[*later] == Some(at));
        let list = user.map(row);
        let class = |(key, seen): (usize, bool)| match (&list, seen) {
            _ if key > query => f32::NAN,
            (Some(list), true) if list[key] => HANDED_ON,
            (_, true) => SEEN,
            (_, false) => UNSEEN,
        };
        values.extend(row(at).into_iter().enumerate().map(class));
    }
    let name = |at: usize| match layer(&p, at, scene.layers) {
        Layer::Full => format!("L{at} full"),
        Layer::Chooses => format!("L{at} chooses"),
        Layer::Sparse => format!("L{at} list"),
    };
    let mut grid = of_tokens(scene, "layer", (0..scene.layers).map(name), vec![sheet("seen", "seen", "", values)]);
    grid.across.labels.truncate(query + 1);
    for sheet in &mut grid.sheets {
        sheet.values = sheet.values.chunks(n).flat_map(|row| row[..=query].to_vec()).collect();
    }
    Ok(Exhibit { classes: vec!["not seen".into(), "seen".into(), "seen and handed on".into()], ..drawn(grid) })
}

fn recovered(scene: &Scene<'_>) -> Result<Exhibit> {
    let p: TidalDecodeParams = scene.params();
    let (n, budget) = (scene.tokens, p.budget as usize);
    if budget >= n {
        return missing(ALL_KEYS);
    }
    let (mut recalls, mut masses) = (Vec::new(), Vec::new());
    for layer in 0..scene.layers {
        let exact = scene.exact(layer)?;
        let best = best(scene, layer, budget)?;
        let (mut rows, mut mean) = (Vec::new(), 0.0);
        for head in 0..scene.heads {
            let kept = scene.kept(layer, head);
            for query in budget..n {
                let seen = kept[query * n..(query + 1) * n].to_vec();
                mean += mass(&exact.pattern_of(head, n)[query * n..(query + 1) * n], &seen);
                rows.push(seen);
            }
        }
        recalls.push(shared(&rows, &best, budget));
        masses.push(mean / rows.len().max(1) as f32);
    }
    let rows = Axis::new("share of", ["own best keys", "exact weight"].map(String::from));
    Ok(drawn(grid(rows, scene.layer_axis(), vec![shares("share", "share", [recalls, masses].concat())])))
}

/// Plain attention, this pane, one list, the oracle, first and recent keys.
fn variants(scene: &Scene<'_>, budget: i32) -> Result<[Stack; 5]> {
    let p = TidalDecodeParams { budget, ..scene.params() };
    let with = |p: TidalDecodeParams| scene.with(p.values());
    Ok([
        Stack::new("a", &[])?,
        with(TidalDecodeParams { lists: TIDAL, reselect: true, ..p.clone() }),
        with(TidalDecodeParams { lists: TIDAL, reselect: false, ..p.clone() }),
        with(TidalDecodeParams { lists: EVERY_LAYER, ..p.clone() }),
        with(TidalDecodeParams { lists: WINDOW, ..p }),
    ])
}

const NAMES: [(&str, &str); 5] = [
    ("full", "full"),
    ("two", "two lists"),
    ("one", "one list"),
    ("oracle", "every layer"),
    ("window", "first and recent"),
];

fn reads(scene: &Scene<'_>) -> Result<Exhibit> {
    let own: TidalDecodeParams = scene.params();
    let n = scene.tokens;
    let listed = (own.budget as usize + 1).min(n);
    let of = |p: &TidalDecodeParams| -> usize {
        let keys = |at: usize| match layer(p, at, scene.layers) {
            // Beside a list the token itself is always seen; the window has it among its keys.
            Layer::Sparse if p.lists == WINDOW => (own.budget as usize).min(n),
            Layer::Sparse if p.lists == TIDAL => listed,
            _ => n,
        };
        (0..scene.layers).map(keys).sum::<usize>() * scene.heads
    };
    let with = |lists, reselect| TidalDecodeParams { lists, reselect, ..own.clone() };
    let all = [with(TIDAL, true), with(TIDAL, false), with(EVERY_LAYER, true), with(WINDOW, true)];
    let counts = std::iter::once(scene.layers * scene.heads * n).chain(all.iter().map(of));
    // What this pane really keeps in its last row.
    let seen =
        |(layer, head): (usize, usize)| scene.kept(layer, head)[(n - 1) * n..].iter().filter(|kept| **kept).count();
    let here: usize = scene.every_head().map(seen).sum();
    let values = counts.map(|count| count as f32).collect();
    let rows = Axis::new("token", ["the last".to_string()]);
    let columns = Axis::new("variant", NAMES.map(|(_, name)| name.to_string()));
    let mut grid = grid(rows, columns, vec![sheet("reads", "keys read", "keys", values)]);
    grid.facts.push(fact("seen", "Keys the last token attends to in this pane", here as f32, "keys"));
    Ok(drawn(grid))
}

const BUDGETS: [i32; 5] = [4, 8, 16, 32, 64];

fn budgets_frame(_: &Scene<'_>) -> Result<Exhibit> {
    let rows = Axis::new("budget", BUDGETS.map(|budget| format!("{budget} keys")));
    let columns = Axis::new("variant", NAMES.iter().skip(1).map(|(_, name)| name.to_string()));
    let empty = vec![f32::NAN; BUDGETS.len() * (NAMES.len() - 1)];
    Ok(drawn(grid(rows, columns, vec![sheet("loss", "loss above plain", "nats per token", empty)])))
}

fn budgets_row(scene: &Scene<'_>, row: usize) -> Result<Vec<Vec<f32>>> {
    let plain = scene.plain.loss().unwrap_or(f32::NAN);
    let stacks = variants(scene, BUDGETS[row.min(BUDGETS.len() - 1)])?;
    Ok(vec![stacks[1..].iter().map(|stack| Ok(scene.loss(stack)? - plain)).collect::<Result<_>>()?])
}

fn recalled(scene: &Scene<'_>) -> Result<Vec<Variant>> {
    Ok(recall::named(NAMES, variants(scene, scene.params::<TidalDecodeParams>().budget)?))
}
