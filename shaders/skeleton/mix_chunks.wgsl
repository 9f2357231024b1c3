// mix_chunks: one row of a mixer with a state: pairs inside its chunk one by one, all before it through the state.
//
// Computes  made[q] = Σ over keys s of q's chunk, s ≤ q  weight(q, s, q·k[s]) · v[s] + carry(r + 1) · q·S, r tokens into the chunk
// Reads     q [B,H,Q,D]   k, v [B,G,K,D]   states [B,H,N,D,D], before each chunk
// Writes    made [B,H,Q,D]
// Grid      x query rows, y batch × heads; LANES
// Twin      src/mechanism/stage.rs
#import lanes
#import head
#import masked
#import pair
#import row
#import step

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> q: array<f32>; // [B,H,Q,D]
@group(0) @binding(2) var<storage, read> k: array<f32>; // [B,G,K,D]
@group(0) @binding(3) var<storage, read> v: array<f32>; // [B,G,K,D]
@group(0) @binding(4) var<storage, read> states: array<f32>; // [B,H,N,D,D]
@group(0) @binding(5) var<storage, read_write> made: array<f32>; // [B,H,Q,D]

const MOST_CHUNK: u32 = 128u;

var<workgroup> line: array<f32, MOST_CHUNK>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = Head(shape.layer, shape.layers, group.y % shape.heads, shape.heads);
    let batch = group.y / shape.heads;
    let kv_row = (batch * shape.kv_heads + at.head / (shape.heads / shape.kv_heads)) * shape.keys;
    let query = shape.first_query + group.x;
    let q_row = group.y * shape.queries + group.x;
    let chunk = query / shape.domain;
    let first = chunk * shape.domain;
    let chunks = (shape.keys + shape.domain - 1u) / shape.domain;
    for (var d = lane; d < shape.width; d += LANES) {
        query_row[d] = q[q_row * shape.width + d];
    }
    workgroupBarrier();
    for (var key = first + lane; key <= query; key += LANES) {
        let pair = Pair(shape.layer, shape.layers, at.head, shape.heads, shape.kv_heads, query, key);
        let k_row = group.y * shape.keys + key;
        var x = 0.0;
        for (var d = 0u; d < shape.width; d++) {
            x += query_row[d] * k[(kv_row + key) * shape.width + d];
        }
        x *= shape.scale;
        #slot weight
        line[key - first] = x;
    }
    workgroupBarrier();
    let steps = query - first + 1u;
    var fade = 1.0;
    #slot carry
    let state = (group.y * chunks + chunk) * shape.width * shape.width;
    for (var d = lane; d < shape.width; d += LANES) {
        var inside = 0.0;
        for (var key = first; key <= query; key++) {
            inside += line[key - first] * v[(kv_row + key) * shape.width + d];
        }
        var before = 0.0;
        for (var i = 0u; i < shape.width; i++) {
            before += query_row[i] * states[state + i * shape.width + d];
        }
        made[q_row * shape.width + d] = inside + fade * before;
    }
}
