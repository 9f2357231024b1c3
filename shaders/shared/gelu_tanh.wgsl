// gelu_tanh: x · Φ(x) by the tanh approximation of Hendrycks and Gimpel.
fn activate(x: f32) -> f32 {
    let inner = 0.7978845608028654 * (x + 0.044715 * x * x * x);
    // Some drivers compute tanh through exp and overflow; beyond 15 it is one in f32.
    return 0.5 * x * (1.0 + tanh(clamp(inner, -15.0, 15.0)));
}
