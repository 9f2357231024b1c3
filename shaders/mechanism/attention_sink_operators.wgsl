// attention_sink_operators: where weight goes that no key needs.
//
// Computes  softmax with a slot of logit b = scale · q·k_star + bias_logit and value value_scale · v_star; or σ(s); or
//           elu(s) + 1; the last two divided by their sum or not
// Twin      src/mechanism/attention_sink_operators.rs
#import row

const attention_sink_operators_rounds: u32 = 2u;
const attention_sink_operators_epsilon: f32 = 1e-8;

fn attention_sink_operators_bias(p: AttentionSinkOperatorsParams, at: Row, d: u32) -> u32 {
    return select(at.head, 0u, p.head_shared != 0u) * at.width + d;
}

fn attention_sink_operators_slot(p: AttentionSinkOperatorsParams, at: Row) -> f32 {
    if (p.operator_word != attention_sink_operators_operator_key_bias
        && p.operator_word != attention_sink_operators_operator_key_value_bias) {
        return MASKED;
    }
    var b = 0.0;
    for (var d = 0u; d < at.width; d++) {
        b += query_row[d] * attention_sink_operators_k_star[attention_sink_operators_bias(p, at, d)];
    }
    return b * at.scale + p.bias_logit;
}

fn attention_sink_operators_step(p: AttentionSinkOperatorsParams, at: Row, round: u32, x: f32, fold: Fold) -> f32 {
    switch p.operator_word {
        case attention_sink_operators_operator_sigmoid, attention_sink_operators_operator_sigmoid_normalised: {
            if (round == 0u) {
                // exp of something that is not positive never overflows.
                let e = exp(-abs(x));
                return select(e, 1.0, x >= 0.0) / (1.0 + e);
            }
            let sum = fold.sum + attention_sink_operators_epsilon;
            return select(x, x / sum, p.operator_word == attention_sink_operators_operator_sigmoid_normalised);
        }
        case attention_sink_operators_operator_elu, attention_sink_operators_operator_elu_normalised: {
            if (round == 0u) {
                return exp(min(x, 0.0)) + max(x, 0.0);
            }
            let sum = fold.sum + attention_sink_operators_epsilon;
            return select(x, x / sum, p.operator_word == attention_sink_operators_operator_elu_normalised);
        }
        default: {
            if (round == 0u) {
                return exp(x - fold.max);
            }
            return x / fold.sum;
        }
    }
}

fn attention_sink_operators_slot_weight(p: AttentionSinkOperatorsParams, at: Row, slot: f32) -> f32 {
    switch p.operator_word {
        case attention_sink_operators_operator_key_bias, attention_sink_operators_operator_key_value_bias: {
            return slot;
        }
        case attention_sink_operators_operator_value_bias: {
            return 1.0;
        }
        default: {
            return 0.0;
        }
    }
}

fn attention_sink_operators_slot_value(p: AttentionSinkOperatorsParams, at: Row, d: u32) -> f32 {
    let value = attention_sink_operators_v_star[attention_sink_operators_bias(p, at, d)] * p.value_scale;
    return select(value, 0.0, p.operator_word == attention_sink_operators_operator_key_bias);
}
