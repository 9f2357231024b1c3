// scatterbrain: a sparse support and random features together.
//
// Computes  log Â = temperature · s on the support, log φ(q)·φ(k) elsewhere; then softmax
// Twin      src/mechanism/scatterbrain.rs
#import masked
#import pair
#import row
#import token

const scatterbrain_rounds: u32 = 2u;
const scatterbrain_stride: u32 = 32u;
const scatterbrain_floor: f32 = 1e-24;

// W·x, with both factors of the score folded into x.
fn scatterbrain_project(p: ScatterbrainParams, at: Token, c: u32) -> f32 {
    var sum = 0.0;
    for (var d = 0u; d < at.width; d++) {
        let entry = c * at.width + d;
        sum += token_row[d] * select(scatterbrain_independent[entry], scatterbrain_orthogonal[entry], p.orthogonal != 0u);
    }
    return sum * sqrt(p.temperature * at.scale);
}

fn scatterbrain_sum(at: Token, pairs: u32, c: u32) -> f32 {
    let entry = at.row * max(pairs, 1u) + c;
    if (at.is_key) {
        return scatterbrain_k_sums[entry];
    }
    return scatterbrain_q_sums[entry];
}

fn scatterbrain_bucket(p: ScatterbrainParams, at: Token, round: u32) -> f32 {
    let columns = u32(p.buckets) / 2u;
    var most = MASKED;
    var bucket = 0u;
    for (var column = 0u; column < 2u * columns; column++) {
        let row = round * scatterbrain_stride + column % columns;
        var sum = 0.0;
        for (var d = 0u; d < at.width; d++) {
            sum += token_row[d] * scatterbrain_directions[row * at.width + d];
        }
        let signed = select(-sum, sum, column < columns);
        if (signed > most) {
            most = signed;
            bucket = column;
        }
    }
    return f32(bucket);
}

// First the features, then their common logarithm, then the bucket of each round.
fn scatterbrain_entry(p: ScatterbrainParams, at: Token, c: u32) -> f32 {
    let features = u32(p.features);
    let pairs = features / 2u;
    if (c > features) {
        return scatterbrain_bucket(p, at, c - features - 1u);
    }
    var most = 0.0;
    for (var pair = 0u; pair < pairs; pair++) {
        most = max(most, abs(scatterbrain_sum(at, pairs, pair)));
    }
    if (c == features) {
        var square = 0.0;
        for (var d = 0u; d < at.width; d++) {
            square += token_row[d] * token_row[d];
        }
        return most - square * p.temperature * at.scale * 0.5;
    }
    let sum = scatterbrain_sum(at, pairs, c % max(pairs, 1u));
    return exp(select(-sum, sum, c < pairs) - most);
}

fn scatterbrain_exact(p: ScatterbrainParams, at: Pair, q_entries: u32, k_entries: u32) -> bool {
    switch p.support_word {
        case scatterbrain_support_local: {
            return at.query - at.key < u32(p.window);
        }
        case scatterbrain_support_lsh: {
            for (var round = 0u; round < u32(p.rounds); round++) {
                let entry = u32(p.features) + 1u + round;
                if (scatterbrain_q_entries[q_entries + entry] == scatterbrain_k_entries[k_entries + entry]) {
                    return true;
                }
            }
        }
        default: {}
    }
    return p.features == 0 && at.query == at.key;
}

fn scatterbrain_weight(p: ScatterbrainParams, at: Pair, q_row: u32, k_row: u32, s: f32) -> f32 {
    let features = u32(p.features);
    let count = features + 1u + u32(p.rounds);
    let q_entries = q_row * count;
    let k_entries = k_row * count;
    if (scatterbrain_exact(p, at, q_entries, k_entries)) {
        return s * p.temperature;
    }
    if (features == 0u) {
        return MASKED;
    }
    var sum = 0.0;
    for (var c = 0u; c < features; c++) {
        sum += scatterbrain_q_entries[q_entries + c] * scatterbrain_k_entries[k_entries + c];
    }
    let logs = scatterbrain_q_entries[q_entries + features] + scatterbrain_k_entries[k_entries + features];
    return log(max(sum, scatterbrain_floor)) + logs - log(f32(features));
}

fn scatterbrain_step(p: ScatterbrainParams, at: Row, round: u32, x: f32, fold: Fold) -> f32 {
    if (round == 0u) {
        return exp(x - fold.max);
    }
    return x / fold.sum;
}
