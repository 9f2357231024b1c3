// attention_calibration: sinks in the middle of a text are turned down.
//
// Computes  beta · w for a key that the rows which can see it look at more than τ on average, w · (1 + (1 - beta) · mass / rest)
//           for the others of a row
// Twin      src/mechanism/attention_calibration.rs
#import masked
#import pair
#import reduce

// Rows with less weight beside the sinks have nobody to give it to.
const attention_calibration_least_rest: f32 = 1e-6;

// A weight as the stack leaves it, for the sums of columns.
fn attention_calibration_column(p: AttentionCalibrationParams, at: Pair, q_row: u32, k_row: u32) -> f32 {
    let pairs = shape.batch * shape.heads * shape.queries * shape.keys;
    let w = attention_calibration_plain[pairs + q_row * shape.keys + at.key];
    return select(w, 0.0, w == MASKED);
}

// Whether the rows that can see this key look at it more than τ.
fn attention_calibration_found(p: AttentionCalibrationParams, at: Pair, q_row: u32, key: u32) -> bool {
    var row = (q_row / shape.queries + 1u) * shape.queries - 1u;
    var n = shape.keys;
    if (p.mode_word == attention_calibration_mode_prefix) {
        row = q_row;
        n = at.query + 1u;
    }
    let mean = attention_calibration_sums[row * shape.keys + key] / f32(n - key);
    let relative = p.threshold_word == attention_calibration_threshold_relative;
    return mean > select(p.tau, p.alpha / f32(n), relative);
}

fn attention_calibration_sink(p: AttentionCalibrationParams, at: Pair, q_row: u32, key: u32) -> bool {
    if (!attention_calibration_found(p, at, q_row, key)) {
        return false;
    }
    if (p.spare_word == attention_calibration_spare_token_zero) {
        return key > 0u;
    }
    if (p.spare_word == attention_calibration_spare_nothing) {
        return true;
    }
    for (var earlier = 0u; earlier < key; earlier++) {
        if (attention_calibration_found(p, at, q_row, earlier)) {
            return true;
        }
    }
    return false;
}

fn attention_calibration_hidden(p: AttentionCalibrationParams, at: Pair, q_row: u32) -> bool {
    if (p.columns_word == attention_calibration_columns_sinks) {
        return attention_calibration_sink(p, at, q_row, at.key);
    }
    if (at.key == 0u || attention_calibration_found(p, at, q_row, at.key)) {
        return false;
    }
    return attention_calibration_sink(p, at, q_row, at.key - 1u);
}

fn attention_calibration_gate(p: AttentionCalibrationParams, at: Pair) -> bool {
    if (p.heads_word == attention_calibration_heads_one) {
        return at.layer == u32(p.layer) && at.head == u32(p.head);
    }
    if (p.heads_word == attention_calibration_heads_calibrated) {
        return attention_calibration_gates[at.head / 4u][at.head % 4u] > 0.5;
    }
    return true;
}

// The sum of what is hidden, and in place of the count the sum of what is not.
fn attention_calibration_gather(p: AttentionCalibrationParams, at: Pair, q_row: u32, k_row: u32, w: f32, part: Fold) -> Fold {
    if (attention_calibration_hidden(p, at, q_row)) {
        return Fold(part.max, part.sum + w, part.count);
    }
    return Fold(part.max, part.sum, part.count + w);
}

fn attention_calibration_rework(p: AttentionCalibrationParams, at: Pair, q_row: u32, k_row: u32, w: f32, fold: Fold) -> f32 {
    let rest = fold.count;
    if (w == MASKED || !attention_calibration_gate(p, at) || rest < attention_calibration_least_rest) {
        return w;
    }
    if (attention_calibration_hidden(p, at, q_row)) {
        return p.beta * w;
    }
    return w * (1.0 + (1.0 - p.beta) * fold.sum / rest);
}
