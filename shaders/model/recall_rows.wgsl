// recall_rows: what a cache keeps goes behind the tokens of a chunk, so that its queries find both in one place.
//
// Computes  own_k[first + i] = k[i]   own_v[first + i] = v[i]
// Reads     k, v [S,D]
// Writes    own_k, own_v: [G,R,D], then [S,D]
// Grid      flat over S × D; LANES
// Twin      src/model/decode.rs
#import flat

struct Shape {
    first: u32,
    count: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> k: array<f32>; // [S,D]
@group(0) @binding(2) var<storage, read> v: array<f32>; // [S,D]
@group(0) @binding(3) var<storage, read_write> own_k: array<f32>; // [G,R,D], then [S,D]
@group(0) @binding(4) var<storage, read_write> own_v: array<f32>; // [G,R,D], then [S,D]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = flat(group, lane);
    if (index >= shape.count) {
        return;
    }
    own_k[shape.first + index] = k[index];
    own_v[shape.first + index] = v[index];
}
