//! The methods, and how much each takes.

use super::{MASKS, MIDPOINTS, ROWS};

/// A way to score tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Mean attention of the last row.
    Attention,
    /// Attention rolled out through the layers.
    Rollout,
    /// The most that can flow through all layers.
    Flow,
    /// Gradient times input.
    Gradient,
    /// Integrated gradients.
    Integrated,
    /// Expected gradients.
    Shap,
    /// Slopes of straight lines to a reference.
    DeepLift,
    /// The same against several references.
    DeepShap,
    /// A linear model of masks.
    Lime,
    /// One token at a time replaced.
    LeaveOut,
}

impl Method {
    /// Every method.
    pub const ALL: [Method; 10] = [
        Method::Attention,
        Method::Rollout,
        Method::Flow,
        Method::Gradient,
        Method::Integrated,
        Method::Shap,
        Method::DeepLift,
        Method::DeepShap,
        Method::Lime,
        Method::LeaveOut,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Method::Attention => "attention",
            Method::Rollout => "rollout",
            Method::Flow => "flow",
            Method::Gradient => "gradient × input",
            Method::Integrated => "integrated gradients",
            Method::Shap => "Grad-SHAP",
            Method::DeepLift => "DeepLIFT",
            Method::DeepShap => "Deep-SHAP",
            Method::Lime => "LIME",
            Method::LeaveOut => "leave one out",
        }
    }

    /// Whether it reads weights and nothing else.
    pub(super) fn of_attention(self) -> bool {
        matches!(self, Method::Attention | Method::Rollout | Method::Flow)
    }

    /// Whether it takes slopes of the model.
    pub(super) fn needs_slopes(self) -> bool {
        matches!(self, Method::Gradient | Method::Integrated | Method::Shap | Method::DeepLift | Method::DeepShap)
    }

    /// Batches it takes.
    pub(super) fn parts(self) -> usize {
        match self {
            Method::Integrated => MIDPOINTS / ROWS,
            Method::Lime => MASKS / ROWS,
            _ => 1,
        }
    }
}
