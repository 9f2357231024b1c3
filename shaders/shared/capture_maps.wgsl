// capture_maps: the capture variant of a row kernel.
//
// maps holds scores and then pattern, in one buffer so that a normalizer's own inputs still fit into eight bindings; pairs
// that are not kept hold MASKED in both. rows holds the slot's weight, the largest score and the last sum of each row.
@group(0) @binding(5) var<storage, read_write> maps: array<f32>; // [2,B,H,Q,K]
@group(0) @binding(6) var<storage, read_write> rows: array<f32>; // [B,H,Q,3]

fn capture_score(pair_index: u32, score: f32) {
    maps[pair_index] = score;
}

fn capture_weight(pair_index: u32, pairs: u32, weight: f32) {
    maps[pairs + pair_index] = weight;
}

fn capture_row(row_index: u32, slot_weight: f32, max_score: f32, total: f32) {
    rows[row_index * 3u] = slot_weight;
    rows[row_index * 3u + 1u] = max_score;
    rows[row_index * 3u + 2u] = total;
}
