// attention: sizes of an attention step, as the kernels are told them that mix values.
//
// `stride` rows of keys and values, `q_stride` rows of queries stand between one head and the next; where queries of all
// positions are held (`q_held` is 1, else 0), the first one asked about stands at its position. `shown` heads from
// `first_head` on are computed.
struct Shape {
    layer: u32,
    layers: u32,
    batch: u32,
    heads: u32,
    kv_heads: u32,
    queries: u32,
    keys: u32,
    stride: u32,
    q_stride: u32,
    q_held: u32,
    width: u32,
    first_query: u32,
    first_head: u32,
    shown: u32,
    scale: f32,
    mix_width: u32,
}
