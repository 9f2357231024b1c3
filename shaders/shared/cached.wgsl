// cached: queries, keys and values side by side go, rotated, to where they are kept.
//
// Keys and values go behind those of the tokens before, and queries, too, where they are held (`q_held` is 1, else 0).
#import place_state
#slot turn
@group(0) @binding(5) var<storage, read_write> q: array<f32>; // [H,q_stride,D]
@group(0) @binding(6) var<storage, read_write> k: array<f32>; // [G,S,D]
@group(0) @binding(7) var<storage, read_write> v: array<f32>; // [G,S,D]
#import rows_whole

fn put(row: u32, column: u32, value: f32) {
    let head = column / shape.width;
    let entry = column % shape.width;
    let turned = entry / 2u * shape.step + entry % 2u * shape.gap;
    let token = first_position() + row;
    if (head < shape.heads) {
        q[(head * shape.q_stride + shape.q_held * first_position() + row) * shape.width + turned] = value;
    } else if (head < shape.heads + shape.kv_heads) {
        k[row_of(head - shape.heads, token) * shape.width + turned] = value;
    } else if (head < shape.heads + 2u * shape.kv_heads) {
        v[row_of(head - shape.heads - shape.kv_heads, token) * shape.width + entry] = value;
    }
}

fn store_qkv(row: u32, column: u32, values: vec4<f32>) {
    for (var c = 0u; c < 4u; c += 2u) {
        var pair = vec2<f32>(values[c], values[c + 1u]);
        // Where entries turn, a head is even, so that a pair never lies in two.
        if ((column + c) / shape.width < shape.heads + shape.kv_heads) {
            pair = turn(first_position() + row, (column + c) % shape.width, pair);
        }
        put(row, column + c, pair.x);
        put(row, column + c + 1u, pair.y);
    }
}
