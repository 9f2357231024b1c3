// attend_tiles: rows of attention in tiles of queries and keys; the map is never stored.
//
// Computes  z = Σ exp(x - m)·v / (Σ exp(x - m) + exp(rest - m)) over kept keys, key tile after key tile, m the maximum so far
// Reads     q [B,H,Q,D]   k [B,G,S,D]   v [B,G,S,F], of which K, rotated where the family rotates; D and F in fours
// Writes    z [B,N,Q,F] for the N heads from first_head
// Grid      x tiles of query rows, y batch × heads shown; LANES
// Twin      src/model/attention.rs
#import attention
#import lanes
#import masked
#import pair
#import tile_mix
#import tile_pair
#slot choice
#slot place
#slot skip
#slot span

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>; // [B,H,Q,D]
@group(0) @binding(2) var<storage, read> k: array<vec4<f32>>; // [B,G,S,D]
@group(0) @binding(3) var<storage, read> v: array<vec4<f32>>; // [B,G,S,F]
@group(0) @binding(4) var<storage, read_write> z: array<vec4<f32>>; // [B,N,Q,F]
#import rows_whole

const TILE_ROWS: u32 = 32u;
const TILE_KEYS: u32 = 32u;
const SLICE: u32 = 8u; // vectors of four entries that a tile holds of each row or key
const PITCH: u32 = 33u; // one more than TILE_KEYS, so that rows lie in different banks
const PARTS: u32 = 8u; // lanes of four rows: of products every eighth key, of sums every eighth vector

var<workgroup> tile_q: array<vec4<f32>, 256>; // [SLICE, TILE_ROWS]
var<workgroup> tile: array<vec4<f32>, 256>; // keys [SLICE, TILE_KEYS], then values [TILE_KEYS, SLICE]
var<workgroup> weights: array<f32, 1056>; // [TILE_ROWS, PITCH]
var<workgroup> partial: array<f32, 256>; // [TILE_ROWS, PARTS], maxima, then sums
var<workgroup> tops: array<f32, TILE_ROWS>;
var<workgroup> fades: array<f32, TILE_ROWS>; // what earlier tiles are worth under the new maximum; at last, what sums are

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if (idle()) { return; }
    let batch = group.y / shape.shown;
    let head = shape.first_head + group.y % shape.shown;
    let keys = key_count(shape.queries);
    let first = group.x * TILE_ROWS;
    let slices = shape.width / 4u;
    let q_start = (batch * shape.heads + head) * shape.queries;
    let q_first = (batch * shape.heads + head) * shape.q_stride + shape.q_held * first_position();
    let source = batch * shape.kv_heads + head / (shape.heads / shape.kv_heads);
    var reach = 0u;
    #slot reach
    let last = max(min(keys, first_position() + min(first + TILE_ROWS, shape.queries)), reach);
    let row = lane / PARTS * 4u;
    let part = lane % PARTS;
    // Of row `lane`, where there is one.
    var top = MASKED;
    var sum = 0.0;
    // Of four rows each.
    var sums_0 = mat4x4<f32>();
    var sums_1 = mat4x4<f32>();
    var sums_2 = mat4x4<f32>();
    var sums_3 = mat4x4<f32>();
    for (var start = 0u; start < last; start += TILE_KEYS) {
        let key = start + part;
        let q_row = q_start + first + row;
        let log_0 = kept_four(head, first + row, key, PARTS, keys, q_row);
        let log_1 = kept_four(head, first + row + 1u, key, PARTS, keys, q_row + 1u);
        let log_2 = kept_four(head, first + row + 2u, key, PARTS, keys, q_row + 2u);
        let log_3 = kept_four(head, first + row + 3u, key, PARTS, keys, q_row + 3u);
        let most_kept = max(max(log_0, log_1), max(log_2, log_3));
        if (skipped(lane, any(most_kept != vec4<f32>(MASKED)))) { continue; }
        var products = mat4x4<f32>();
        for (var slice = 0u; slice < slices; slice += SLICE) {
            let count = min(SLICE, slices - slice);
            workgroupBarrier();
            for (var n = lane; n < TILE_ROWS * count; n += LANES) {
                let near = min(first + n / count, shape.queries - 1u);
                tile_q[n % count * TILE_ROWS + n / count] = q[(q_first + near) * slices + slice + n % count];
            }
            for (var n = lane; n < TILE_KEYS * count; n += LANES) {
                let near = min(start + n / count, keys - 1u);
                tile[n % count * TILE_KEYS + n / count] = k[row_of(source, near) * slices + slice + n % count];
            }
            workgroupBarrier();
            for (var d = 0u; d < count; d++) {
                let at = d * TILE_KEYS + part;
                let four = mat4x4<f32>(tile[at], tile[at + PARTS], tile[at + 2u * PARTS], tile[at + 3u * PARTS]);
                let at_q = d * TILE_ROWS + row;
                products += mat4x4<f32>(
                    tile_q[at_q] * four, tile_q[at_q + 1u] * four, tile_q[at_q + 2u] * four, tile_q[at_q + 3u] * four);
            }
        }
        let x_0 = exponent_four(head, first + row, key, PARTS, products[0], log_0);
        let x_1 = exponent_four(head, first + row + 1u, key, PARTS, products[1], log_1);
        let x_2 = exponent_four(head, first + row + 2u, key, PARTS, products[2], log_2);
        let x_3 = exponent_four(head, first + row + 3u, key, PARTS, products[3], log_3);
        partial[row * PARTS + part] = most_of(x_0);
        partial[(row + 1u) * PARTS + part] = most_of(x_1);
        partial[(row + 2u) * PARTS + part] = most_of(x_2);
        partial[(row + 3u) * PARTS + part] = most_of(x_3);
        workgroupBarrier();
        if (lane < TILE_ROWS) {
            let old = top;
            for (var n = 0u; n < PARTS; n++) { top = max(top, partial[lane * PARTS + n]); }
            tops[lane] = top;
            fades[lane] = exp(old - top);
        }
        workgroupBarrier();
        weigh(row, part, x_0);
        weigh(row + 1u, part, x_1);
        weigh(row + 2u, part, x_2);
        weigh(row + 3u, part, x_3);
        let most = keys - 1u - start;
        sums_0 = scaled(sums_0, row) + mix(lane, source, start, most, 0u);
        if (SPANS > 1u) { sums_1 = scaled(sums_1, row) + mix(lane, source, start, most, 1u); }
        if (SPANS > 2u) { sums_2 = scaled(sums_2, row) + mix(lane, source, start, most, 2u); }
        if (SPANS > 3u) { sums_3 = scaled(sums_3, row) + mix(lane, source, start, most, 3u); }
        if (lane < TILE_ROWS) {
            sum *= fades[lane];
            for (var n = 0u; n < PARTS; n++) { sum += partial[lane * PARTS + n]; }
        }
    }
    // What a row keeps from every key takes part as one more entry, whose value is zero.
    var rest = MASKED;
    #slot rest
    let most = max(top, rest);
    let whole = sum * exp(top - most) + select(exp(rest - most), 0.0, rest == MASKED);
    workgroupBarrier();
    if (lane < TILE_ROWS) { fades[lane] = select(exp(top - most) / whole, 0.0, sum == 0.0); }
    workgroupBarrier();
    write(lane, group, sums_0, 0u);
    if (SPANS > 1u) { write(lane, group, sums_1, 1u); }
    if (SPANS > 2u) { write(lane, group, sums_2, 2u); }
    if (SPANS > 3u) { write(lane, group, sums_3, 3u); }
}
