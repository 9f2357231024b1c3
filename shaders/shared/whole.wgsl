// whole: lanes of a decode_product on a software adapter: each sums its four outputs alone.
//
// There a barrier costs a change of stacks per four lanes, and every load as much as several sums; many lanes help nobody.
const GROUP: u32 = 8u;
const TILE: u32 = 32u;
