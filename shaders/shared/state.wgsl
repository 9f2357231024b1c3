// state: where a continuation stands, and how its tokens are drawn.
//
// 64 bytes, written by the host once and advanced by the sampling kernel, so that the commands of all tokens are the same.
struct State {
    // Position of the token whose row is in the stream, which is the length of what came before it.
    position: u32,
    // Tokens at positions below are given, not drawn.
    given: u32,
    // DONE_…
    done: u32,
    // Most tokens of a sequence.
    context: u32,
    temperature: f32,
    top_k: u32,
    top_p: f32,
    seed_low: u32,
    seed_high: u32,
    // Tokens before which a continuation stops; NOTHING where there is none.
    eos: u32,
    bos: u32,
}

const NOTHING: u32 = 0xffffffffu;
const DONE_DOCUMENT: u32 = 1u;
const DONE_FULL: u32 = 2u;
const DONE_FAULT: u32 = 3u;
