// follow_tokens: centroids that follow the keys, and where tokens belong.
//
// Computes  μ[c] = sum[c] / count[c], nearest = argmax over c of x·μ[c] before the token; then sum and count fade, and those
//           of the key's nearest grow by 1 - fade of the key and of 1. With a fade of 1 centroids stay
// Reads     what earlier stages of the mechanism made
// Writes    made [B,H,K,C]: nearest centroid of the query at this position and of the key, then the products of the query
//           and of the key with the C/2 - 1 centroids at the end; 0 for queries that are not here
// Grid      x 1, y batch × heads; LANES
// Twin      src/mechanism/stage.rs
#import lanes
#import head
#import step

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read_write> made: array<f32>; // [B,H,K,C]

const MOST_ENTRIES: u32 = 256u;
const SMOOTHING: f32 = 1e-5;

// Lane c keeps centroid c.
var<private> sum: array<f32, MOST_ENTRIES>;
var<workgroup> token_q: array<f32, MOST_ENTRIES>;
var<workgroup> token_k: array<f32, MOST_ENTRIES>;
var<workgroup> products: array<vec2<f32>, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = Head(shape.layer, shape.layers, group.y % shape.heads, shape.heads);
    let clusters = shape.count / 2u - 1u;
    let steps = 1u;
    var fade = 1.0;
    #slot carry
    for (var d = 0u; d < shape.width; d++) {
        var value = 0.0;
        if (lane < clusters) {
            #slot begin
        }
        sum[d] = value;
    }
    var count = 1.0;
    var total = f32(clusters);
    // Once to follow, once more to compare with where they ended.
    for (var turn = 0u; turn < 2u * shape.keys; turn++) {
        let token = turn % shape.keys;
        let follows = turn < shape.keys;
        let asked = token >= shape.first_query && token < shape.first_query + shape.queries;
        let k_row = group.y * shape.keys + token;
        let q_row = group.y * shape.queries + select(0u, token - shape.first_query, asked);
        for (var d = lane; d < shape.width; d += LANES) {
            var value = 0.0;
            var is_key = true;
            #slot entry
            token_k[d] = value;
            is_key = false;
            #slot entry
            token_q[d] = value;
        }
        workgroupBarrier();
        var product = vec2<f32>(0.0, 0.0);
        if (lane < clusters) {
            for (var d = 0u; d < shape.width; d++) {
                product += sum[d] * vec2<f32>(token_q[d], token_k[d]);
            }
            product = product / ((count + SMOOTHING) / (total + f32(clusters) * SMOOTHING) * total);
        }
        products[lane] = product;
        workgroupBarrier();
        let first = k_row * shape.count;
        if (!follows && lane < clusters) {
            made[first + 2u + lane] = select(0.0, product.x, asked);
            made[first + 2u + clusters + lane] = product.y;
        }
        if (follows) {
            var nearest = vec2<u32>(0u, 0u);
            for (var c = 1u; c < clusters; c++) {
                nearest.x = select(nearest.x, c, products[c].x > products[nearest.x].x);
                nearest.y = select(nearest.y, c, products[c].y > products[nearest.y].y);
            }
            if (lane == 0u) {
                made[first] = select(0.0, f32(nearest.x), asked);
                made[first + 1u] = f32(nearest.y);
            }
            let grows = select(0.0, 1.0 - fade, lane == nearest.y);
            for (var d = 0u; d < shape.width; d++) {
                sum[d] = fade * sum[d] + grows * token_k[d];
            }
            count = fade * count + grows;
            total = fade * total + (1.0 - fade);
        }
        workgroupBarrier();
    }
}
