//! Fetching a shipped model's files, with the bytes that have arrived.

use crate::model::Files;
use crate::model::load::SELF_CHECK;
use crate::shipped::Name;
use crate::{Error, Result};
use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{DedicatedWorkerGlobalScope, ReadableStreamDefaultReader, Response};

/// The files of a shipped model; the weights last, so that what is small is checked first.
const FILES: &[(&str, Need)] = &[
    ("config.json", Need::Must),
    ("tokenizer.json", Need::Must),
    (SELF_CHECK, Need::May),
    ("model.safetensors", Need::Must),
];

#[derive(PartialEq)]
enum Need {
    Must,
    May,
}

/// The files of the model `id` under `base`models/. `progress` hears the bytes so far, and all of them where the
/// server says how many.
///
/// # Errors
/// [`Error::File`] naming the address that cannot be had.
pub(super) async fn model(
    scope: &DedicatedWorkerGlobalScope,
    base: &str,
    id: &str,
    progress: impl Fn(usize, Option<usize>),
) -> Result<Files> {
    let id = &Name::of(id).files();
    if !id.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter)) || id.contains("..") {
        return Err(Error::Unknown {
            what: "model",
            name: id.into(),
            remedy: "shipped models are named like stories-3m".into(),
        });
    }
    // Asked for all at once; a promise starts when it is made.
    let address = |name: &str| format!("{}/models/{id}/{name}", base.trim_end_matches('/'));
    let asked: Vec<_> = FILES.iter().map(|(name, need)| (*name, need, scope.fetch_with_str(&address(name)))).collect();
    let mut responses = Vec::new();
    for (name, need, promise) in asked {
        let address = address(name);
        match answered(&address, promise).await {
            Ok(response) => responses.push((name, address, response)),
            Err(_) if *need == Need::May => {}
            Err(error) => return Err(error),
        }
    }
    let sizes: Option<Vec<usize>> = responses.iter().map(|(.., response)| size(response)).collect();
    let total = sizes.map(|sizes| sizes.iter().sum());
    let mut arrived = 0;
    let mut files = Files::new();
    for (name, address, response) in responses {
        let bytes = body(&address, &response, |bytes| {
            arrived += bytes;
            progress(arrived, total);
        });
        files.insert(name, bytes.await?);
    }
    Ok(files)
}

/// The response, once its head is there and says success.
async fn answered(address: &str, promise: js_sys::Promise) -> Result<Response> {
    let response = JsFuture::from(promise).await.map_err(|error| failed(address, &error))?;
    let response: Response = response.dyn_into().map_err(|error| failed(address, &error))?;
    if response.ok() {
        Ok(response)
    } else {
        Err(Error::file(address, format!("the server answered {}; is the model's name right?", response.status())))
    }
}

/// The number of bytes to come; unknown where the server compresses, since it then counts compressed ones.
fn size(response: &Response) -> Option<usize> {
    let header = |name| response.headers().get(name).ok().flatten();
    header("content-encoding").is_none().then(|| header("content-length")?.parse().ok()).flatten()
}

async fn body(address: &str, response: &Response, mut progress: impl FnMut(usize)) -> Result<Vec<u8>> {
    let Some(stream) = response.body() else { return Ok(Vec::new()) };
    let reader: ReadableStreamDefaultReader =
        stream.get_reader().dyn_into().map_err(|_| failed(address, &JsValue::NULL))?;
    let mut bytes = Vec::with_capacity(size(response).unwrap_or_default());
    loop {
        let chunk = JsFuture::from(reader.read()).await.map_err(|error| failed(address, &error))?;
        if Reflect::get(&chunk, &"done".into()).is_ok_and(|done| done.is_truthy()) {
            return Ok(bytes);
        }
        let chunk = Reflect::get(&chunk, &"value".into()).map_err(|error| failed(address, &error))?;
        let chunk: Uint8Array = chunk.dyn_into().map_err(|error| failed(address, &error))?;
        bytes.extend(chunk.to_vec());
        progress(chunk.length() as usize);
    }
}

fn failed(address: &str, error: &JsValue) -> Error {
    let why = error
        .dyn_ref::<js_sys::Error>()
        .map_or_else(String::new, |error| format!(" ({})", String::from(error.message())));
    Error::file(address, format!("it cannot be fetched; check the connection and reload{why}"))
}
