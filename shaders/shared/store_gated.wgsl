// store_gated: columns alternate between gate and linear part; activation(gate) · linear goes on.
#slot activation

@group(0) @binding(4) var<storage, read_write> pre: array<f32>; // [R,C/2]
@group(0) @binding(5) var<storage, read_write> post: array<f32>; // [R,C/2]

fn store(row: u32, column: u32, values: vec4<f32>) {
    for (var c = 0u; c < 4u && column + c < shape.columns; c += 2u) {
        let at = (row * shape.columns + column + c) / 2u;
        pre[at] = values[c];
        post[at] = activate(values[c]) * values[c + 1u];
    }
}
