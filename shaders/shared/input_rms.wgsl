// input_rms: a row over its root mean square; affine holds gains, then the biases of the product.
//
// Every workgroup takes the mean anew: a row that lies in the cache costs less than a dispatch.
@group(0) @binding(4) var<storage, read> affine: array<f32>; // [I], then [C]

var<private> factor: f32;

fn prepare(lane: u32) {
    var part = 0.0;
    for (var i = lane; i < shape.inner; i += GROUP) {
        part += x[i] * x[i];
    }
    fold(lane, vec4<f32>(part, 0.0, 0.0, 0.0), GROUP / 2u, 1u);
    factor = 1.0 / sqrt(scratch[0].x / f32(shape.inner) + shape.epsilon);
}

fn input(i: u32) -> f32 {
    return x[i] * factor * affine[i];
}
