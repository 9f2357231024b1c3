// pair: one query and one key of one head.
//
// Positions are absolute: a decode step asks about its own position, not about row 0. What a mask says of keys that are later
// than the query, where `query - key` wraps, does not count; a score can be that of a later key (`reach`).
struct Pair {
    layer: u32,
    layers: u32,
    head: u32,
    heads: u32,
    kv_heads: u32,
    query: u32,
    key: u32,
}
