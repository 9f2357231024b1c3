// embed: token embedding plus learned position.
//
// Computes  x = take_token · embed[token] + take_position · positions[row]
// Reads     tokens [Q]   embed [V,M]   positions [context,M], one zero where a family has none
// Writes    x [Q,M]
// Grid      flat over Q × M; LANES
// Twin      src/model/text.rs
#import flat

struct Shape {
    rows: u32,
    width: u32,
    take_token: u32,
    take_position: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> tokens: array<u32>; // [Q]
@group(0) @binding(2) var<storage, read> embed: array<f32>; // [V,M]
@group(0) @binding(3) var<storage, read> positions: array<f32>; // [context,M]
@group(0) @binding(4) var<storage, read_write> x: array<f32>; // [Q,M]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = flat(group, lane);
    if (index >= shape.rows * shape.width) {
        return;
    }
    let row = index / shape.width;
    let m = index % shape.width;
    var sum = 0.0;
    if (shape.take_token != 0u) {
        sum = embed[tokens[row] * shape.width + m];
    }
    if (shape.take_position != 0u) {
        sum += positions[index];
    }
    x[index] = sum;
}
