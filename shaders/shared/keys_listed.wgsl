// keys_listed: a row goes through the keys that a selector left it, and touches no other.
@group(0) @binding(8) var<storage, read> listed: array<u32>; // [B,H,Q,1+K]: how many, then which

fn place_count(q_row: u32, keys: u32) -> u32 {
    return listed[q_row * (keys + 1u)];
}

fn live_count(places: u32, seen: u32) -> u32 {
    return places;
}

fn key_at(q_row: u32, keys: u32, place: u32) -> u32 {
    return listed[q_row * (keys + 1u) + 1u + place];
}

fn row_at(source: u32, q_row: u32, keys: u32, place: u32) -> u32 {
    return row_of(source, key_at(q_row, keys, place));
}
