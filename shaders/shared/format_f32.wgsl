// format_f32: a weight matrix as it is, four entries to a vector; its rows are padded to whole vectors.
@group(0) @binding(3) var<storage, read> w: array<vec4<f32>>;

// Entries 4·at to 4·at + 3.
fn quad(at: u32) -> vec4<f32> {
    return w[at];
}

// What the products of one output are multiplied by.
fn scale(output: u32) -> f32 {
    return 1.0;
}
