// result: what each head adds to the residual stream; only captures ask for it.
//
// Computes  result[h] = z[h]·W_O[h]
// Reads     z [H,Q,D]   w [H·D,M]
// Writes    result [H,Q,M]
// Grid      flat over H × Q × M; LANES
// Twin      src/model/text.rs
#import flat

struct Shape {
    heads: u32,
    rows: u32,
    width: u32,
    columns: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> z: array<f32>; // [H,Q,D]
@group(0) @binding(2) var<storage, read> w: array<f32>; // [H·D,M]
@group(0) @binding(3) var<storage, read_write> result: array<f32>; // [H,Q,M]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = flat(group, lane);
    if (index >= shape.heads * shape.rows * shape.columns) {
        return;
    }
    let m = index % shape.columns;
    let row = index / shape.columns;
    let head = row / shape.rows;
    var sum = 0.0;
    for (var d = 0u; d < shape.width; d++) {
        sum += z[row * shape.width + d] * w[(head * shape.width + d) * shape.columns + m];
    }
    result[index] = sum;
}
