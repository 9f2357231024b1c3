// token_values: numbers that a mechanism makes of each query or key.
//
// Computes  made[b,h,t,c] = value(vector of token t)
// Reads     x [B,N,T,D], queries or keys of N heads
// Writes    made [B,H,T,C]; a key–value head is asked about once per query head of its group
// Grid      x tokens, y batch × heads; LANES
// Twin      src/mechanism/stage.rs
#import lanes
#import step
#import token_at

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [B,N,T,D]
@group(0) @binding(2) var<storage, read_write> made: array<f32>; // [B,H,T,C]

const MOST_ENTRIES: u32 = 256u;

var<workgroup> token_row: array<f32, MOST_ENTRIES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let batch = group.y / shape.heads;
    let head = group.y % shape.heads;
    let source = batch * shape.sources + head / (shape.heads / shape.sources);
    for (var d = lane; d < shape.width; d += LANES) {
        token_row[d] = x[(source * shape.tokens + group.x) * shape.width + d];
    }
    workgroupBarrier();
    let at = token_at(group.x, group.y);
    for (var c = lane; c < shape.count; c += LANES) {
        var value = 0.0;
        #slot value
        made[at.row * shape.count + c] = value;
    }
}
