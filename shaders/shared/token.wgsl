// token: one query or key of one head, and its vector.
struct Token {
    layer: u32,
    layers: u32,
    head: u32,
    heads: u32,
    // Whether it is a key.
    is_key: bool,
    // Position in the sequence, and its row in [B,H,Q] or [B,H,K].
    position: u32,
    row: u32,
    // Number of keys, and position of the first query.
    keys: u32,
    first_query: u32,
    width: u32,
    scale: f32,
    // First row of its head in [B,H,Q] and in [B,H,K].
    q_rows: u32,
    k_rows: u32,
}
