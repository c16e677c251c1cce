//! Models on tract's own executor: the oracle of the tests, and the way out for models with operators that our graph lacks.

use alloc::{borrow::ToOwned, format, string::String, sync::Arc, vec::Vec};

use tract_onnx::tract_core::{
    internal::{DatumType, SymbolValues, TDim, TValue, TVec, TypedFact, TypedModel, tvec},
    model::TypedRunnableModel,
    prelude::{IntoRunnable, IntoTValue, Tensor as TractTensor, TractError, TractResult},
};

use super::{
    Options,
    import::{self, OnnxNode, Reference, check_sizes, datum_of, dtype_of, guarded},
    passes,
};
use crate::{
    error::{Error, Result, bail, ensure},
    graph::{
        ValueType,
        plan::{Meta, Plan},
    },
    limits::Limits,
    runtime::{DimInfo, PortInfo, Session},
    tensor::{DType, Tensor, TensorView},
};

/// A model that tract runs.
pub struct Fallback {
    plan: Arc<TypedRunnableModel>,
    inputs: Vec<PortInfo>,
    outputs: Vec<PortInfo>,
    limits: Limits,
}

impl Fallback {
    /// Loads a model into tract.
    pub fn new(onnx: &[u8], options: &Options) -> Result<Fallback> {
        let reference = Reference::new(onnx, options)?;
        let port = |name: &str, fact: &TypedFact| -> Result<PortInfo> {
            let dim = |d: &TDim| match d.as_i64().and_then(|n| usize::try_from(n).ok()) {
                Some(n) => DimInfo::Fixed(n),
                None => DimInfo::Symbol(reference.dimension(d)),
            };
            let half = reference.half.inputs.contains(name) || reference.half.outputs.contains(name);
            let dtype = match dtype_of(fact.datum_type)? {
                DType::F32 if half => DType::F16,
                other => other,
            };
            Ok(PortInfo { name: name.to_owned(), dtype, shape: fact.shape.iter().map(dim).collect() })
        };
        let typed = &reference.typed;
        let fact = |outlet| typed.outlet_fact(outlet).map_err(internal);
        let inputs = typed.inputs.iter().map(|o| port(&typed.node(o.node).name, fact(*o)?)).collect::<Result<_>>()?;
        let outputs = typed.outputs.iter().zip(&reference.output_names);
        let outputs = outputs.map(|(o, name)| port(name, fact(*o)?)).collect::<Result<_>>()?;
        let plan = prepare(reference.typed)?;
        Ok(Fallback { plan, inputs, outputs, limits: options.limits })
    }

    /// The model's inputs.
    pub fn inputs(&self) -> &[PortInfo] {
        &self.inputs
    }

    /// The model's outputs.
    pub fn outputs(&self) -> &[PortInfo] {
        &self.outputs
    }

    /// Runs the model. Inputs may come in any order; each must be there once.
    pub fn run(&mut self, inputs: &[(&str, TensorView<'_>)]) -> Result<Vec<(String, Tensor)>> {
        let mut operands = TVec::new();
        let mut symbols = SymbolValues::default();
        for port in &self.inputs {
            let mut given = inputs.iter().filter(|(name, _)| *name == port.name);
            let Some((name, view)) = given.next() else { bail!(InvalidInput, "input '{}' is missing", port.name) };
            ensure!(given.next().is_none(), InvalidInput, "input '{name}' is given twice");
            check_input(port, view)?;
            self.bind_symbols(operands.len(), view.shape, &mut symbols)?;
            let mut operand = to_tract(view)?;
            if port.dtype == DType::F16 {
                operand = operand.cast_to_dt(DatumType::F32).map_err(internal)?.into_owned();
            }
            operands.push(operand.into_tvalue());
        }
        if let Some((name, _)) = inputs.iter().find(|(name, _)| self.inputs.iter().all(|p| p.name != *name)) {
            bail!(InvalidInput, "the model has no input '{name}'");
        }
        check_sizes(self.plan.model(), &symbols, &self.limits)?;
        let results =
            guarded(|| self.plan.run(operands).map_err(|e| Error::InvalidInput(format!("the model cannot run: {e:#}"))))?;
        let result = |(port, value): (&PortInfo, &TValue)| {
            let tensor = match port.dtype {
                DType::F16 => from_tract(&*value.cast_to_dt(DatumType::F16).map_err(internal)?)?,
                _ => from_tract(value)?,
            };
            Ok((port.name.clone(), tensor))
        };
        self.outputs.iter().zip(&results).map(result).collect()
    }

    /// Notes the values of the symbols that are dimensions of an input.
    fn bind_symbols(&self, input: usize, shape: &[usize], symbols: &mut SymbolValues) -> Result<()> {
        let fact = self.plan.model().input_fact(input).map_err(internal)?;
        for (dim, &size) in fact.shape.iter().zip(shape) {
            if let TDim::Sym(symbol) = dim {
                symbols.set(symbol, size as i64);
            }
        }
        Ok(())
    }
}

fn prepare(typed: TypedModel) -> Result<Arc<TypedRunnableModel>> {
    guarded(|| {
        let optimised = typed.into_optimized().map_err(internal)?;
        optimised.into_runnable().map_err(internal)
    })
}

fn internal(error: TractError) -> Error {
    Error::Unsupported(format!("{error:#}"))
}

/// Fails unless the input has the port's type and fixed sizes, and as many bytes as its shape needs.
pub(super) fn check_input(port: &PortInfo, view: &TensorView<'_>) -> Result<()> {
    ensure!(
        view.dtype == port.dtype,
        InvalidInput,
        "input '{}' is {}, the model expects {}; convert it before the call",
        port.name,
        view.dtype,
        port.dtype
    );
    let fits = view.shape.len() == port.shape.len()
        && view.shape.iter().zip(&port.shape).all(|(n, d)| !matches!(d, DimInfo::Fixed(size) if size != n));
    ensure!(fits, InvalidInput, "input '{}' has shape {:?}, the model expects {:?}", port.name, view.shape, port.shape);
    let bytes = crate::tensor::element_count(view.shape)? * view.dtype.size();
    ensure!(bytes == view.data.len(), InvalidInput, "input '{}' needs {bytes} bytes, {} were given", port.name, view.data.len());
    Ok(())
}

fn to_tract(view: &TensorView<'_>) -> Result<TractTensor> {
    ensure!(view.dtype != DType::String, Unsupported, "strings are not supported as inputs");
    let mut tensor = TractTensor::zero_dt(datum_of(view.dtype), view.shape).map_err(internal)?;
    tensor.as_bytes_mut().copy_from_slice(view.data);
    Ok(tensor)
}

fn from_tract(value: &TractTensor) -> Result<Tensor> {
    let value = match value.datum_type() {
        DatumType::TDim => value.cast_to_dt(DatumType::I64).map_err(internal)?.into_owned(),
        _ => value.clone(),
    };
    let dtype = dtype_of(value.datum_type())?;
    ensure!(dtype != DType::String, Unsupported, "strings are not supported as outputs");
    Tensor::from_bytes(dtype, value.shape(), value.as_bytes())
}

/// Evaluates a quantized operator inside tract: as a graph of its own, on our kernels.
pub(super) fn eval_node(node: &OnnxNode, data: &[usize], inputs: &[TValue], outputs: &[TypedFact]) -> TractResult<TVec<TValue>> {
    let run = || -> Result<Vec<Tensor>> {
        let operands: Vec<Tensor> = inputs.iter().map(|t| from_tract(t)).collect::<Result<_>>()?;
        let types = outputs
            .iter()
            .map(|f| {
                let shape = f.shape.as_concrete().map(|s| s.iter().map(|&d| d.into()).collect());
                let Some(shape) = shape else { bail!(Internal, "an output's shape is not known") };
                Ok(ValueType::new(dtype_of(f.datum_type)?, shape))
            })
            .collect::<Result<_>>()?;
        let mut graph = import::single_node(node, &operands, data, types)?;
        graph.remove_dead();
        passes::run_all(&mut graph)?;
        let mut session = Session::new(Plan { graph, meta: Meta::default() })?;
        let names: Vec<String> = session.inputs().iter().map(|p| p.name.clone()).collect();
        let views: Vec<(&str, TensorView<'_>)> = names
            .iter()
            .filter_map(|name| {
                let index: usize = name.strip_prefix("input")?.parse().ok()?;
                Some((name.as_str(), operands.get(index)?.view()))
            })
            .collect();
        let results = session.run(&views)?;
        Ok(results.iter().map(|(_, view)| view.to_tensor()).collect())
    };
    let results = run().map_err(|e| TractError::msg(format!("{}", e.at_node(&node.op_type, &node.name))))?;
    let mut values = tvec!();
    for tensor in &results {
        let value = to_tract(&tensor.view()).map_err(|e| TractError::msg(format!("{e}")))?;
        values.push(value.into_tvalue());
    }
    Ok(values)
}
