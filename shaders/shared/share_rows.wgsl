// share_rows: lanes of a decode_product over w [I,C]: four lanes read 16 outputs of one input, side by side.
fn share(lane: u32, start: u32, count: u32, first: u32) -> vec4<f32> {
    let column = first + lane % 4u * 4u;
    var sum = vec4<f32>();
    if (column < shape.columns) {
        for (var i = lane / 4u; i < count; i += GROUP / 4u) {
            sum += chunk[i] * weight_four(start + i, column);
        }
    }
    return sum;
}

// Sums of outputs first + 4·lane to first + 4·lane + 3, for the first four lanes.
fn gather(lane: u32, sum: vec4<f32>) -> vec4<f32> {
    fold(lane, sum, GROUP / 2u, 4u);
    return scratch[lane];
}
