// share_rows: lanes of a decode_product over w [I,C]: four lanes read 16 outputs of one input, side by side.
#import chunk

// Sums of outputs first + 4·lane to first + 4·lane + 3, for the first TILE / 4 lanes.
fn products(lane: u32, first: u32) -> vec4<f32> {
    let column = first + lane % 4u * 4u;
    var sum = vec4<f32>();
    for (var start = 0u; start < shape.inner; start += CHUNK) {
        let count = min(CHUNK, shape.inner - start);
        fetch(lane, start, count);
        if (column < shape.columns) {
            for (var i = lane / 4u; i < count; i += GROUP / 4u) {
                sum += chunk[i] * weight_four(start + i, column);
            }
        }
    }
    fold(lane, sum, GROUP / 2u, 4u);
    return scratch[lane];
}
