// span_32: heads of at most 32 entries; a lane sums one vector of four for each of its rows.
const SPANS: u32 = 1u;
