// matmul_alone: the same as matmul, as a software adapter wants it.
//
// Computes  y = x·w + b; the slots say how x and w lie and where y goes
// Reads     x [R,I]   w [I,C], columns of it from w_first on   b, of which [C] from b_first on
// Writes    what the store slot declares
// Grid      x tiles of columns, y tiles of rows; 8, each invocation 8 × 8 entries
// Twin      src/model/text.rs
//
// There workgroup memory is memory like any other, a barrier costs a change of stacks per four lanes, and a load as much as
// several products: so no lane waits for another, and each has many entries in registers.
#import product
#slot load
#slot weight
#slot store

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [R,I]
@group(0) @binding(2) var<storage, read> b: array<f32>;

const TILE_ROWS: u32 = 8u;
const TILE_COLUMNS: u32 = 64u;

fn store_rows_of(row: u32, column: u32, sums: mat4x4<f32>) {
    finish(row, column, sums[0]);
    finish(row + 1u, column, sums[1]);
    finish(row + 2u, column, sums[2]);
    finish(row + 3u, column, sums[3]);
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.y * TILE_ROWS;
    let column = group.x * TILE_COLUMNS + lane * 8u;
    // Rows 0 to 3 and 4 to 7 of the lane's tile, columns 0 to 3 and 4 to 7.
    var top_left = mat4x4<f32>();
    var top_right = mat4x4<f32>();
    var low_left = mat4x4<f32>();
    var low_right = mat4x4<f32>();
    let step = load_step();
    let inner = shape.inner;
    if (column < shape.columns) {
        for (var i = 0u; i < inner; i++) {
            // What is read beyond the last row or column goes into entries that are not stored.
            let at = load(row, i);
            let left_w = weight_four(i, column);
            let right_w = weight_four(i, column + 4u);
            let top = vec4<f32>(x[at], x[at + step], x[at + 2u * step], x[at + 3u * step]);
            let low = vec4<f32>(x[at + 4u * step], x[at + 5u * step], x[at + 6u * step], x[at + 7u * step]);
            top_left += mat4x4<f32>(top.x * left_w, top.y * left_w, top.z * left_w, top.w * left_w);
            top_right += mat4x4<f32>(top.x * right_w, top.y * right_w, top.z * right_w, top.w * right_w);
            low_left += mat4x4<f32>(low.x * left_w, low.y * left_w, low.z * left_w, low.w * left_w);
            low_right += mat4x4<f32>(low.x * right_w, low.y * right_w, low.z * right_w, low.w * right_w);
        }
    }
    store_rows_of(row, column, top_left);
    store_rows_of(row, column + 4u, top_right);
    store_rows_of(row + 4u, column, low_left);
    store_rows_of(row + 4u, column + 4u, low_right);
}
