// rotate: turns pairs of entries of queries and keys by their position's angle.
//
// Computes  (a, b) → (a·cos - b·sin, a·sin + b·cos); pair i holds entries i·step and i·step + gap
// Reads     q [H,Q,D]   k [G,Q,D]   turns [Q,D/2] of (cos, sin)
// Writes    rot_q [H,Q,D]   rot_k [G,Q,D]
// Grid      flat over (H + G) × Q × D/2; LANES
// Twin      src/model/rotary.rs
#import flat

struct Shape {
    heads: u32,
    kv_heads: u32,
    rows: u32,
    width: u32,
    step: u32,
    gap: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> q: array<f32>; // [H,Q,D]
@group(0) @binding(2) var<storage, read> k: array<f32>; // [G,Q,D]
@group(0) @binding(3) var<storage, read> turns: array<vec2<f32>>; // [Q,D/2]
@group(0) @binding(4) var<storage, read_write> rot_q: array<f32>; // [H,Q,D]
@group(0) @binding(5) var<storage, read_write> rot_k: array<f32>; // [G,Q,D]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = flat(group, lane);
    let pairs = shape.width / 2u;
    let per_head = shape.rows * pairs;
    if (index >= (shape.heads + shape.kv_heads) * per_head) {
        return;
    }
    let head = index / per_head;
    let turn = turns[index % per_head];
    let place = index % per_head / pairs * shape.width + index % pairs * shape.step;
    if (head < shape.heads) {
        let at = head * shape.rows * shape.width + place;
        let a = q[at];
        let b = q[at + shape.gap];
        rot_q[at] = a * turn.x - b * turn.y;
        rot_q[at + shape.gap] = a * turn.y + b * turn.x;
    } else {
        let at = (head - shape.heads) * shape.rows * shape.width + place;
        let a = k[at];
        let b = k[at + shape.gap];
        rot_k[at] = a * turn.x - b * turn.y;
        rot_k[at + shape.gap] = a * turn.y + b * turn.x;
    }
}
