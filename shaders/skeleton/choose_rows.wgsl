// choose_rows: which keys a selector leaves each query, and how often each counts.
//
// Computes  made[b,h,q,k] = choose(pair), a log-weight, MASKED for pairs that are dropped or not causal
// Reads     what earlier stages of the mechanism made
// Writes    made [B,H,Q,K]
// Grid      x query rows, y batch × heads; LANES
// Twin      src/mechanism/stage.rs
#import lanes
#import masked
#import pair
#import step

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read_write> made: array<f32>; // [B,H,Q,K]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.y % shape.heads;
    let query = shape.first_query + group.x;
    let q_row = group.y * shape.queries + group.x;
    for (var key = lane; key < shape.keys; key += LANES) {
        let pair = Pair(shape.layer, shape.layers, head, shape.heads, shape.kv_heads, query, key);
        let k_row = group.y * shape.keys + key;
        var weight = MASKED;
        if (key <= query) {
            #slot choose
        }
        made[q_row * shape.keys + key] = weight;
    }
}
