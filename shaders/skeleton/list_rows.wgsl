// list_rows: the keys that a selector left each query, side by side.
//
// Computes  listed[b,h,q] = number of keys that are not MASKED in chosen, then those keys in order
// Reads     chosen [B,H,Q,K]
// Writes    listed [B,H,Q,1+K]
// Grid      x query rows, y batch × heads; LANES
// Twin      src/gpu/attend.rs
#import lanes
#import masked
#import step

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> chosen: array<f32>; // [B,H,Q,K]
@group(0) @binding(2) var<storage, read_write> listed: array<u32>; // [B,H,Q,1+K]

var<workgroup> counts: array<u32, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let q_row = group.y * shape.queries + group.x;
    let row = q_row * shape.keys;
    // Each lane lists a run of keys, behind what the lanes before it list.
    let run = (shape.keys + LANES - 1u) / LANES;
    let first = min(lane * run, shape.keys);
    let end = min(first + run, shape.keys);
    var count = 0u;
    for (var key = first; key < end; key++) {
        count += select(0u, 1u, chosen[row + key] != MASKED);
    }
    counts[lane] = count;
    workgroupBarrier();
    var place = q_row * (shape.keys + 1u) + 1u;
    for (var before = 0u; before < lane; before++) {
        place += counts[before];
    }
    for (var key = first; key < end; key++) {
        if (chosen[row + key] != MASKED) {
            listed[place] = key;
            place += 1u;
        }
    }
    if (lane == LANES - 1u) {
        listed[q_row * (shape.keys + 1u)] = place - q_row * (shape.keys + 1u) - 1u;
    }
}
