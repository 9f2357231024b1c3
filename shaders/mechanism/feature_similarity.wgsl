// feature_similarity: weights without an exponential.
//
// Computes  x = s + scale · (f(q)·f(k) - q·k), f the identity, elu + 1 or an MLP; x, x / (Σ x + 1e-8) or x / max(|Σ x|, 1)
// Twin      src/mechanism/feature_similarity.rs
#import row

const feature_similarity_rounds: u32 = 2u;
const feature_similarity_epsilon: f32 = 1e-8;

// f(q)·f(k) of the MLP is a sum over its hidden entries of max(w_in·k, 0) and a factor that is one for the whole row:
// the transposed w_out on f(q). So a key costs one product with w_in, and nothing has to be stored per key.
var<workgroup> feature_similarity_factor: array<f32, MOST_WIDTH>; // holds the hidden entries of q before
var<workgroup> feature_similarity_feature: array<f32, MOST_WIDTH>; // f(q)

fn feature_similarity_is_mlp(p: FeatureSimilarityParams) -> bool {
    return p.operator_word == feature_similarity_operator_mlp
        || p.operator_word == feature_similarity_operator_mlp_normalised;
}

fn feature_similarity_prepare(p: FeatureSimilarityParams, at: Row, lane: u32) {
    if (!feature_similarity_is_mlp(p)) {
        return;
    }
    let scale = sqrt(2.0) / f32(at.width);
    for (var e = lane; e < at.width; e += LANES) {
        var hidden = 0.0;
        for (var d = 0u; d < at.width; d++) {
            hidden += feature_similarity_w_in[e * at.width + d] * query_row[d];
        }
        feature_similarity_factor[e] = max(hidden, 0.0);
    }
    workgroupBarrier();
    for (var d = lane; d < at.width; d += LANES) {
        var feature = 0.0;
        for (var e = 0u; e < at.width; e++) {
            feature += feature_similarity_w_out[d * at.width + e] * feature_similarity_factor[e];
        }
        feature_similarity_feature[d] = feature * scale;
    }
    workgroupBarrier();
    for (var e = lane; e < at.width; e += LANES) {
        var factor = 0.0;
        for (var d = 0u; d < at.width; d++) {
            factor += feature_similarity_w_out[d * at.width + e] * feature_similarity_feature[d];
        }
        feature_similarity_factor[e] = factor * scale;
    }
}

fn feature_similarity_elu(a: f32) -> f32 {
    return exp(min(a, 0.0)) + max(a, 0.0);
}

fn feature_similarity_enter(p: FeatureSimilarityParams, at: Row, key_start: u32, s: f32) -> f32 {
    let is_elu = p.operator_word == feature_similarity_operator_elu
        || p.operator_word == feature_similarity_operator_elu_normalised;
    if (!is_elu && !feature_similarity_is_mlp(p)) {
        return s;
    }
    var plain = 0.0;
    var features = 0.0;
    for (var d = 0u; d < at.width; d++) {
        let entry = key_entry(key_start + d);
        plain += query_row[d] * entry;
        features += feature_similarity_elu(query_row[d]) * feature_similarity_elu(entry);
    }
    if (is_elu) {
        return s + (features - plain) * at.scale;
    }
    features = 0.0;
    for (var e = 0u; e < at.width; e++) {
        var hidden = 0.0;
        for (var d = 0u; d < at.width; d++) {
            hidden += feature_similarity_w_in[e * at.width + d] * key_entry(key_start + d);
        }
        features += max(hidden, 0.0) * feature_similarity_factor[e];
    }
    return s + (features - plain) * at.scale;
}

fn feature_similarity_step(p: FeatureSimilarityParams, at: Row, round: u32, x: f32, fold: Fold) -> f32 {
    switch p.operator_word {
        case feature_similarity_operator_softmax: {
            if (round == 0u) {
                return exp(x - fold.max);
            }
            return x / fold.sum;
        }
        case feature_similarity_operator_elu_normalised: {
            return select(x, x / (fold.sum + feature_similarity_epsilon), round == 1u);
        }
        case feature_similarity_operator_linear_normalised, feature_similarity_operator_mlp_normalised: {
            return select(x, x / max(abs(fold.sum), 1.0), round == 1u);
        }
        default: {
            return x;
        }
    }
}

fn feature_similarity_slot(p: FeatureSimilarityParams, at: Row) -> f32 {
    return MASKED;
}

fn feature_similarity_slot_weight(p: FeatureSimilarityParams, at: Row, slot: f32) -> f32 {
    return 0.0;
}

fn feature_similarity_slot_value(p: FeatureSimilarityParams, at: Row, d: u32) -> f32 {
    return 0.0;
}
