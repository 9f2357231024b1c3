// format_i8: a weight matrix in bytes, -127 to 127 for -1 to 1, and the largest absolute weight of each output.
//
// The first word says where the bytes begin; between it and them stand the scales.
@group(0) @binding(3) var<storage, read> w: array<u32>;

fn quad(at: u32) -> vec4<f32> {
    return unpack4x8snorm(w[w[0] + at]);
}

fn scale(output: u32) -> f32 {
    return bitcast<f32>(w[1u + output]);
}
