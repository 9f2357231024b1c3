// echo_att: a layer takes over the pattern of an earlier one.
//
// Computes  the weight that the leader gave to this pair, in the same or in the most alike head
// Twin      src/mechanism/echo_att.rs
#import masked
#import pair
#import reduce

// The leader's row that a row takes over.
fn echo_att_source(p: EchoAttParams, q_row: u32) -> u32 {
    if (p.heads_word == echo_att_heads_same_index) {
        return q_row;
    }
    let head = q_row / shape.queries % shape.heads;
    let place = echo_att_matches[head / 4u][head % 4u];
    let other = min(u32(place * f32(shape.heads)), shape.heads - 1u);
    return q_row + other * shape.queries - head * shape.queries;
}

fn echo_att_rework(p: EchoAttParams, at: Pair, q_row: u32, k_row: u32, w: f32, fold: Fold) -> f32 {
    let pairs = shape.batch * shape.heads * shape.queries * shape.keys;
    return echo_att_kept[pairs + echo_att_source(p, q_row) * shape.keys + at.key];
}

fn echo_att_rework_slot(p: EchoAttParams, q_row: u32, w: f32) -> f32 {
    let pairs = shape.batch * shape.heads * shape.queries * shape.keys;
    return echo_att_kept[2u * pairs + echo_att_source(p, q_row)];
}
