//! A loaded model, for JavaScript.

use alloc::{boxed::Box, string::String, vec::Vec};

use js_sys::{Array, Float64Array, Function, JsString, Uint8Array, Uint32Array};
use wasm_bindgen::prelude::*;

use super::{copy_in, error::to_js};
#[cfg(feature = "compiler")]
use crate::compile::{Keys, Resident, Strings, Value};
use crate::{
    error::{Error, Result, ensure},
    graph::plan::Origin,
    kernels::image::{Area, Colors, Recipe, prepare_image},
    runtime::{self, DimInfo, PortInfo, Session, Tuner},
    tensor::{self, AlignedBytes, TensorView},
};

/// What runs the model.
pub(super) enum Executor {
    Plan(Box<Session>),
    #[cfg(feature = "compiler")]
    Fallback(Box<Resident>),
}

/// An input as JavaScript gave it. Its memory is kept from run to run.
#[derive(Default)]
pub(super) struct Staged {
    shape: Vec<usize>,
    data: AlignedBytes,
    /// The elements of a string tensor, in place of `data`.
    strings: Option<Vec<String>>,
    pub(super) given: bool,
}

/// A loaded model.
#[wasm_bindgen]
pub struct RawModel {
    pub(super) executor: Executor,
    pub(super) inputs: Vec<PortInfo>,
    pub(super) staged: Vec<Staged>,
    /// What measures the model, while it is tuned.
    pub(super) tuner: Option<Box<Tuner>>,
}

impl RawModel {
    pub(super) fn with(executor: Executor) -> RawModel {
        let inputs = match &executor {
            Executor::Plan(session) => session.inputs().to_vec(),
            #[cfg(feature = "compiler")]
            Executor::Fallback(model) => model.inputs().to_vec(),
        };
        let staged = inputs.iter().map(|_| Staged::default()).collect();
        RawModel { executor, inputs, staged, tuner: None }
    }

    fn outputs(&self) -> &[PortInfo] {
        match &self.executor {
            Executor::Plan(session) => session.outputs(),
            #[cfg(feature = "compiler")]
            Executor::Fallback(model) => model.outputs(),
        }
    }

    fn try_stage(&mut self, index: usize, dims: &Uint32Array, data: &Uint8Array) -> Result<()> {
        let slot = self.slot(index, dims)?;
        slot.strings = None;
        if slot.data.len() == data.length() as usize {
            data.copy_to(&mut slot.data);
        } else {
            slot.data = copy_in(data)?;
        }
        slot.given = true;
        Ok(())
    }

    fn try_stage_image(
        &mut self,
        index: usize,
        dims: &Uint32Array,
        item: usize,
        pixels: &Uint8Array,
        recipe: &Float64Array,
    ) -> Result<()> {
        let (width, height, recipe) = recipe_of(recipe)?;
        self.slot(index, dims)?;
        let (slot, dtype) = (&mut self.staged[index], self.inputs[index].dtype);
        let bytes = tensor::element_count(&slot.shape)?.saturating_mul(dtype.size());
        if slot.data.len() != bytes {
            slot.data = super::zeroed(bytes)?;
        }
        let size = recipe.elements().unwrap_or(usize::MAX).saturating_mul(dtype.size());
        let start = item.saturating_mul(size);
        let Some(out) = slot.data.get_mut(start..start.saturating_add(size)) else {
            return Err(Error::InvalidInput(alloc::format!("picture {item} is beyond the input's shape {:?}", slot.shape)));
        };
        prepare_image(&mut copy_in(pixels)?, width, height, &recipe, dtype, out)?;
        (slot.strings, slot.given) = (None, true);
        Ok(())
    }

    /// Where an input is staged, with its new shape.
    fn slot(&mut self, index: usize, dims: &Uint32Array) -> Result<&mut Staged> {
        let count = self.staged.len();
        let Some(slot) = self.staged.get_mut(index) else {
            return Err(Error::InvalidInput(alloc::format!("the model has {count} inputs, there is no input {index}")));
        };
        slot.shape.clear();
        slot.shape.extend((0..dims.length()).map(|i| dims.get_index(i) as usize));
        Ok(slot)
    }

    fn try_run(&mut self) -> Result<Array> {
        let RawModel { executor, inputs, staged, .. } = self;
        let results = Array::new();
        match executor {
            Executor::Plan(session) => {
                for (_, view) in session.run(&views(inputs, staged)?)?.iter() {
                    push(&results, view);
                }
            }
            #[cfg(feature = "compiler")]
            Executor::Fallback(model) => {
                for (_, value) in model.run_values(&values(inputs, staged)?)? {
                    push_value(&results, &value);
                }
            }
        }
        Ok(results)
    }
}

impl RawModel {
    #[cfg_attr(small, optimize(size))]
    fn try_profile(&mut self, runs: usize, clock: &Function) -> Result<Array> {
        let RawModel { executor, inputs, staged, .. } = self;
        let inputs = views(inputs, staged)?;
        match executor {
            Executor::Plan(session) => {
                // A clock that fails gives times that nobody takes for real ones.
                let now = || clock.call0(&JsValue::NULL).ok().and_then(|v| v.as_f64()).unwrap_or(f64::NAN);
                let out = Array::new();
                for node in runtime::profile(session, &inputs, runs, now)? {
                    out.push(&JsString::from(node.name.as_str()));
                    out.push(&JsString::from(node.op));
                    out.push(&dimensions(&node.shape));
                    for number in [node.macs as f64, node.bytes as f64, node.mean_ms, node.min_ms] {
                        out.push(&JsValue::from_f64(number));
                    }
                    out.push(&flat(session.origins(node.index)));
                    out.push(&JsValue::from_f64(node.index as f64));
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

/// A picture's size and its recipe, of the numbers that [`RawModel::stage_image`] describes.
fn recipe_of(numbers: &Float64Array) -> Result<(usize, usize, Recipe)> {
    let mut all = [0.0; 23];
    ensure!(numbers.length() as usize == all.len(), Internal, "a recipe for pictures has {} numbers", numbers.length());
    numbers.copy_to(&mut all);
    let [width, height, left, top, w, h, rest @ ..] = all;
    let window = Area { left, top, width: w, height: h };
    let [left, top, w, h, out_width, out_height, red, green, blue, colors, interleaved, rest @ ..] = rest;
    let [s0, s1, s2, o0, o1, o2] = rest.map(|v| v as f32);
    let recipe = Recipe {
        window,
        frame: Area { left: left as usize, top: top as usize, width: w as usize, height: h as usize },
        width: out_width as usize,
        height: out_height as usize,
        background: [red, green, blue].map(|v| v as u8),
        colors: [Colors::Rgb, Colors::Bgr, Colors::Gray][(colors as usize).min(2)],
        interleaved: interleaved != 0.0,
        scale: [s0, s1, s2],
        offset: [o0, o1, o2],
    };
    Ok((width as usize, height as usize, recipe))
}

pub(super) fn views<'a>(ports: &'a [PortInfo], staged: &'a [Staged]) -> Result<Vec<(&'a str, TensorView<'a>)>> {
    let given = ports.iter().zip(staged).filter(|(_, s)| s.given);
    let view = |(port, s): (&'a PortInfo, &'a Staged)| {
        ensure!(s.strings.is_none(), InvalidInput, "input '{}' takes {}, strings were given", port.name, port.dtype);
        Ok((port.name.as_str(), TensorView { dtype: port.dtype, shape: &s.shape, data: &s.data }))
    };
    given.map(view).collect()
}

#[cfg(feature = "compiler")]
fn values<'a>(ports: &'a [PortInfo], staged: &[Staged]) -> Result<Vec<(&'a str, Value)>> {
    let given = ports.iter().zip(staged).filter(|(_, s)| s.given);
    let value = |(port, s): (&'a PortInfo, &Staged)| {
        let value = match &s.strings {
            Some(strings) => Value::Strings(alloc::sync::Arc::new(Strings::new(s.shape.clone(), strings.clone())?)),
            None => crate::Tensor::from_bytes(port.dtype, &s.shape, &s.data)?.into(),
        };
        Ok((port.name.as_str(), value))
    };
    given.map(value).collect()
}

/// Adds a result: type, dimensions and data.
fn push(results: &Array, view: TensorView<'_>) {
    results.push(&JsString::from(view.dtype.name()));
    results.push(&dimensions(view.shape));
    results.push(&Uint8Array::from(view.data));
}

/// Numbers and names.
fn dims(shape: &[DimInfo]) -> Array {
    let dim = |dim: &DimInfo| match dim {
        DimInfo::Fixed(n) => JsValue::from_f64(*n as f64),
        DimInfo::Symbol(name) => JsString::from(name.as_str()).into(),
    };
    shape.iter().map(dim).collect()
}

/// Operator and name of each in turn.
pub(super) fn flat(origins: &[Origin]) -> Array {
    strings(origins.iter().flat_map(|o| [&o.op, &o.name]))
}

pub(super) fn strings<'a>(items: impl IntoIterator<Item = &'a String>) -> Array {
    items.into_iter().map(|s| JsString::from(s.as_str())).collect()
}

fn dimensions(shape: &[usize]) -> Uint32Array {
    Uint32Array::from(shape.iter().map(|&d| d as u32).collect::<Vec<u32>>().as_slice())
}

/// Adds a result of any kind: a string tensor's data are its strings, a sequence's the items in the same form; a map has its keys for
/// dimensions and its values, in the same form, for data.
#[cfg(feature = "compiler")]
fn push_value(results: &Array, value: &Value) {
    let inner = Array::new();
    let (kind, dims, data): (&str, JsValue, Array) = match value {
        Value::Tensor(tensor) => return push(results, tensor.view()),
        Value::Strings(s) => (crate::tensor::DType::String.name(), dimensions(s.shape()).into(), strings(s.data())),
        Value::Sequence(items) => {
            items.iter().for_each(|item| push_value(&inner, item));
            ("sequence", JsValue::NULL, inner)
        }
        Value::Map(map) => {
            let keys = match &map.keys {
                Keys::Strings(keys) => strings(keys),
                Keys::Ints(keys) => keys.iter().map(|k| JsValue::from_f64(*k as f64)).collect(),
            };
            push_value(&inner, &map.values);
            ("map", keys.into(), inner)
        }
        Value::None => ("none", JsValue::NULL, inner),
    };
    results.push(&JsString::from(kind));
    results.push(&dims);
    results.push(&data);
}

/// Adds an input or output: name, type and dimensions (numbers and names).
pub(super) fn push_port(out: &Array, port: &PortInfo) {
    out.push(&JsString::from(port.name.as_str()));
    out.push(&JsString::from(port.dtype.name()));
    out.push(&dims(&port.shape));
}

#[wasm_bindgen]
impl RawModel {
    /// Inputs or outputs, flat: name, type and dimensions (numbers and names) of each in turn.
    pub fn ports(&self, outputs: bool) -> Array {
        let out = Array::new();
        for port in if outputs { self.outputs() } else { &self.inputs } {
            push_port(&out, port);
        }
        out
    }

    /// Copies an input in, for the next `run`; bytes are the elements as little-endian.
    pub fn stage(&mut self, index: usize, dims: &Uint32Array, bytes: &Uint8Array) -> Result<(), JsValue> {
        self.try_stage(index, dims, bytes).map_err(to_js)
    }

    /// Makes element `item` of an input's outermost dimension of a picture of RGBA bytes, for the next `run`. `recipe` is flat: the picture's
    /// width and height, then the members of a [`Recipe`] in their order, with 0, 1, 2 for RGB, BGR, grey and 1 for interleaved channels.
    pub fn stage_image(
        &mut self,
        index: usize,
        dims: &Uint32Array,
        item: usize,
        pixels: &Uint8Array,
        recipe: &Float64Array,
    ) -> Result<(), JsValue> {
        self.try_stage_image(index, dims, item, pixels, recipe).map_err(to_js)
    }

    /// Copies a string tensor in, for the next `run`.
    pub fn stage_strings(&mut self, index: usize, dims: &Uint32Array, strings: Vec<String>) -> Result<(), JsValue> {
        let slot = self.slot(index, dims).map_err(to_js)?;
        (slot.strings, slot.given) = (Some(strings), true);
        Ok(())
    }

    /// What kind of value each input, or output, is.
    pub fn kinds(&self, outputs: bool) -> Array {
        let kinds: Vec<&str> = match &self.executor {
            Executor::Plan(_) => alloc::vec!["tensor"; if outputs { self.outputs().len() } else { self.inputs.len() }],
            #[cfg(feature = "compiler")]
            Executor::Fallback(model) => model.kinds(outputs).into_iter().map(crate::compile::Kind::name).collect(),
        };
        kinds.into_iter().map(JsString::from).collect()
    }

    /// Runs on the staged inputs, which are then no longer staged. Gives the outputs, flat: type, dimensions and data of each in turn.
    pub fn run(&mut self) -> Result<Array, JsValue> {
        let results = self.try_run();
        for slot in &mut self.staged {
            slot.given = false;
        }
        results.map_err(to_js)
    }

    /// Runs on the staged inputs `runs` times. Gives flat: name, operator, shape of the first output, multiply-accumulates, bytes,
    /// mean and shortest time, as `clock` tells them, what it was made of (see `nodes`) and its place among those, of each node in turn.
    pub fn profile(&mut self, runs: usize, clock: &Function) -> Result<Array, JsValue> {
        let result = self.try_profile(runs, clock);
        for slot in &mut self.staged {
            slot.given = false;
        }
        result.map_err(to_js)
    }

    /// The graph that runs, flat: name, operator, type and dimensions of the first output, and an array of operator and name of the ONNX nodes
    /// that it was made of, of each node in turn. Empty where there is no graph.
    #[cfg_attr(small, optimize(size))]
    pub fn nodes(&self) -> Array {
        let out = Array::new();
        match &self.executor {
            Executor::Plan(session) => {
                for node in session.nodes() {
                    out.push(&JsString::from(node.name));
                    out.push(&JsString::from(node.op));
                    out.push(&JsString::from(node.dtype.name()));
                    out.push(&dims(&node.shape));
                    out.push(&flat(node.origins));
                }
            }
            #[cfg(feature = "compiler")]
            Executor::Fallback(_) => {}
        }
        out
    }

    /// What made the plan, the sha-256 of the ONNX file that it was made from, and something if the plan is tuned for this device; all empty
    /// where there is no plan.
    #[cfg_attr(small, optimize(size))]
    pub fn provenance(&self) -> Array {
        let meta = match &self.executor {
            Executor::Plan(session) => {
                let tuned = if session.choices().is_some() { "tuned" } else { "" };
                [session.meta().producer.as_str(), session.meta().source_sha256.as_str(), tuned]
            }
            #[cfg(feature = "compiler")]
            Executor::Fallback(_) => [""; 3],
        };
        meta.into_iter().map(JsString::from).collect()
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
        strings(notes)
    }
}
