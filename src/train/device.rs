//! The device a run computes on.

use super::args::On;
use crate::{Error, Result};
use burn::tensor::Device;

/// Opens the device.
///
/// # Errors
/// [`Error::Gpu`] when this build has no such backend.
pub fn open(on: On) -> Result<Device> {
    match on {
        On::Flex => Ok(Device::flex()),
        #[cfg(feature = "burn-gpu")]
        On::Wgpu => Ok(Device::wgpu(Default::default())),
        #[cfg(not(feature = "burn-gpu"))]
        On::Wgpu => absent("wgpu", "burn-gpu"),
        #[cfg(feature = "burn-cuda")]
        On::Cuda => Ok(Device::cuda(0)),
        #[cfg(not(feature = "burn-cuda"))]
        On::Cuda => absent("cuda", "burn-cuda"),
    }
}

#[cfg(not(all(feature = "burn-gpu", feature = "burn-cuda")))]
fn absent(device: &str, feature: &str) -> Result<Device> {
    Err(Error::Gpu {
        problem: format!(
            "this build cannot compute on {device}; build with --features {feature}, or use --device flex"
        ),
    })
}
