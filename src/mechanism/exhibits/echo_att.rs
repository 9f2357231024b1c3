//! Paper 14: how alike layers are, what a follower would have looked at, what is saved, and copies of layers that are not
//! alike.

use super::scene::error;
use super::{Offer, Scene, drawn, fact, grid, marks, missing, of_pairs, shares, sheet};
use crate::Result;
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::finding::Axis;
use crate::mechanism::Stack;
use crate::mechanism::echo_att::{BLOCKS, EchoAttParams, PAIR, alike, chosen_leaders};
use crate::spec::Params;

/// What it draws.
pub const ALL: &[Offer] = &[
    Offer::new(
        "similarity",
        "How alike the layers are",
        Drawn::Cells,
        similarity,
        "Mean cosine of the patterns of two layers on calibration texts, as the controls compare them. Outlined: a layer that \
         echoes, and its leader.",
    ),
    Offer::new(
        "copied",
        "What the pinned head would look at, and what it takes over",
        Drawn::Maps,
        copied,
        "The pinned head in a layer that echoes: from its own queries and keys, in this pane, and in plain attention.",
    ),
    Offer::new(
        "saved",
        "What is saved",
        Drawn::Bars,
        saved,
        "Share of plain attention’s cache, of its operations per token and of its query and key weights that is still needed.",
    ),
    Offer::slow(
        "controls",
        "Copying what is alike, and what is not",
        Drawn::Cells,
        controls_frame,
        controls_row,
        "Loss on this prompt in nats per token above plain attention: without training, so this is the price of the raw copy.",
    ),
];

const UNMEASURED: &str = "The similarity of layers was not measured on this model.";

fn similarity(scene: &Scene<'_>) -> Result<Exhibit> {
    let p: EchoAttParams = scene.params();
    let Some(probed) = scene.probed else { return missing(UNMEASURED) };
    let values = alike(&p, probed, false).matrix();
    let leaders = chosen_leaders(&p, probed);
    let echoes = |(layer, leader): (usize, &usize)| {
        let leader = *leader;
        (0..scene.layers).map(move |other| leader != layer && other == leader)
    };
    let used = leaders.iter().enumerate().flat_map(echoes);
    let other = Axis { name: "other layer".into(), ..scene.layer_axis() };
    let sheets = vec![shares("cosine", "cosine", values), marks("used", "echo", used)];
    let mut grid = grid(scene.layer_axis(), other, sheets);
    let count = leaders.iter().enumerate().filter(|(layer, leader)| layer != *leader).count();
    grid.facts.push(fact("echoes", "Layers that echo", count as f32, "layers"));
    Ok(Exhibit { outlined: Some("used".into()), ..drawn(grid) })
}

fn copied(scene: &Scene<'_>) -> Result<Exhibit> {
    let p: EchoAttParams = scene.params();
    let Some(probed) = scene.probed else { return missing(UNMEASURED) };
    let (layer, head, n) = (scene.head.layer, scene.head.head, scene.tokens);
    let leaders = chosen_leaders(&p, probed);
    if leaders.get(layer) == Some(&layer) {
        let echoes: Vec<_> =
            leaders.iter().enumerate().filter(|(at, leader)| at != *leader).map(|(at, _)| format!("L{at}")).collect();
        return match echoes.is_empty() {
            true => missing("No layer echoes at this setting."),
            false => missing(&format!("L{layer} does not echo: pin a head of {}.", echoes.join(", "))),
        };
    }
    let exact = scene.exact(layer)?;
    let own = exact.pattern_of(head, n);
    let taken = scene.pattern(layer, head);
    let sheets = vec![
        shares("own", "its own", own.to_vec()),
        shares("taken", "taken over", taken.to_vec()),
        shares("plain", "plain attention", scene.plain_pattern(layer, head).to_vec()),
    ];
    let mut grid = of_pairs(scene, sheets);
    grid.facts.push(fact("leader", "Layer it takes over", leaders[layer] as f32, ""));
    grid.facts.push(fact("error", "‖taken over − its own‖ / ‖its own‖", error(taken, own), ""));
    Ok(drawn(grid))
}

fn saved(scene: &Scene<'_>) -> Result<Exhibit> {
    let config = scene.model.config();
    let price = |stack: &Stack| crate::engine::price(config, stack, scene.seed, scene.tokens);
    let (own, plain) = (price(scene.stack), price(&Stack::new("a", &[])?));
    let p: EchoAttParams = scene.params();
    let echoes = scene.probed.map_or(0, |probed| {
        chosen_leaders(&p, probed).iter().enumerate().filter(|(layer, leader)| layer != *leader).count()
    });
    let share = |own: usize, plain: usize| own as f32 / plain.max(1) as f32;
    let values = vec![
        share(own.kv_bytes, plain.kv_bytes),
        share(own.flops_per_token, plain.flops_per_token),
        share(scene.layers - echoes, scene.layers),
    ];
    let columns = Axis::new("of", ["cache", "operations per token", "W_Q and W_K"].map(String::from));
    let rows = Axis::new("pane", ["this pane".to_string()]);
    let mut grid = grid(rows, columns, vec![shares("share", "share of plain", values)]);
    let needless = echoes * config.width * config.head_width * (config.heads + config.kv_heads);
    grid.facts.push(fact("needless", "Weights of W_Q and W_K that echoes do without", needless as f32, ""));
    Ok(drawn(grid))
}

const CONTROLS: [&str; 6] =
    ["this pane", "most alike pair", "least alike pair", "blocks of 2", "blocks of 3", "blocks of 4"];

fn controls_frame(_: &Scene<'_>) -> Result<Exhibit> {
    let sheets = vec![sheet("loss", "loss above plain", "nats per token", vec![f32::NAN; CONTROLS.len()])];
    Ok(drawn(grid(Axis::new("copy", CONTROLS.map(String::from)), Axis::new("measure", ["Δ loss".into()]), sheets)))
}

/// The pair of inner layers that is most alike, or least; the later one follows.
fn pair(scene: &Scene<'_>, p: &EchoAttParams, most: bool) -> Option<(usize, usize)> {
    let alike = alike(p, scene.probed?, false);
    let (first, last) = (p.protect_first as usize, scene.layers.saturating_sub(p.protect_last as usize));
    let pairs = (first..last).flat_map(|leader| (leader + 1..last).map(move |follower| (leader, follower)));
    let by = |(leader, follower): &(usize, usize)| alike.layers(*leader, *follower);
    if most { pairs.max_by(|a, b| by(a).total_cmp(&by(b))) } else { pairs.min_by(|a, b| by(a).total_cmp(&by(b))) }
}

fn controls_row(scene: &Scene<'_>, row: usize) -> Result<Vec<Vec<f32>>> {
    let p: EchoAttParams = scene.params();
    let of_pair = |most: bool| {
        let (leader, follower) = pair(scene, &p, most)?;
        let (leader, follower) = (leader as i32, follower as i32);
        Some(scene.with(EchoAttParams { mode: PAIR, leader, follower, ..p.clone() }.values()))
    };
    let blocks = |block: i32| Some(scene.with(EchoAttParams { mode: BLOCKS, block, ..p.clone() }.values()));
    let stack = match row {
        0 => Some(scene.stack.clone()),
        1 => of_pair(true),
        2 => of_pair(false),
        row => blocks(row as i32 - 1),
    };
    let loss = stack.map(|stack| scene.loss(&stack)).transpose()?;
    Ok(vec![vec![loss.unwrap_or(f32::NAN) - scene.plain.loss().unwrap_or(f32::NAN)]])
}
