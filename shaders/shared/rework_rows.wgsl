// rework_rows: a pattern mod changes the weights of a row, given sums over it.
//
// `gather` adds what it wants of each weight to a Fold of its own; `rework` sees the Fold of the whole row. It is also asked
// about pairs that are not kept, whose w is MASKED.
#import masked
#import pair
#import reduce

fn rework_row(lane: u32, batch: u32, head: u32, query: u32, q_row: u32, keys: u32, seen: u32) {
    var part = Fold(MASKED, 0.0, 0.0);
    for (var key = lane; key < seen; key += LANES) {
        let w = line[key];
        if (w != MASKED) {
            let pair = Pair(shape.layer, shape.layers, head, shape.heads, shape.kv_heads, query, key);
            let k_row = (batch * shape.heads + head) * keys + key;
            #slot gather
        }
    }
    let fold = reduce(lane, part);
    for (var key = lane; key < seen; key += LANES) {
        var w = line[key];
        let pair = Pair(shape.layer, shape.layers, head, shape.heads, shape.kv_heads, query, key);
        let k_row = (batch * shape.heads + head) * keys + key;
        #slot rework
        line[key] = w;
    }
    workgroupBarrier();
}

fn rework_slot(q_row: u32, given: f32) -> f32 {
    var slot_weight = given;
    #slot rework_slot
    return slot_weight;
}
