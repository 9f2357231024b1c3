// capture_maps: the capture variant of a row kernel.
//
// maps holds scores, then pattern, then what each row gives to its slot (zero without one): one buffer, so that a selector
// and a normalizer's own inputs still fit into eight bindings. Pairs that are not kept hold MASKED in both.
@group(0) @binding(5) var<storage, read_write> maps: array<f32>; // [2,B,H,Q,K] [B,H,Q]

fn capture_score(pair_index: u32, score: f32) {
    maps[pair_index] = score;
}

fn capture_weight(pair_index: u32, pairs: u32, weight: f32) {
    maps[pairs + pair_index] = weight;
}

fn capture_slot(row_index: u32, pairs: u32, slot_weight: f32) {
    maps[2u * pairs + row_index] = slot_weight;
}
