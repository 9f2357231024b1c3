// store_both: the product is queries, keys and values, and from `split` on what goes through the activation.
#import cached
#slot activation
@group(0) @binding(8) var<storage, read_write> post: array<f32>; // [C - split]

fn store(row: u32, column: u32, values: vec4<f32>) {
    if (column < shape.split) {
        store_qkv(row, column, values);
        return;
    }
    for (var c = 0u; c < 4u && column + c < shape.columns; c++) {
        post[column - shape.split + c] = activate(values[c]);
    }
}
