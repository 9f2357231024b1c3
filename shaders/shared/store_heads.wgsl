// store_heads: the columns are queries, keys and values side by side and go to head-first arrays.
//
// Entries of queries and keys that rotate together stand side by side in the columns and go back to where they belong.
@group(0) @binding(4) var<storage, read_write> q: array<f32>; // [H,R,D]
@group(0) @binding(5) var<storage, read_write> k: array<f32>; // [G,R,D]
@group(0) @binding(6) var<storage, read_write> v: array<f32>; // [G,R,D]

fn store(row: u32, column: u32, values: vec4<f32>) {
    for (var c = 0u; c < 4u && column + c < shape.columns; c++) {
        let head = (column + c) / shape.width;
        let entry = (column + c) % shape.width;
        let turned = row * shape.width + entry / 2u * shape.step + entry % 2u * shape.gap;
        let head_size = shape.rows * shape.width;
        if (head < shape.heads) {
            q[head * head_size + turned] = values[c];
        } else if (head < shape.heads + shape.kv_heads) {
            k[(head - shape.heads) * head_size + turned] = values[c];
        } else {
            v[(head - shape.heads - shape.kv_heads) * head_size + row * shape.width + entry] = values[c];
        }
    }
}
