// token_sums: a sum over things for each query or key: how many tokens come before it in an order, how much looks at it.
//
// Computes  made[b,h,t,c] = Σ over other < domain  add(token t, c, other)
// Reads     what earlier stages of the mechanism made
// Writes    made [B,H,T,C]
// Grid      x tokens, y batch × heads; LANES
// Twin      src/mechanism/stage.rs
#import lanes
#import step
#import token_at
#import masked
#import reduce

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read_write> made: array<f32>; // [B,H,T,C]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = token_at(group.x, group.y);
    for (var c = 0u; c < shape.count; c++) {
        var sum = 0.0;
        for (var other = lane; other < shape.domain; other += LANES) {
            var value = 0.0;
            #slot add
            sum += value;
        }
        let fold = reduce(lane, Fold(MASKED, sum, 0.0));
        if (lane == 0u) {
            made[at.row * shape.count + c] = fold.sum;
        }
    }
}
