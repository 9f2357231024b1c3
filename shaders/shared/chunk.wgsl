// chunk: lanes of a decode_product on hardware: many lanes on few outputs, so that a narrow matrix keeps a whole GPU busy.
//
// Inputs lie in workgroup memory on their way, so that the norm is applied once per workgroup and not once per lane.
#import fold

const TILE: u32 = 16u;
const CHUNK: u32 = 1024u;

var<workgroup> chunk: array<f32, CHUNK>;

// Brings inputs from `start` on; what lies beyond the last of them counts as zero.
fn fetch(lane: u32, start: u32, count: u32) {
    workgroupBarrier();
    for (var i = lane; i < (count + 3u) / 4u * 4u; i += GROUP) {
        chunk[i] = 0.0;
        if (i < count) {
            chunk[i] = input(start + i);
        }
    }
    workgroupBarrier();
}
