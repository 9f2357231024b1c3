// halo_attention: blocks of queries with a shared halo.
//
// Computes  key ≥ block · ⌊query / block⌋ - halo
// Twin      src/mechanism/halo_attention.rs
#import pair

fn halo_attention_keep(p: HaloAttentionParams, at: Pair) -> bool {
    let start = at.query / u32(p.block) * u32(p.block);
    // The halo moves to the other side: a difference of positions would wrap before the text.
    return at.key + u32(p.halo) >= start;
}
