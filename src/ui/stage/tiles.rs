//! Where the maps of the head wall are, and their pixels.

use super::colour::{Palette, Scaling};
use crate::experiment::Order;

/// Smallest edge of a map in CSS pixels: the least target.
const SMALLEST: f64 = 24.0;
/// The largest edge is this share of the wall's width, so that six layers stay above the fold in the side column.
const LARGEST: f64 = 1.0 / 7.5;
/// Between a map with its bar and the next.
pub const GAP: f64 = 4.0;
/// Room for the names of the layers.
pub const NAMES: f64 = 22.0;
/// Bar under a map.
pub const BAR: f64 = 5.0;
/// The line with a head's number when the wall is sorted.
const NUMBER: f64 = 13.0;
/// From this edge on, a number fits into the masked corner of a map.
pub const ROOM_FOR_NUMBER: f64 = 40.0;

/// Where the maps are, in CSS pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Layout {
    /// Edge of one map.
    pub tile: f64,
    /// Maps in one row.
    pub across: usize,
    rows: usize,
    left: f64,
    step_x: f64,
    step_y: f64,
}

impl Layout {
    /// Fits layers × heads into a width.
    pub fn fit(width: f64, layers: usize, heads: usize, order: Order) -> Self {
        let sorted = order == Order::Sorted;
        let left = if sorted { 0.0 } else { NAMES };
        let across = heads.max(1);
        let room = (width - left).max(SMALLEST);
        let tile = (room / across as f64 - GAP).floor().clamp(SMALLEST, (width * LARGEST).floor().max(SMALLEST));
        let step_x = ((room + GAP) / across as f64).floor().clamp(tile, tile + 16.0);
        let step_y = tile + BAR + GAP + if sorted { NUMBER } else { 0.0 };
        Self { tile, across, rows: layers, left, step_x, step_y }
    }

    /// Upper left corner of a map.
    pub fn at(&self, index: usize) -> (f64, f64) {
        (self.left + (index % self.across) as f64 * self.step_x, (index / self.across) as f64 * self.step_y)
    }

    /// Height of a map with what stands under it.
    pub fn card(&self) -> f64 {
        self.step_y - GAP
    }

    /// Width of all maps with the names of the layers.
    pub fn width(&self) -> f64 {
        self.left + self.across as f64 * self.step_x
    }

    /// Height of all maps.
    pub fn height(&self) -> f64 {
        self.rows as f64 * self.step_y
    }
}

/// One map as RGBA bytes: nearest cell when enlarged, the heaviest weight of each block when reduced. A map with negative
/// weights, such as that of a mixer without a softmax, is drawn on both sides of zero.
pub fn tile(pattern: Option<&[f32]>, tokens: usize, edge: usize, palette: &Palette) -> Vec<u8> {
    let Some(pattern) = pattern.filter(|pattern| tokens > 0 && pattern.len() == tokens * tokens) else {
        let [red, green, blue] = palette.ground();
        return [red, green, blue, 255].repeat(edge * edge);
    };
    let spans: Vec<_> = (0..edge)
        .map(|index| {
            let start = index * tokens / edge;
            start..((index + 1) * tokens / edge).max(start + 1)
        })
        .collect();
    let scaling = Scaling { diverging: pattern.iter().any(|weight| *weight < 0.0), ..Scaling::WALL };
    let mut bytes = Vec::with_capacity(edge * edge * 4);
    for queries in &spans {
        for keys in &spans {
            let block = queries.clone().flat_map(|query| pattern[query * tokens..][keys.clone()].iter().copied());
            let value = block
                .fold(f32::NAN, |most, value| if value.abs() > most.abs() || most.is_nan() { value } else { most });
            let [red, green, blue] = palette.colour(scaling, value);
            bytes.extend([red, green, blue, 255]);
        }
    }
    bytes
}
