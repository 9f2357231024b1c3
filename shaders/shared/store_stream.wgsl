// store_stream: the product is added to the residual stream, and the sums of the tile go behind the row.
#import row_sums
@group(0) @binding(5) var<storage, read> residual: array<f32>; // [C]
@group(0) @binding(6) var<storage, read_write> y: array<f32>; // [C], then sums

var<workgroup> parts: array<vec2<f32>, TILE / 4u>;

fn store(row: u32, column: u32, values: vec4<f32>) {
    let count = min(4u, shape.columns - column);
    var added = values;
    for (var c = 0u; c < count; c++) {
        added[c] += residual[column + c];
        y[column + c] = added[c];
    }
    parts[column % TILE / 4u] = sums_of(added, count);
}

fn close(lane: u32, group: u32) {
    workgroupBarrier();
    if (lane == 0u) {
        let count = min(TILE, shape.columns - group * TILE);
        var sums = parts[0];
        for (var first = 4u; first < count; first += 4u) {
            sums = sums_joined(sums, first, parts[first / 4u], min(4u, count - first));
        }
        let at = sums_at(shape.columns, group);
        y[at] = sums.x;
        y[at + 1u] = sums.y;
    }
}
