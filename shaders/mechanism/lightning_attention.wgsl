// lightning_attention: a fading sum instead of a softmax.
//
// Computes  λ^(t-s) · q·k with λ = exp(-a) of each head, over the root mean square of the token's output; or softmax
// Twin      src/mechanism/lightning_attention.rs
#import head
#import pair
#import row

const lightning_attention_rounds: u32 = 2u;

// 2^-8(h+1)/P for the heads of the largest power of two P, then every second slope of 2P heads.
fn lightning_attention_slope(head: u32, heads: u32) -> f32 {
    let most = 1u << firstLeadingBit(heads);
    let early = 8.0 * f32(head + 1u) / f32(most);
    let late = 8.0 * (2.0 * f32(head - min(head, most)) + 1.0) / (2.0 * f32(most));
    return exp2(-select(late, early, head < most));
}

// a = -ln λ
fn lightning_attention_rate(p: LightningAttentionParams, at: Head) -> f32 {
    switch p.decay_word {
        case lightning_attention_decay_code: {
            let depth = f32(at.layer) / max(f32(at.layers) - 1.0, 1.0);
            return lightning_attention_slope(at.head, at.heads) * (1.0 - depth + 1e-5);
        }
        case lightning_attention_decay_paper: {
            return 8.0 * f32(at.head + 1u) / f32(at.heads) * (1.0 - f32(at.layer) / f32(at.layers));
        }
        default: {
            return 0.0;
        }
    }
}

// λ^steps
fn lightning_attention_carry(p: LightningAttentionParams, at: Head, steps: u32) -> f32 {
    return exp(-lightning_attention_rate(p, at) * f32(steps));
}

// The scores of the step are scaled; these weights are not.
fn lightning_attention_weight(p: LightningAttentionParams, at: Pair, q_row: u32, k_row: u32, s: f32) -> f32 {
    if (p.operator_word == lightning_attention_operator_softmax) {
        return s;
    }
    let head = Head(at.layer, at.layers, at.head, at.heads);
    return s / shape.scale * lightning_attention_carry(p, head, at.query - at.key);
}

// The weight as the norm leaves it: what a view shows.
fn lightning_attention_normed(p: LightningAttentionParams, at: Pair, q_row: u32, k_row: u32, s: f32) -> f32 {
    return lightning_attention_weight(p, at, q_row, k_row, s) / lightning_attention_scale[q_row];
}

fn lightning_attention_step(p: LightningAttentionParams, at: Row, round: u32, x: f32, fold: Fold) -> f32 {
    if (p.operator_word != lightning_attention_operator_softmax) {
        return x;
    }
    if (round == 0u) {
        return exp(x - fold.max);
    }
    return x / fold.sum;
}

fn lightning_attention_epsilon(p: LightningAttentionParams) -> f32 {
    return 1e-6;
}
