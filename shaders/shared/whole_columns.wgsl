// whole_columns: lanes of a decode_product over w [C,I] that share nothing; see whole.
#import whole

// Sums of outputs first + 4·lane to first + 4·lane + 3.
fn products(lane: u32, first: u32) -> vec4<f32> {
    let column = first + lane * 4u;
    var sum = vec4<f32>();
    if (column < shape.columns) {
        let step = (shape.inner + 3u) / 4u;
        // The last four columns need not all be there; what is read in their place is not used.
        let last = shape.columns - 1u;
        let at = vec4<u32>(column, min(column + 1u, last), min(column + 2u, last), min(column + 3u, last)) * step;
        for (var i = 0u; i < step; i++) {
            // Beyond the last input the padded weights hold zeros.
            let four = vec4<f32>(input(4u * i), input(4u * i + 1u), input(4u * i + 2u), input(4u * i + 3u));
            sum += vec4<f32>(dot(four, quad(at.x + i)), dot(four, quad(at.y + i)), dot(four, quad(at.z + i)), dot(four, quad(at.w + i)));
        }
    }
    return sum;
}
