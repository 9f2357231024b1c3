// embed: token embedding plus learned position.
//
// Computes  y = take_token · embed[tokens[first + row]] + take_position · positions[first + row]
// Reads     tokens [first + Q]   w: embed [V,M]   positions [context,M], one zero where a family has none
// Writes    y [Q,M]
// Grid      flat over Q × M/4; LANES
// Twin      src/model/text.rs
#import flat
#slot format
#slot store

struct Shape {
    rows: u32,
    columns: u32,
    first: u32,
    take_token: u32,
    take_position: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> tokens: array<u32>; // [first + Q]
@group(0) @binding(2) var<storage, read> positions: array<f32>; // [context,M]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = flat(group, lane);
    let quads = (shape.columns + 3u) / 4u;
    if (index >= shape.rows * quads) {
        return;
    }
    let row = index / quads;
    let column = index % quads * 4u;
    var sum = vec4<f32>();
    if (shape.take_token != 0u) {
        let token = tokens[shape.first + row];
        sum = quad(token * quads + column / 4u) * scale(token);
    }
    if (shape.take_position != 0u) {
        for (var c = 0u; c < 4u && column + c < shape.columns; c++) {
            sum[c] += positions[(shape.first + row) * shape.columns + column + c];
        }
    }
    store(row, column, sum);
}
