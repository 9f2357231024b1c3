// ceiling_multiply: multiplies and adds in registers and does nothing else, so that its time is that of arithmetic.
//
// Computes  y[i]: four chains of four entries each, every round a = a · factor + summand, 32 operations
// Reads     nothing
// Writes    y [count]
// Grid      flat over count; LANES
// Twin      src/engine/ceiling.rs
#import flat

struct Shape {
    count: u32,
    rounds: u32,
    factor: f32,
    summand: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // [count]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = flat(group, lane);
    if (index >= shape.count) {
        return;
    }
    let start = f32(index) * 1e-6;
    // Four chains, so that no operation waits for the one before it.
    var a = vec4<f32>(start, start + 1.0, start + 2.0, start + 3.0);
    var b = a + 4.0;
    var c = a + 8.0;
    var d = a + 12.0;
    for (var round = 0u; round < shape.rounds; round++) {
        a = a * shape.factor + shape.summand;
        b = b * shape.factor + shape.summand;
        c = c * shape.factor + shape.summand;
        d = d * shape.factor + shape.summand;
    }
    let sum = a + b + c + d;
    y[index] = sum.x + sum.y + sum.z + sum.w;
}
