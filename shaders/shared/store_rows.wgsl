// store_rows: the product as it is.
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [R,C]

fn store(row: u32, column: u32, values: vec4<f32>) {
    for (var c = 0u; c < 4u && column + c < shape.columns; c++) {
        y[row * shape.columns + column + c] = values[c];
    }
}
