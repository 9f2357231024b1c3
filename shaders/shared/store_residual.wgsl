// store_residual: the product is added to the residual stream.
//
// It is also kept alone, for captures: one more write costs less than one more pipeline to compile.
@group(0) @binding(4) var<storage, read> residual: array<f32>; // [R,C]
@group(0) @binding(5) var<storage, read_write> y: array<f32>; // [R,C]
@group(0) @binding(6) var<storage, read_write> delta: array<f32>; // [R,C]

fn store(row: u32, column: u32, values: vec4<f32>) {
    for (var c = 0u; c < 4u && column + c < shape.columns; c++) {
        let at = row * shape.columns + column + c;
        delta[at] = values[c];
        y[at] = residual[at] + values[c];
    }
}
