// whole_rows: lanes of a decode_product over w [I,C] that share nothing; see whole.
#import whole

// Sums of outputs first + 4·lane to first + 4·lane + 3.
fn products(lane: u32, first: u32) -> vec4<f32> {
    let column = first + lane * 4u;
    var sum = vec4<f32>();
    if (column < shape.columns) {
        let inner = shape.inner;
        let step = (shape.columns + 3u) / 4u;
        var at = column / 4u;
        for (var i = 0u; i < inner; i++) {
            sum += input(i) * quad(at);
            at += step;
        }
    }
    return sum;
}
