// place_state: rows from the position on that the state says; every key before them is there.
//
// Read as a uniform, since storage bindings are few.
#import state
@group(0) @binding(5) var<uniform> state: State;

fn idle() -> bool {
    return state.done != 0u;
}

fn first_position() -> u32 {
    return state.position;
}

fn key_count(queries: u32) -> u32 {
    return state.position + queries;
}
