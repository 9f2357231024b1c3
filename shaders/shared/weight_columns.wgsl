// weight_columns: w lies as [C,I], as a tied embedding does.
#slot format

// Entries (i, column) to (i + 3, column); i is a multiple of four.
fn weight_along(i: u32, column: u32) -> vec4<f32> {
    return quad(column * ((shape.inner + 3u) / 4u) + i / 4u);
}

fn weight_at(i: u32, column: u32) -> f32 {
    // The last four columns need not all be there; what is read in their place is not used.
    return weight_along(i, min(column, shape.columns - 1u))[i % 4u];
}

// Entries (i, column) to (i, column + 3).
fn weight_four(i: u32, column: u32) -> vec4<f32> {
    return vec4<f32>(
        weight_at(i, column),
        weight_at(i, column + 1u),
        weight_at(i, column + 2u),
        weight_at(i, column + 3u),
    );
}
