// step: sizes of an attention step, as stages of mechanisms are told them.
//
// `tokens`, `sources` and `first` belong to the side a stage is about: number of its vectors, number of its heads, position
// of its first vector. `domain`, `count` and `lists` are the stage's own.
struct Shape {
    layer: u32,
    layers: u32,
    batch: u32,
    heads: u32,
    kv_heads: u32,
    queries: u32,
    keys: u32,
    width: u32,
    first_query: u32,
    tokens: u32,
    sources: u32,
    first: u32,
    is_key: u32,
    count: u32,
    domain: u32,
    lists: u32,
    scale: f32,
}
