// scan_tokens: a mixer with a state, token by token.
//
// Computes  S ← carry(1) · S + k[s]·v[s]ᵀ   made[q] = q·S after token q
// Reads     q [B,H,Q,D]   k, v [B,G,K,D]
// Writes    made [B,H,Q,D]
// Grid      x slices of COLUMNS columns of the state, y batch × heads; LANES
// Twin      src/mechanism/stage.rs
#import lanes
#import head
#import step

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> q: array<f32>; // [B,H,Q,D]
@group(0) @binding(2) var<storage, read> k: array<f32>; // [B,G,K,D]
@group(0) @binding(3) var<storage, read> v: array<f32>; // [B,G,K,D]
@group(0) @binding(4) var<storage, read_write> made: array<f32>; // [B,H,Q,D]

// Columns of the state are independent; a workgroup carries a few, and several lanes share the rows of each.
const COLUMNS: u32 = 8u;
const PARTS: u32 = LANES / COLUMNS;
const MOST_ENTRIES: u32 = 256u;

var<workgroup> state: array<f32, MOST_ENTRIES * COLUMNS>;
var<workgroup> part_sums: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = Head(shape.layer, shape.layers, group.y % shape.heads, shape.heads);
    let batch = group.y / shape.heads;
    let kv_row = (batch * shape.kv_heads + at.head / (shape.heads / shape.kv_heads)) * shape.keys;
    let column = lane % COLUMNS;
    let part = lane / COLUMNS;
    let d = group.x * COLUMNS + column;
    let live = d < shape.width;
    let steps = 1u;
    var fade = 1.0;
    #slot carry
    for (var i = part; i < shape.width; i += PARTS) {
        state[i * COLUMNS + column] = 0.0;
    }
    let seen = min(shape.keys, shape.first_query + shape.queries);
    for (var token = 0u; token < seen; token++) {
        let row = (kv_row + token) * shape.width;
        let asked = token >= shape.first_query;
        let q_row = group.y * shape.queries + select(0u, token - shape.first_query, asked);
        let value = select(0.0, v[row + min(d, shape.width - 1u)], live);
        var sum = 0.0;
        // A lane touches only its own rows of its own column.
        for (var i = part; i < shape.width; i += PARTS) {
            let next = fade * state[i * COLUMNS + column] + k[row + i] * value;
            state[i * COLUMNS + column] = next;
            sum += q[q_row * shape.width + i] * next;
        }
        part_sums[lane] = sum;
        workgroupBarrier();
        if (part == 0u && live && asked) {
            for (var other = 1u; other < PARTS; other++) {
                sum += part_sums[other * COLUMNS + column];
            }
            made[q_row * shape.width + d] = sum;
        }
        workgroupBarrier();
    }
}
