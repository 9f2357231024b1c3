// rows_split: a chunk's own tokens, then a copy of all that the cache keeps of earlier ones.
#import ring

fn row_of(source: u32, token: u32) -> u32 {
    let own = source * shape.queries + token - first_position();
    let kept = shape.kv_heads * shape.queries + ring_row(source, token);
    return select(own, kept, token < first_position());
}
