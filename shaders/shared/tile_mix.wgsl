// tile_mix: weights of a tile, and values summed under them; see shaders/skeleton/attend_tiles.wgsl.
#import lanes
#import masked

fn most_of(x: vec4<f32>) -> f32 {
    return max(max(x.x, x.y), max(x.z, x.w));
}

// Weights of one row and four keys, before they are divided by their sum.
fn weigh(row: u32, part: u32, x: vec4<f32>) {
    let w = select(exp(x - tops[row]), vec4<f32>(), x == vec4<f32>(MASKED));
    let at = row * PITCH + part;
    weights[at] = w.x;
    weights[at + PARTS] = w.y;
    weights[at + 2u * PARTS] = w.z;
    weights[at + 3u * PARTS] = w.w;
    partial[row * PARTS + part] = w.x + w.y + w.z + w.w;
}

// Four rows by four.
fn scaled(sums: mat4x4<f32>, row: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        sums[0] * fades[row], sums[1] * fades[row + 1u], sums[2] * fades[row + 2u], sums[3] * fades[row + 3u]);
}

// Values of a tile of keys under the weights of four rows, of one span of the entries. Every lane must call it.
fn mix(lane: u32, source: u32, start: u32, most: u32, span: u32) -> mat4x4<f32> {
    let spans = shape.mix_width / 4u;
    let first = span * SLICE;
    let count = min(SLICE, spans - min(spans, first));
    workgroupBarrier();
    for (var n = lane; n < TILE_KEYS * count; n += LANES) {
        let row = row_of(source, start + min(n / count, most));
        tile[n / count * SLICE + n % count] = v[row * spans + first + n % count];
    }
    workgroupBarrier();
    var sums = mat4x4<f32>();
    let at = lane / PARTS * 4u * PITCH;
    for (var key = 0u; key < TILE_KEYS; key++) {
        let value = tile[key * SLICE + lane % PARTS];
        sums += mat4x4<f32>(
            weights[at + key] * value,
            weights[at + PITCH + key] * value,
            weights[at + 2u * PITCH + key] * value,
            weights[at + 3u * PITCH + key] * value,
        );
    }
    return sums;
}

fn write(lane: u32, group: vec3<u32>, sums: mat4x4<f32>, span: u32) {
    let entry = span * SLICE + lane % PARTS;
    let spans = shape.mix_width / 4u;
    let row = lane / PARTS * 4u;
    let first = group.x * TILE_ROWS + row;
    let shares = scaled(sums, row);
    for (var r = 0u; r < 4u && first + r < shape.queries && entry < spans; r++) {
        z[(group.y * shape.queries + first + r) * spans + entry] = shares[r];
    }
}
