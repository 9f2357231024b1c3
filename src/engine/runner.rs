//! The engines behind one type.

use super::{Forward, Pass, Request};
use crate::Result;
use crate::model::CpuModel;

/// The burn model.
pub(super) struct Runner {
    pub cpu: CpuModel,
    /// What the GPU failed of, once it did.
    pub failed: Option<String>,
}

impl Runner {
    /// The burn model alone.
    pub fn cpu(cpu: CpuModel) -> Self {
        Self { cpu, failed: None }
    }
}

impl Forward for Runner {
    async fn forward(&mut self, request: Request<'_>) -> Result<Pass> {
        self.cpu.forward(request).await
    }
}
