//! Drawing on a 2D canvas, and knowing how wide an element is.

use super::colour::Rgb;
use leptos::html::{Canvas, ElementType};
use leptos::prelude::*;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{Clamped, JsCast};
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement, ImageData, ResizeObserver};

/// Paints one canvas pixel per cell; the style sheet scales it without smoothing.
pub fn paint(canvas: &HtmlCanvasElement, width: usize, height: usize, pixel: impl Fn(usize, usize) -> Rgb) {
    let (width, height) = (width.max(1), height.max(1));
    size(canvas, width as u32, height as u32);
    let mut bytes = Vec::with_capacity(width * height * 4);
    for y in 0..height {
        for x in 0..width {
            let [red, green, blue] = pixel(x, y);
            bytes.extend([red, green, blue, 255]);
        }
    }
    put(canvas, &mut bytes, width as u32, 0.0, 0.0);
}

/// Puts rows of RGBA bytes `width` pixels wide at a place of a canvas.
pub fn put(canvas: &HtmlCanvasElement, bytes: &mut [u8], width: u32, x: f64, y: f64) {
    let height = bytes.len() as u32 / (4 * width.max(1));
    let image = ImageData::new_with_u8_clamped_array_and_sh(Clamped(bytes), width, height);
    if let (Some(context), Ok(image)) = (context(canvas), image) {
        // Fails only for a detached canvas, on which there is nothing to see.
        let _ = context.put_image_data(&image, x, y);
    }
}

/// Sets the number of canvas pixels; setting it clears the canvas, so an equal size is left alone.
pub fn size(canvas: &HtmlCanvasElement, width: u32, height: u32) {
    if (canvas.width(), canvas.height()) != (width, height) {
        canvas.set_width(width);
        canvas.set_height(height);
    }
}

/// The drawing context.
pub fn context(canvas: &HtmlCanvasElement) -> Option<CanvasRenderingContext2d> {
    canvas.get_context("2d").ok().flatten()?.dyn_into().ok()
}

/// A cleared context in CSS pixels at the screen's resolution, for lines and bars.
pub fn sharp(canvas: &HtmlCanvasElement, width: f64, height: f64) -> Option<CanvasRenderingContext2d> {
    let ratio = pixel_ratio();
    size(canvas, (width * ratio).round().max(1.0) as u32, (height * ratio).round().max(1.0) as u32);
    let context = context(canvas)?;
    context.set_transform(ratio, 0.0, 0.0, ratio, 0.0, 0.0).ok()?;
    context.clear_rect(0.0, 0.0, width, height);
    Some(context)
}

/// Canvas pixels per CSS pixel; more than two are not seen and only cost time.
pub fn pixel_ratio() -> f64 {
    window().device_pixel_ratio().clamp(1.0, 2.0)
}

/// Runs `draw` with the canvas when it is there, and again whenever a signal that `draw` reads changes.
pub fn drawn(draw: impl Fn(HtmlCanvasElement) + 'static) -> NodeRef<Canvas> {
    let node = NodeRef::<Canvas>::new();
    Effect::new(move |_| {
        if let Some(canvas) = node.get() {
            draw(canvas);
        }
    });
    node
}

/// Follows the inner width of an element, in CSS pixels. Zero while it is not displayed.
pub fn follow_width<E>(node: NodeRef<E>, width: RwSignal<f64>)
where
    E: ElementType + 'static,
    E::Output: JsCast + Clone + AsRef<web_sys::Element> + 'static,
{
    let kept = StoredValue::new_local(None::<(ResizeObserver, Closure<dyn FnMut()>)>);
    Effect::new(move |_| {
        let Some(element) = node.get() else { return };
        let element: &web_sys::Element = element.as_ref();
        let measured = element.clone();
        let measure = move || {
            let now = f64::from(measured.client_width());
            if width.try_get_untracked().is_some_and(|before| before != now) {
                width.set(now);
            }
        };
        measure();
        let closure = Closure::<dyn FnMut()>::new(measure);
        if let Ok(observer) = ResizeObserver::new(closure.as_ref().unchecked_ref()) {
            observer.observe(element);
            kept.set_value(Some((observer, closure)));
        }
    });
    on_cleanup(move || {
        kept.try_update_value(|kept| {
            if let Some((observer, _)) = kept.take() {
                observer.disconnect();
            }
        });
    });
}
