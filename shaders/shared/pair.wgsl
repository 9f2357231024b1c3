// pair: one query and one key of one head.
//
// Positions are absolute: a decode step asks about its own position, not about row 0. A mask is only asked about keys that
// are not later than the query, so `query - key` does not wrap there; a score can be that of a later key (`reach`).
struct Pair {
    layer: u32,
    layers: u32,
    head: u32,
    heads: u32,
    kv_heads: u32,
    query: u32,
    key: u32,
}
