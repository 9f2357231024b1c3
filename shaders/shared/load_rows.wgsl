// load_rows: x lies row after row, [R,I].
fn load(row: u32, i: u32) -> u32 {
    return row * shape.inner + i;
}

// Between an entry and that of the next row.
fn load_step() -> u32 {
    return shape.inner;
}
