// turn_pairs: turns a pair of entries, which stand side by side in the columns, by its position's angle.
@group(0) @binding(7) var<storage, read> turns: array<vec2<f32>>; // [positions,D/2] of (cos, sin)

fn turn(position: u32, entry: u32, pair: vec2<f32>) -> vec2<f32> {
    let angle = turns[position * (shape.width / 2u) + entry / 2u];
    return vec2<f32>(pair.x * angle.x - pair.y * angle.y, pair.x * angle.y + pair.y * angle.x);
}
