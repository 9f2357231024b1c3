// mix_row: values summed under the weights of a row.
//
// Narrow heads leave lanes over: they share the keys and add up their parts.
#import lanes
#import masked
#import row

var<workgroup> mix_scratch: array<f32, LANES>;

fn mix_row(lane: u32, row: Row, q_row: u32, row_index: u32, source: u32, live: u32, slot_weight: f32) {
    for (var first = 0u; first < shape.mix_width; first += LANES) {
        let span = min(shape.mix_width - first, LANES);
        let parts = LANES / span;
        let d = first + lane % span;
        var value = 0.0;
        for (var place = lane / span; place < live && lane / span < parts; place += parts) {
            if (line[place] != MASKED) {
                value += line[place] * v[row_at(source, q_row, row.keys, place) * shape.mix_width + d];
            }
        }
        mix_scratch[lane] = value;
        workgroupBarrier();
        if (lane < span) {
            for (var part = 1u; part < parts; part++) {
                value += mix_scratch[lane + part * span];
            }
            #slot slot_value
            z[row_index * shape.mix_width + d] = value;
        }
        workgroupBarrier();
    }
}
