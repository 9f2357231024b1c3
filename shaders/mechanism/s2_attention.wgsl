// s2_attention: local blocks, and stripes that move from head to head.
//
// Computes  Q - K < local_blocks or (K + g·shift + o) mod stride = 0 over blocks Q, K; dense heads and layers keep all
// Twin      src/mechanism/s2_attention.rs
#import pair

fn s2_attention_keep(p: S2AttentionParams, at: Pair) -> bool {
    let query_block = at.query / u32(p.block);
    let key_block = at.key / u32(p.block);
    let local = query_block - key_block < u32(p.local_blocks);
    let shift = max(u32(p.stride) / at.heads, 1u);
    let kv_head = at.head / (at.heads / at.kv_heads);
    let g = select(0u, kv_head, p.heterogeneous != 0u);
    let o = select(0u, at.layer, p.rotate != 0u);
    let stripe = (key_block + g * shift + o) % u32(p.stride) == 0u;
    // Nothing is a remainder of zero, so the divisor of a setting without dense layers is any other number.
    let dense_layer = p.dense_every > 0 && (at.layer + 1u) % u32(max(p.dense_every, 1)) == 0u;
    let dense = dense_layer || kv_head + u32(p.dense_heads) >= at.kv_heads;
    return local || stripe || dense;
}
