//! Drawings of mechanisms that choose pairs by looking: papers 58, 51, 38.

use super::{HEAD, ask, drawing, engine, experiment, fact, sheet};
use crate::tiny::{HEADS, LAYERS};
use attnscope::experiment::Chip;
use attnscope::outcome::arrays;
use pollster::block_on;

/// Paper 58: every head has one shape; the marked candidate keeps what is recovered of the head, which is the weight on
/// the pairs that are outlined.
#[test]
fn minference_recovers_what_its_shape_keeps() {
    for pattern in ["auto", "a_shape", "vertical_slash", "block"] {
        let chip = || Chip::new("minference").with("pattern", pattern).with("budget", 0.3);
        let shapes = drawing(chip(), "shapes");
        let heads: f32 = shapes.grid.facts.iter().map(|fact| fact.value).sum();
        assert_eq!(heads as usize, LAYERS * HEADS);
        let selection = drawing(chip(), "selection");
        let n = selection.grid.down.labels.len();
        let (dense, kept) = (&sheet(&selection, "dense").values, &sheet(&selection, "kept").values);
        let mass: f32 = dense.iter().zip(kept).filter(|(_, kept)| **kept == 1.0).map(|(weight, _)| weight).sum();
        assert!((fact(&selection, "mass") - mass / n as f32).abs() < 1e-5, "{pattern}");
        let share = kept.iter().filter(|kept| **kept == 1.0).count() as f32 / (n * (n + 1) / 2) as f32;
        assert!((fact(&selection, "share") - share).abs() < 1e-6);
        // What the pane looks at lies on these pairs alone.
        let own = &sheet(&selection, "own").values;
        assert!(own.iter().zip(kept).all(|(weight, kept)| *kept == 1.0 || *weight == 0.0), "{pattern}");
        let candidates = drawing(chip(), "candidates");
        let has = sheet(&candidates, "own").values.iter().position(|own| *own == 1.0).unwrap();
        assert!((sheet(&candidates, "mass").values[has] - mass / n as f32).abs() < 1e-5, "{pattern}");
        let recovered = drawing(chip(), "recovered");
        let of_head = sheet(&recovered, "mass").values[HEAD.layer * HEADS + HEAD.head];
        assert!((of_head - mass / n as f32).abs() < 1e-5, "{pattern}");
    }
}

/// The sums are those of the last rows, and as many columns are taken as the mask shows.
#[test]
fn minference_sums_are_those_of_the_last_rows() {
    let chip = || Chip::new("minference").with("pattern", "vertical_slash").with("last_queries", 8.0);
    let (sums, selection) = (drawing(chip(), "sums"), drawing(chip(), "selection"));
    let n = sums.grid.across.labels.len();
    let dense = &sheet(&selection, "dense").values;
    let values = &sheet(&sums, "sum").values;
    for at in 0..n {
        let rows = || n - 8..n;
        let column: f32 = rows().map(|query| dense[query * n + at]).sum();
        let diagonal: f32 = rows().filter(|query| at <= *query).map(|query| dense[query * n + query - at]).sum();
        assert!((values[at] - column).abs() < 1e-4 && (values[n + at] - diagonal).abs() < 1e-4, "{at}");
    }
    let (taken, kept) = (&sheet(&sums, "taken").values, &sheet(&selection, "kept").values);
    for (pair, kept) in kept.iter().enumerate() {
        let (query, key) = (pair / n, pair % n);
        let expected = key <= query && (taken[key] == 1.0 || taken[n + query - key] == 1.0);
        assert_eq!(*kept == 1.0, expected, "{query} {key}");
    }
}

/// Paper 51: what the mask keeps are pairs of one cluster, the last ones, and clusters are counted right.
#[test]
fn routing_clusters_are_those_of_the_mask() {
    let chip = || Chip::new("routing_attention").with("clusters", 4.0).with("window", 6.0).with("routing", 1.0);
    let (text, pairs) = (drawing(chip(), "clusters"), drawing(chip(), "pairs"));
    let n = text.grid.across.labels.len();
    let (queries, keys) = sheet(&text, "cluster").values.split_at(n);
    let kept = &sheet(&pairs, "kept").values;
    let mut far = 0;
    for query in 0..n {
        let same: Vec<usize> = (0..query).rev().filter(|key| keys[*key] == queries[query]).take(6).collect();
        for key in 0..n {
            let expected = key == query || same.contains(&key);
            assert_eq!(kept[query * n + key] == 1.0, expected, "{query} {key}");
            far += usize::from(expected && key + 6 <= query);
        }
    }
    let count = kept.iter().filter(|kept| **kept == 1.0).count();
    assert!(far > 0 && (fact(&pairs, "far") - far as f32 / count as f32).abs() < 1e-6);
    let occupancy = drawing(chip(), "occupancy");
    for (at, tokens) in sheet(&occupancy, "tokens").values.iter().enumerate() {
        let side = if at < 4 { queries } else { keys };
        assert_eq!(*tokens as usize, side.iter().filter(|cluster| **cluster as usize == at % 4).count());
    }
    let lists = drawing(chip(), "lists");
    let share = &sheet(&lists, "share").values;
    assert!((share.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    // Four lists of six tokens: at most so many are in one.
    assert!((share[1] + 2.0 * share[2]) * n as f32 <= 24.5, "{share:?}");
    let drift = drawing(chip(), "drift");
    assert!(sheet(&drift, "cosine").values.iter().all(|cosine| cosine.abs() <= 1.0 + 1e-5));
    let still = drawing(chip().with("clustering", "random"), "drift");
    assert!(!still.missing.is_empty());
}

/// Paper 38: rows and columns are the two halves in another order, blocks hold as many keys as they should, samples stand
/// for all keys, and α is that of the exact map.
#[test]
fn hyper_sorts_the_halves() {
    let chip = || Chip::new("hyper_attention").with("n_min", 16.0).with("block", 8.0).with("samples", 8.0);
    let sorted = drawing(chip(), "sorted");
    let grid = &sorted.grid;
    let place = |label: &String| label.split(' ').next().unwrap().parse::<usize>().unwrap();
    let (mut queries, mut keys): (Vec<_>, Vec<_>) =
        (grid.down.labels.iter().map(place).collect(), grid.across.labels.iter().map(place).collect());
    queries.sort_unstable();
    keys.sort_unstable();
    assert!(
        queries.iter().enumerate().all(|(at, token)| *token == keys.len() + at)
            && keys.iter().enumerate().all(|(at, k)| *k == at)
    );
    let (block, counts) = (&sheet(&sorted, "block").values, &sheet(&sorted, "counts").values);
    let width = keys.len();
    let mut sampled = vec![None; width];
    for (row, cells) in block.chunks(width).enumerate() {
        let inside = cells.iter().filter(|cell| **cell == 1.0).count();
        assert!((1..=8).contains(&inside), "row {row} has {inside} keys in its block");
        // In sorted order a block is one run of keys.
        let runs = cells.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(runs <= 2, "row {row}");
        for (key, cell) in cells.iter().enumerate() {
            let count = counts[row * width + key];
            match cell {
                1.0 => assert_eq!(count, 1.0),
                _ => assert_eq!(*sampled[key].get_or_insert(count), count, "a sample counts the same for all rows"),
            }
        }
    }
    let all: f32 = sampled.iter().flatten().sum();
    assert!((all - width as f32).abs() < 1e-3, "samples stand for {all} of {width} keys");
    let captured = drawing(chip(), "captured");
    let queries_of = sheet(&captured, "queries").values.clone();
    let (blocks, both) = queries_of.split_at(10);
    assert_eq!(
        (blocks.iter().sum::<f32>() as usize, both.iter().sum::<f32>() as usize),
        (queries.len(), queries.len())
    );
    assert!(fact(&captured, "both") >= fact(&captured, "block"));
    // In the first layer both panes have the same queries and keys, so the exact map is that of pane A.
    let mut engine = engine();
    let experiment = experiment(chip());
    let outcome = block_on(engine.run(&experiment, async || false)).unwrap();
    let n = outcome.tokens.len();
    let pattern = &outcome.panes[0].arrays[arrays::PATTERN].data;
    let found = ask(&mut engine, &experiment, "exhibits");
    let heads = found.exhibits.iter().find(|exhibit| exhibit.id == "hyper_attention.heads").unwrap();
    for head in 0..HEADS {
        let at = |query: usize, key: usize| pattern[(head * n + query) * n + key];
        let column = |key: usize| (key..n).map(|query| at(query, key).powi(2)).sum::<f32>();
        let alpha = n as f32 * (0..n).map(column).fold(0.0, f32::max);
        let drawn = sheet(heads, "alpha").values[head];
        assert!((drawn - alpha).abs() < 1e-3 * alpha, "{drawn} {alpha}");
    }
}
