// reduce: maximum, sum and count over the lanes of a workgroup.
//
// A tree in fixed order, so that two runs agree to the bit. Every lane must call it.
#import lanes

struct Fold {
    max: f32,
    sum: f32,
    count: f32,
}

var<workgroup> reduce_scratch: array<Fold, LANES>;

fn reduce(lane: u32, part: Fold) -> Fold {
    // Readers of the previous result are done before it is overwritten.
    workgroupBarrier();
    reduce_scratch[lane] = part;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half = half / 2u) {
        if (lane < half) {
            let mine = reduce_scratch[lane];
            let other = reduce_scratch[lane + half];
            reduce_scratch[lane] = Fold(max(mine.max, other.max), mine.sum + other.sum, mine.count + other.count);
        }
        workgroupBarrier();
    }
    return reduce_scratch[0];
}
