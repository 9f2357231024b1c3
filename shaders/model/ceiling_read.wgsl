// ceiling_read: reads a buffer once and does nothing else, so that its time is the time of reading.
//
// Computes  y[i] = Σ over rounds r of the four entries of x[i + r · count]
// Reads     x [rounds · count] of four entries each
// Writes    y [count]
// Grid      flat over count; LANES
// Twin      src/engine/ceiling.rs
#import flat

struct Shape {
    count: u32,
    rounds: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [rounds · count]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [count]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = flat(group, lane);
    if (index >= shape.count) {
        return;
    }
    var sum = vec4<f32>();
    for (var round = 0u; round < shape.rounds; round++) {
        sum += x[index + round * shape.count];
    }
    y[index] = sum.x + sum.y + sum.z + sum.w;
}
