// span_128: heads of at most 128 entries; a lane sums four vectors of four for each of its rows.
const SPANS: u32 = 4u;
