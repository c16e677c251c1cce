//! Errors on their way to JavaScript: an `Error` whose name is the kind, which the package maps to one of its classes.

use alloc::string::ToString;

use wasm_bindgen::JsValue;

use crate::error::Error;

/// The error as a JavaScript value to throw.
pub(super) fn to_js(error: Error) -> JsValue {
    let out = js_sys::Error::new(&error.to_string());
    out.set_name(error.kind().name());
    out.into()
}
