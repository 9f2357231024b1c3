// close_none: a decode_product whose outputs need nothing from each other.
fn close(group: u32) {}
