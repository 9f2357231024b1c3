// weight_rows: w lies as [I,C], outputs side by side, perhaps beside those of another product.
#slot format

// Entries (i, column) to (i, column + 3); column is a multiple of four.
fn weight_four(i: u32, column: u32) -> vec4<f32> {
    return quad(i * ((shape.w_columns + 3u) / 4u) + (shape.w_first + column) / 4u);
}
