// row_sums: what stands behind a row of the stream, so that nobody adds the whole row up again.
//
// A row [M] is padded to whole fours; behind it stand, for every tile of it, the sum of the tile's entries and the sum of
// their squared distances from their mean. Whoever writes a tile writes both; norms add up tiles, without a barrier.

// Where the sums of a tile stand.
fn sums_at(width: u32, tile: u32) -> u32 {
    return (width + 3u) / 4u * 4u + 2u * tile;
}

// Sums of `count` entries, up to four.
fn sums_of(values: vec4<f32>, count: u32) -> vec2<f32> {
    let there = vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(count);
    let sum = dot(select(vec4<f32>(), values, there), vec4<f32>(1.0));
    let apart = select(vec4<f32>(), values - sum / f32(count), there);
    return vec2<f32>(sum, dot(apart, apart));
}

// Sums of the entries of both, of which there are so many.
fn sums_joined(a: vec2<f32>, a_count: u32, b: vec2<f32>, b_count: u32) -> vec2<f32> {
    // Nothing has no mean, and no weight either.
    let apart = b.x / f32(b_count) - a.x / f32(max(a_count, 1u));
    let share = f32(a_count) * f32(b_count) / f32(a_count + b_count);
    return vec2<f32>(a.x + b.x, a.y + b.y + apart * apart * share);
}

// Sums of the row x of `width` entries in tiles of `size`.
fn sums_of_row(width: u32, size: u32) -> vec2<f32> {
    var all = vec2<f32>();
    for (var first = 0u; first < width; first += size) {
        let at = sums_at(width, first / size);
        let tile = vec2<f32>(x[at], x[at + 1u]);
        all = sums_joined(all, first, tile, min(size, width - first));
    }
    return all;
}
