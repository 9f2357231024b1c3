// masked: what a removed score holds.
//
// Far below any score, yet finite. Rows keep it exactly, so a comparison tells what is kept.
const MASKED: f32 = -1e30;
