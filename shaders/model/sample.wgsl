// sample: takes the next token, given or drawn, and feeds it back.
//
// Computes  token = argmax of the race over the logits that stand; x = embed[token] + positions[position]
// Reads     logits [V]   best [V/tile], the winner of every tile   w: embed [V,M]   positions [context,M]
// Writes    x [M], then sums of its tiles   tokens[position + 1]   state: position, done
// Grid      one workgroup; GROUP
// Twin      src/model/sample.rs
#import fold
#import draw
#import sum_tiles
#slot format

struct Shape {
    vocabulary: u32,
    width: u32,
    take_position: u32,
    tile: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read_write> state: State;
@group(0) @binding(2) var<storage, read_write> tokens: array<u32>; // [context]
@group(0) @binding(3) var<storage, read> logits: array<f32>; // [V]
@group(0) @binding(4) var<storage, read> best: array<vec2<f32>>; // [V/tile]
@group(0) @binding(5) var<storage, read> positions: array<f32>; // [context,M]
@group(0) @binding(6) var<storage, read_write> x: array<f32>; // [M], then sums

var<workgroup> now: State;
var<workgroup> next: u32;

// The winner of the workgroup, on lane 0.
fn race(lane: u32, mine: vec2<f32>) -> vec2<f32> {
    workgroupBarrier();
    scratch[lane] = vec4<f32>(mine, 0.0, 0.0);
    workgroupBarrier();
    for (var half = GROUP / 2u; half > 0u; half = half / 2u) {
        if (lane < half) {
            scratch[lane] = vec4<f32>(better(scratch[lane].xy, scratch[lane + half].xy), 0.0, 0.0);
        }
        workgroupBarrier();
    }
    return scratch[0].xy;
}

// The weights of logits of at least three bounds, summed over all that are at least `least`.
fn above(lane: u32, least: u32, bounds: vec3<u32>, most: f32, counts: bool) -> vec3<f32> {
    var sum = vec3<f32>();
    for (var id = lane; id < shape.vocabulary; id += GROUP) {
        let place = order(logits[id]);
        if (place >= least) {
            let weight = select(exp((logits[id] - most) / now.temperature), 1.0, counts);
            sum += select(vec3<f32>(), vec3<f32>(weight), vec3<u32>(place) >= bounds);
        }
    }
    fold(lane, vec4<f32>(sum, 0.0), GROUP / 2u, 1u);
    return scratch[0].xyz;
}

// The highest bound above which the weights still reach `wanted`, two bits of it at a time.
fn bound(lane: u32, least: u32, wanted: f32, most: f32, counts: bool) -> u32 {
    var found = 0u;
    for (var shift = 32u; shift > 0u; shift -= 2u) {
        let bit = 1u << (shift - 2u);
        let sums = above(lane, least, found + vec3<u32>(bit, 2u * bit, 3u * bit), most, counts);
        found += bit * dot(vec3<u32>(1u), select(vec3<u32>(), vec3<u32>(1u), sums >= vec3<f32>(wanted)));
    }
    return max(found, least);
}

fn pick(lane: u32) -> vec2<f32> {
    var mine = vec2<f32>(-3e38, 0.0);
    for (var n = lane; n < (shape.vocabulary + shape.tile - 1u) / shape.tile; n += GROUP) {
        mine = better(best[n], mine);
    }
    let first = race(lane, mine);
    let at = workgroupUniformLoad(&now);
    if (at.temperature == 0.0 || (at.top_k == 0u && at.top_p >= 1.0)) {
        return first;
    }
    var most = -3e38;
    for (var id = lane; id < shape.vocabulary; id += GROUP) {
        most = max(most, logits[id]);
    }
    most = race(lane, vec2<f32>(most, 0.0)).x;
    var least = 0u;
    if (at.top_k > 0u) {
        least = bound(lane, 0u, f32(min(at.top_k, shape.vocabulary)), most, true);
    }
    if (at.top_p < 1.0) {
        let whole = above(lane, least, vec3<u32>(least), most, false).x;
        least = bound(lane, least, at.top_p * whole, most, false);
    }
    mine = vec2<f32>(-3e38, 0.0);
    for (var id = lane; id < shape.vocabulary; id += GROUP) {
        if (order(logits[id]) >= least) {
            mine = better(runner(at, logits[id], id), mine);
        }
    }
    let winner = race(lane, mine);
    return select(winner, first, first.y < 0.0);
}

@compute @workgroup_size(GROUP)
fn main(@builtin(local_invocation_index) lane: u32) {
    if (lane == 0u) {
        now = state;
    }
    let at = workgroupUniformLoad(&now);
    let position = at.position + 1u;
    if (at.done != 0u || position >= at.context) {
        if (lane == 0u && at.done == 0u) {
            state.done = DONE_FULL;
        }
        return;
    }
    if (position < at.given) {
        if (lane == 0u) {
            next = tokens[position];
        }
    } else {
        let winner = pick(lane);
        if (lane == 0u) {
            next = select(u32(max(winner.y, 0.0)), NOTHING, winner.y < 0.0);
        }
    }
    let token = workgroupUniformLoad(&next);
    if (position >= at.given && (token == NOTHING || token == at.eos || token == at.bos)) {
        if (lane == 0u) {
            state.done = select(DONE_DOCUMENT, DONE_FAULT, token == NOTHING);
        }
        return;
    }
    for (var m = lane; m < shape.width; m += GROUP) {
        var sum = quad(token * ((shape.width + 3u) / 4u) + m / 4u)[m % 4u] * scale(token);
        if (shape.take_position != 0u) {
            sum += positions[position * shape.width + m];
        }
        x[m] = sum;
    }
    storageBarrier();
    sum_tiles(lane, shape.width, shape.tile);
    if (lane == 0u) {
        tokens[position] = token;
        state.position = position;
    }
}
