//! A loaded model, for JavaScript.

use alloc::{boxed::Box, vec::Vec};

use js_sys::{Array, Function, JsString, Uint8Array, Uint32Array};
use wasm_bindgen::prelude::*;

use super::{copy_in, error::to_js};
#[cfg(feature = "compiler")]
use crate::compile::Resident;
use crate::{
    error::{Error, Result, ensure},
    runtime::{self, DimInfo, PortInfo, Session},
    tensor::{AlignedBytes, DType, TensorView},
};

/// What runs the model.
pub(super) enum Executor {
    Plan(Box<Session>),
    #[cfg(feature = "compiler")]
    Fallback(Box<Resident>),
}

/// An input as JavaScript gave it. Its memory is kept from run to run.
#[derive(Default)]
struct Staged {
    shape: Vec<usize>,
    data: AlignedBytes,
    given: bool,
}

/// A loaded model.
#[wasm_bindgen]
pub struct RawModel {
    executor: Executor,
    inputs: Vec<PortInfo>,
    staged: Vec<Staged>,
}

impl RawModel {
    pub(super) fn with(executor: Executor) -> RawModel {
        let inputs = match &executor {
            Executor::Plan(session) => session.inputs().to_vec(),
            #[cfg(feature = "compiler")]
            Executor::Fallback(model) => model.inputs().to_vec(),
        };
        let staged = inputs.iter().map(|_| Staged::default()).collect();
        RawModel { executor, inputs, staged }
    }

    fn outputs(&self) -> &[PortInfo] {
        match &self.executor {
            Executor::Plan(session) => session.outputs(),
            #[cfg(feature = "compiler")]
            Executor::Fallback(model) => model.outputs(),
        }
    }

    fn try_stage(&mut self, index: usize, dims: &Uint32Array, data: &Uint8Array) -> Result<()> {
        let Some(slot) = self.staged.get_mut(index) else {
            return Err(Error::InvalidInput(alloc::format!(
                "the model has {} inputs, there is no input {index}",
                self.staged.len()
            )));
        };
        slot.shape.clear();
        slot.shape.extend((0..dims.length()).map(|i| dims.get_index(i) as usize));
        if slot.data.len() == data.length() as usize {
            data.copy_to(&mut slot.data);
        } else {
            slot.data = copy_in(data)?;
        }
        slot.given = true;
        Ok(())
    }

    fn try_run(&mut self) -> Result<Array> {
        let RawModel { executor, inputs, staged } = self;
        let inputs = views(inputs, staged);
        let results = Array::new();
        match executor {
            Executor::Plan(session) => {
                for (_, view) in session.run(&inputs)?.iter() {
                    push(&results, view)?;
                }
            }
            #[cfg(feature = "compiler")]
            Executor::Fallback(model) => {
                for (_, tensor) in model.run(&inputs)? {
                    push(&results, tensor.view())?;
                }
            }
        }
        Ok(results)
    }
}

impl RawModel {
    fn try_profile(&mut self, runs: usize, clock: &Function) -> Result<Array> {
        let RawModel { executor, inputs, staged } = self;
        let inputs = views(inputs, staged);
        match executor {
            Executor::Plan(session) => {
                // A clock that fails gives times that nobody takes for real ones.
                let now = || clock.call0(&JsValue::NULL).ok().and_then(|v| v.as_f64()).unwrap_or(f64::NAN);
                let out = Array::new();
                for node in runtime::profile(session, &inputs, runs, now)? {
                    out.push(&JsString::from(node.name.as_str()));
                    out.push(&JsString::from(node.op));
                    out.push(&Uint32Array::from(node.shape.iter().map(|&d| d as u32).collect::<Vec<u32>>().as_slice()));
                    for number in [node.macs as f64, node.bytes as f64, node.mean_ms, node.min_ms] {
                        out.push(&JsValue::from_f64(number));
                    }
                }
                Ok(out)
            }
            #[cfg(feature = "compiler")]
            Executor::Fallback(_) => Err(Error::Unsupported(
                "only models that run on the light runtime can be profiled, this one needs the fallback".into(),
            )),
        }
    }
}

fn views<'a>(ports: &'a [PortInfo], staged: &'a [Staged]) -> Vec<(&'a str, TensorView<'a>)> {
    let given = ports.iter().zip(staged).filter(|(_, s)| s.given);
    given.map(|(port, s)| (port.name.as_str(), TensorView { dtype: port.dtype, shape: &s.shape, data: &s.data })).collect()
}

fn push(results: &Array, view: TensorView<'_>) -> Result<()> {
    ensure!(view.dtype != DType::String, Unsupported, "the model computes strings, which cannot leave WebAssembly yet");
    let dims: Vec<u32> = view.shape.iter().map(|&d| d as u32).collect();
    results.push(&Uint32Array::from(dims.as_slice()));
    results.push(&Uint8Array::from(view.data));
    Ok(())
}

#[wasm_bindgen]
impl RawModel {
    /// Inputs or outputs, flat: name, type and dimensions (numbers and names) of each in turn.
    pub fn ports(&self, outputs: bool) -> Array {
        let out = Array::new();
        for port in if outputs { self.outputs() } else { &self.inputs } {
            let dims = Array::new();
            for dim in &port.shape {
                match dim {
                    DimInfo::Fixed(n) => dims.push(&JsValue::from_f64(*n as f64)),
                    DimInfo::Symbol(name) => dims.push(&JsString::from(name.as_str())),
                };
            }
            out.push(&JsString::from(port.name.as_str()));
            out.push(&JsString::from(port.dtype.name()));
            out.push(&dims);
        }
        out
    }

    /// Copies an input in, for the next `run`; bytes are the elements as little-endian.
    pub fn stage(&mut self, index: usize, dims: &Uint32Array, bytes: &Uint8Array) -> Result<(), JsValue> {
        self.try_stage(index, dims, bytes).map_err(to_js)
    }

    /// Runs on the staged inputs, which are then no longer staged. Gives the outputs, flat: dimensions and bytes of each in turn.
    pub fn run(&mut self) -> Result<Array, JsValue> {
        let results = self.try_run();
        for slot in &mut self.staged {
            slot.given = false;
        }
        results.map_err(to_js)
    }

    /// Runs on the staged inputs `runs` times. Gives flat: name, operator, shape of the first output, multiply-accumulates, bytes,
    /// mean and shortest time of each node in turn, as `clock` tells them.
    pub fn profile(&mut self, runs: usize, clock: &Function) -> Result<Array, JsValue> {
        let result = self.try_profile(runs, clock);
        for slot in &mut self.staged {
            slot.given = false;
        }
        result.map_err(to_js)
    }

    /// Bytes of weights; 0 where the executor does not say.
    pub fn weights(&self) -> usize {
        match &self.executor {
            Executor::Plan(session) => session.memory().weights,
            #[cfg(feature = "compiler")]
            Executor::Fallback(_) => 0,
        }
    }

    /// Bytes of intermediate results; 0 where the executor does not say.
    pub fn activations(&self) -> usize {
        match &self.executor {
            Executor::Plan(session) => session.memory().arena,
            #[cfg(feature = "compiler")]
            Executor::Fallback(_) => 0,
        }
    }

    /// What the user should know about the model, as sentences.
    pub fn notes(&self) -> Array {
        let notes = match &self.executor {
            Executor::Plan(session) => session.meta().notes.as_slice(),
            #[cfg(feature = "compiler")]
            Executor::Fallback(_) => &[],
        };
        notes.iter().map(|n| JsString::from(n.as_str())).collect()
    }
}
