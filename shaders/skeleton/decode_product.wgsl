// decode_product: one row of activations times a weight matrix, the step of which decoding consists.
//
// Computes  y = input(x)·w + b; the slots say what the input is, how w lies and where y goes
// Reads     state   x [I]   w [I,C] or [C,I]   affine: what the input slot needs, then b [C]
// Writes    what the store slot declares
// Grid      x tiles of 16 outputs; GROUP
// Twin      src/model/text.rs
#import fold
#slot weight
#slot share
#slot input
#slot store
#slot close

struct Shape {
    rows: u32,
    inner: u32,
    columns: u32,
    b_first: u32,
    epsilon: f32,
    heads: u32,
    kv_heads: u32,
    width: u32,
    step: u32,
    gap: u32,
    stride: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [I]
#import place_state

const CHUNK: u32 = 1024u;
const TILE: u32 = 16u;

// Inputs on their way, so that the norm is applied once per workgroup and not once per lane.
var<workgroup> chunk: array<f32, CHUNK>;

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if (idle()) {
        return;
    }
    let first = group.x * TILE;
    prepare(lane);
    var sum = vec4<f32>();
    for (var start = 0u; start < shape.inner; start += CHUNK) {
        let count = min(CHUNK, shape.inner - start);
        workgroupBarrier();
        for (var i = lane; i < (count + 3u) / 4u * 4u; i += GROUP) {
            // What lies beyond the last input counts as zero.
            chunk[i] = 0.0;
            if (i < count) {
                chunk[i] = input(start + i);
            }
        }
        workgroupBarrier();
        sum += share(lane, start, count, first);
    }
    var y = gather(lane, sum);
    let column = first + lane * 4u;
    if (lane < TILE / 4u && column < shape.columns) {
        for (var c = 0u; c < 4u && column + c < shape.columns; c++) {
            y[c] = y[c] * scale(column + c) + affine[shape.b_first + column + c];
        }
        store(0u, column, y);
    }
    workgroupBarrier();
    if (lane == 0u) {
        close(group.x);
    }
}
