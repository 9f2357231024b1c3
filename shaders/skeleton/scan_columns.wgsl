// scan_columns: for each pair, a sum over the rows of its column so far.
//
// Computes  made[b,h,q,k] = Σ over rows i ≤ q that see key k  add(pair (i,k))
// Reads     what earlier stages of the mechanism made
// Writes    made [B,H,Q,K]; zero for later keys
// Grid      x keys, y batch × heads; LANES
// Twin      src/mechanism/stage.rs
#import lanes
#import pair
#import step

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read_write> made: array<f32>; // [B,H,Q,K]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let key = group.x * LANES + lane;
    if (key >= shape.keys) {
        return;
    }
    let head = group.y % shape.heads;
    let k_row = group.y * shape.keys + key;
    let pairs = shape.batch * shape.heads * shape.queries * shape.keys;
    var sum = 0.0;
    for (var row = 0u; row < shape.queries; row++) {
        let query = shape.first_query + row;
        let q_row = group.y * shape.queries + row;
        let entry = q_row * shape.keys + key;
        var value = 0.0;
        if (key <= query) {
            let pair = Pair(shape.layer, shape.layers, head, shape.heads, shape.kv_heads, query, key);
            #slot column
            sum += value;
        }
        made[entry] = select(0.0, sum, key <= query);
    }
}
