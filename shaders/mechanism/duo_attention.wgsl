// duo_attention: some heads keep the whole past, the others a sink and a window.
//
// Computes  gate(kv head) ≥ streaming or key < sinks or query - key < window
// Twin      src/mechanism/duo_attention.rs
#import pair

fn duo_attention_keep(p: DuoAttentionParams, at: Pair) -> bool {
    let kv_head = at.head / (at.heads / at.kv_heads);
    let alpha = duo_attention_gates[kv_head / 4u][kv_head % 4u];
    let retrieval = alpha >= p.streaming;
    let recent = at.query - at.key < u32(p.window);
    let first = at.key < u32(p.sinks);
    return retrieval || first || recent;
}
