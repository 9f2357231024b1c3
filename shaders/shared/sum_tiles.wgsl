// sum_tiles: what stands behind a row that one workgroup has written as a whole.
#import row_sums

// The sums of every tile of x, of `size` entries; see row_sums.
fn sum_tiles(lane: u32, width: u32, size: u32) {
    for (var first = lane * size; first < width; first += GROUP * size) {
        var sums = vec2<f32>();
        for (var m = first; m < min(first + size, width); m++) {
            sums = sums_joined(sums, m - first, vec2<f32>(x[m], 0.0), 1u);
        }
        let at = sums_at(width, first / size);
        x[at] = sums.x;
        x[at + 1u] = sums.y;
    }
}
