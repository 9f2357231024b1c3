// flat: one index per invocation of an element-wise kernel.
//
// A grid dimension holds at most 65,535 groups; what is beyond goes on in y.
#import lanes

const MOST_GROUPS: u32 = 65535u;

fn flat(group: vec3<u32>, lane: u32) -> u32 {
    return (group.x + group.y * MOST_GROUPS) * LANES + lane;
}
