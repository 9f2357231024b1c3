// input_layer: a row brought to mean zero and variance one; affine holds gains, biases, then those of the product.
//
// Every workgroup takes the means anew: a row that lies in the cache costs less than a dispatch.
@group(0) @binding(4) var<storage, read> affine: array<f32>; // [I], [I], then [C]

var<private> mean: f32;
var<private> factor: f32;

fn prepare(lane: u32) {
    var part = 0.0;
    for (var i = lane; i < shape.inner; i += GROUP) {
        part += x[i];
    }
    fold(lane, vec4<f32>(part, 0.0, 0.0, 0.0), GROUP / 2u, 1u);
    mean = scratch[0].x / f32(shape.inner);
    // Centred before squaring: the difference of two large sums would lose the variance.
    part = 0.0;
    for (var i = lane; i < shape.inner; i += GROUP) {
        part += (x[i] - mean) * (x[i] - mean);
    }
    fold(lane, vec4<f32>(part, 0.0, 0.0, 0.0), GROUP / 2u, 1u);
    factor = 1.0 / sqrt(scratch[0].x / f32(shape.inner) + shape.epsilon);
}

fn input(i: u32) -> f32 {
    return (x[i] - mean) * factor * affine[i] + affine[shape.inner + i];
}
