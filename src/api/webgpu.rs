//! What wgpu does not ask a browser's WebGPU for: subgroups, and pipelines that are compiled while others wait for nothing.
//!
//! wgpu asks `navigator.gpu` for an adapter, that for a device, and that for pipelines. Each of these three gets a method of
//! its own that stands before the browser's: an adapter with subgroups is asked for a device with subgroups; a device
//! that is being warmed asks for pipelines asynchronously, and gives each out when it is asked for it again. Methods are put
//! on the objects themselves, so nothing is changed that others have; where something is missing, wgpu gets what the
//! browser says.

use crate::gpu::browser::{self, Browser};
use js_sys::{Array, Function, Map, Object, Promise, Reflect};
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use web_time::{Duration, Instant};

/// Compiling that takes no longer is not worth a word.
const MOMENT: Duration = Duration::from_secs(1);

const SUBGROUPS: &str = "subgroups";

/// Hears how many programs are ready, and of how many.
type Tell = Rc<dyn Fn(usize, usize)>;

#[derive(Default)]
struct State {
    /// Pipelines that were asked for since warming began, each with its shader; none while nothing is being warmed.
    asked: RefCell<Option<Vec<(JsValue, Promise)>>>,
    /// Pipelines that are ready, by shader.
    ready: RefCell<Map>,
    subgroups: Cell<bool>,
}

struct Here {
    state: Rc<State>,
    tell: Tell,
}

/// Stands before `navigator.gpu` of this worker from now on, once; `tell` hears of compiling that takes its time.
pub fn install(tell: impl Fn(usize, usize) + 'static) {
    let gpu = get(&get(&js_sys::global(), "navigator"), "gpu");
    let Ok(ask) = get(&gpu, "requestAdapter").dyn_into::<Function>() else { return };
    let state = Rc::new(State::default());
    let (own, of) = (state.clone(), gpu.clone());
    let request = Closure::<dyn Fn(JsValue) -> Promise>::new(move |wish: JsValue| {
        let (asked, state) = (ask.call1(&of, &wish), own.clone());
        future_to_promise(async move {
            let adapter = JsFuture::from(Promise::resolve(&asked?)).await?;
            if adapter.is_object() {
                stand_before_adapter(&adapter, state);
            }
            Ok(adapter)
        })
    });
    set(&gpu, "requestAdapter", &request.into_js_value());
    browser::set(Rc::new(Here { state, tell: Rc::new(tell) }));
}

fn stand_before_adapter(adapter: &JsValue, state: Rc<State>) {
    let Ok(ask) = get(adapter, "requestDevice").dyn_into::<Function>() else { return };
    let weak = weak(adapter);
    let request = Closure::<dyn Fn(JsValue) -> Promise>::new(move |wish: JsValue| {
        let adapter = strong(&weak);
        let features = get(&adapter, "features");
        let has = get(&features, "has").dyn_into::<Function>();
        let subgroups = has.and_then(|has| has.call1(&features, &SUBGROUPS.into())).is_ok_and(|has| has.is_truthy());
        if subgroups && wish.is_object() {
            let wanted = get(&wish, "requiredFeatures");
            let wanted = if wanted.is_object() { Array::from(&wanted) } else { Array::new() };
            wanted.push(&SUBGROUPS.into());
            set(&wish, "requiredFeatures", &wanted);
        }
        let (asked, state) = (ask.call1(&adapter, &wish), state.clone());
        future_to_promise(async move {
            let device = JsFuture::from(Promise::resolve(&asked?)).await?;
            state.subgroups.set(subgroups);
            stand_before_device(&device, state);
            Ok(device)
        })
    });
    set(adapter, "requestDevice", &request.into_js_value());
}

fn stand_before_device(device: &JsValue, state: Rc<State>) {
    // Looked up when they are called: tests count what the browser itself is asked.
    let own = |device: &JsValue, method: &str| {
        let prototype = Object::get_prototype_of(device);
        get(&prototype, method).dyn_into::<Function>()
    };
    let weak = weak(device);
    let create = Closure::<dyn Fn(JsValue) -> Result<JsValue, JsValue>>::new(move |wish: JsValue| {
        let device = strong(&weak);
        let shader = get(&get(&wish, "compute"), "module");
        if let Some(asked) = &mut *state.asked.borrow_mut() {
            if let Ok(ask) = own(&device, "createComputePipelineAsync") {
                asked.push((shader, ask.call1(&device, &wish)?.unchecked_into()));
            }
            // Nobody uses it: it stands for a pipeline until that is asked for again.
            return Ok(Object::new().into());
        }
        let ready = state.ready.borrow();
        let pipeline = ready.get(&shader);
        if pipeline.is_object() {
            ready.delete(&shader);
            return Ok(pipeline);
        }
        own(&device, "createComputePipeline")?.call1(&device, &wish)
    });
    set(device, "createComputePipeline", &create.into_js_value());
}

impl Browser for Here {
    fn warm(&self, create: &mut dyn FnMut()) -> Pin<Box<dyn Future<Output = ()>>> {
        self.state.asked.replace(Some(Vec::new()));
        create();
        let asked = self.state.asked.take().unwrap_or_default();
        let (start, all, done, told) = (Instant::now(), asked.len(), Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
        let each = asked.into_iter().map(|(shader, promise)| {
            let (state, tell, done, told) = (self.state.clone(), self.tell.clone(), done.clone(), told.clone());
            future_to_promise(async move {
                // What is refused is created once more the plain way, which says why.
                if let Ok(pipeline) = JsFuture::from(promise).await {
                    state.ready.borrow().set(&shader, &pipeline);
                }
                done.set(done.get() + 1);
                if told.get() || done.get() < all && start.elapsed() > MOMENT {
                    told.set(true);
                    tell(done.get(), all);
                }
                Ok(JsValue::UNDEFINED)
            })
        });
        let together = Promise::all(&each.collect::<Array>());
        Box::pin(async move {
            // None of them fails.
            let _ = JsFuture::from(together).await;
        })
    }

    fn subgroups(&self) -> bool {
        self.state.subgroups.get()
    }
}

/// A reference that does not keep its object, which would keep the closure that holds the reference.
fn weak(object: &JsValue) -> JsValue {
    let class = get(&js_sys::global(), "WeakRef").dyn_into::<Function>();
    let made = class.and_then(|class| Reflect::construct(&class, &Array::of1(object)));
    made.unwrap_or_else(|_| object.clone())
}

/// The object behind a reference; whoever calls a method of it holds it.
fn strong(weak: &JsValue) -> JsValue {
    let deref = get(weak, "deref").dyn_into::<Function>();
    deref.and_then(|deref| deref.call0(weak)).unwrap_or_else(|_| weak.clone())
}

fn get(of: &JsValue, key: &str) -> JsValue {
    Reflect::get(of, &key.into()).unwrap_or_default()
}

fn set(object: &JsValue, key: &str, value: &JsValue) {
    // Objects of WebGPU take properties of their own.
    let _ = Reflect::set(object, &key.into(), value);
}
