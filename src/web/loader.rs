//! Plans on their way in.

use alloc::{boxed::Box, string::String};

use js_sys::Uint8Array;
use sha2::{Digest, Sha256};
use wasm_bindgen::prelude::*;

use super::{RawModel, error::to_js, model::Executor};
use crate::{error::Result, graph::plan, limits::Limits, runtime::Choices, runtime::Session};

/// How much a model may ask for; what is not set has its default.
#[wasm_bindgen]
#[derive(Default, Clone, Copy)]
pub struct RawLimits(pub(super) Limits);

#[wasm_bindgen]
impl RawLimits {
    /// The defaults.
    #[wasm_bindgen(constructor)]
    pub fn new() -> RawLimits {
        RawLimits::default()
    }

    /// Sets the limit of this name, as the package spells it; `false` if there is none.
    pub fn set(&mut self, name: &str, value: f64) -> bool {
        let limits = &mut self.0;
        match name {
            "modelBytes" => limits.model_bytes = value as u64,
            "nodes" => limits.nodes = value as usize,
            "nesting" => limits.nesting = value as usize,
            "tensorBytes" => limits.tensor_bytes = value as usize,
            "loopIterations" => limits.loop_iterations = value as u64,
            _ => return false,
        }
        true
    }

    /// Throws if a model's file of so many bytes is too large.
    pub fn check_model(&self, bytes: f64) -> Result<(), JsValue> {
        self.0.check_model(bytes as u64).map_err(to_js)
    }
}

/// Takes a plan in pieces, each copied once to where it stays.
#[wasm_bindgen]
pub struct RawLoader(plan::Reader);

#[wasm_bindgen]
impl RawLoader {
    /// Prepares for a plan of this many bytes.
    #[wasm_bindgen(constructor)]
    pub fn new(total: usize) -> RawLoader {
        RawLoader(plan::Reader::new(total))
    }

    /// Takes the next bytes.
    pub fn push(&mut self, piece: &Uint8Array) -> Result<(), JsValue> {
        self.try_push(piece).map_err(to_js)
    }

    /// The model, when all bytes are there. A record of how `device` computes it best, if one follows the plan, is heeded.
    pub fn finish(self, limits: &RawLimits, device: &str) -> Result<RawModel, JsValue> {
        #[cfg(target_feature = "atomics")]
        let team = super::team::current();
        #[cfg(not(target_feature = "atomics"))]
        let team = crate::kernels::Team::ALONE;
        let session = self.0.finish().and_then(|plan| {
            let choices = Choices::decode(&plan.meta.record, device, plan.graph.nodes.len());
            Session::with_choices(plan, &limits.0, team, choices)
        });
        let session = session.map_err(to_js)?;
        Ok(RawModel::with(Executor::Plan(Box::new(session))))
    }
}

impl RawLoader {
    /// The plan, when all bytes are there.
    pub(super) fn into_plan(self) -> Result<plan::Plan> {
        self.0.finish()
    }

    fn try_push(&mut self, piece: &Uint8Array) -> Result<()> {
        let mut at = 0;
        while at < piece.length() {
            let space = self.0.space()?;
            let len = (piece.length() - at).min(u32::try_from(space.len()).unwrap_or(u32::MAX));
            piece.subarray(at, at + len).copy_to(&mut space[..len as usize]);
            self.0.advance(len as usize)?;
            at += len;
        }
        Ok(())
    }
}

/// Sha-256 of bytes that come in pieces, for models that are not in memory as a whole, and for pages without `crypto.subtle` (which needs
/// a secure context).
#[wasm_bindgen]
#[derive(Default)]
pub struct RawDigest(Sha256);

#[wasm_bindgen]
impl RawDigest {
    /// Of nothing yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> RawDigest {
        RawDigest::default()
    }

    /// Takes the next bytes.
    pub fn push(&mut self, piece: &Uint8Array) -> Result<(), JsValue> {
        self.0.update(&super::copy_in(piece).map_err(to_js)?[..]);
        Ok(())
    }

    /// The digest in hexadecimal.
    pub fn finish(self) -> String {
        self.0.finalize().iter().map(|b| alloc::format!("{b:02x}")).collect()
    }
}
