// attend_alone: the same as attend_tiles, as a software adapter wants it: no lane waits for another; see matmul_alone.
//
// Computes  z = Σ exp(x - m)·v / (Σ exp(x - m) + exp(rest - m)) over kept keys, four keys after four, m the maximum so far
// Reads     q [B,H,Q,D]   k [B,G,S,D]   v [B,G,S,F], of which K, rotated where the family rotates; D and F in fours
// Writes    z [B,N,Q,F] for the N heads from first_head
// Grid      x tiles of query rows, y batch × heads shown, z spans of 32 entries of F; 4, each invocation 4 rows of one span
// Twin      src/model/attention.rs
#import attention
#import masked
#import pair
#import tile_pair
#slot choice
#slot place

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>; // [B,H,Q,D]
@group(0) @binding(2) var<storage, read> k: array<vec4<f32>>; // [B,G,S,D]
@group(0) @binding(3) var<storage, read> v: array<vec4<f32>>; // [B,G,S,F]
@group(0) @binding(4) var<storage, read_write> z: array<vec4<f32>>; // [B,N,Q,F]
#import rows_whole

const TILE_ROWS: u32 = 16u;
const SPAN: u32 = 8u; // vectors of four entries

fn most_of(x: vec4<f32>) -> f32 {
    return max(max(x.x, x.y), max(x.z, x.w));
}

fn weights_of(x: vec4<f32>, top: f32) -> vec4<f32> {
    return select(exp(x - top), vec4<f32>(), x == vec4<f32>(MASKED));
}

// One vector of four rows' sums: what was there, faded, and four values under the weights [rows][keys].
fn mixed(sums: mat4x4<f32>, fades: vec4<f32>, weights: mat4x4<f32>, at: vec4<u32>) -> mat4x4<f32> {
    let values = mat4x4<f32>(v[at.x], v[at.y], v[at.z], v[at.w]);
    return mat4x4<f32>(
        sums[0] * fades.x + values * weights[0],
        sums[1] * fades.y + values * weights[1],
        sums[2] * fades.z + values * weights[2],
        sums[3] * fades.w + values * weights[3],
    );
}

fn write(first: u32, row: u32, entry: u32, sums: mat4x4<f32>, shares: vec4<f32>) {
    let spans = shape.mix_width / 4u;
    for (var r = 0u; r < 4u && row + r < shape.queries && entry < spans; r++) {
        z[(first + row + r) * spans + entry] = sums[r] * shares[r];
    }
}

@compute @workgroup_size(4)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if (idle()) { return; }
    let batch = group.y / shape.shown;
    let head = shape.first_head + group.y % shape.shown;
    let keys = key_count(shape.queries);
    let row = group.x * TILE_ROWS + lane * 4u;
    let slices = shape.width / 4u;
    let spans = shape.mix_width / 4u;
    let span = group.z * SPAN;
    let q_row = (batch * shape.heads + head) * shape.queries + row;
    let q_first = (batch * shape.heads + head) * shape.q_stride + shape.q_held * first_position();
    let source = batch * shape.kv_heads + head / (shape.heads / shape.kv_heads);
    var reach = 0u;
    #slot reach
    let last = max(min(keys, first_position() + min(row + 4u, shape.queries)), reach);
    // Rows beyond the last query compute as it does and are not stored.
    let at_q = (vec4<u32>(q_first) + min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(shape.queries - 1u))) * slices;
    // Of each row.
    var tops = vec4<f32>(MASKED);
    var whole = vec4<f32>();
    // Of four rows, one vector of entries each.
    var sums_0 = mat4x4<f32>();
    var sums_1 = mat4x4<f32>();
    var sums_2 = mat4x4<f32>();
    var sums_3 = mat4x4<f32>();
    var sums_4 = mat4x4<f32>();
    var sums_5 = mat4x4<f32>();
    var sums_6 = mat4x4<f32>();
    var sums_7 = mat4x4<f32>();
    for (var key = 0u; key < last; key += 4u) {
        let log_0 = kept_four(head, row, key, 1u, keys, q_row);
        let log_1 = kept_four(head, row + 1u, key, 1u, keys, q_row + 1u);
        let log_2 = kept_four(head, row + 2u, key, 1u, keys, q_row + 2u);
        let log_3 = kept_four(head, row + 3u, key, 1u, keys, q_row + 3u);
        let most_kept = max(max(log_0, log_1), max(log_2, log_3));
        if (all(most_kept == vec4<f32>(MASKED))) { continue; }
        let at_keys = min(vec4<u32>(key, key + 1u, key + 2u, key + 3u), vec4<u32>(keys - 1u));
        let near = vec4<u32>(
            row_of(source, at_keys.x), row_of(source, at_keys.y), row_of(source, at_keys.z), row_of(source, at_keys.w));
        let at_k = near * slices;
        var products = mat4x4<f32>();
        for (var d = 0u; d < slices; d++) {
            let four = transpose(mat4x4<f32>(k[at_k.x + d], k[at_k.y + d], k[at_k.z + d], k[at_k.w + d]));
            products += mat4x4<f32>(four * q[at_q.x + d], four * q[at_q.y + d], four * q[at_q.z + d], four * q[at_q.w + d]);
        }
        let x_0 = exponent_four(head, row, key, 1u, products[0], log_0);
        let x_1 = exponent_four(head, row + 1u, key, 1u, products[1], log_1);
        let x_2 = exponent_four(head, row + 2u, key, 1u, products[2], log_2);
        let x_3 = exponent_four(head, row + 3u, key, 1u, products[3], log_3);
        let old = tops;
        tops = max(tops, vec4<f32>(most_of(x_0), most_of(x_1), most_of(x_2), most_of(x_3)));
        let fades = exp(old - tops);
        let weights = mat4x4<f32>(
            weights_of(x_0, tops.x), weights_of(x_1, tops.y), weights_of(x_2, tops.z), weights_of(x_3, tops.w));
        whole = whole * fades + vec4<f32>(1.0) * weights;
        let at = near * spans + span;
        sums_0 = mixed(sums_0, fades, weights, at);
        sums_1 = mixed(sums_1, fades, weights, at + 1u);
        sums_2 = mixed(sums_2, fades, weights, at + 2u);
        sums_3 = mixed(sums_3, fades, weights, at + 3u);
        sums_4 = mixed(sums_4, fades, weights, at + 4u);
        sums_5 = mixed(sums_5, fades, weights, at + 5u);
        sums_6 = mixed(sums_6, fades, weights, at + 6u);
        sums_7 = mixed(sums_7, fades, weights, at + 7u);
    }
    // What a row keeps from every key takes part as one more entry, whose value is zero.
    var rest = MASKED;
    #slot rest
    let most = max(tops, vec4<f32>(rest));
    let all_of = whole * exp(tops - most) + select(exp(rest - most), vec4<f32>(), rest == MASKED);
    let shares = select(exp(tops - most) / all_of, vec4<f32>(), whole == vec4<f32>());
    let first = group.y * shape.queries;
    write(first, row, span, sums_0, shares);
    write(first, row, span + 1u, sums_1, shares);
    write(first, row, span + 2u, sums_2, shares);
    write(first, row, span + 3u, sums_3, shares);
    write(first, row, span + 4u, sums_4, shares);
    write(first, row, span + 5u, sums_5, shares);
    write(first, row, span + 6u, sums_6, shares);
    write(first, row, span + 7u, sums_7, shares);
}
