// append_rows: the tokens of a chunk go to where their heads keep them, once all its queries have looked.
//
// Computes  k[row of s] = own_k[s]   v[row of s] = own_v[s]   for tokens s whose row no later one of the chunk takes
// Reads     state   rings [G]   own_k, own_v [G,R,D]
// Writes    k, v [S,D]
// Grid      flat over G × R × D; LANES
// Twin      src/model/decode.rs
#import flat

struct Shape {
    rows: u32,
    kv_heads: u32,
    width: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> own_k: array<f32>; // [G,R,D]
@group(0) @binding(2) var<storage, read> own_v: array<f32>; // [G,R,D]
@group(0) @binding(3) var<storage, read_write> k: array<f32>; // [S,D]
@group(0) @binding(4) var<storage, read_write> v: array<f32>; // [S,D]
#import place_state
#import ring

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = flat(group, lane);
    let per_head = shape.rows * shape.width;
    if (idle() || index >= shape.kv_heads * per_head) {
        return;
    }
    let source = index / per_head;
    let token = first_position() + index % per_head / shape.width;
    let ring = rings[source];
    if (token >= ring.y && token + ring.z < first_position() + shape.rows) {
        return;
    }
    let at = ring_row(source, token) * shape.width + index % shape.width;
    k[at] = own_k[index];
    v[at] = own_v[index];
}
