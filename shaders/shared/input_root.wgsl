// input_root: the output of a mixer, all heads together, over its root mean square; affine holds the biases of the product.
//
// Every lane adds up the whole row: a few loads cost less than a dispatch or barriers.
@group(0) @binding(4) var<storage, read> affine: array<f32>; // [C]

var<private> factor: f32;

fn prepare(first: u32) {
    var square = 0.0;
    for (var i = 0u; i < shape.inner; i++) {
        square += x[i] * x[i];
    }
    var epsilon = 0.0;
    #slot epsilon
    factor = 1.0 / sqrt(square / f32(shape.inner) + epsilon);
}

fn input(i: u32) -> f32 {
    return x[i] * factor;
}
