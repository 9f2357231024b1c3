// chunk_states: what each chunk of tokens adds to a state that is carried along the sequence.
//
// Computes  made[b,h,n,i,j] = Σ over tokens r of chunk n  carry(m - 1 - r) · k[r,i] · v[r,j], m tokens in the chunk
// Reads     k, v [B,G,K,D]
// Writes    made [B,H,N,D,D]
// Grid      x chunks of `domain` keys, y batch × heads; LANES
// Twin      src/mechanism/stage.rs
#import lanes
#import head
#import step

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> k: array<f32>; // [B,G,K,D]
@group(0) @binding(2) var<storage, read> v: array<f32>; // [B,G,K,D]
@group(0) @binding(3) var<storage, read_write> made: array<f32>; // [B,H,N,D,D]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = Head(shape.layer, shape.layers, group.y % shape.heads, shape.heads);
    let batch = group.y / shape.heads;
    let kv_row = (batch * shape.kv_heads + at.head / (shape.heads / shape.kv_heads)) * shape.keys;
    let chunks = (shape.keys + shape.domain - 1u) / shape.domain;
    let first = group.x * shape.domain;
    let end = min(first + shape.domain, shape.keys);
    let entries = shape.width * shape.width;
    for (var entry = lane; entry < entries; entry += LANES) {
        let i = entry / shape.width;
        let j = entry % shape.width;
        var sum = 0.0;
        for (var token = first; token < end; token++) {
            let steps = end - 1u - token;
            var fade = 1.0;
            #slot carry
            sum += fade * k[(kv_row + token) * shape.width + i] * v[(kv_row + token) * shape.width + j];
        }
        made[(group.y * chunks + group.x) * entries + entry] = sum;
    }
}
