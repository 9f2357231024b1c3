// matmul: rows of activations times a weight matrix, plus bias, and what is done with the product.
//
// Computes  y = x·w + b; the slots say how x and w lie and where y goes
// Reads     x [R,I]   w [I,C], columns of it from w_first on   b, of which [C] from b_first on
// Writes    what the store slot declares
// Grid      x tiles of columns, y tiles of rows; 8 × 8, each invocation 4 × 8 entries
// Twin      src/model/text.rs
#import product
#slot load
#slot weight
#slot store

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [R,I]
@group(0) @binding(2) var<storage, read> b: array<f32>;

const TILE_ROWS: u32 = 32u;
const TILE_COLUMNS: u32 = 64u;
const TILE_INNER: u32 = 16u;
const GROUP: u32 = 64u;

var<workgroup> tile_x: array<vec4<f32>, 128>; // [TILE_INNER, TILE_ROWS / 4]
var<workgroup> tile_w: array<vec4<f32>, 256>; // [TILE_INNER, TILE_COLUMNS / 4]

fn x_at(row: u32, i: u32) -> f32 {
    // Out-of-range entries are zero, so that the inner loop needs no guard.
    if (row >= shape.rows || i >= shape.inner) {
        return 0.0;
    }
    return x[load(row, i)];
}

fn w_at(i: u32, column: u32) -> vec4<f32> {
    if (i >= shape.inner || column >= shape.columns) {
        return vec4<f32>();
    }
    return weight_four(i, column);
}

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let lane = local.y * 8u + local.x;
    let first_row = group.y * TILE_ROWS;
    let first_column = group.x * TILE_COLUMNS;
    // Columns 4 x to 4 x + 3 of the tile's left half, and of its right half.
    var left = mat4x4<f32>();
    var right = mat4x4<f32>();
    for (var start = 0u; start < shape.inner; start += TILE_INNER) {
        for (var n = lane; n < TILE_INNER * TILE_ROWS / 4u; n += GROUP) {
            let i = start + n % TILE_INNER;
            let row = n / TILE_INNER * 4u;
            let at = first_row + row;
            tile_x[n % TILE_INNER * (TILE_ROWS / 4u) + row / 4u] =
                vec4<f32>(x_at(at, i), x_at(at + 1u, i), x_at(at + 2u, i), x_at(at + 3u, i));
        }
        for (var n = lane; n < TILE_INNER * TILE_COLUMNS / 4u; n += GROUP) {
            let i = start + n / (TILE_COLUMNS / 4u);
            let at = first_column + n % (TILE_COLUMNS / 4u) * 4u;
            tile_w[n] = w_at(i, at);
        }
        workgroupBarrier();
        for (var i = 0u; i < TILE_INNER; i++) {
            let rows_x = tile_x[i * (TILE_ROWS / 4u) + local.y];
            let left_w = tile_w[i * (TILE_COLUMNS / 4u) + local.x];
            let right_w = tile_w[i * (TILE_COLUMNS / 4u) + local.x + 8u];
            // Outer products of four rows and four columns.
            left += mat4x4<f32>(rows_x.x * left_w, rows_x.y * left_w, rows_x.z * left_w, rows_x.w * left_w);
            right += mat4x4<f32>(rows_x.x * right_w, rows_x.y * right_w, rows_x.z * right_w, rows_x.w * right_w);
        }
        workgroupBarrier();
    }
    let row = first_row + local.y * 4u;
    let column = first_column + local.x * 4u;
    for (var r = 0u; r < 4u; r++) {
        finish(row + r, column, left[r]);
        finish(row + r, column + 32u, right[r]);
    }
}
