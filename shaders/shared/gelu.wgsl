// gelu: x · Φ(x).
//
// erf by Abramowitz and Stegun 7.1.26, absolute error below 1.5e-7, which is f32 rounding of values near one.
fn activate(x: f32) -> f32 {
    let u = abs(x) * 0.7071067811865476;
    let t = 1.0 / (1.0 + 0.3275911 * u);
    let series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    let erf = 1.0 - series * exp(-min(u * u, 80.0));
    return 0.5 * x * (1.0 + select(-erf, erf, x >= 0.0));
}
