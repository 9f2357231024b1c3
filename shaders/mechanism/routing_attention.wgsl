// routing_attention: tokens that belong to the same cluster see each other.
//
// Computes  softmax over the last keys of the query's cluster, or the mean over lists of softmax inside each
// Twin      src/mechanism/routing_attention.rs
#import head
#import masked
#import pair
#import row
#import token

const routing_attention_most_clusters: u32 = 32u;
const routing_attention_prior: f32 = 0.01;
const routing_attention_rounds: u32 = 2u;

fn routing_attention_routes_head(p: RoutingAttentionParams, head: u32, heads: u32) -> bool {
    return head < u32(p.routing * f32(heads) + 0.5);
}

fn routing_attention_norm(p: RoutingAttentionParams, at: Token, c: u32) -> f32 {
    var mean = 0.0;
    for (var d = 0u; d < at.width; d++) {
        mean += token_row[d];
    }
    mean = mean / f32(at.width);
    var variance = 0.0;
    for (var d = 0u; d < at.width; d++) {
        variance += (token_row[d] - mean) * (token_row[d] - mean);
    }
    return (token_row[c] - mean) / sqrt(variance / f32(at.width) + 1e-6);
}

// Entry d of a centroid before the text.
fn routing_attention_begin(p: RoutingAttentionParams, at: Head, c: u32, d: u32) -> f32 {
    let first = (at.head * routing_attention_most_clusters + c) * shape.width;
    var mean = 0.0;
    for (var i = 0u; i < shape.width; i++) {
        mean += routing_attention_centroids[first + i];
    }
    mean = mean / f32(shape.width);
    var variance = 0.0;
    for (var i = 0u; i < shape.width; i++) {
        let centred = routing_attention_centroids[first + i] - mean;
        variance += centred * centred;
    }
    return (routing_attention_centroids[first + d] - mean) / sqrt(variance / f32(shape.width) + 1e-6);
}

fn routing_attention_carry(p: RoutingAttentionParams, at: Head, steps: u32) -> f32 {
    return select(1.0, p.decay, p.clustering_word == routing_attention_clustering_k_means);
}

fn routing_attention_entry(p: RoutingAttentionParams, is_key: bool, q_row: u32, k_row: u32, d: u32) -> f32 {
    if (is_key || p.tied != 0u) {
        return routing_attention_k_norm[k_row * shape.width + d];
    }
    return routing_attention_q_norm[q_row * shape.width + d];
}

fn routing_attention_logit(p: RoutingAttentionParams, at: Pair, q_row: u32, k_row: u32) -> f32 {
    if (p.logits_word == routing_attention_logits_model || !routing_attention_routes_head(p, at.head, at.heads)) {
        return routing_attention_scores[q_row * shape.keys + at.key];
    }
    var sum = 0.0;
    for (var d = 0u; d < shape.width; d++) {
        let query = routing_attention_entry(p, false, q_row, k_row - at.key + at.query, d);
        sum += query * routing_attention_k_norm[k_row * shape.width + d];
    }
    return select(sum, sum / sqrt(f32(shape.width)), p.logits_word == routing_attention_logits_scaled);
}

// Numbers per position of what follows the tokens.
fn routing_attention_stride(p: RoutingAttentionParams) -> u32 {
    return 2u + 2u * u32(p.clusters);
}

// Keys before a token that belong to its cluster.
fn routing_attention_before(p: RoutingAttentionParams, at: Token, c: u32, other: u32) -> f32 {
    let stride = routing_attention_stride(p);
    let own = routing_attention_routes[(at.k_rows + at.position) * stride + select(0u, 1u, at.is_key)];
    let same = routing_attention_routes[(at.k_rows + other) * stride + 1u] == own;
    return select(0.0, 1.0, other < at.position && same);
}

// Whether a head that does not route keeps the pair.
fn routing_attention_local(p: RoutingAttentionParams, at: Pair) -> bool {
    return at.query / u32(p.window) <= at.key / u32(p.window) + 1u;
}

fn routing_attention_near(p: RoutingAttentionParams, at: Pair, q_row: u32, k_row: u32) -> f32 {
    let stride = routing_attention_stride(p);
    var keep = at.key == at.query;
    if (!routing_attention_routes_head(p, at.head, at.heads)) {
        keep = routing_attention_local(p, at);
    } else if (!keep) {
        let cluster = routing_attention_routes[(k_row - at.key + at.query) * stride];
        let back = routing_attention_q_before[q_row] - routing_attention_k_before[k_row];
        keep = routing_attention_routes[k_row * stride + 1u] == cluster && back <= f32(p.window);
    }
    return select(MASKED, routing_attention_logits[q_row * shape.keys + at.key], keep);
}

fn routing_attention_block(p: RoutingAttentionParams, at: Pair, q_row: u32, k_row: u32) -> f32 {
    let routes = routing_attention_routes_head(p, at.head, at.heads);
    let same = at.query / u32(p.window) == at.key / u32(p.window);
    let keep = select(routing_attention_local(p, at), same, routes);
    return select(MASKED, routing_attention_logits[q_row * shape.keys + at.key], keep);
}

// Lists of queries, then of keys; with tied vectors both are those of keys.
fn routing_attention_rank(p: RoutingAttentionParams, at: Head, list: u32, item: u32, k_row: u32) -> f32 {
    let clusters = u32(p.clusters);
    if (list < clusters && p.tied == 0u) {
        let value = routing_attention_routes[k_row * routing_attention_stride(p) + 2u + list];
        return select(value, MASKED, item < shape.first_query);
    }
    return routing_attention_routes[k_row * routing_attention_stride(p) + 2u + clusters + list % clusters];
}

fn routing_attention_quota(p: RoutingAttentionParams, at: Head, list: u32) -> u32 {
    return u32(p.window);
}

fn routing_attention_listed(p: RoutingAttentionParams, batch_head: u32, list: u32, position: u32) -> bool {
    return routing_attention_lists[(batch_head * 2u * u32(p.clusters) + list) * shape.keys + position] > 0.5;
}

// Of the keys of each list that a query sees: the largest logit, then the sum of exponentials.
fn routing_attention_peak(p: RoutingAttentionParams, at: Token, c: u32) -> f32 {
    let clusters = u32(p.clusters);
    let batch_head = at.k_rows / shape.keys;
    let row = at.row * shape.keys;
    var most = MASKED;
    for (var key = 0u; key <= at.position; key++) {
        if (routing_attention_listed(p, batch_head, clusters + c % clusters, key)) {
            most = max(most, routing_attention_logits[row + key]);
        }
    }
    if (c < clusters) {
        return most;
    }
    var sum = 0.0;
    for (var key = 0u; key <= at.position; key++) {
        if (routing_attention_listed(p, batch_head, c, key)) {
            sum += exp(routing_attention_logits[row + key] - most);
        }
    }
    return sum;
}

fn routing_attention_share(p: RoutingAttentionParams, at: Pair, q_row: u32, k_row: u32) -> f32 {
    let logit = routing_attention_logits[q_row * shape.keys + at.key];
    if (!routing_attention_routes_head(p, at.head, at.heads)) {
        return select(MASKED, logit, routing_attention_local(p, at));
    }
    let clusters = u32(p.clusters);
    let batch_head = k_row / shape.keys;
    var sum = 0.0;
    var count = 0.0;
    for (var c = 0u; c < clusters; c++) {
        if (!routing_attention_listed(p, batch_head, c, at.query)) {
            continue;
        }
        count += 1.0;
        if (routing_attention_listed(p, batch_head, clusters + c, at.key)) {
            let first = q_row * 2u * clusters + c;
            sum += exp(logit - routing_attention_peaks[first]) / routing_attention_peaks[first + clusters];
        }
    }
    return sum / (count + routing_attention_prior);
}

fn routing_attention_weight(p: RoutingAttentionParams, at: Pair, q_row: u32, k_row: u32, s: f32) -> f32 {
    return routing_attention_kept[q_row * shape.keys + at.key];
}

fn routing_attention_step(p: RoutingAttentionParams, at: Row, round: u32, x: f32, fold: Fold) -> f32 {
    let lists = p.mode_word == routing_attention_mode_paper && p.clustering_word != routing_attention_clustering_blocks;
    if (lists && routing_attention_routes_head(p, at.head, at.heads)) {
        return x;
    }
    if (round == 0u) {
        return exp(x - fold.max);
    }
    return x / fold.sum;
}
