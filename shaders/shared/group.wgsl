// group: lanes of a wide workgroup on hardware.
const GROUP: u32 = 128u;
