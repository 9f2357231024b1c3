// hyper_attention: sorted blocks and a sample of the rest.
//
// Computes  per pair, the level at which the halves of its query and key part; there log of 1 inside the query's block and
//           of count · n/m outside; 0 where attention is exact
// Twin      src/mechanism/hyper_attention.rs
#import masked
#import pair
#import token

const hyper_attention_most_bits: u32 = 10u;
const hyper_attention_most_samples: u32 = 512u;
const hyper_attention_most_positions: u32 = 2048u;

// How often the longest part is halved until it is exact; at least once.
fn hyper_attention_levels(p: HyperAttentionParams) -> u32 {
    var tokens = (shape.keys + 1u) / 2u;
    var levels = 1u;
    while (tokens > u32(p.n_min)) {
        tokens = (tokens + 1u) / 2u;
        levels += 1u;
    }
    return levels;
}

fn hyper_attention_rank(p: HyperAttentionParams, code: u32) -> u32 {
    if (p.gray_word == hyper_attention_gray_reference) {
        return code ^ (code >> 1u);
    }
    var g = code;
    for (var shift = 1u; shift <= 8u; shift *= 2u) {
        g ^= g >> shift;
    }
    return g;
}

// What queries and keys are sorted by.
fn hyper_attention_place(p: HyperAttentionParams, at: Token, c: u32) -> f32 {
    if (p.order_word == hyper_attention_order_random) {
        let place = at.position + select(hyper_attention_most_positions / 2u, 0u, at.is_key);
        return hyper_attention_shuffle[place % hyper_attention_most_positions];
    }
    var code = 0u;
    for (var bit = 0u; bit < u32(p.bits); bit++) {
        var sum = 0.0;
        for (var d = 0u; d < at.width; d++) {
            sum += token_row[d] * hyper_attention_directions[d * hyper_attention_most_bits + bit];
        }
        code |= select(0u, 1u << bit, sum > 0.0);
    }
    return f32(hyper_attention_rank(p, code));
}

// Start, middle and end of the part of the sequence that holds a position after `level` halvings; 0 where it is exact.
fn hyper_attention_part(p: HyperAttentionParams, position: u32, keys: u32, level: u32) -> vec3<u32> {
    var start = 0u;
    var end = keys;
    for (var step = 0u; step <= level; step++) {
        if (end - start <= u32(p.n_min)) {
            return vec3<u32>(0u, 0u, 0u);
        }
        let middle = start + (end - start + 1u) / 2u;
        if (step == level) {
            return vec3<u32>(start, middle, end);
        }
        if (position < middle) {
            end = middle;
        } else {
            start = middle;
        }
    }
    return vec3<u32>(0u, 0u, 0u);
}

// Whether another token of the same half stands before this one in the sorted order.
fn hyper_attention_before(p: HyperAttentionParams, at: Token, level: u32, other: u32) -> f32 {
    let part = hyper_attention_part(p, at.position, at.keys, level);
    var mine = 0.0;
    var theirs = 0.0;
    if (at.is_key) {
        if (at.position >= part.y || other < part.x || other >= part.y) {
            return 0.0;
        }
        mine = hyper_attention_k_place[at.row];
        theirs = hyper_attention_k_place[at.k_rows + other];
    } else {
        if (at.position < part.y || other < max(part.y, at.first_query) || other >= part.z) {
            return 0.0;
        }
        mine = hyper_attention_q_place[at.row];
        theirs = hyper_attention_q_place[at.q_rows + other - at.first_query];
    }
    return select(0.0, 1.0, theirs < mine || (theirs == mine && other < at.position));
}

// Whether a draw hits this key.
fn hyper_attention_drawn(p: HyperAttentionParams, at: Token, level: u32, other: u32) -> f32 {
    let part = hyper_attention_part(p, at.position, at.keys, level);
    if (at.position >= part.y || other >= u32(p.samples)) {
        return 0.0;
    }
    let keys = part.y - part.x;
    let draw = hyper_attention_draws[at.head * hyper_attention_most_samples + other];
    let place = u32(hyper_attention_k_order[at.row * hyper_attention_levels(p) + level]);
    return select(0.0, 1.0, min(u32(draw * f32(keys)), keys - 1u) == place);
}

fn hyper_attention_choose(p: HyperAttentionParams, at: Pair, q_row: u32, k_row: u32) -> f32 {
    var start = 0u;
    var middle = 0u;
    var end = shape.keys;
    var level = 0u;
    loop {
        if (end - start <= u32(p.n_min)) {
            return 0.0;
        }
        middle = start + (end - start + 1u) / 2u;
        if (at.query < middle) {
            end = middle;
        } else if (at.key >= middle) {
            start = middle;
        } else {
            break;
        }
        level += 1u;
    }
    let padded = (end - start) % 2u;
    let queries = end - max(middle, shape.first_query) + padded;
    let keys = middle - start;
    let blocks = (keys + u32(p.block) - 1u) / u32(p.block);
    if (queries < u32(p.n_min) || blocks < 2u) {
        return 0.0;
    }
    let zero_before = padded != 0u && p.order_word != hyper_attention_order_random && hyper_attention_q_place[q_row] > 0.0;
    let q_place = u32(hyper_attention_q_order[q_row * hyper_attention_levels(p) + level]) + select(0u, 1u, zero_before);
    let k_entry = k_row * hyper_attention_levels(p) + level;
    let own = q_place / ((queries + blocks - 1u) / blocks) == u32(hyper_attention_k_order[k_entry]) / u32(p.block);
    let counted = hyper_attention_k_drawn[k_entry] * (f32(keys) / f32(max(p.samples, 1)));
    let again = select(0.0, counted, p.own_block_word == hyper_attention_own_block_counted);
    let weight = select(counted, 1.0 + again, own);
    return select(MASKED, log(max(weight, 1e-30)), weight > 0.0);
}
