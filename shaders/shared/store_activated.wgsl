// store_activated: the product goes through the activation; before and after are kept.
#slot activation

@group(0) @binding(4) var<storage, read_write> pre: array<f32>; // [R,C]
@group(0) @binding(5) var<storage, read_write> post: array<f32>; // [R,C]

fn store(row: u32, column: u32, values: vec4<f32>) {
    for (var c = 0u; c < 4u && column + c < shape.columns; c++) {
        let at = row * shape.columns + column + c;
        pre[at] = values[c];
        post[at] = activate(values[c]);
    }
}
