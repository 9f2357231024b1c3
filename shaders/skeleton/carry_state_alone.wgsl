// carry_state_alone: the same as carry_state, as a software adapter wants it: no lane waits for another; see matmul_alone.
//
// Computes  S ← carry(1) · S + k[s]·v[s]ᵀ   z[s] = q[s]·S   for each token s here; S = 0 before the first of all
// Reads     q [H,Q,D]   k, v [G,Q,D]
// Writes    z [H,Q,D]   memory [H,D,D], which is S
// Grid      x slices of COLUMNS columns of the state, y heads; COLUMNS, each invocation one column
// Twin      src/mechanism/stage.rs
#import attention
#import head
#slot place

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> q: array<f32>; // [H,Q,D]
@group(0) @binding(2) var<storage, read> k: array<f32>; // [G,Q,D]
@group(0) @binding(3) var<storage, read> v: array<f32>; // [G,Q,D]
@group(0) @binding(4) var<storage, read_write> z: array<f32>; // [H,Q,D]
@group(0) @binding(5) var<storage, read_write> memory: array<f32>; // [H,D,D]

const COLUMNS: u32 = 8u;

@compute @workgroup_size(COLUMNS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let d = group.x * COLUMNS + lane;
    if (idle() || d >= shape.width) { return; }
    let at = Head(shape.layer, shape.layers, group.y, shape.heads);
    let source = group.y / (shape.heads / shape.kv_heads);
    let start = group.y * shape.width * shape.width + d;
    let steps = 1u;
    var fade = 1.0;
    #slot carry
    for (var row = 0u; row < shape.queries; row++) {
        let of_q = (group.y * shape.queries + row) * shape.width;
        let of_k = (source * shape.queries + row) * shape.width;
        let value = v[of_k + d];
        // Whatever an earlier continuation left there.
        let is_first = first_position() + row == 0u;
        var sum = 0.0;
        for (var i = 0u; i < shape.width; i++) {
            let place = start + i * shape.width;
            let next = select(fade * memory[place], 0.0, is_first) + k[of_k + i] * value;
            memory[place] = next;
            sum += q[of_q + i] * next;
        }
        z[of_q + d] = sum;
    }
}
