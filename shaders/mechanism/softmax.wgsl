// softmax: scores become a probability over keys.
//
// Computes  exp(s / temperature - m) / (Σ exp(s / temperature - m) + o); off_by_one is a slot of score 0 and value 0
// Twin      src/mechanism/softmax.rs
#import row

const softmax_rounds: u32 = 2u;

fn softmax_slot(p: SoftmaxParams, at: Row) -> f32 {
    return select(MASKED, 0.0, p.off_by_one != 0u);
}

fn softmax_step(p: SoftmaxParams, at: Row, round: u32, x: f32, fold: Fold) -> f32 {
    if (round == 0u) {
        // Division keeps order, so the maximum of the quotients is the quotient of the maximum.
        return exp(x / p.temperature - fold.max / p.temperature);
    }
    return x / fold.sum;
}

// What the row does not give away is not shown as a slot, as in the twin.
fn softmax_slot_weight(p: SoftmaxParams, at: Row, slot: f32) -> f32 {
    return 0.0;
}

fn softmax_slot_value(p: SoftmaxParams, at: Row, d: u32) -> f32 {
    return 0.0;
}

// In tiles the quotients are the exponents.
fn softmax_exponent(p: SoftmaxParams, x: f32) -> f32 {
    return x / p.temperature;
}

fn softmax_rest(p: SoftmaxParams) -> f32 {
    return select(MASKED, 0.0, p.off_by_one != 0u);
}
