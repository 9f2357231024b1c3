// choose_all: no selector; every pair that masks keep counts once.
fn chosen_weight(pair_index: u32) -> f32 {
    return 0.0;
}
