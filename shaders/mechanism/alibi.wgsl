// alibi: score penalty proportional to distance.
//
// Computes  s - slope(h) · distance(q, k) · strength
// Twin      src/mechanism/alibi.rs
#import pair

fn alibi_score(p: AlibiParams, at: Pair, s: f32) -> f32 {
    let slope = exp2(f32(at.head + 1u) * (-p.slope_range / f32(at.heads)));
    return s - slope * (f32(at.query) - f32(at.key)) * p.strength;
}
