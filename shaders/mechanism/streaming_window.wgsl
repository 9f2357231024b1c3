// streaming_window: the first tokens and a recent window.
//
// Computes  key < sinks or query - key < window
// Twin      src/mechanism/streaming_window.rs
#import pair

fn streaming_window_keep(p: StreamingWindowParams, at: Pair) -> bool {
    let recent = at.query - at.key < u32(p.window);
    let first = at.key < u32(p.sinks);
    return first || recent;
}
