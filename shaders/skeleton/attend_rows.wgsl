// attend_rows: one row of attention under a stack of mechanisms.
//
// Computes  scores = mask(mod(scale · q·k))   pattern = normalize(scores)   z = pattern·v + slot · slot value
// Reads     q [B,H,Q,D]   k [B,G,S,D]   v [B,G,S,F], of which K, rotated where the family rotates; F is mostly D
// Writes    z [B,N,Q,D] for the N heads from first_head; the capture variant also maps
// Grid      x query rows, y batch × heads shown; LANES
// Twin      src/model/attention.rs
#import attention
#import lanes
#import masked
#import mix_row
#import pair
#import row
#slot capture
#slot choice
#slot keys
#slot place
#slot reworked

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> q: array<f32>; // [B,H,Q,D]
@group(0) @binding(2) var<storage, read> k: array<f32>; // [B,G,S,D]
@group(0) @binding(3) var<storage, read> v: array<f32>; // [B,G,S,D]
@group(0) @binding(4) var<storage, read_write> z: array<f32>; // [B,N,Q,D]
#import rows_whole

const MOST_KEYS: u32 = 2048u;

// Scores of the row, then what each round makes of them. A lane touches only its own keys until z is mixed.
var<workgroup> line: array<f32, MOST_KEYS>;

fn key_entry(at: u32) -> f32 {
    return k[at];
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if (idle()) { return; }
    let batch = group.y / shape.shown;
    let head = shape.first_head + group.y % shape.shown;
    let source = batch * shape.kv_heads + head / (shape.heads / shape.kv_heads);
    let keys = key_count(shape.queries);
    let row = Row(shape.layer, head, shape.heads, first_position() + group.x, keys, shape.width, shape.scale);
    let q_row = (batch * shape.heads + head) * shape.queries + group.x;
    let q_held = (batch * shape.heads + head) * shape.q_stride + shape.q_held * first_position() + group.x;
    let q_start = q_held * shape.width;
    let row_index = group.y * shape.queries + group.x;
    let pairs = shape.batch * shape.shown * shape.queries * keys;
    var reach = 0u;
    #slot reach
    // Keys from here on are not kept; only a capture says so.
    let seen = max(min(keys, row.query + 1u), reach);

    for (var d = lane; d < shape.width; d += LANES) {
        query_row[d] = q[q_start + d];
    }
    workgroupBarrier();
    #slot prepare
    let places = place_count(q_row, keys);
    for (var place = lane; place < places; place += LANES) {
        let key = key_at(q_row, keys, place);
        let pair = Pair(shape.layer, shape.layers, head, shape.heads, shape.kv_heads, row.query, key);
        var keep = key < seen;
        if (keep && key >= reach) {
            #slot keep
        }
        var log_weight = 0.0;
        if (keep) {
            log_weight = chosen_weight(q_row * keys + key);
            keep = log_weight != MASKED;
        }
        let key_start = row_at(source, q_row, keys, place) * shape.width;
        let k_row = (batch * shape.heads + head) * keys + key;
        var s = MASKED;
        if (keep) {
            s = 0.0;
            for (var d = 0u; d < shape.width; d++) {
                s += query_row[d] * key_entry(key_start + d);
            }
            s *= shape.scale;
            #slot score
            s += log_weight;
        }
        var x = s;
        if (keep) {
            #slot enter
            #slot weight
        }
        line[place] = x;
        capture_score(row_index * keys + key, s);
    }

    let live = live_count(places, seen);

    // Weight beside the keys takes part in the rounds like one more key.
    var slot = MASKED;
    var rounds = 0u;
    #slot slot
    #slot rounds
    for (var round = 0u; round < rounds; round++) {
        var part = Fold(slot, select(0.0, slot, lane == 0u && slot != MASKED), 0.0);
        for (var place = lane; place < live; place += LANES) {
            let x = line[place];
            if (x != MASKED) {
                part = Fold(max(part.max, x), part.sum + x, part.count + 1.0);
            }
        }
        let fold = reduce(lane, part);
        for (var place = lane; place < live; place += LANES) {
            var x = line[place];
            if (x != MASKED) {
                #slot step
                line[place] = x;
            }
        }
        if (slot != MASKED) {
            var x = slot;
            #slot step
            slot = x;
        }
    }
    var slot_weight = 0.0;
    #slot slot_weight
    rework_row(lane, batch, head, row.query, q_row, keys, seen);
    slot_weight = rework_slot(q_row, slot_weight);
    for (var place = lane; place < places; place += LANES) {
        capture_weight(row_index * keys + place, pairs, line[place]);
    }
    if (lane == 0u) {
        capture_slot(row_index, pairs, slot_weight);
    }
    workgroupBarrier();
    mix_row(lane, row, q_row, row_index, source, live, slot_weight);
}
