// share_columns: lanes of a decode_product over w [C,I]: eight lanes read 32 inputs of one output, side by side.
#import chunk

const SHARE: u32 = GROUP / TILE;

// Sums of outputs first + 4·lane to first + 4·lane + 3, for the first TILE / 4 lanes.
fn products(lane: u32, first: u32) -> vec4<f32> {
    let column = first + lane / SHARE;
    var sum = vec4<f32>();
    for (var start = 0u; start < shape.inner; start += CHUNK) {
        let count = min(CHUNK, shape.inner - start);
        fetch(lane, start, count);
        if (column < shape.columns) {
            for (var i = lane % SHARE * 4u; i < count; i += SHARE * 4u) {
                // Beyond the last input both the chunk and the padded weights hold zeros.
                sum += vec4<f32>(chunk[i], chunk[i + 1u], chunk[i + 2u], chunk[i + 3u]) * weight_along(start + i, column);
            }
        }
    }
    fold(lane, sum, SHARE / 2u, 1u);
    var sums = vec4<f32>();
    for (var c = 0u; c < 4u; c++) {
        sums[c] = dot(scratch[(lane % 4u * 4u + c) * SHARE], vec4<f32>(1.0));
    }
    return sums;
}
