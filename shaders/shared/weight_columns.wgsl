// weight_columns: w lies as [C,I], as a tied embedding does.
fn weight(i: u32, column: u32) -> u32 {
    return column * shape.inner + i;
}
