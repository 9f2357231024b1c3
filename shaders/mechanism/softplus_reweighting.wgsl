// softplus_reweighting: keys below the average weight are dropped, the rest is sharpened.
//
// Computes  A = softplus(ℓ · cos) / Σ, or another positive map of the score over its sum; then
//           w = (max(n·A - O, 0) / its maximum)^power over Σ w
// Twin      src/mechanism/softplus_reweighting.rs
#import row

const softplus_reweighting_rounds: u32 = 3u;
const softplus_reweighting_epsilon: f32 = 1e-8;
const softplus_reweighting_flat: f32 = 1e-6;

// The cosine of LSSA, the score itself for all other operators.
fn softplus_reweighting_enter(p: SoftplusReweightingParams, at: Row, key_start: u32, s: f32) -> f32 {
    if (p.operator_word != softplus_reweighting_operator_lssa && p.operator_word != softplus_reweighting_operator_lssar) {
        return s;
    }
    var q_square = 0.0;
    var k_square = 0.0;
    for (var d = 0u; d < at.width; d++) {
        let entry = key_entry(key_start + d);
        q_square += query_row[d] * query_row[d];
        k_square += entry * entry;
    }
    return s / (max(sqrt(q_square) * sqrt(k_square), softplus_reweighting_epsilon) * at.scale);
}

// ln(1 + exp(x)). The logarithm of one and a little would lose the little: ln(1 + e) = 2·artanh(z), z = e / (2 + e) ≤ 1/3,
// whose series is exact to f32 after eight terms.
fn softplus_reweighting_softplus(x: f32) -> f32 {
    let e = exp(-abs(x));
    let z = e / (2.0 + e);
    let z2 = z * z;
    var series = 1.0 / 15.0;
    for (var odd = 13.0; odd > 0.0; odd -= 2.0) {
        series = series * z2 + 1.0 / odd;
    }
    return max(x, 0.0) + 2.0 * z * series;
}

fn softplus_reweighting_map(p: SoftplusReweightingParams, at: Row, x: f32, fold: Fold) -> f32 {
    switch p.operator_word {
        case softplus_reweighting_operator_softmax, softplus_reweighting_operator_softmax_reweighted: {
            return exp(x - fold.max);
        }
        case softplus_reweighting_operator_lssa, softplus_reweighting_operator_lssar: {
            let width = f32(at.width);
            var l = 1.0 / sqrt(width);
            if (p.length_scale_word == softplus_reweighting_length_scale_ln_d_ln_n) {
                l = log(width) * log(fold.count);
            } else if (p.length_scale_word == softplus_reweighting_length_scale_ln_d_ln_train_length) {
                l = log(width) * log(f32(p.train_length));
            }
            return softplus_reweighting_softplus(x * l);
        }
        case softplus_reweighting_operator_softplus_l1: {
            return softplus_reweighting_softplus(x);
        }
        case softplus_reweighting_operator_relu_l1: {
            return max(x, 0.0);
        }
        default: {
            // exp of something that is not positive never overflows.
            let e = exp(-abs(x));
            return select(e, 1.0, x >= 0.0) / (1.0 + e);
        }
    }
}

fn softplus_reweighting_step(p: SoftplusReweightingParams, at: Row, round: u32, x: f32, fold: Fold) -> f32 {
    let reweighted = p.operator_word == softplus_reweighting_operator_lssar
        || p.operator_word == softplus_reweighting_operator_softmax_reweighted;
    if (round == 0u) {
        return softplus_reweighting_map(p, at, x, fold);
    }
    if (round == 2u) {
        return select(x, x / (fold.sum + softplus_reweighting_epsilon), reweighted);
    }
    if (p.operator_word == softplus_reweighting_operator_sigmoid) {
        return x;
    }
    let exact = p.operator_word == softplus_reweighting_operator_softmax
        || p.operator_word == softplus_reweighting_operator_softmax_reweighted;
    let sum = fold.sum + select(softplus_reweighting_epsilon, 0.0, exact);
    let a = x / sum;
    if (!reweighted) {
        return a;
    }
    let o = select(0.0, 1.0, p.shift != 0u && fold.count > 3.5);
    let m = max(fold.max / sum * fold.count - o, 0.0);
    if (m < softplus_reweighting_flat) {
        return a;
    }
    // Squares and products, not exp and log, whose error the power would multiply.
    var w = 1.0;
    var square = max(a * fold.count - o, 0.0) / m;
    for (var rest = u32(p.power); rest > 0u; rest = rest >> 1u) {
        if ((rest & 1u) != 0u) {
            w *= square;
        }
        square *= square;
    }
    return w;
}

fn softplus_reweighting_slot(p: SoftplusReweightingParams, at: Row) -> f32 {
    return MASKED;
}

fn softplus_reweighting_slot_weight(p: SoftplusReweightingParams, at: Row, slot: f32) -> f32 {
    return 0.0;
}

fn softplus_reweighting_slot_value(p: SoftplusReweightingParams, at: Row, d: u32) -> f32 {
    return 0.0;
}
