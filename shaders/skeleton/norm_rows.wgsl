// norm_rows: each token's output, all heads together, over its root mean square.
//
// Computes  scale[b,h,q] = √(mean over heads and channels of raw² + ε)   made = raw / scale
// Reads     raw [B,H,Q,D]
// Writes    made [B,H,Q,D]   scale [B,H,Q], the same for all heads
// Grid      x query rows, y batch; LANES
// Twin      src/mechanism/stage.rs
#import lanes
#import masked
#import reduce
#import step

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> raw: array<f32>; // [B,H,Q,D]
@group(0) @binding(2) var<storage, read_write> made: array<f32>; // [B,H,Q,D]
@group(0) @binding(3) var<storage, read_write> scale: array<f32>; // [B,H,Q]

fn entry(group: vec3<u32>, i: u32) -> u32 {
    let head = group.y * shape.heads + i / shape.width;
    return (head * shape.queries + group.x) * shape.width + i % shape.width;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let entries = shape.heads * shape.width;
    var square = 0.0;
    for (var i = lane; i < entries; i += LANES) {
        let x = raw[entry(group, i)];
        square += x * x;
    }
    let fold = reduce(lane, Fold(MASKED, square, 0.0));
    var epsilon = 0.0;
    #slot epsilon
    let size = sqrt(fold.sum / f32(entries) + epsilon);
    for (var i = lane; i < entries; i += LANES) {
        made[entry(group, i)] = raw[entry(group, i)] / size;
    }
    for (var head = lane; head < shape.heads; head += LANES) {
        scale[(group.y * shape.heads + head) * shape.queries + group.x] = size;
    }
}
