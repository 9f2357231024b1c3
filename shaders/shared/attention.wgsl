// attention: sizes of an attention step, as the kernels are told them that mix values.
//
// S rows of keys and values stand between one head and the next; `shown` heads from `first_head` on are computed.
struct Shape {
    layer: u32,
    layers: u32,
    batch: u32,
    heads: u32,
    kv_heads: u32,
    queries: u32,
    keys: u32,
    stride: u32,
    width: u32,
    first_query: u32,
    first_head: u32,
    shown: u32,
    scale: f32,
    mix_width: u32,
}
