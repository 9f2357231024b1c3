// store_heads: the columns are queries, keys and values side by side and go to head-first arrays.
@group(0) @binding(4) var<storage, read_write> q: array<f32>; // [H,R,D]
@group(0) @binding(5) var<storage, read_write> k: array<f32>; // [G,R,D]
@group(0) @binding(6) var<storage, read_write> v: array<f32>; // [G,R,D]

fn store(row: u32, column: u32, values: vec4<f32>) {
    for (var c = 0u; c < 4u && column + c < shape.columns; c++) {
        let head = (column + c) / shape.width;
        let place = row * shape.width + (column + c) % shape.width;
        let stride = shape.rows * shape.width;
        if (head < shape.heads) {
            q[head * stride + place] = values[c];
        } else if (head < shape.heads + shape.kv_heads) {
            k[(head - shape.heads) * stride + place] = values[c];
        } else {
            v[(head - shape.heads - shape.kv_heads) * stride + place] = values[c];
        }
    }
}
