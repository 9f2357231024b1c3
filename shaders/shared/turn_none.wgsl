// turn_none: queries and keys of a family with learned positions.
fn turn(position: u32, entry: u32, pair: vec2<f32>) -> vec2<f32> {
    return pair;
}
