//! Faults on purpose: what tests do to the device, since no real one can be asked to fail.
//!
//! Nothing here exists in the browser's build: there the tests stand between the program and `navigator.gpu`, and inject
//! the same faults from outside. A plan of faults belongs to its thread, so that tests do not disturb each other.

use std::borrow::Cow;

/// Where a device can be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// A weight has just been written.
    Upload,
    /// Work has just been submitted.
    Submit,
    /// Results have been asked for and are not there yet.
    Read,
}

/// What goes wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// The device is destroyed when this has happened so many times, once per entry, the last entry first.
    pub lose: Vec<(At, usize)>,
    /// Text of kernels that is replaced, as a wrong compiler would.
    pub replace: Option<(String, String)>,
    /// No device can be opened.
    pub closed: bool,
    /// A software adapter is taken for a real one, and for a fast one, so that it is chosen by itself.
    pub hardware: bool,
    /// It has its trial all the same.
    pub slow: bool,
}

#[cfg(not(target_arch = "wasm32"))]
mod plan {
    use super::Faults;
    use std::cell::RefCell;

    thread_local! {
        static PLAN: RefCell<Faults> = RefCell::default();
    }

    /// What goes wrong on this thread from now on.
    pub fn set(faults: Faults) {
        PLAN.with(|plan| *plan.borrow_mut() = faults);
    }

    pub(super) fn with<T>(read: impl FnOnce(&mut Faults) -> T) -> T {
        PLAN.with(|plan| read(&mut plan.borrow_mut()))
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub use plan::set;

/// Tells that `at` has happened, which may be the end of `device`.
#[cfg_attr(target_arch = "wasm32", expect(unused_variables, reason = "there are no faults in the browser's build"))]
pub(super) fn reached(at: At, device: &wgpu::Device) {
    #[cfg(not(target_arch = "wasm32"))]
    plan::with(|faults| {
        let Some((_, count)) = faults.lose.last_mut().filter(|(next, _)| *next == at) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            faults.lose.pop();
            device.destroy();
        }
    });
}

/// The text of a kernel as the device gets it.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    #[cfg(not(target_arch = "wasm32"))]
    if let Some(other) = plan::with(|faults| faults.replace.as_ref().map(|(from, to)| text.replace(from, to))) {
        return other.into();
    }
    text.into()
}

/// Whether a software adapter passes for a real one.
pub(super) fn hardware() -> bool {
    #[cfg(not(target_arch = "wasm32"))]
    return plan::with(|faults| faults.hardware);
    #[cfg(target_arch = "wasm32")]
    false
}

/// Whether it need not show that it is fast.
pub(super) fn fast() -> bool {
    #[cfg(not(target_arch = "wasm32"))]
    return plan::with(|faults| faults.hardware && !faults.slow);
    #[cfg(target_arch = "wasm32")]
    false
}

/// Whether no device can be opened.
pub(super) fn closed() -> bool {
    #[cfg(not(target_arch = "wasm32"))]
    return plan::with(|faults| faults.closed);
    #[cfg(target_arch = "wasm32")]
    false
}
