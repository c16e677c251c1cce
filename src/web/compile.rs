//! The compiler, for JavaScript.

use alloc::{boxed::Box, string::String};

use js_sys::{Array, JsString, Uint8Array};
use wasm_bindgen::prelude::*;

use super::{
    RawLimits, RawLoader, RawModel, copy_in,
    error::to_js,
    model::{Executor, flat, push_port, strings},
};
use crate::{
    compile::{Compiled, Demand, Drawing, DrawnGraph, DrawnPort, Inspection, OnnxFile, OnnxReader, Options},
    error::{Error, Result},
    graph::plan::{Pieces, Plan},
};

/// An ONNX model on its way in: `push` its bytes, `finish`, `supply` what it needs of other files, `compile`.
#[wasm_bindgen]
pub struct RawOnnx {
    state: State,
    options: Options,
}

enum State {
    Reading(OnnxReader),
    Read(OnnxFile),
    Gone,
}

#[wasm_bindgen]
impl RawOnnx {
    /// A model of this many bytes.
    #[wasm_bindgen(constructor)]
    pub fn new(total: f64, limits: &RawLimits) -> Result<RawOnnx, JsValue> {
        let reader = OnnxReader::new(total as u64, &limits.0).map_err(to_js)?;
        Ok(RawOnnx { state: State::Reading(reader), options: Options { limits: limits.0, ..Options::default() } })
    }

    /// Gives an input's value, as text, for which the model is compiled.
    pub fn value(&mut self, name: String, text: String) {
        self.options.values.push((name, text));
    }

    /// Gives an open dimension's size, for which the model is compiled.
    pub fn dimension(&mut self, name: String, size: usize) {
        self.options.dimensions.push((name, size));
    }

    /// Takes the next bytes of the model.
    pub fn push(&mut self, piece: &Uint8Array) -> Result<(), JsValue> {
        let State::Reading(reader) = &mut self.state else { return Err(to_js(out_of_turn())) };
        copy_in(piece).and_then(|piece| reader.push(&piece)).map_err(to_js)
    }

    /// After the last bytes: the ranges of other files that the model needs, flat: path, first byte and length of each in turn.
    pub fn finish(&mut self) -> Result<Array, JsValue> {
        let State::Reading(reader) = core::mem::replace(&mut self.state, State::Gone) else { return Err(to_js(out_of_turn())) };
        let file = reader.finish().map_err(to_js)?;
        let out = Array::new();
        for needed in file.needed() {
            out.push(&JsString::from(needed.path.as_str()));
            out.push(&JsValue::from_f64(needed.start as f64));
            out.push(&JsValue::from_f64(needed.len as f64));
        }
        self.state = State::Read(file);
        Ok(out)
    }

    /// Takes bytes of another file, from its byte `at` on.
    pub fn supply(&mut self, path: &str, at: f64, piece: &Uint8Array) -> Result<(), JsValue> {
        let State::Read(file) = &mut self.state else { return Err(to_js(out_of_turn())) };
        copy_in(piece).and_then(|piece| file.supply(path, at as u64, &piece)).map_err(to_js)
    }

    /// Compiles the model.
    pub fn compile(self) -> Result<RawCompiled, JsValue> {
        let State::Read(file) = self.state else { return Err(to_js(out_of_turn())) };
        file.compile(&self.options).map(RawCompiled::of).map_err(to_js)
    }
}

fn out_of_turn() -> Error {
    Error::Internal("a model that is read piece by piece was asked out of turn".into())
}

/// What a model was compiled to: a plan, or a model that runs here because the runtime lacks some of its operators.
#[wasm_bindgen]
pub struct RawCompiled {
    plan: Option<Plan>,
    fallback: Option<RawModel>,
    inspection: Inspection,
}

#[wasm_bindgen]
impl RawCompiled {
    /// A plan that was compiled before, to be inspected.
    pub fn of_plan(loader: RawLoader) -> Result<RawCompiled, JsValue> {
        loader.into_plan().map(|plan| RawCompiled::of(plan.into())).map_err(to_js)
    }

    /// Gives the plan's file to `sink` in pieces, and the number of its bytes to `start` before; `false` for a fallback model. A piece is
    /// the address and length of bytes in this module's memory, for `sink` to copy before it returns.
    pub fn write_plan(&self, start: &js_sys::Function, sink: &js_sys::Function) -> Result<bool, JsValue> {
        let Some(plan) = &self.plan else { return Ok(false) };
        let pieces = Pieces::of(plan).map_err(to_js)?;
        start.call1(&JsValue::NULL, &JsValue::from_f64(pieces.len() as f64))?;
        for piece in pieces.iter() {
            let (address, length) = (piece.as_ptr() as usize, piece.len());
            sink.call2(&JsValue::NULL, &JsValue::from_f64(address as f64), &JsValue::from_f64(length as f64))?;
        }
        Ok(true)
    }

    /// The fallback model, once; `undefined` where there is a plan.
    pub fn take_fallback(&mut self) -> Option<RawModel> {
        self.fallback.take()
    }

    /// The operators that made the fallback necessary.
    pub fn fallback_operators(&self) -> Array {
        strings(&self.inspection.report.fallback_operators)
    }

    /// What the user should know, as sentences.
    pub fn notes(&self) -> Array {
        strings(&self.inspection.report.notes)
    }

    /// What was found, as text; with `passes`, what each pass did; with `graph`, the plan's graph, a node per line.
    pub fn text(&self, passes: bool, graph: bool) -> String {
        self.inspection.text(passes, self.plan.as_ref().filter(|_| graph).map(|plan| &plan.graph))
    }

    /// What is to be drawn: nodes, inputs and outputs of the ONNX model, then those of the plan's graph. Nodes are flat: name, operator, text, type
    /// of the result, lists of the values that it reads and makes, and operator and name of the ONNX nodes that it was made of, of each in turn;
    /// ports are name, value and type of each in turn. `undefined` without a plan.
    pub fn drawing(&self) -> Option<Array> {
        let plan = self.plan.as_ref()?;
        let Drawing { before, after } = Drawing::of(plan, &self.inspection.report);
        Some([before, after].iter().flat_map(drawn).collect())
    }

    /// Inputs or outputs, flat: name, type, dimensions (numbers and names) and kind of each in turn.
    pub fn ports(&self, outputs: bool) -> Array {
        let out = Array::new();
        for (port, kind) in if outputs { &self.inspection.outputs } else { &self.inspection.inputs } {
            push_port(&out, port);
            out.push(&JsString::from(kind.name()));
        }
        out
    }

    /// What the plan consists of: its operators (flat: name and number of nodes of each in turn); bytes of its constants; and inputs that must have a
    /// certain value, because the model was compiled for it (flat: name, the value in words and its bytes of each in turn). One function for
    /// all, for each is part of what pages download.
    pub fn content(&self) -> Array {
        let (operators, demands) = (Array::new(), Array::new());
        for (name, count) in &self.inspection.operators {
            operators.push(&JsString::from(*name));
            operators.push(&JsValue::from_f64(*count as f64));
        }
        for Demand { input, text, value } in self.plan.iter().flat_map(|plan| Demand::list(&plan.graph)) {
            demands.push(&JsString::from(input.as_str()));
            demands.push(&JsString::from(text.as_str()));
            demands.push(&Uint8Array::from(value.bytes()));
        }
        Array::of3(&operators, &JsValue::from_f64(self.inspection.weights as f64), &demands)
    }

    /// What each pass did, flat: its name and a list of its changes in turn.
    pub fn passes(&self) -> Array {
        let out = Array::new();
        for pass in &self.inspection.report.passes {
            out.push(&JsString::from(pass.name));
            out.push(&strings(&pass.changes));
        }
        out
    }
}

impl RawCompiled {
    fn of(compiled: Compiled) -> RawCompiled {
        let inspection = Inspection::of(&compiled);
        match compiled {
            Compiled::Plan { plan, .. } => RawCompiled { plan: Some(plan), fallback: None, inspection },
            Compiled::Fallback { model, .. } => {
                let model = RawModel::with(Executor::Fallback(Box::new(model)));
                RawCompiled { plan: None, fallback: Some(model), inspection }
            }
        }
    }
}

/// Nodes, inputs and outputs of one graph.
fn drawn(graph: &DrawnGraph) -> [Array; 3] {
    let nodes = Array::new();
    for node in &graph.nodes {
        for text in [&node.name, &node.op, &node.text, &node.result] {
            nodes.push(&JsString::from(text.as_str()));
        }
        nodes.push(&strings(&node.inputs));
        nodes.push(&strings(&node.outputs));
        nodes.push(&flat(&node.fused));
    }
    let ports = |ports: &[DrawnPort]| strings(ports.iter().flat_map(|p| [&p.name, &p.value, &p.result]));
    [nodes, ports(&graph.inputs), ports(&graph.outputs)]
}
