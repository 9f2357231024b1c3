//! The engine in its worker: everything is in [`attnscope::api::server`].

fn main() {
    #[cfg(target_arch = "wasm32")]
    attnscope::api::server::start();
}
