//! The walk over tract's typed graph.

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec,
    vec::Vec,
};

use tract_onnx::tract_core::{
    internal::*,
    ops::{konst::Const, source::TypedSource},
};

use super::{
    dims::{SymbolNames, lower_dim, lower_shape},
    half::Half,
    node::OnnxNode,
    weights::{Weight, dtype_of},
    whole::{Detached, Whole},
};
use crate::{
    error::{Error, Result, bail, ensure},
    graph::{Dim, Graph, Op, ValueId, ValueType},
    tensor::{DType, Tensor},
};

/// Operators that move float64 numbers, or have kernels for them. The others compute them in float32 and say so: what models have of
/// float64 is nearly always a constant or a Cast that slipped in, and kernels for all of it would weigh on every page.
const EXACT_IN_F64: &[&str] = &[
    "Add",
    "And",
    "BitCast",
    "Cast",
    "CastLike",
    "CenterCropPad",
    "Clip",
    "Compress",
    "Concat",
    "ConstantOfShape",
    "CumProd",
    "CumSum",
    "DepthToSpace",
    "Div",
    "Dropout",
    "Equal",
    "Expand",
    "EyeLike",
    "Flatten",
    "Gather",
    "GatherElements",
    "GatherND",
    "Greater",
    "GreaterOrEqual",
    "Identity",
    "Less",
    "LessOrEqual",
    "Max",
    "Min",
    "Mod",
    "Mul",
    "OneHot",
    "Pad",
    "Pow",
    "Relu",
    "Reshape",
    "ReverseSequence",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Sub",
    "Sum",
    "Tile",
    "TopK",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Where",
];

/// Lowers one ONNX node; returns its outputs.
pub(super) type Lowering = fn(&mut Lower, &Call) -> Result<Vec<ValueId>>;

/// A node to lower: its operands as values of our graph, its results' types.
pub(super) struct Call<'a> {
    pub node: &'a OnnxNode,
    pub inputs: Vec<ValueId>,
    pub outputs: Vec<ValueType>,
}

impl Call<'_> {
    /// The operator's `i`-th input, which must be there.
    pub(super) fn input(&self, i: usize) -> Result<ValueId> {
        match self.optional(i) {
            Some(v) => Ok(v),
            None => bail!(InvalidModel, "input {i} is missing"),
        }
    }

    /// The operator's `i`-th input, if the model gives it.
    pub(super) fn optional(&self, i: usize) -> Option<ValueId> {
        let index = self.node.inputs.get(i).copied().flatten()?;
        self.inputs.get(index).copied()
    }

    /// Type of the first output.
    pub(super) fn out(&self) -> Result<ValueType> {
        match self.outputs.first() {
            Some(ty) => Ok(ty.clone()),
            None => bail!(InvalidModel, "has no output"),
        }
    }

    /// Whether the operator's `i`-th output is wanted.
    pub(super) fn wants(&self, i: usize) -> bool {
        self.node.outputs.get(i).copied().flatten().is_some()
    }

    pub(super) fn name(&self) -> &str {
        &self.node.name
    }
}

/// The graph under construction.
#[derive(Default)]
pub(super) struct Lower {
    pub graph: Graph,
    pub names: SymbolNames,
    /// Inputs and outputs to be converted from and to float16.
    pub half: Half,
    /// Operators that the graph cannot express, with the first node of each.
    pub missing: BTreeMap<String, String>,
    /// Why, in sentences.
    pub reasons: Vec<String>,
    /// Operators that compute float64 numbers in float32.
    pub narrowed: BTreeSet<String>,
}

impl Lower {
    /// Lowers a typed model. `operators` are the ONNX operators by node name.
    pub(super) fn model(
        &mut self,
        model: &TypedModel,
        weights: Vec<Weight>,
        operators: &BTreeMap<String, String>,
        output_names: &[String],
    ) -> Result<()> {
        let order = model.eval_order().map_err(|e| Error::InvalidModel(format!("{e:#}")))?;
        let mut weights: Vec<Option<Weight>> = weights.into_iter().map(Some).collect();
        let mut values: BTreeMap<OutletId, ValueId> = BTreeMap::new();
        for outlet in &model.inputs {
            let node = model.node(outlet.node);
            let ty = self.fact_type(&node.outputs[outlet.slot].fact).map_err(|e| e.at_node("input", &node.name))?;
            let value = if self.half.inputs.contains(&node.name) && ty.dtype == DType::F32 {
                let given = self.graph.add_input(&node.name, ValueType { dtype: DType::F16, ..ty.clone() });
                self.graph.add_node(&node.name, Op::Cast, &[given], ty)
            } else {
                self.graph.add_input(&node.name, ty)
            };
            values.insert(*outlet, value);
        }
        for id in order {
            let node = model.node(id);
            if node.op_is::<TypedSource>() {
                continue;
            }
            if let Some(op) = node.op_as::<Detached>() {
                let weight = weights.get_mut(op.index).and_then(Option::take);
                let weight = weight.ok_or_else(|| Error::Internal(format!("weight '{}' is used twice", node.name)))?;
                values.insert(id.into(), self.graph.add_const_bytes(weight.name, weight.dtype, &weight.shape, weight.bytes));
                continue;
            }
            self.node(model, node, &mut values, operators)?;
        }
        for (outlet, name) in model.outputs.iter().zip(output_names) {
            let value = self.outlet(model, *outlet, &mut values)?;
            let ty = self.ty(value).clone();
            // A constant output is given a node, for outputs are computed.
            let value = if self.half.outputs.contains(name) && ty.dtype == DType::F32 {
                self.graph.add_node(name, Op::Cast, &[value], ValueType { dtype: DType::F16, ..ty })
            } else if self.graph.value(value).init.is_some() {
                self.graph.add_node(name, Op::Reshape, &[value], ty)
            } else {
                value
            };
            self.graph.add_output(name, value);
        }
        Ok(())
    }

    fn outlet(&mut self, model: &TypedModel, outlet: OutletId, values: &mut BTreeMap<OutletId, ValueId>) -> Result<ValueId> {
        if let Some(v) = values.get(&outlet) {
            return Ok(*v);
        }
        let node = model.node(outlet.node);
        let fact = &node.outputs[outlet.slot].fact;
        let Some(konst) = &fact.konst else {
            bail!(Internal, "'{}' is read before it is computed", node.name);
        };
        let value = self.constant(&node.name, konst)?;
        values.insert(outlet, value);
        Ok(value)
    }

    fn node(
        &mut self,
        model: &TypedModel,
        node: &TypedNode,
        values: &mut BTreeMap<OutletId, ValueId>,
        operators: &BTreeMap<String, String>,
    ) -> Result<()> {
        let whole = node.op_as::<Whole>();
        // Constants are made when something reads them. What is constant because it is empty is computed, so that its shapes are checked.
        let known = |o: &Outlet<TypedFact>| o.fact.konst.as_ref().is_some_and(|k| whole.is_none() || k.len() > 0);
        if node.op_is::<Const>() || node.outputs.iter().all(known) {
            return Ok(());
        }
        let operator = whole.map_or_else(|| onnx_operator(&node.name, operators), |w| w.node.op_type.clone());
        let at_node = |e: Error| e.at_node(&operator, &node.name);
        let inputs: Vec<ValueId> =
            node.inputs.iter().map(|i| self.outlet(model, *i, values)).collect::<Result<_>>().map_err(at_node)?;
        let outputs: Vec<ValueType> =
            node.outputs.iter().map(|o| self.fact_type(&o.fact)).collect::<Result<_>>().map_err(at_node)?;
        let lowered = match whole {
            Some(whole) => self.whole(&Call { node: &whole.node, inputs, outputs: outputs.clone() }),
            None => super::tract_ops::lower(self, node, &inputs, &outputs),
        };
        let results = match lowered {
            Ok(results) => results,
            Err(Error::Unsupported(reason)) => {
                self.missing.entry(operator.clone()).or_insert_with(|| node.name.clone());
                self.reasons.push(format!("{operator} '{}': {reason}", node.name));
                outputs.iter().map(|ty| self.graph.add_value(node.name.as_str(), ty.clone())).collect()
            }
            Err(e) => return Err(at_node(e)),
        };
        for (slot, value) in results.into_iter().enumerate() {
            values.insert(OutletId::new(node.id, slot), value);
        }
        Ok(())
    }

    /// Lowers one ONNX node.
    pub(super) fn whole(&mut self, call: &Call) -> Result<Vec<ValueId>> {
        let Some(lowering) = super::lowering(&call.node.op_type) else {
            bail!(Unsupported, "there is no lowering for this operator");
        };
        let results = if self.is_narrowed(call) { self.in_f32(call, lowering)? } else { lowering(self, call)? };
        ensure!(
            results.len() >= call.outputs.len(),
            Unsupported,
            "of its {} outputs only the first can be computed",
            call.outputs.len()
        );
        for (i, (value, ty)) in results.iter().zip(&call.outputs).enumerate() {
            ensure!(
                self.ty(*value).dtype == ty.dtype,
                Internal,
                "was lowered to {} instead of {}",
                self.ty(*value).dtype,
                ty.dtype
            );
            // Values of nodes are known by the model's names; inputs and constants keep theirs.
            let inner = &mut self.graph.values[value.index()];
            if inner.init.is_none() && inner.name == call.node.name {
                inner.name = call.node.output_name(i).to_owned();
            }
        }
        Ok(results)
    }

    /// Whether the call computes float64 numbers that there are no kernels for.
    fn is_narrowed(&self, call: &Call) -> bool {
        let double = |ty: &ValueType| ty.dtype == DType::F64;
        let name = call.node.op_type.as_str();
        let moves = name.contains("Scatter") && call.node.string("reduction").unwrap_or("none") == "none";
        (call.inputs.iter().any(|&v| double(self.ty(v))) || call.outputs.iter().any(double))
            && !(moves || EXACT_IN_F64.contains(&name))
    }

    /// Lowers a call of float64 numbers to float32, between conversions.
    fn in_f32(&mut self, call: &Call, lowering: Lowering) -> Result<Vec<ValueId>> {
        let narrow = |l: &mut Lower, v: ValueId| match l.const_f64_as_f32(v) {
            Some(t) => l.graph.add_const(call.name(), &t),
            None if l.dtype(v) == DType::F64 => l.cast(call, v, DType::F32),
            None => v,
        };
        let inputs = call.inputs.iter().map(|&v| narrow(self, v)).collect();
        let as_f32 =
            |ty: &ValueType| if ty.dtype == DType::F64 { ValueType { dtype: DType::F32, ..ty.clone() } } else { ty.clone() };
        let inner = Call { node: call.node, inputs, outputs: call.outputs.iter().map(as_f32).collect() };
        let results = lowering(self, &inner)?;
        self.narrowed.insert(call.node.op_type.clone());
        let types = call.outputs.iter().map(|ty| Some(ty.dtype)).chain(core::iter::repeat(None));
        Ok(results.into_iter().zip(types).map(|(v, dtype)| dtype.map_or(v, |dtype| self.cast(call, v, dtype))).collect())
    }

    /// What the user should know, as sentences.
    pub(super) fn notes(&self) -> Vec<String> {
        if self.narrowed.is_empty() {
            return Vec::new();
        }
        let names: Vec<&str> = self.narrowed.iter().map(String::as_str).collect();
        vec![format!(
            "These operators of the model compute float64 numbers in float32, with 7 digits instead of 15: {}.",
            names.join(", ")
        )]
    }

    /// A value's type as tract infers it.
    fn fact_type(&mut self, fact: &TypedFact) -> Result<ValueType> {
        let shape = lower_shape(&mut self.graph, &self.names, fact.shape.iter())?;
        Ok(ValueType::new(dtype_of(fact.datum_type)?, shape))
    }

    /// A constant that tract computed.
    fn constant(&mut self, name: &str, tensor: &Arc<tract_onnx::prelude::Tensor>) -> Result<ValueId> {
        let internal = |e: TractError| Error::Internal(format!("constant '{name}': {e:#}"));
        let shape = tensor.shape().to_vec();
        if tensor.datum_type() == DatumType::TDim {
            let view = tensor.try_as_plain_ram().map_err(internal)?;
            let dims = view.as_slice::<TDim>().map_err(internal)?;
            if let Some(numbers) = dims.iter().map(|d| d.to_i64().ok()).collect::<Option<Vec<i64>>>() {
                return Ok(self.graph.add_const(name, &Tensor::from_slice(&shape, &numbers)?));
            }
            let dims: Vec<Dim> = dims.iter().map(|d| lower_dim(&mut self.graph, &self.names, d)).collect::<Result<_>>()?;
            let flat = self.graph.add_dims(name, dims);
            return Ok(if shape.len() == 1 { flat } else { self.reshape(name, flat, fixed(&shape)) });
        }
        let dtype = dtype_of(tensor.datum_type())?;
        ensure!(dtype != DType::String, Unsupported, "constant '{name}' holds strings");
        Ok(self.graph.add_const(name, &Tensor::from_bytes(dtype, &shape, tensor.as_bytes())?))
    }
}

/// The ONNX operator that a node of tract's was expanded from: tract appends suffixes to the ONNX node's name.
fn onnx_operator(name: &str, operators: &BTreeMap<String, String>) -> String {
    let mut prefix = name;
    loop {
        if let Some(op) = operators.get(prefix) {
            return op.clone();
        }
        match prefix.rfind(['.', '-', '/']) {
            Some(i) => prefix = &prefix[..i],
            None => return "operator".into(),
        }
    }
}

/// A fixed shape's dimensions.
pub(super) fn fixed(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&d| Dim::fixed(d)).collect()
}

/// Whether the dimension is the number 1.
pub(super) fn is_one(dim: &Dim) -> bool {
    dim.as_fixed() == Some(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_of_names_are_stripped() {
        let operators = [("a.b".into(), "LSTM".into())].into();
        assert_eq!(onnx_operator("a.b.scan.x", &operators), "LSTM");
        assert_eq!(onnx_operator("zzz", &operators), "operator");
    }
}
