// skip_empty: a tile of which no pair is kept costs its masks and nothing else.
var<workgroup> tile_kept: u32;

fn skipped(lane: u32, mine: bool) -> bool {
    if (lane == 0u) {
        tile_kept = 0u;
    }
    workgroupBarrier();
    // Whoever writes, writes the same.
    if (mine) {
        tile_kept = 1u;
    }
    return workgroupUniformLoad(&tile_kept) == 0u;
}
