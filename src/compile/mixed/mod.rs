//! The mixed executor: models with sequences, optionals, strings, control flow, or shapes that depend on data.
//!
//! A model is cut (`program.rs`): maximal groups of ordinary nodes become segments, each of which is compiled to a plan when it first meets
//! inputs of certain shapes (`segment.rs`), so that tensor work runs on the light runtime's kernels. The nodes between are interpreted, one
//! file per family. Half precision and bfloat16 are computed in float32, as in plans.

mod build;
mod call;
mod cast;
mod control;
mod labels;
mod machine;
mod movement;
mod numeric;
mod operators;
mod program;
mod random;
mod segment;
mod select;
mod sequence;
mod svm;
mod text;
mod tfidf;
mod train;
mod value;

use alloc::{string::String, sync::Arc, vec::Vec};

pub use value::{Keys, Kind, Map, Strings, Value, read_value};

use self::{
    build::Builder,
    machine::Machine,
    program::{Header, Program},
};
use super::{
    Options,
    fallback::check_input,
    import::{self, MixedModel, TypedPort},
};
use crate::{
    error::{Result, bail, ensure},
    limits::Limits,
    runtime::{DimInfo, PortInfo},
    tensor::{DType, Tensor},
};

/// A model of which parts are compiled and parts interpreted.
pub struct Mixed {
    program: Program,
    inputs: Vec<TypedPort>,
    ports: (Vec<PortInfo>, Vec<PortInfo>),
    kinds: (Vec<Kind>, Vec<Kind>),
    outputs: Vec<TypedPort>,
    runs: u64,
    on_tract: bool,
    needed: bool,
    limits: Limits,
    /// Operators that are interpreted.
    interpreted: Vec<String>,
}

impl Mixed {
    /// Loads a model. Its segments are compiled later, when the shapes of their inputs are known.
    pub fn new(onnx: &[u8], options: &Options) -> Result<Mixed> {
        let MixedModel { proto } = MixedModel::decode(onnx, options)?;
        let (mut inputs, outputs) = import::typed_ports(onnx)?;
        inputs.retain(|port| options.constants.iter().all(|(name, _)| *name != port.info.name));
        for port in &mut inputs {
            for dim in &mut port.info.shape {
                if let DimInfo::Symbol(name) = dim
                    && let Some((_, size)) = options.dimensions.iter().find(|(known, _)| known == name)
                {
                    *dim = DimInfo::Fixed(*size);
                }
            }
        }
        let Some(graph) = proto.graph else { bail!(InvalidModel, "the model has no graph") };
        let header = Header {
            ir_version: proto.ir_version,
            opsets: proto.opset_import,
            files: options.external_data.clone(),
            limits: options.limits,
        };
        let mut builder = Builder::new(Arc::new(header));
        let (program, _) = builder.graph(graph)?;
        let infos = |ports: &[TypedPort]| ports.iter().map(|p| p.info.clone()).collect();
        let kinds = |ports: &[TypedPort]| ports.iter().map(|p| p.kind).collect();
        Ok(Mixed {
            program,
            ports: (infos(&inputs), infos(&outputs)),
            kinds: (kinds(&inputs), kinds(&outputs)),
            inputs,
            outputs,
            runs: 0,
            on_tract: false,
            needed: builder.needed,
            limits: options.limits,
            interpreted: builder.interpreted.into_iter().collect(),
        })
    }

    /// Whether nothing else runs the model.
    pub(super) fn is_needed(&self) -> bool {
        self.needed
    }

    /// The operators that are interpreted, by name.
    pub(super) fn interpreted(&self) -> &[String] {
        &self.interpreted
    }

    /// Whether the model has graphs inside its graph.
    pub(super) fn has_control(&self) -> bool {
        self.interpreted.iter().any(|op| operators::is_control(op))
    }

    /// Whether an operator is one that is interpreted.
    pub(super) fn interprets(op_type: &str) -> bool {
        operators::is_control(op_type) || operators::of(op_type).is_some_and(|o| o.when != operators::When::NoPlan)
    }

    /// The inputs. Those that are no tensors have the type of their elements, and no shape.
    pub fn inputs(&self) -> &[PortInfo] {
        &self.ports.0
    }

    /// The outputs, as the model describes them.
    pub fn outputs(&self) -> &[PortInfo] {
        &self.ports.1
    }

    /// What kind of value each input or output is.
    pub fn kinds(&self, outputs: bool) -> &[Kind] {
        if outputs { &self.kinds.1 } else { &self.kinds.0 }
    }

    /// Whether tract has run a node.
    pub fn on_tract(&self) -> bool {
        self.on_tract
    }

    /// Runs the model. Inputs may come in any order; each must be there once, optional ones may be left out.
    pub fn run(&mut self, inputs: &[(&str, Value)]) -> Result<Vec<(String, Value)>> {
        if let Some((name, _)) = inputs.iter().find(|(name, _)| self.inputs.iter().all(|p| p.info.name != *name)) {
            bail!(InvalidInput, "the model has no input '{name}'");
        }
        let mut args = Vec::with_capacity(self.inputs.len());
        for port in &self.inputs {
            let name = &port.info.name;
            let mut given = inputs.iter().filter(|(n, _)| n == name);
            args.push(match given.next() {
                Some((_, value)) => incoming(port, value)?,
                None if port.kind == Kind::Optional => Value::None,
                None => bail!(InvalidInput, "input '{name}' is missing"),
            });
            ensure!(given.next().is_none(), InvalidInput, "input '{name}' is given twice");
        }
        self.runs += 1;
        let mut machine = Machine::new(self.runs, &self.limits);
        let results = self.program.run(&mut machine, None, args);
        self.on_tract |= machine.on_tract;
        let outputs = self.outputs.iter().zip(results?);
        outputs.map(|(port, value)| Ok((port.info.name.clone(), outgoing(port, value)?))).collect()
    }

    /// Whether the model runs on zeros, its open dimensions being `first` (of first axes) and `other`.
    pub(super) fn try_run(&mut self, first: usize, other: usize) -> Result<()> {
        let mut zeros: Vec<(String, Value)> = Vec::with_capacity(self.inputs.len());
        for TypedPort { info, kind, .. } in &self.inputs {
            ensure!(*kind == Kind::Tensor && info.dtype != DType::String, Unsupported, "'{}' is not a tensor", info.name);
            let size = |(axis, dim): (usize, &DimInfo)| match dim {
                DimInfo::Fixed(n) => *n,
                DimInfo::Symbol(_) => {
                    if axis == 0 {
                        first
                    } else {
                        other
                    }
                }
            };
            let shape: Vec<usize> = info.shape.iter().enumerate().map(size).collect();
            zeros.push((info.name.clone(), Tensor::zeros(info.dtype, &shape)?.into()));
        }
        let inputs: Vec<(&str, Value)> = zeros.iter().map(|(n, v)| (n.as_str(), v.clone())).collect();
        self.run(&inputs).map(|_| ())
    }
}

/// An input as the program takes it.
fn incoming(port: &TypedPort, value: &Value) -> Result<Value> {
    let name = &port.info.name;
    match (port.kind, value) {
        (Kind::Tensor | Kind::Optional, Value::Tensor(tensor)) => {
            if port.ranked {
                check_input(&port.info, &tensor.view())?;
            }
            ensure!(
                tensor.dtype() == port.info.dtype,
                InvalidInput,
                "input '{name}' is {}, the model expects {}; convert it before the call",
                tensor.dtype(),
                port.info.dtype
            );
        }
        (Kind::Tensor | Kind::Optional, Value::Strings(strings)) => {
            ensure!(
                port.info.dtype == DType::String,
                InvalidInput,
                "input '{name}' is a string tensor, the model expects {}",
                port.info.dtype
            );
            let shape = strings.shape();
            let fits = shape.len() == port.info.shape.len()
                && shape.iter().zip(&port.info.shape).all(|(n, d)| !matches!(d, DimInfo::Fixed(size) if size != n));
            ensure!(
                fits || !port.ranked,
                InvalidInput,
                "input '{name}' has shape {shape:?}, the model expects {:?}",
                port.info.shape
            );
        }
        (Kind::Sequence | Kind::Optional, Value::Sequence(_)) | (Kind::Map, Value::Map(_)) | (Kind::Optional, Value::None) => {}
        (kind, value) => bail!(InvalidInput, "input '{name}' is {}, the model expects a {}", value.describe(), kind.name()),
    }
    inside(value)
}

/// Half precision is float32 inside.
fn inside(value: &Value) -> Result<Value> {
    Ok(match value {
        Value::Tensor(tensor) if tensor.dtype() == DType::F16 => import::widened(tensor)?.into(),
        Value::Sequence(items) => Value::Sequence(items.iter().map(inside).collect::<Result<_>>()?),
        value => value.clone(),
    })
}

/// An output as callers get it.
fn outgoing(port: &TypedPort, value: Value) -> Result<Value> {
    Ok(match value {
        Value::Tensor(tensor) if port.half && tensor.dtype() == DType::F32 => import::narrowed(&tensor)?.into(),
        Value::Sequence(items) => Value::Sequence(items.into_iter().map(|v| outgoing(port, v)).collect::<Result<_>>()?),
        value => value,
    })
}
