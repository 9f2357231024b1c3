// lanes_few: the same on a software adapter, where a barrier costs a change of stacks per four lanes.
const LANES: u32 = 4u;
