// span_64: heads of at most 64 entries; a lane sums two vectors of four for each of its rows.
const SPANS: u32 = 2u;
