// reduce_subgroups: the same as reduce, where lanes of a subgroup add up without memory of their workgroup.
//
// Stands in for reduce on hardware on which that is faster. Subgroups may have any size and hold any lanes: each is
// represented by its lowest lane, and then every subgroup adds up what all of them have. That is two barriers for three. A
// subgroup adds in an order of its own, which is the same each time on one device. Every lane must call it.
#import lanes
#import masked

struct Fold {
    max: f32,
    sum: f32,
    count: f32,
}

var<workgroup> reduce_scratch: array<Fold, LANES>;

fn in_subgroup(part: Fold) -> Fold {
    return Fold(subgroupMax(part.max), subgroupAdd(part.sum), subgroupAdd(part.count));
}

fn reduce(lane: u32, part: Fold) -> Fold {
    let own = in_subgroup(part);
    let lowest = subgroupMin(lane);
    let place = subgroupExclusiveAdd(1u);
    let size = subgroupAdd(1u);
    // Readers of the previous result are done before it is overwritten.
    workgroupBarrier();
    reduce_scratch[lane] = Fold(MASKED, 0.0, 0.0);
    if (lane == lowest) {
        reduce_scratch[lane] = own;
    }
    workgroupBarrier();
    var all = Fold(MASKED, 0.0, 0.0);
    for (var other = place; other < LANES; other += size) {
        let more = reduce_scratch[other];
        all = Fold(max(all.max, more.max), all.sum + more.sum, all.count + more.count);
    }
    return in_subgroup(all);
}
