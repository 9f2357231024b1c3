// result: what each head adds to the residual stream; only captures ask for it.
//
// Computes  result[h] = z[h]·W_O[h]
// Reads     z [H,Q,D]   w [H·D,M]
// Writes    result [H,Q,M]
// Grid      flat over H × Q × M/4; LANES
// Twin      src/model/text.rs
#import flat
#slot format

struct Shape {
    heads: u32,
    rows: u32,
    width: u32,
    columns: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> z: array<f32>; // [H,Q,D]
@group(0) @binding(2) var<storage, read_write> result: array<f32>; // [H,Q,M]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = flat(group, lane);
    let quads = (shape.columns + 3u) / 4u;
    if (index >= shape.heads * shape.rows * quads) {
        return;
    }
    let column = index % quads * 4u;
    let row = index / quads;
    let head = row / shape.rows;
    var sum = vec4<f32>();
    for (var d = 0u; d < shape.width; d++) {
        sum += z[row * shape.width + d] * quad((head * shape.width + d) * quads + column / 4u);
    }
    for (var c = 0u; c < 4u && column + c < shape.columns; c++) {
        result[row * shape.columns + column + c] = sum[c] * scale(column + c);
    }
}
