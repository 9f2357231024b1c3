// product: sizes of a product of rows and a matrix, and what is done with its sums.
struct Shape {
    rows: u32,
    inner: u32,
    columns: u32,
    w_first: u32,
    w_columns: u32,
    heads: u32,
    kv_heads: u32,
    width: u32,
    b_first: u32,
    step: u32,
    gap: u32,
    stride: u32,
    q_stride: u32,
    q_held: u32,
}

fn finish(row: u32, column: u32, sum: vec4<f32>) {
    if (row >= shape.rows || column >= shape.columns) {
        return;
    }
    var y = sum;
    for (var c = 0u; c < 4u && column + c < shape.columns; c++) {
        y[c] = y[c] * scale(shape.w_first + column + c) + b[shape.b_first + column + c];
    }
    store(row, column, y);
}
