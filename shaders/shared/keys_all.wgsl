// keys_all: a row goes through every key.
fn place_count(q_row: u32, keys: u32) -> u32 {
    return keys;
}

// Places that may be kept: later keys never are.
fn live_count(places: u32, seen: u32) -> u32 {
    return min(places, seen);
}

fn key_at(q_row: u32, keys: u32, place: u32) -> u32 {
    return place;
}

fn row_at(source: u32, q_row: u32, keys: u32, place: u32) -> u32 {
    return row_of(source, place);
}
