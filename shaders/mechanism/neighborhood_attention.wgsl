// neighborhood_attention: the nearest keys, evenly spaced.
//
// Computes  query - key < neighbours · dilation and query - key is a multiple of dilation
// Twin      src/mechanism/neighborhood_attention.rs
#import pair

fn neighborhood_attention_keep(p: NeighborhoodAttentionParams, at: Pair) -> bool {
    let close = p.alternate != 0u && at.layer % 2u == 0u;
    let dilation = select(u32(p.dilation), 1u, close);
    let distance = at.query - at.key;
    let near = distance < u32(p.neighbours) * dilation;
    let spaced = distance % dilation == 0u;
    return near && spaced;
}
