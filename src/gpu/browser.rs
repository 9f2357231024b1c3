//! What a browser can do and wgpu does not ask it for. `crate::api` knows the browser and puts it here; natively nobody
//! does, and everything goes the plain way.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;

/// A browser, as far as devices need it.
pub trait Browser {
    /// Asks for the pipelines that `create` creates without waiting for them, so that they are compiled side by side and
    /// nothing else waits; what `create` got is of no use. Once this is done, creating them again is immediate.
    fn warm(&self, create: &mut dyn FnMut()) -> Pin<Box<dyn Future<Output = ()>>>;

    /// Whether the device that was opened last may use subgroups.
    fn subgroups(&self) -> bool;
}

thread_local! {
    static BROWSER: RefCell<Option<Rc<dyn Browser>>> = RefCell::default();
}

/// Devices of this thread live in `browser` from now on.
pub fn set(browser: Rc<dyn Browser>) {
    BROWSER.with(|place| *place.borrow_mut() = Some(browser));
}

pub(super) fn get() -> Option<Rc<dyn Browser>> {
    BROWSER.with(|place| place.borrow().clone())
}
