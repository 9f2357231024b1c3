//! Layer `papers`: the checks (a), (b), … of each paper's specification that are more than a law, one file per kind.

mod caches;
mod correction;
mod duo;
mod emergence;
mod hyper;
mod latents;
mod masks;
mod mixers;
mod needles;
mod patterns;
mod quality;
mod rows;
mod selected;
mod selectors;
mod shipped;
mod stages;
mod synthetic;
mod times;
mod training;
mod valid;
