// top_rows: the largest items of each list, marked.
//
// Computes  made[b,h,l,i] = 1 for the `quota` items of list l with the largest values, of equal ones the last; else 0
// Reads     what earlier stages of the mechanism made
// Writes    made [B,H,L,K], L lists of K items: rows of pairs, or `count` lists of tokens
// Grid      x lists, y batch × heads; LANES
// Twin      src/mechanism/stage.rs
#import lanes
#import head
#import masked
#import reduce
#import step

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read_write> made: array<f32>; // [B,H,L,K]

const MOST_ITEMS: u32 = 2048u;

// Values as whole numbers of the same order; 0 for items that are not there.
var<workgroup> ranks: array<u32, MOST_ITEMS>;

fn sortable(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

// How many items are at least `least`, and of those equal to `equal` only items from `from` on.
fn at_least(lane: u32, least: u32, equal: u32, start: u32) -> u32 {
    var found = 0.0;
    for (var item = lane; item < shape.keys; item += LANES) {
        let rank = ranks[item];
        let taken = rank >= least && (rank != equal || item >= start);
        found += select(0.0, 1.0, taken);
    }
    return u32(reduce(lane, Fold(MASKED, found, 0.0)).sum);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = Head(shape.layer, shape.layers, group.y % shape.heads, shape.heads);
    let list = group.x;
    let first = (group.y * shape.lists + list) * shape.keys;
    var quota = 0u;
    #slot quota
    for (var item = lane; item < shape.keys; item += LANES) {
        let entry = first + item;
        let k_row = group.y * shape.keys + item;
        var value = MASKED;
        #slot item
        ranks[item] = select(max(sortable(value), 1u), 0u, value == MASKED);
    }
    // The largest value that still has `quota` items, bit by bit; then the same for the index among equal ones.
    var least = 0u;
    for (var bit = 0x80000000u; bit > 0u; bit = bit >> 1u) {
        if (at_least(lane, least | bit, 0u, 0u) >= quota) {
            least = least | bit;
        }
    }
    least = max(least, 1u);
    var start = 0u;
    for (var bit = MOST_ITEMS / 2u; bit > 0u; bit = bit >> 1u) {
        if (at_least(lane, least, least, start | bit) >= quota) {
            start = start | bit;
        }
    }
    for (var item = lane; item < shape.keys; item += LANES) {
        let taken = ranks[item] >= least && (ranks[item] != least || item >= start);
        made[first + item] = select(0.0, 1.0, taken && quota > 0u);
    }
}
