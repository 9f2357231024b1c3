// project_rows: entries of the vectors that a mechanism makes of a token's projections, before attention.
//
// Computes  made[b,n,t,c] = value(token t, vector n)
// Reads     what the mechanism's function names: projections, turns, what earlier stages made
// Writes    made [B,N,T,C]; T is Q or K
// Grid      x tokens, y batch × vectors; LANES
// Twin      src/mechanism/stage.rs
#import lanes

struct Shape {
    layer: u32,
    layers: u32,
    batch: u32,
    heads: u32,
    kv_heads: u32,
    queries: u32,
    keys: u32,
    width: u32,
    tokens: u32,
    vectors: u32,
    first: u32,
    count: u32,
    step: u32,
    gap: u32,
    rotates: u32,
}

struct Projected {
    batch: u32,
    // Which of the N vectors of a token.
    vector: u32,
    // Row in [B,·,T] of its batch and vector, and position in the sequence.
    row: u32,
    position: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read_write> made: array<f32>; // [B,N,T,C]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = Projected(group.y / shape.vectors, group.y % shape.vectors, group.x, shape.first + group.x);
    for (var c = lane; c < shape.count; c += LANES) {
        var value = 0.0;
        #slot vector
        made[(group.y * shape.tokens + group.x) * shape.count + c] = value;
    }
}
