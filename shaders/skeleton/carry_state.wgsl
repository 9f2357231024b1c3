// carry_state: tokens of a continuation go through the state of a mixer, which is all that it keeps of those before them.
//
// Computes  S ← carry(1) · S + k[s]·v[s]ᵀ   z[s] = q[s]·S   for each token s here; S = 0 before the first of all
// Reads     q [H,Q,D]   k, v [G,Q,D]
// Writes    z [H,Q,D]   memory [H,D,D], which is S
// Grid      x slices of COLUMNS columns of the state, y heads; LANES
// Twin      src/mechanism/stage.rs
#import attention
#import head
#import lanes
#slot place

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> q: array<f32>; // [H,Q,D]
@group(0) @binding(2) var<storage, read> k: array<f32>; // [G,Q,D]
@group(0) @binding(3) var<storage, read> v: array<f32>; // [G,Q,D]
@group(0) @binding(4) var<storage, read_write> z: array<f32>; // [H,Q,D]
@group(0) @binding(5) var<storage, read_write> memory: array<f32>; // [H,D,D]

// Columns of the state are independent; a workgroup carries a few, and several lanes share the rows of each.
const COLUMNS: u32 = 8u;
const PARTS: u32 = LANES / COLUMNS;
const MOST_ENTRIES: u32 = 256u;

var<workgroup> carried: array<f32, MOST_ENTRIES * COLUMNS>;
var<workgroup> part_sums: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if (idle()) { return; }
    let at = Head(shape.layer, shape.layers, group.y, shape.heads);
    let source = group.y / (shape.heads / shape.kv_heads);
    let column = lane % COLUMNS;
    let part = lane / COLUMNS;
    let d = group.x * COLUMNS + column;
    let live = d < shape.width;
    let start = group.y * shape.width * shape.width + min(d, shape.width - 1u);
    let steps = 1u;
    var fade = 1.0;
    #slot carry
    // A lane touches only its own rows of its own column.
    for (var i = part; i < shape.width; i += PARTS) {
        carried[i * COLUMNS + column] = select(memory[start + i * shape.width], 0.0, first_position() == 0u);
    }
    for (var row = 0u; row < shape.queries; row++) {
        let of_q = (group.y * shape.queries + row) * shape.width;
        let of_k = (source * shape.queries + row) * shape.width;
        let value = v[of_k + min(d, shape.width - 1u)];
        var sum = 0.0;
        for (var i = part; i < shape.width; i += PARTS) {
            let next = fade * carried[i * COLUMNS + column] + k[of_k + i] * value;
            carried[i * COLUMNS + column] = next;
            sum += q[of_q + i] * next;
        }
        part_sums[lane] = sum;
        workgroupBarrier();
        if (part == 0u && live) {
            for (var other = 1u; other < PARTS; other++) {
                sum += part_sums[other * COLUMNS + column];
            }
            z[of_q + d] = sum;
        }
        workgroupBarrier();
    }
    if (live) {
        for (var i = part; i < shape.width; i += PARTS) {
            memory[start + i * shape.width] = carried[i * COLUMNS + column];
        }
    }
}
