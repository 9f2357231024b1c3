// rows_whole: a cache has a row for every token.
fn row_of(source: u32, token: u32) -> u32 {
    return source * shape.stride + token;
}
