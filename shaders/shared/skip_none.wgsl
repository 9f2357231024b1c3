// skip_none: every tile of keys before the last query has a pair that is kept.
fn skipped(lane: u32, mine: bool) -> bool {
    return false;
}
