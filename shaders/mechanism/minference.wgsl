// minference: a sparse shape for every head.
//
// Computes  0 for pairs in the head's shape (first keys and a window, columns and diagonals, or blocks), else MASKED
// Twin      src/mechanism/minference.rs
#import head
#import masked
#import pair
#import token

const minference_forced_columns: u32 = 4u;
const minference_forced_offsets: u32 = 8u;
const minference_fewest: u32 = 4u;
const minference_candidates: u32 = 6u;

fn minference_keys_per_row(p: MinferenceParams) -> u32 {
    let n = shape.keys;
    let allowed = u32(p.budget * f32(n * (n + 1u) / 2u));
    var t = 0u;
    for (var bit = 2048u; bit > 0u; bit = bit >> 1u) {
        let next = t | bit;
        if (next <= n && n * next - next * (next - 1u) / 2u <= allowed) {
            t = next;
        }
    }
    return max(t, 1u);
}

fn minference_part(share: f32, t: u32) -> u32 {
    return u32(share * f32(t) + 0.5);
}

fn minference_candidate(head: u32) -> u32 {
    return min(u32(minference_shapes[head / 4u][head % 4u] * f32(minference_candidates)), minference_candidates - 1u);
}

fn minference_pattern(p: MinferenceParams, head: u32) -> u32 {
    if (p.pattern_word != minference_pattern_auto) {
        return p.pattern_word;
    }
    let candidate = minference_candidate(head);
    if (candidate == 0u) {
        return minference_pattern_a_shape;
    }
    return select(minference_pattern_vertical_slash, minference_pattern_block, candidate == minference_candidates - 1u);
}

fn minference_share(p: MinferenceParams, head: u32) -> f32 {
    if (p.pattern_word != minference_pattern_auto) {
        return p.split;
    }
    switch minference_candidate(head) {
        case 0u: { return 0.2; }
        case 1u: { return 0.015; }
        case 2u: { return 0.05; }
        case 3u: { return 0.25; }
        default: { return 0.94; }
    }
}

// Maximum of a row, then the sum of its exponentials; only of rows that are looked at.
fn minference_peak(p: MinferenceParams, at: Token, c: u32, other: u32) -> f32 {
    let row = at.row * shape.keys;
    if (at.row - at.q_rows + u32(p.last_queries) < shape.queries) {
        return 0.0;
    }
    var most = MASKED;
    for (var key = 0u; key < shape.keys; key++) {
        most = max(most, minference_dense[row + key]);
    }
    if (c == 0u) {
        return most;
    }
    var sum = 0.0;
    for (var key = 0u; key < shape.keys; key++) {
        let score = minference_dense[row + key];
        sum += select(exp(score - most), 0.0, score == MASKED);
    }
    return sum;
}

// Weight that one of the last queries gives a column (c = 0) or an offset (c = 1).
fn minference_weigh(p: MinferenceParams, at: Token, c: u32, other: u32) -> f32 {
    let looked = min(u32(p.last_queries), shape.queries);
    let i = shape.queries - looked + other;
    if (other >= looked || at.position > shape.first_query + i) {
        return 0.0;
    }
    let q_row = at.q_rows + i;
    let key = select(at.position, shape.first_query + i - at.position, c == 1u);
    let score = minference_dense[q_row * shape.keys + key];
    if (score == MASKED) {
        return 0.0;
    }
    return exp(score - minference_peaks[q_row * 2u]) / minference_peaks[q_row * 2u + 1u];
}

fn minference_blocks_of(p: MinferenceParams) -> u32 {
    return (shape.keys + u32(p.block) - 1u) / u32(p.block);
}

// Scores between query block `row` and key block c.
fn minference_pool(p: MinferenceParams, at: Token, c: u32, other: u32) -> f32 {
    let block = u32(p.block);
    let row = at.row - at.q_rows;
    let i = row * block + other / block;
    let j = c * block + other % block;
    if (i >= shape.queries || c >= row || row >= minference_blocks_of(p)) {
        return 0.0;
    }
    let score = minference_dense[(at.q_rows + i) * shape.keys + j];
    return select(score, 0.0, score == MASKED);
}

// Lists: columns, offsets, then for each query block its key blocks.
fn minference_rank(p: MinferenceParams, at: Head, list: u32, item: u32, k_row: u32) -> f32 {
    if (list < 2u) {
        let forced = select(minference_forced_columns, minference_forced_offsets, list == 1u);
        if (item < forced) {
            return 1000.0 + f32(forced - item);
        }
        return minference_sums[k_row * 2u + list];
    }
    let row = list - 2u;
    if (item > row || row >= shape.queries) {
        return MASKED;
    }
    if (item == row) {
        return 1e20;
    }
    return minference_blocks[(k_row / shape.keys * shape.queries + row) * minference_blocks_of(p) + item];
}

fn minference_quota(p: MinferenceParams, at: Head, list: u32) -> u32 {
    let t = minference_keys_per_row(p);
    if (list > 1u) {
        return max(t / u32(p.block), 1u);
    }
    let columns = min(max(minference_part(minference_share(p, at.head), t), minference_fewest), shape.keys);
    let offsets = min(max(t - min(columns, t), minference_fewest), shape.keys);
    return select(columns, offsets, list == 1u);
}

fn minference_listed(p: MinferenceParams, batch_head: u32, list: u32, item: u32) -> bool {
    return minference_tops[(batch_head * (2u + minference_blocks_of(p)) + list) * shape.keys + item] > 0.5;
}

// Whether the kernel loads this key for query block c.
fn minference_load(p: MinferenceParams, at: Token, c: u32, other: u32) -> f32 {
    let block = u32(p.block);
    let above = (c + 1u) * block;
    var end = 0u;
    for (var offset = min(above, shape.keys); offset > 0u; offset--) {
        if (!minference_listed(p, at.k_rows / shape.keys, 1u, offset - 1u)) {
            continue;
        }
        let tile = max(above + 1u - offset, block);
        if (end > 0u && tile <= end) {
            continue;
        }
        end = select(tile, end + block, end > 0u && tile <= end + block);
        if (at.position < end && at.position + block >= end) {
            return 1.0;
        }
    }
    return 0.0;
}

fn minference_in_band(p: MinferenceParams, at: Pair) -> bool {
    let t = minference_keys_per_row(p);
    let first = min(minference_part(minference_share(p, at.head), t), t - 1u);
    return at.key < first || at.query - at.key < t - first;
}

fn minference_everything(p: MinferenceParams) -> bool {
    return shape.first_query > 0u || minference_keys_per_row(p) == shape.keys;
}

fn minference_band(p: MinferenceParams, at: Pair, q_row: u32, k_row: u32) -> f32 {
    return select(MASKED, 0.0, minference_everything(p) || minference_in_band(p, at));
}

// Whether a shape that does not ask for diagonals, or a column, keeps the pair.
fn minference_kept(p: MinferenceParams, at: Pair, batch_head: u32) -> bool {
    if (minference_everything(p)) {
        return true;
    }
    let pattern = minference_pattern(p, at.head);
    if (pattern == minference_pattern_a_shape) {
        return minference_in_band(p, at);
    }
    if (pattern == minference_pattern_block) {
        return minference_listed(p, batch_head, 2u + at.query / u32(p.block), at.key / u32(p.block));
    }
    return minference_listed(p, batch_head, 0u, at.key);
}

fn minference_slashes(p: MinferenceParams, at: Pair) -> bool {
    return minference_pattern(p, at.head) == minference_pattern_vertical_slash;
}

fn minference_choose(p: MinferenceParams, at: Pair, q_row: u32, k_row: u32) -> f32 {
    let batch_head = k_row / shape.keys;
    let slash = minference_slashes(p, at) && minference_listed(p, batch_head, 1u, at.query - at.key);
    return select(MASKED, 0.0, slash || minference_kept(p, at, batch_head));
}

fn minference_choose_tiles(p: MinferenceParams, at: Pair, q_row: u32, k_row: u32) -> f32 {
    let loaded = minference_loaded[k_row * minference_blocks_of(p) + at.query / u32(p.block)] > 0.5;
    return select(MASKED, 0.0, (minference_slashes(p, at) && loaded) || minference_kept(p, at, k_row / shape.keys));
}
