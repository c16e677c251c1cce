//! The compiler, for JavaScript.

use alloc::{boxed::Box, string::String, vec::Vec};

use js_sys::{Array, JsString, Uint8Array};
use wasm_bindgen::prelude::*;

use super::{RawModel, copy_in, error::to_js, model::Executor};
use crate::{
    compile::{self as compiler, Compiled, Options},
    error::Result,
    graph::plan,
};

/// What a model was compiled to: a plan, or a model that runs here because the runtime lacks some of its operators.
#[wasm_bindgen]
pub struct RawCompiled {
    plan: Option<Vec<u8>>,
    fallback: Option<RawModel>,
    fallback_operators: Vec<String>,
    notes: Vec<String>,
}

#[wasm_bindgen]
impl RawCompiled {
    /// The plan file, once; `undefined` for a fallback model.
    pub fn take_plan(&mut self) -> Option<Uint8Array> {
        self.plan.take().map(|bytes| Uint8Array::from(bytes.as_slice()))
    }

    /// The fallback model, once; `undefined` where there is a plan.
    pub fn take_fallback(&mut self) -> Option<RawModel> {
        self.fallback.take()
    }

    /// The operators that made the fallback necessary.
    pub fn fallback_operators(&self) -> Array {
        strings(&self.fallback_operators)
    }

    /// What the user should know, as sentences.
    pub fn notes(&self) -> Array {
        strings(&self.notes)
    }
}

fn strings(items: &[String]) -> Array {
    items.iter().map(|s| JsString::from(s.as_str())).collect()
}

/// Compiles an ONNX model.
#[wasm_bindgen]
pub fn compile(onnx: &Uint8Array) -> Result<RawCompiled, JsValue> {
    try_compile(onnx).map_err(to_js)
}

fn try_compile(onnx: &Uint8Array) -> Result<RawCompiled> {
    let onnx = copy_in(onnx)?;
    Ok(match compiler::compile(&onnx, &Options::default())? {
        Compiled::Plan { plan, report } => RawCompiled {
            plan: Some(plan::write(&plan)?),
            fallback: None,
            fallback_operators: report.fallback_operators,
            notes: report.notes,
        },
        Compiled::Fallback { model, report } => RawCompiled {
            plan: None,
            fallback: Some(RawModel::with(Executor::Fallback(Box::new(model)))),
            fallback_operators: report.fallback_operators,
            notes: report.notes,
        },
    })
}
