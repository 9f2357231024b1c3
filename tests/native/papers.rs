//! Layer `papers`: the checks (a), (b), … of each paper's specification that are more than a law, one file per kind.

mod masks;
mod rows;
