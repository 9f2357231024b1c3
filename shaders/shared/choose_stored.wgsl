// choose_stored: what a selector chose, as log-weights; MASKED for pairs it drops.
@group(0) @binding(7) var<storage, read> chosen: array<f32>; // [B,H,Q,K]

fn chosen_weight(pair_index: u32) -> f32 {
    return chosen[pair_index];
}
