//! Handing a file to the visitor, and turning SVG into PNG.

use js_sys::{Array, Promise, Uint8Array};
use leptos::prelude::*;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, BlobPropertyBag, HtmlAnchorElement, HtmlCanvasElement, HtmlImageElement, Url};

/// Pixels of a PNG per unit of the drawing.
const SHARPNESS: f64 = 2.0;
/// Browsers draw no larger canvas.
const MOST_PIXELS: f64 = 16_000.0;

/// Bytes as something the browser can save or draw.
pub fn blob(bytes: &[u8], media_type: &str) -> Result<Blob, JsValue> {
    let parts = Array::of1(&Uint8Array::from(bytes));
    let options = BlobPropertyBag::new();
    options.set_type(media_type);
    Blob::new_with_u8_array_sequence_and_options(&parts, &options)
}

/// Saves under a name.
pub fn save(blob: &Blob, name: &str) -> Result<(), JsValue> {
    let address = Url::create_object_url_with_blob(blob)?;
    let link: HtmlAnchorElement = document().create_element("a")?.unchecked_into();
    link.set_href(&address);
    link.set_download(name);
    link.click();
    Url::revoke_object_url(&address)
}

/// Draws SVG.
pub async fn png(svg: &str) -> Result<Blob, JsValue> {
    let address = Url::create_object_url_with_blob(&blob(svg.as_bytes(), "image/svg+xml")?)?;
    let image = HtmlImageElement::new()?;
    image.set_src(&address);
    let drawn = JsFuture::from(image.decode()).await;
    Url::revoke_object_url(&address)?;
    drawn?;
    let (width, height) = (f64::from(image.natural_width()), f64::from(image.natural_height()));
    let scale = SHARPNESS.min(MOST_PIXELS / width.max(height).max(1.0));
    let canvas: HtmlCanvasElement = document().create_element("canvas")?.unchecked_into();
    canvas.set_width((width * scale) as u32);
    canvas.set_height((height * scale) as u32);
    let context = crate::ui::stage::canvas::context(&canvas).ok_or("this browser draws no canvas")?;
    context.scale(scale, scale)?;
    context.draw_image_with_html_image_element(&image, 0.0, 0.0)?;
    let promise = Promise::new(&mut |resolve, refuse| {
        if let Err(problem) = canvas.to_blob(&resolve) {
            // The caller hears of it by the promise.
            let _ = refuse.call1(&JsValue::UNDEFINED, &problem);
        }
    });
    JsFuture::from(promise).await?.dyn_into()
}
