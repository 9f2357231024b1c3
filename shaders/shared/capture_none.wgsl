// capture_none: the lean variant of a row kernel, which writes nothing but its result.
fn capture_score(pair_index: u32, score: f32) {}

fn capture_weight(pair_index: u32, pairs: u32, weight: f32) {}

fn capture_slot(row_index: u32, pairs: u32, slot_weight: f32) {}
