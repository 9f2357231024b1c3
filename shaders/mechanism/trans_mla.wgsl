// trans_mla: keys and values as one latent, from which each head's keys and values are made.
//
// Computes  exact: k = U_K·turn(k) of each head; compressed: c = Pᵀ·[k ; v], k = [turn(T·k) ; U_K·c], q = [turn(T·q) ; q],
//           v = U_V·c; the form that is not absorbed
// Twin      src/mechanism/trans_mla.rs

fn trans_mla_latent_width() -> u32 {
    return shape.kv_heads * shape.width;
}

// Where an entry stands in a projection, entries that turn together D/2 apart.
fn trans_mla_place(entry: u32) -> u32 {
    let half = shape.width / 2u;
    if (shape.rotates == 0u) {
        return entry;
    }
    return entry % half * shape.step + entry / half * shape.gap;
}

fn trans_mla_q_entry(at: Projected, entry: u32) -> f32 {
    let row = (at.batch * shape.heads + at.vector) * shape.queries + at.row;
    return trans_mla_q[row * shape.width + trans_mla_place(entry)];
}

// Entry of all keys of a token side by side.
fn trans_mla_k_entry(at: Projected, index: u32) -> f32 {
    let row = (at.batch * shape.kv_heads + index / shape.width) * shape.keys + at.row;
    return trans_mla_k[row * shape.width + trans_mla_place(index % shape.width)];
}

fn trans_mla_v_entry(at: Projected, index: u32) -> f32 {
    let row = (at.batch * shape.kv_heads + index / shape.width) * shape.keys + at.row;
    return trans_mla_v[row * shape.width + index % shape.width];
}

// The real or imaginary part of a pair after its turn.
fn trans_mla_turn(at: Projected, frequency: u32, is_imaginary: bool, a: f32, b: f32) -> f32 {
    let angle = (at.position * (shape.width / 2u) + frequency) * 2u;
    let cos = trans_mla_turns[angle];
    let sin = trans_mla_turns[angle + 1u];
    return select(a * cos - b * sin, a * sin + b * cos, is_imaginary);
}

// Where entry d of a vector stands when entries that turn together are D/2 apart.
fn trans_mla_half(d: u32) -> u32 {
    return select(d, d / 2u + d % 2u * (shape.width / 2u), shape.rotates != 0u && shape.step == 2u);
}

fn trans_mla_query(p: TransMlaParams, at: Projected, d: u32) -> f32 {
    let half = shape.width / 2u;
    let entry = trans_mla_half(d);
    if (shape.rotates == 0u) {
        return trans_mla_q_entry(at, entry);
    }
    let f = entry % half;
    return trans_mla_turn(at, f, entry >= half, trans_mla_q_entry(at, f), trans_mla_q_entry(at, f + half));
}

// Entry d of a turned key–value head.
fn trans_mla_turned_key(at: Projected, head: u32, d: u32) -> f32 {
    let half = shape.width / 2u;
    let entry = trans_mla_half(d);
    let start = head * shape.width;
    if (shape.rotates == 0u) {
        return trans_mla_k_entry(at, start + entry);
    }
    let f = entry % half;
    return trans_mla_turn(at, f, entry >= half, trans_mla_k_entry(at, start + f), trans_mla_k_entry(at, start + f + half));
}

fn trans_mla_key(p: TransMlaParams, at: Projected, d: u32) -> f32 {
    return trans_mla_turned_key(at, at.vector, d);
}

// Keys of every query head, with noise on the up-projection.
fn trans_mla_noisy_key(p: TransMlaParams, at: Projected, d: u32) -> f32 {
    let latent = trans_mla_latent_width();
    var noise = 0.0;
    for (var index = 0u; index < latent; index++) {
        noise += trans_mla_spread[(at.vector * shape.width + d) * latent + index]
            * trans_mla_turned_key(at, index / shape.width, index % shape.width);
    }
    let head = at.vector / (shape.heads / shape.kv_heads);
    return trans_mla_turned_key(at, head, d) + p.noise / sqrt(f32(latent)) * noise;
}

fn trans_mla_copied_value(p: TransMlaParams, at: Projected, d: u32) -> f32 {
    return trans_mla_v_entry(at, at.vector / (shape.heads / shape.kv_heads) * shape.width + d);
}

// Entry c of what an exact latent holds of values, in their orthogonal factors.
fn trans_mla_orthogonal_entry(p: TransMlaParams, at: Projected, c: u32) -> f32 {
    let latent = trans_mla_latent_width();
    var sum = 0.0;
    for (var index = 0u; index < latent; index++) {
        sum += trans_mla_maps[c * latent + index] * trans_mla_v_entry(at, index);
    }
    return sum;
}

// Noisy keys are those of query heads, and so are the values beside them.
fn trans_mla_orthogonal_value(p: TransMlaParams, at: Projected, d: u32) -> f32 {
    let latent = trans_mla_latent_width();
    let head = select(at.vector, at.vector / (shape.heads / shape.kv_heads), p.noise > 0.0);
    let row = (at.batch * shape.keys + at.row) * latent;
    var sum = 0.0;
    for (var c = 0u; c < latent; c++) {
        sum += trans_mla_maps[(latent + c) * latent + head * shape.width + d] * trans_mla_latent[row + c];
    }
    return sum;
}

// Number of pairs that keep their position.
fn trans_mla_pairs(p: TransMlaParams) -> u32 {
    let half = shape.width / 2u;
    return select(0u, min(u32(floor(p.rope_heads * f32(half) + 0.5)), shape.kv_heads * half), shape.rotates != 0u);
}

fn trans_mla_rank(p: TransMlaParams) -> u32 {
    let latent = trans_mla_latent_width();
    return clamp(u32(floor(p.rank * f32(latent) + 0.5)), 1u, 2u * latent - 2u * trans_mla_pairs(p));
}

// Number of entries of turned heads in front of a query or key.
fn trans_mla_turning(p: TransMlaParams) -> u32 {
    let half = max(shape.width / 2u, 1u);
    return (trans_mla_pairs(p) + half - 1u) / half * shape.width;
}

// Whether a frequency of a turned head keeps its position.
fn trans_mla_keeps(p: TransMlaParams, head: u32, frequency: u32) -> bool {
    let half = shape.width / 2u;
    var fold = u32(p.freq_fold);
    while (half % fold != 0u) {
        fold -= 1u;
    }
    return head * half + frequency % fold * (half / fold) + frequency / fold < trans_mla_pairs(p);
}

fn trans_mla_latent_entry(p: TransMlaParams, at: Projected, c: u32) -> f32 {
    let latent = trans_mla_latent_width();
    let start = (latent + 2u * c) * latent;
    var sum = 0.0;
    for (var index = 0u; index < latent; index++) {
        sum += trans_mla_maps[start + index] * trans_mla_k_entry(at, index);
        sum += trans_mla_maps[start + latent + index] * trans_mla_v_entry(at, index);
    }
    return sum;
}

// What entry `index` of all heads reads from the latent, through the map that begins at row `first`.
fn trans_mla_read(p: TransMlaParams, at: Projected, first: u32, index: u32) -> f32 {
    let latent = trans_mla_latent_width();
    let rank = trans_mla_rank(p);
    let row = (at.batch * shape.keys + at.row) * rank;
    var sum = 0.0;
    for (var c = 0u; c < rank; c++) {
        sum += trans_mla_maps[(first + c) * latent + index] * trans_mla_latent[row + c];
    }
    return sum;
}

fn trans_mla_latent_key(p: TransMlaParams, at: Projected, e: u32) -> f32 {
    let latent = trans_mla_latent_width();
    let half = shape.width / 2u;
    if (e >= trans_mla_turning(p)) {
        return trans_mla_read(p, at, 5u * latent, at.vector * shape.width + e - trans_mla_turning(p));
    }
    let start = e / shape.width * shape.width;
    let f = e % shape.width % half;
    if (!trans_mla_keeps(p, e / shape.width, f)) {
        return 0.0;
    }
    var a = 0.0;
    var b = 0.0;
    for (var index = 0u; index < latent; index++) {
        let k = trans_mla_k_entry(at, index);
        a += trans_mla_maps[(start + f) * latent + index] * k;
        b += trans_mla_maps[(start + f + half) * latent + index] * k;
    }
    return trans_mla_turn(at, f, e % shape.width >= half, a, b);
}

fn trans_mla_latent_query(p: TransMlaParams, at: Projected, e: u32) -> f32 {
    let latent = trans_mla_latent_width();
    let half = shape.width / 2u;
    if (e >= trans_mla_turning(p)) {
        return trans_mla_q_entry(at, e - trans_mla_turning(p));
    }
    let start = e / shape.width * shape.width;
    let f = e % shape.width % half;
    if (!trans_mla_keeps(p, e / shape.width, f)) {
        return 0.0;
    }
    let group = at.vector / (shape.heads / shape.kv_heads) * shape.width;
    var a = 0.0;
    var b = 0.0;
    for (var d = 0u; d < shape.width; d++) {
        let q = trans_mla_q_entry(at, d);
        a += trans_mla_maps[(start + f) * latent + group + d] * q;
        b += trans_mla_maps[(start + f + half) * latent + group + d] * q;
    }
    return trans_mla_turn(at, f, e % shape.width >= half, a, b);
}

fn trans_mla_latent_value(p: TransMlaParams, at: Projected, d: u32) -> f32 {
    return trans_mla_read(p, at, 7u * trans_mla_latent_width(), at.vector * shape.width + d);
}
