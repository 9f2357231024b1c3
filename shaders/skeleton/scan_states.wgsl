// scan_states: from what chunks add to a state to the state before each chunk, in place.
//
// Computes  S[0] = 0   S[n+1] = carry(length of chunk n) · S[n] + made[n]   made[n] = S[n]
// Reads     made [B,H,N,D,D]
// Writes    made [B,H,N,D,D]
// Grid      x entries of the state, y batch × heads; LANES
// Twin      src/mechanism/stage.rs
#import lanes
#import head
#import step

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read_write> made: array<f32>; // [B,H,N,D,D]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = Head(shape.layer, shape.layers, group.y % shape.heads, shape.heads);
    let chunks = (shape.keys + shape.domain - 1u) / shape.domain;
    let entries = shape.width * shape.width;
    let entry = group.x * LANES + lane;
    if (entry >= entries) {
        return;
    }
    var state = 0.0;
    for (var chunk = 0u; chunk < chunks; chunk++) {
        let place = (group.y * chunks + chunk) * entries + entry;
        let added = made[place];
        made[place] = state;
        let steps = min(shape.domain, shape.keys - chunk * shape.domain);
        var fade = 1.0;
        #slot carry
        state = fade * state + added;
    }
}
