// place_shape: rows and keys as the host says.
fn idle() -> bool {
    return false;
}

fn first_position() -> u32 {
    return shape.first_query;
}

fn key_count(queries: u32) -> u32 {
    return shape.keys;
}
