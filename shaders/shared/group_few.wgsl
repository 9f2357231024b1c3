// group_few: the same on a software adapter; see lanes_few.
const GROUP: u32 = 4u;
