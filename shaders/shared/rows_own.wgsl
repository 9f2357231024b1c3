// rows_own: the tokens of a chunk alone, while its queries still look at those whose rows they will take.
fn row_of(source: u32, token: u32) -> u32 {
    return source * shape.stride + token - first_position();
}
