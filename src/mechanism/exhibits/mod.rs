//! What a mechanism draws of a pass: which head streams, which cluster a token is in, what a budget buys.
//!
//! A mechanism offers drawings ([`Offer`], in [`Mechanism::exhibits`](super::Mechanism)). Each is a function from a
//! [`Scene`], which is one pane's pass and everything it was made with, to an [`Exhibit`]: a grid of numbers and how it is
//! drawn. They are computed on the processor when somebody looks: in the page below the mechanism's summary on its paper
//! tab, on the command line with `attnscope analyse exhibits`.
//!
//! # How to add one
//!
//! 1. In `exhibits/<stem>.rs` (declare it below), write a function that takes a [`Scene`] and returns an [`Exhibit`] with
//!    its `grid`, and where they are needed `classes`, `outlined` or `missing`. [`by_head`], [`of_tokens`], [`sheet`] and
//!    [`fact`] are the usual pieces. Ask the mechanism's own functions for masks, lists and gates; never write its rule a
//!    second time.
//! 2. Add an [`Offer`] to `ALL` of that file: id, name, a caption that says what is seen and in which unit, how it is drawn
//!    ([`Drawn`]). What needs many passes is an [`Offer::slow`]: a frame with its axes, and a function for each row. What
//!    several offer alike is there already: `recall::offer`, and those of `masks`.
//! 3. Name `exhibits::<stem>::ALL` in the mechanism's `exhibits`.
//! 4. A test in `tests/native/exhibits` compares it with a count of its own.

pub mod attention_calibration;
pub mod attention_sink_operators;
pub mod duo_attention;
pub mod echo_att;
pub mod halo_attention;
pub mod hyper_attention;
pub mod lightning_attention;
mod masks;
pub mod minference;
pub mod neighborhood_attention;
mod recall;
pub mod routing_attention;
pub mod s2_attention;
pub mod scatterbrain;
mod scene;
pub mod softplus_reweighting;
pub mod tidal_decode;
pub mod trans_mla;

pub use scene::{Scene, Stepped, WANTED};

use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::finding::{Axis, Fact, Grid, Sheet};
use crate::{Error, Result};

/// A drawing that a mechanism offers.
pub struct Offer {
    /// snake_case, of its own within the mechanism.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What is seen.
    pub caption: &'static str,
    /// What is special to it where several mechanisms offer the same; behind the caption, empty for nothing.
    pub note: &'static str,
    /// How it is drawn.
    pub drawn: Drawn,
    /// How it is computed.
    pub make: Make,
}

/// How a drawing is computed.
pub enum Make {
    /// At once, from the passes there are.
    Whole(fn(&Scene<'_>) -> Result<Exhibit>),
    /// Row by row, with passes of its own.
    Rows {
        /// Axes, and sheets without numbers.
        frame: fn(&Scene<'_>) -> Result<Exhibit>,
        /// One row of each sheet.
        row: fn(&Scene<'_>, usize) -> Result<Vec<Vec<f32>>>,
    },
    /// Row by row, what an earlier passage is worth to these variants.
    Recall(fn(&Scene<'_>) -> Result<Vec<recall::Variant>>),
}

impl Offer {
    /// A drawing that is computed at once.
    pub const fn new(
        id: &'static str,
        name: &'static str,
        drawn: Drawn,
        make: fn(&Scene<'_>) -> Result<Exhibit>,
        caption: &'static str,
    ) -> Self {
        Self { id, name, caption, note: "", drawn, make: Make::Whole(make) }
    }

    /// A drawing of many passes.
    pub const fn slow(
        id: &'static str,
        name: &'static str,
        drawn: Drawn,
        frame: fn(&Scene<'_>) -> Result<Exhibit>,
        row: fn(&Scene<'_>, usize) -> Result<Vec<Vec<f32>>>,
        caption: &'static str,
    ) -> Self {
        Self { id, name, caption, note: "", drawn, make: Make::Rows { frame, row } }
    }

    /// Whether it takes passes of its own.
    pub fn is_slow(&self) -> bool {
        !matches!(self.make, Make::Whole(_))
    }

    /// Its numbers; of a slow one the frame, in which [`Offer::row`] puts them.
    ///
    /// # Errors
    /// Those of the passes; [`Error::Internal`] where a sheet does not fit its axes.
    pub fn begin(&self, scene: &Scene<'_>) -> Result<Exhibit> {
        let made = match self.make {
            Make::Whole(make) | Make::Rows { frame: make, .. } => make(scene)?,
            Make::Recall(variants) => recall::frame(scene, &variants(scene)?),
        };
        let cells = made.grid.down.labels.len() * made.grid.across.labels.len();
        if let Some(sheet) = made.grid.sheets.iter().find(|sheet| sheet.values.len() != cells) {
            let came = sheet.values.len();
            return Err(Error::Internal(format!("{}: {} has {came} numbers for {cells} cells", self.id, sheet.id)));
        }
        let id = format!("{}.{}", scene.placed.mechanism.id, self.id);
        let caption = [self.caption, self.note].join(" ").trim_end().into();
        Ok(Exhibit { id, name: self.name.into(), caption, drawn: self.drawn, ..made })
    }

    /// Puts one row of a slow drawing into its frame.
    ///
    /// # Errors
    /// Those of the passes.
    pub fn row(&self, scene: &Scene<'_>, exhibit: &mut Exhibit, row: usize) -> Result<()> {
        let made = match self.make {
            Make::Whole(_) => return Ok(()),
            Make::Rows { row: make, .. } => make(scene, row)?,
            Make::Recall(variants) => recall::row(scene, row, &variants(scene)?)?,
        };
        let width = exhibit.grid.across.labels.len();
        for (sheet, values) in exhibit.grid.sheets.iter_mut().zip(made) {
            sheet.values.splice(row * width..(row + 1) * width, values);
        }
        Ok(())
    }
}

/// A sheet of numbers.
pub fn sheet(id: &str, name: &str, unit: &str, values: Vec<f32>) -> Sheet {
    Sheet { id: id.into(), name: name.into(), unit: unit.into(), values, total: None }
}

/// A sheet of shares of a whole: its colours go from none to all.
pub fn shares(id: &str, name: &str, values: Vec<f32>) -> Sheet {
    Sheet { total: Some(1.0), ..sheet(id, name, "", values) }
}

/// A sheet of cells that are outlined in the others.
pub fn marks(id: &str, name: &str, marked: impl IntoIterator<Item = bool>) -> Sheet {
    sheet(id, name, "", marked.into_iter().map(|marked| f32::from(u8::from(marked))).collect())
}

/// A number beside the cells.
pub fn fact(id: &str, name: &str, value: f32, unit: &str) -> Fact {
    Fact::new(id, name, value, unit)
}

/// A grid of these sheets.
pub fn grid(down: Axis, across: Axis, sheets: Vec<Sheet>) -> Grid {
    Grid { down, across, sheets, facts: Vec::new(), notes: Vec::new() }
}

/// Layers down, heads across.
pub fn by_head(scene: &Scene<'_>, sheets: Vec<Sheet>) -> Grid {
    grid(scene.layer_axis(), Axis::new("head", (0..scene.heads).map(|head| format!("H{head}"))), sheets)
}

/// Queries down, keys across.
pub fn of_pairs(scene: &Scene<'_>, sheets: Vec<Sheet>) -> Grid {
    grid(scene.token_axis("query"), scene.token_axis("key"), sheets)
}

/// Rows of these names over the tokens.
pub fn of_tokens(scene: &Scene<'_>, name: &str, rows: impl IntoIterator<Item = String>, sheets: Vec<Sheet>) -> Grid {
    grid(Axis::new(name, rows), scene.token_axis("token"), sheets)
}

/// A drawing of a grid.
pub fn drawn(grid: Grid) -> Exhibit {
    Exhibit { grid, ..Exhibit::default() }
}

/// Nothing, and why.
pub fn missing(why: &str) -> Result<Exhibit> {
    Ok(Exhibit { missing: why.into(), ..Exhibit::default() })
}
