//! The binding to JavaScript: thin `Raw*` classes with flat calls; bulk data crosses as typed arrays.
//!
//! The only module that knows JavaScript. Options, defaults, queues and documentation are in the npm package (`pkg/ts`), whose
//! `engine/raw.ts` is the one file that imports what is generated from here. Nothing here is meant for Rust callers.

#[cfg(feature = "compiler")]
mod compile;
mod error;
mod loader;
mod model;
#[cfg(target_feature = "atomics")]
mod team;
mod tune;

#[cfg(feature = "compiler")]
pub use compile::{RawCompiled, RawOnnx};
pub use loader::{RawDigest, RawLimits, RawLoader};
pub use model::RawModel;
#[cfg(target_feature = "atomics")]
pub use team::{form_team, help, helper_failed};

use alloc::string::{String, ToString};

use js_sys::{Function, Uint8Array};
use wasm_bindgen::prelude::*;

use crate::{
    error::{Error, Result},
    kernels,
    tensor::AlignedBytes,
};

/// Prepares the instance: `report` will get the text of a panic before it ends the instance, so that the page can say more than
/// "unreachable". Checks that the kernels are right on this engine and gives the name of the integer path that they take.
#[wasm_bindgen]
pub fn start(report: Function) -> Result<String, JsValue> {
    report_panics_to(report);
    match kernels::selftest() {
        Ok(()) => Ok(kernels::integer_path().into()),
        Err(e) => Err(error::to_js(Error::Unsupported(alloc::format!(
            "this browser's SIMD instructions give wrong numbers ({e}); update the browser, or load with {{ variant: 'simd' }}"
        )))),
    }
}

fn report_panics_to(report: Function) {
    // Threads share the hook, but not JavaScript's values.
    std::thread_local! { static REPORT: core::cell::RefCell<Option<Function>> = const { core::cell::RefCell::new(None) }; }
    REPORT.with(|slot| *slot.borrow_mut() = Some(report));
    std::panic::set_hook(alloc::boxed::Box::new(|info| {
        REPORT.with(|slot| {
            if let Ok(slot) = slot.try_borrow()
                && let Some(report) = slot.as_ref()
            {
                // A failing callback cannot be reported anywhere: the instance is lost in either case.
                let _ = report.call1(&JsValue::NULL, &JsValue::from_str(&info.to_string()));
            }
        });
    }));
}

/// A copy of JavaScript's bytes, aligned for any element type. The one copy that is made on the way in.
fn copy_in(bytes: &Uint8Array) -> Result<AlignedBytes> {
    let mut out = zeroed(bytes.length() as usize)?;
    bytes.copy_to(&mut out);
    Ok(out)
}

/// `len` zero bytes, or an error that fits what JavaScript asked for.
fn zeroed(len: usize) -> Result<AlignedBytes> {
    AlignedBytes::try_zeroed(len)
        .map_err(|_| Error::Limit(alloc::format!("{len} bytes do not fit in WebAssembly memory; use a smaller model or input")))
}
