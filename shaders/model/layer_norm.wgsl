// layer_norm: brings each row to mean zero and variance one.
//
// Computes  y = (x - mean) / √(variance + epsilon) · gain + bias
// Reads     x [R,M]   affine: gain [M], then bias [M]
// Writes    y [R,M]
// Grid      x rows; LANES
// Twin      src/model/text.rs
#import reduce

struct Shape {
    width: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [R,M]
@group(0) @binding(2) var<storage, read> affine: array<f32>; // [2,M]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [R,M]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let start = group.x * shape.width;
    var part = Fold();
    for (var m = lane; m < shape.width; m += LANES) {
        part.sum += x[start + m];
    }
    let mean = reduce(lane, part).sum / f32(shape.width);
    // Centred before squaring: the difference of two large sums would lose the variance.
    part = Fold();
    for (var m = lane; m < shape.width; m += LANES) {
        let centred = x[start + m] - mean;
        part.sum += centred * centred;
    }
    let variance = reduce(lane, part).sum / f32(shape.width);
    let factor = 1.0 / sqrt(variance + shape.epsilon);
    for (var m = lane; m < shape.width; m += LANES) {
        y[start + m] = (x[start + m] - mean) * factor * affine[m] + affine[shape.width + m];
    }
}
