// ring: where a head keeps what some later query sees: the first tokens for good, the others in rows they take in turn.
const MOST_SOURCES: u32 = 256u;

@group(0) @binding(8) var<uniform> rings: array<vec4<u32>, MOST_SOURCES>; // [G] of first row, pinned, turning

fn ring_row(source: u32, token: u32) -> u32 {
    let ring = rings[source];
    return ring.x + select(ring.y + (token - ring.y) % ring.z, token, token < ring.y);
}
