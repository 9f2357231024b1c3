// format_f16: a weight matrix in half precision, unpacked by a function that every device has.
@group(0) @binding(3) var<storage, read> w: array<vec2<u32>>;

fn quad(at: u32) -> vec4<f32> {
    let packed = w[at];
    return vec4<f32>(unpack2x16float(packed.x), unpack2x16float(packed.y));
}

fn scale(output: u32) -> f32 {
    return 1.0;
}
