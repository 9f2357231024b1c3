// tidal_decode: keys chosen in two layers, kept in the layers between.
//
// Computes  list = the `budget` largest scores of a row; in other layers 0 for pairs in the list, the query's own key and
//           rows of the prompt, MASKED for all others
// Twin      src/mechanism/tidal_decode.rs
#import head
#import masked
#import pair

const tidal_decode_sinks: i32 = 4;

// What a key is ranked by: the score of the head, the largest of its group, or the mean of all.
fn tidal_decode_rank(p: TidalDecodeParams, at: Head, list: u32, item: u32, k_row: u32) -> f32 {
    let batch = k_row / shape.keys / shape.heads * shape.heads;
    var first = at.head;
    var count = 1u;
    if (p.heads_word == tidal_decode_heads_group) {
        count = shape.heads / shape.kv_heads;
        first = at.head / count * count;
    } else if (p.heads_word == tidal_decode_heads_all) {
        count = shape.heads;
        first = 0u;
    }
    var most = MASKED;
    var sum = 0.0;
    var kept = 0.0;
    for (var head = first; head < first + count; head++) {
        let score = tidal_decode_scores[((batch + head) * shape.queries + list) * shape.keys + item];
        if (score != MASKED) {
            most = max(most, score);
            sum += score;
            kept += 1.0;
        }
    }
    return select(most, sum / max(kept, 1.0), p.heads_word == tidal_decode_heads_all && kept > 0.0);
}

fn tidal_decode_quota(p: TidalDecodeParams, at: Head, list: u32) -> u32 {
    return u32(p.budget);
}

fn tidal_decode_always(p: TidalDecodeParams, at: Pair) -> bool {
    return at.query == at.key || at.query < u32(p.prompt);
}

fn tidal_decode_choose(p: TidalDecodeParams, at: Pair, q_row: u32, k_row: u32) -> f32 {
    let listed = tidal_decode_list[q_row * shape.keys + at.key] > 0.5;
    return select(MASKED, 0.0, listed || tidal_decode_always(p, at));
}

fn tidal_decode_window(p: TidalDecodeParams, at: Pair, q_row: u32, k_row: u32) -> f32 {
    let sinks = min(tidal_decode_sinks, p.budget - 1);
    let recent = at.query - at.key < u32(p.budget - sinks);
    let first = at.key < u32(sinks);
    return select(MASKED, 0.0, recent || first || tidal_decode_always(p, at));
}
