//! Every WGSL file of the engine, embedded. The one list; mechanisms bring their own text.

use crate::{Error, Result};

/// One WGSL file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Folder under `shaders/`: `shared`, `skeleton` or `model`.
    pub folder: &'static str,
    /// Stem.
    pub name: &'static str,
    /// The file.
    pub text: &'static str,
}

macro_rules! sources {
    ($($folder:ident { $($name:ident)+ })+) => {
        /// Every file, folder by folder.
        pub const ALL: &[Source] = &[$($(Source {
            folder: stringify!($folder),
            name: stringify!($name),
            text: include_str!(concat!("../../shaders/", stringify!($folder), "/", stringify!($name), ".wgsl")),
        },)+)+];
    };
}

sources! {
    shared {
        attention cached capture_maps capture_none choose_all choose_stored chunk close_none draw flat fold format_f16 format_f32 format_i8
        gelu gelu_tanh group group_few head input_layer input_plain input_rms input_root keys_all keys_listed keys_ring lanes lanes_few load_heads load_rows masked
        mix_row pair place_shape place_state product reduce reduce_subgroups relu rework_none rework_rows ring row row_sums rows_own rows_ring rows_split rows_whole share_columns share_rows
        silu skip_empty skip_none span_128 span_32 span_64 state step store_activated store_both store_cached store_gated store_heads store_logits store_residual store_rows store_stream sum_tiles tile_mix tile_pair
        token token_at turn_none turn_pairs weight_columns weight_rows whole whole_columns whole_rows
    }
    skeleton {
        attend_alone attend_rows attend_tiles carry_state carry_state_alone choose_rows chunk_states decode_product follow_tokens list_rows matmul matmul_alone mix_chunks norm_rows project_rows
        scan_columns scan_states scan_tokens token_sums token_values top_rows
    }
    model { append_rows ceiling_multiply ceiling_read embed layer_norm recall_rows result rms_norm rotate sample }
}

impl Source {
    /// The file's path below the root.
    pub fn path(&self) -> String {
        format!("shaders/{}/{}.wgsl", self.folder, self.name)
    }

    /// Whether it is a whole kernel rather than a piece.
    pub fn is_kernel(&self) -> bool {
        self.folder != "shared"
    }

    /// The value of `const NAME: u32 = …u;` in the file, so that no tile size stands in two places.
    ///
    /// # Errors
    /// [`Error::Internal`] when the file has no such line.
    pub fn constant(&self, name: &str) -> Result<u32> {
        let value = |line: &str| line.strip_prefix(&format!("const {name}: u32 = "))?.strip_suffix("u;")?.parse().ok();
        let missing = || Error::Internal(format!("{} has no constant {name}", self.path()));
        self.text.lines().find_map(value).ok_or_else(missing)
    }
}

/// A whole kernel by name.
///
/// # Errors
/// [`Error::Internal`] when there is none.
pub fn kernel(name: &str) -> Result<&'static Source> {
    let found = ALL.iter().find(|source| source.is_kernel() && source.name == name);
    found.ok_or_else(|| Error::Internal(format!("there is no kernel {name}")))
}

/// An importable piece by name.
pub fn piece(name: &str) -> Option<&'static Source> {
    ALL.iter().find(|source| !source.is_kernel() && source.name == name)
}
