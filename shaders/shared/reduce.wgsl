// reduce: maximum, sum and count over the lanes of a workgroup.
//
// In fixed order, so that two runs agree to the bit: a few lanes add up, then every lane adds up what these have. That is
// three barriers where a tree has one per halving. Every lane must call it.
#import lanes

struct Fold {
    max: f32,
    sum: f32,
    count: f32,
}

const PARTIAL: u32 = min(8u, LANES); // about the square root of LANES

var<workgroup> reduce_scratch: array<Fold, LANES>;

fn joined(a: Fold, b: Fold) -> Fold {
    return Fold(max(a.max, b.max), a.sum + b.sum, a.count + b.count);
}

fn reduce(lane: u32, part: Fold) -> Fold {
    // Readers of the previous result are done before it is overwritten.
    workgroupBarrier();
    reduce_scratch[lane] = part;
    workgroupBarrier();
    if (lane < PARTIAL) {
        var all = part;
        for (var other = lane + PARTIAL; other < LANES; other += PARTIAL) {
            all = joined(all, reduce_scratch[other]);
        }
        reduce_scratch[lane] = all;
    }
    workgroupBarrier();
    var all = reduce_scratch[0];
    for (var other = 1u; other < PARTIAL; other++) {
        all = joined(all, reduce_scratch[other]);
    }
    return all;
}
