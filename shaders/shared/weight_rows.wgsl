// weight_rows: w lies as [I,C].
fn weight(i: u32, column: u32) -> u32 {
    return i * shape.columns + column;
}
