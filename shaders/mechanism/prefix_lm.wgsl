// prefix_lm: the first tokens see each other in both directions.
//
// Computes  key < prefix, also for later keys
// Twin      src/mechanism/prefix_lm.rs
#import pair

fn prefix_lm_reach(p: PrefixLmParams) -> u32 {
    return u32(p.prefix);
}

fn prefix_lm_keep(p: PrefixLmParams, at: Pair) -> bool {
    return true;
}
