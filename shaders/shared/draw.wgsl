// draw: the race that draws a token; see src/model/sample.rs, its twin.
//
// Computes  logit / temperature − ln e(seed, position, id), e exponentially distributed; the largest wins
#import state

// pcg4d of Jarzynski and Olano (Hash Functions for GPU Rendering, 2020).
fn pcg_mix(start: vec4<u32>) -> vec4<u32> {
    var v = start;
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
    return v;
}

// −ln(1 − t), by a series where t is small: a logarithm near one loses the digits that decide the race.
fn exponential(bits: u32) -> f32 {
    let t = (f32(bits >> 9u) + 0.5) / 8388608.0;
    if (t > 0.5) {
        return -log(1.0 - t);
    }
    let z = t / (2.0 - t);
    let s = z * z;
    return 2.0 * z * (1.0 + s * (1.0 / 3.0 + s * (0.2 + s * (1.0 / 7.0 + s * (1.0 / 9.0 + s / 11.0)))));
}

fn draw(at: State, logit: f32, id: u32) -> f32 {
    if (at.temperature == 0.0) {
        return logit;
    }
    let v = pcg_mix(vec4<u32>(id, at.position + 1u, at.seed_low, at.seed_high) * 1664525u + 1013904223u);
    return logit / at.temperature - log(exponential(pcg_mix(v ^ (v >> vec4<u32>(16u))).x));
}

// A runner of the race: x what it drew, y its id, where BROKEN stands for a logit that is not finite and wins.
const BROKEN: vec2<f32> = vec2<f32>(3e38, -1.0);

fn runner(at: State, logit: f32, id: u32) -> vec2<f32> {
    if ((bitcast<u32>(logit) & 0x7f800000u) == 0x7f800000u) {
        return BROKEN;
    }
    return vec2<f32>(draw(at, logit, id), f32(id));
}

// Floats as integers in the same order.
fn order(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    return select(bits | 0x80000000u, ~bits, (bits >> 31u) != 0u);
}

fn better(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    return select(b, a, a.x > b.x || (a.x == b.x && a.y < b.y));
}
