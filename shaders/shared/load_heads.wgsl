// load_heads: x lies head-first, [H,R,D], and is read as [R,H·D].
fn load(row: u32, i: u32) -> u32 {
    return (i / shape.width * shape.rows + row) * shape.width + i % shape.width;
}

// Between an entry and that of the next row.
fn load_step() -> u32 {
    return shape.width;
}
