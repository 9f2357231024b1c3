// weight_rows: w lies as [I,C], outputs side by side.
#slot format

// Entries (i, column) to (i, column + 3); column is a multiple of four.
fn weight_four(i: u32, column: u32) -> vec4<f32> {
    return quad(i * ((shape.columns + 3u) / 4u) + column / 4u);
}
