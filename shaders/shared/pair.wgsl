// pair: one query and one key of one head.
//
// Positions are absolute: a decode step asks about its own position, not about row 0. A pair that is asked about is never
// later than its query, so `query - key` does not wrap.
struct Pair {
    layer: u32,
    head: u32,
    heads: u32,
    kv_heads: u32,
    query: u32,
    key: u32,
}
