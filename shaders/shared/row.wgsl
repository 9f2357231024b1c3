// row: one query of one head, and its vector.
//
// A normalizer turns the row of scores into weights in rounds. In each round it sees every entry beside the maximum and the
// sum of the whole row (Fold), the slot included, and the number of keys it keeps, and returns the entry's next value. One
// that needs more than the score of a pair defines `enter`, which is asked first and reads the rotated key from
// `key_entry(key_start)` on; every kernel with rows has that function. What serves a whole row is made once in `prepare`.
#import masked
#import reduce

struct Row {
    layer: u32,
    head: u32,
    heads: u32,
    query: u32,
    keys: u32,
    width: u32,
    scale: f32,
}

const MOST_WIDTH: u32 = 256u;

// The rotated query, `Row.width` entries.
var<workgroup> query_row: array<f32, MOST_WIDTH>;
