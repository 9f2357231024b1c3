// lanes: how many invocations work on one row.
//
// A constant and not an override: workgroup arrays are sized by it.
const LANES: u32 = 64u;
