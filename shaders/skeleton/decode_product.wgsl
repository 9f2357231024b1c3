// decode_product: one row of activations times a weight matrix, the step of which decoding consists.
//
// Computes  y = input(x)·w + b; the slots say what the input is, how w lies, how lanes share it and where y goes
//           Columns from `split` on see x through a norm of their own, whose part of affine begins at `second`.
// Reads     state   x [I], then sums   w [I,C] or [C,I]   affine: what the input slot needs, then b [C]
// Writes    what the store slot declares
// Grid      x tiles of TILE outputs; GROUP
// Twin      src/model/text.rs
#slot weight
#slot share
#slot input
#slot store
#slot close

struct Shape {
    rows: u32,
    inner: u32,
    columns: u32,
    w_first: u32,
    w_columns: u32,
    split: u32,
    second: u32,
    b_first: u32,
    epsilon: f32,
    heads: u32,
    kv_heads: u32,
    width: u32,
    step: u32,
    gap: u32,
    stride: u32,
    q_stride: u32,
    q_held: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [I], then sums
#import place_state

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if (idle()) {
        return;
    }
    let first = group.x * TILE;
    prepare(first);
    var y = products(lane, first);
    let column = first + lane * 4u;
    if (lane < TILE / 4u && column < shape.columns) {
        for (var c = 0u; c < 4u && column + c < shape.columns; c++) {
            y[c] = y[c] * scale(column + c) + affine[shape.b_first + column + c];
        }
        store(0u, column, y);
    }
    close(lane, group.x);
}
