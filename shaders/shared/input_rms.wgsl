// input_rms: a row over its root mean square; affine holds gains, then the biases of the product.
//
// Every lane adds up the sums of the row's tiles: a few loads cost less than a dispatch or barriers.
#import row_sums
@group(0) @binding(4) var<storage, read> affine: array<f32>; // [I], then [C]

var<private> factor: f32;
var<private> gains: u32;

fn prepare(first: u32) {
    gains = select(0u, shape.second, first >= shape.split);
    let sums = sums_of_row(shape.inner, TILE);
    let entries = f32(shape.inner);
    factor = 1.0 / sqrt((sums.y + sums.x * sums.x / entries) / entries + shape.epsilon);
}

fn input(i: u32) -> f32 {
    return x[i] * factor * affine[gains + i];
}
