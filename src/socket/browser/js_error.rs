//! Converts JavaScript's errors.

use std::{io, sync::Arc};

use wasm_bindgen::{JsCast, JsValue};

use crate::error::{ConnectError, connect::FRAGMENT};

/// Returns the error for a WebSocket that the browser did not open. The error contains only the
/// name of the exception, because Chromium's message repeats the URL if a page's policy forbids the
/// connection.
pub(super) fn not_opened(error: &JsValue) -> ConnectError {
    let name = name(error);
    let kind = match name.as_deref() {
        // The URL has been checked, so the only syntax error that the browser can still find is a
        // fragment.
        Some("SyntaxError") => return ConnectError::InvalidUrl(FRAGMENT.into()),
        // A page that was loaded by https may not open `ws://`.
        Some("SecurityError") => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    let name = name.unwrap_or_else(|| "no reason".to_owned());
    ConnectError::Connect(Arc::new(io::Error::new(kind, format!("the browser reports {name}"))))
}

/// Returns the name of a JavaScript error, such as `SyntaxError`.
fn name(error: &JsValue) -> Option<String> {
    js_sys::Reflect::get(error, &"name".into()).ok()?.as_string()
}

/// Returns the message of a JavaScript error.
pub(super) fn words(error: &JsValue) -> String {
    let message = js_sys::Reflect::get(error, &"message".into());
    let message = message.ok().and_then(|message| message.as_string()).or(error.as_string());
    message.filter(|message| !message.is_empty()).unwrap_or_else(|| {
        match error.dyn_ref::<js_sys::Object>() {
            Some(object) => object.to_string().into(),
            None => format!("{error:?}"),
        }
    })
}
