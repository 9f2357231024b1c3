// store_cached: the product is queries, keys and values.
#import cached

fn store(row: u32, column: u32, values: vec4<f32>) {
    store_qkv(row, column, values);
}
