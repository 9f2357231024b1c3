// fold: sums over the lanes of a wide workgroup.
//
// A tree in fixed order, so that two runs agree to the bit. Every lane must call it. Afterwards scratch[lane] holds the sum
// over all lanes that differ from it in the folded bits only, for lanes in which these are zero.
#import group

var<workgroup> scratch: array<vec4<f32>, GROUP>;

fn fold(lane: u32, part: vec4<f32>, widest: u32, narrowest: u32) {
    // Readers of the previous result are done before it is overwritten.
    workgroupBarrier();
    scratch[lane] = part;
    workgroupBarrier();
    for (var bit = widest; bit >= narrowest; bit = bit / 2u) {
        if ((lane & bit) == 0u) {
            scratch[lane] += scratch[lane + bit];
        }
        workgroupBarrier();
    }
}
