// head: one head of one layer.
struct Head {
    layer: u32,
    layers: u32,
    head: u32,
    heads: u32,
}
