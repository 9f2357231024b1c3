// keys_ring: one token goes through the rows that its head keeps, whatever the length of the text.
#import ring

fn ring_of(q_row: u32) -> vec4<u32> {
    return rings[q_row / shape.queries % shape.heads / (shape.heads / shape.kv_heads)];
}

fn place_count(q_row: u32, keys: u32) -> u32 {
    let ring = ring_of(q_row);
    return min(keys, ring.y + ring.z);
}

fn live_count(places: u32, seen: u32) -> u32 {
    return places;
}

// Of the tokens that take turns, the newest one that has taken this place.
fn key_at(q_row: u32, keys: u32, place: u32) -> u32 {
    let ring = ring_of(q_row);
    let newest = (keys - 1u - ring.y) % ring.z;
    let turned = keys - 1u - (newest + ring.z - (place - ring.y)) % ring.z;
    return select(turned, place, place < ring.y);
}

fn row_at(source: u32, q_row: u32, keys: u32, place: u32) -> u32 {
    return rings[source].x + place;
}
