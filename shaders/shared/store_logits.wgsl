// store_logits: logits, and the best runner of each workgroup's outputs.
#import draw
@group(0) @binding(5) var<storage, read_write> logits: array<f32>; // [C]
@group(0) @binding(6) var<storage, read_write> best: array<vec2<f32>>; // [C/TILE]

var<workgroup> fours: array<vec2<f32>, TILE / 4u>;

fn store(row: u32, column: u32, values: vec4<f32>) {
    var first = vec2<f32>(-3e38, 0.0);
    for (var c = 0u; c < 4u && column + c < shape.columns; c++) {
        logits[column + c] = values[c];
        first = better(runner(state, values[c], column + c), first);
    }
    fours[column % TILE / 4u] = first;
}

fn close(lane: u32, group: u32) {
    workgroupBarrier();
    if (lane == 0u) {
        var first = fours[0];
        for (var n = 1u; n < TILE / 4u && group * TILE + n * 4u < shape.columns; n++) {
            first = better(fours[n], first);
        }
        best[group] = first;
    }
}
