//! A value that arrives later: what turns a callback of the GPU into something to await.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// The two ends. A sender that is dropped unused sends `None`.
pub(super) fn signal<T>() -> (Sender<T>, Arrival<T>) {
    let state = Arc::new(Mutex::new(State { value: None, done: false, waker: None }));
    (Sender(state.clone()), Arrival(state))
}

struct State<T> {
    value: Option<T>,
    done: bool,
    waker: Option<Waker>,
}

/// Sends once.
pub(super) struct Sender<T>(Arc<Mutex<State<T>>>);

/// Waits for what is sent.
pub(super) struct Arrival<T>(Arc<Mutex<State<T>>>);

impl<T> Sender<T> {
    /// Sends the value; dropping the sender afterwards wakes whoever waits.
    pub(super) fn send(self, value: T) {
        if let Ok(mut state) = self.0.lock() {
            state.value = Some(value);
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let Ok(mut state) = self.0.lock() else { return };
        state.done = true;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

impl<T> Arrival<T> {
    /// What is sent, or `None` when that takes longer than so many milliseconds.
    pub(super) async fn within(mut self, millis: u32) -> Option<Option<T>> {
        let mut limit = Box::pin(pause(millis));
        std::future::poll_fn(move |context| {
            if let Poll::Ready(value) = Pin::new(&mut self).poll(context) {
                return Poll::Ready(Some(value));
            }
            // Natively whoever sends has done so before this waits.
            if cfg!(target_arch = "wasm32") { limit.as_mut().poll(context).map(|()| None) } else { Poll::Pending }
        })
        .await
    }
}

/// Waits so many milliseconds, in the browser without holding anybody up.
pub(crate) async fn pause(millis: u32) {
    #[cfg(target_arch = "wasm32")]
    gloo::timers::future::TimeoutFuture::new(millis).await;
    #[cfg(not(target_arch = "wasm32"))]
    std::thread::sleep(std::time::Duration::from_millis(millis.into()));
}

impl<T> Future for Arrival<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Ok(mut state) = self.0.lock() else { return Poll::Ready(None) };
        if state.done {
            return Poll::Ready(state.value.take());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
