// tile_pair: what mechanisms say of the pairs of one row and four keys: whether they are kept, and their exponents.
//
// Written out in fours: an array that is indexed in a loop would lie in memory and not in registers.
#import masked
#import pair

fn pair_at(head: u32, row: u32, key: u32) -> Pair {
    return Pair(shape.layer, shape.layers, head, shape.heads, shape.kv_heads, first_position() + row, key);
}

// The log-weight of a kept pair, MASKED for one that is removed. One branch stands around what masks say, and none beside:
// sixteen of these stand in one loop, and with more or with no branches a software driver takes gigabytes to compile some.
fn kept(head: u32, row: u32, key: u32, keys: u32, q_row: u32) -> f32 {
    let pair = pair_at(head, row, key);
    var reach = 0u;
    #slot reach
    var keep = (row < shape.queries) & (pair.key < max(min(keys, pair.query + 1u), reach));
    if (keep) {
        #slot keep
        keep = keep | (pair.key < reach);
    }
    var log_weight = MASKED;
    if (keep) {
        log_weight = chosen_weight(q_row * keys + pair.key);
    }
    return log_weight;
}

fn kept_four(head: u32, row: u32, key: u32, step: u32, keys: u32, q_row: u32) -> vec4<f32> {
    return vec4<f32>(
        kept(head, row, key, keys, q_row),
        kept(head, row, key + step, keys, q_row),
        kept(head, row, key + 2u * step, keys, q_row),
        kept(head, row, key + 3u * step, keys, q_row),
    );
}

// The exponent of a kept pair.
fn exponent(head: u32, row: u32, key: u32, product: f32, log_weight: f32) -> f32 {
    let pair = pair_at(head, row, key);
    var s = product * shape.scale;
    #slot score
    var x = s + log_weight;
    #slot exponent
    return select(x, MASKED, log_weight == MASKED);
}

fn exponent_four(head: u32, row: u32, key: u32, step: u32, products: vec4<f32>, logs: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(
        exponent(head, row, key, products.x, logs.x),
        exponent(head, row, key + step, products.y, logs.y),
        exponent(head, row, key + 2u * step, products.z, logs.z),
        exponent(head, row, key + 3u * step, products.w, logs.w),
    );
}
