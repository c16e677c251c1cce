//! The walk over tract's typed graph, and the vocabulary in which the lowerings are written.

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
    dims::{SymbolNames, broadcast_shapes, lower_dim, lower_shape},
    half::Half,
    node::OnnxNode,
    weights::{Weight, dtype_of},
    whole::{Detached, Whole},
};
use crate::{
    error::{Error, Result, bail, ensure},
    graph::{
        Dim, Graph, Init, Op, Quant, ValueId, ValueType,
        ops::{Activation, Binary, BinaryOp, Unary},
    },
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

    pub(super) fn ty(&self, v: ValueId) -> &ValueType {
        &self.graph.value(v).ty
    }

    pub(super) fn shape(&self, v: ValueId) -> Vec<Dim> {
        self.ty(v).shape.clone()
    }

    pub(super) fn rank(&self, v: ValueId) -> usize {
        self.ty(v).shape.len()
    }

    pub(super) fn dtype(&self, v: ValueId) -> DType {
        self.ty(v).dtype
    }

    /// An axis attribute; negative counts from the end.
    pub(super) fn axis(&self, axis: i64, rank: usize) -> Result<usize> {
        let index = if axis < 0 { axis + rank as i64 } else { axis };
        ensure!((0..rank as i64).contains(&index), InvalidModel, "axis {axis} is out of range for rank {rank}");
        Ok(index as usize)
    }

    /// A sorted list of axes; all of them if there is none.
    pub(super) fn axes(&self, axes: Option<&[i64]>, rank: usize) -> Result<Vec<usize>> {
        let Some(axes) = axes else { return Ok((0..rank).collect()) };
        let mut axes: Vec<usize> = axes.iter().map(|&a| self.axis(a, rank)).collect::<Result<_>>()?;
        axes.sort_unstable();
        axes.dedup();
        Ok(axes)
    }

    /// Adds a node named after the call.
    pub(super) fn emit(&mut self, call: &Call, op: Op, inputs: &[ValueId], ty: ValueType) -> ValueId {
        self.graph.add_node(&call.node.name, op, inputs, ty)
    }

    pub(super) fn f32_scalar(&mut self, name: &str, value: f32) -> ValueId {
        self.graph.add_const(name, &Tensor::scalar(value))
    }

    /// A scalar of the given type; `None` if the type has no such number.
    pub(super) fn scalar_of(&mut self, name: &str, dtype: DType, value: f64) -> Result<ValueId> {
        let tensor = match dtype {
            DType::F32 => Tensor::scalar(value as f32),
            DType::F64 => Tensor::scalar(value),
            DType::I64 => Tensor::scalar(value as i64),
            DType::I32 => Tensor::scalar(value as i32),
            DType::I16 => Tensor::scalar(value as i16),
            DType::I8 => Tensor::scalar(value as i8),
            DType::U8 => Tensor::scalar(value as u8),
            DType::U16 => Tensor::scalar(value as u16),
            DType::U32 => Tensor::scalar(value as u32),
            DType::U64 => Tensor::scalar(value as u64),
            other => bail!(Unsupported, "element type {other} is not supported here"),
        };
        Ok(self.graph.add_const(name, &tensor))
    }

    pub(super) fn binary(&mut self, call: &Call, op: BinaryOp, a: ValueId, b: ValueId) -> ValueId {
        let shape = broadcast_shapes(&self.ty(a).shape, &self.ty(b).shape);
        let dtype = if op.is_predicate() { DType::Bool } else { self.dtype(a) };
        let op = Op::Binary(Binary { op, activation: Activation::None });
        self.emit(call, op, &[a, b], ValueType::new(dtype, shape))
    }

    pub(super) fn unary(&mut self, call: &Call, op: Unary, x: ValueId) -> ValueId {
        let dtype = if matches!(op, Unary::IsNan | Unary::IsInf) { DType::Bool } else { self.dtype(x) };
        let ty = ValueType::new(dtype, self.shape(x));
        self.emit(call, Op::Unary(op), &[x], ty)
    }

    /// `x` as `dtype`.
    pub(super) fn cast(&mut self, call: &Call, x: ValueId, dtype: DType) -> ValueId {
        if self.dtype(x) == dtype {
            return x;
        }
        let x = self.raw(x);
        let ty = ValueType::new(dtype, self.shape(x));
        self.emit(call, Op::Cast, &[x], ty)
    }

    /// The same elements under another shape; constants are reshaped now.
    pub(super) fn reshape(&mut self, name: &str, x: ValueId, shape: Vec<Dim>) -> ValueId {
        let ty = self.ty(x).clone();
        if ty.shape == shape {
            return x;
        }
        let quant = ty.quant.filter(|q| q.axis.is_none());
        let new = ValueType { dtype: ty.dtype, shape, quant };
        if let Some(Init::Data(blob)) = &self.graph.value(x).init
            && new.fixed_shape().is_some()
        {
            let init = Some(Init::Data(blob.clone()));
            let label = self.graph.value(x).name.clone();
            let value = self.graph.add_value(label, new);
            self.graph.value_mut(value).init = init;
            return value;
        }
        self.graph.add_node(name, Op::Reshape, &[x], new)
    }

    /// Permutes axes. Constants, and what is dequantized from a constant, are permuted now.
    pub(super) fn transpose(&mut self, name: &str, x: ValueId, perm: &[usize]) -> ValueId {
        if perm.iter().copied().eq(0..perm.len()) {
            return x;
        }
        let ty = self.ty(x).clone();
        let permuted = permuted_type(&ty, perm);
        if let Some(tensor) = self.graph.const_tensor(x)
            && let Some(t) = permute(&tensor, perm)
        {
            let label = self.graph.value(x).name.clone();
            return self.graph.add_quantized_const(label, &t, permuted.quant);
        }
        if let Some(node) = self.graph.nodes.iter().rev().find(|n| n.outputs.contains(&x)).cloned()
            && node.op == Op::Dequantize
            && self.graph.value(node.inputs[0]).init.is_some()
        {
            let stored = self.transpose(&node.name, node.inputs[0], perm);
            return self.graph.add_node(&node.name, Op::Dequantize, &[stored], permuted);
        }
        self.graph.add_node(name, Op::Transpose { perm: perm.to_vec() }, &[x], permuted)
    }

    /// The stored integers as such, without what they stand for.
    pub(super) fn raw(&mut self, x: ValueId) -> ValueId {
        self.reinterpret(x, None)
    }

    /// The stored integers standing for `quant`.
    pub(super) fn reinterpret(&mut self, x: ValueId, quant: Option<Quant>) -> ValueId {
        let value = self.graph.value(x);
        if value.ty.quant == quant {
            return x;
        }
        let ty = ValueType { quant, ..value.ty.clone() };
        let name = value.name.clone();
        match value.init.clone() {
            Some(init) => {
                let new = self.graph.add_value(name, ty);
                self.graph.value_mut(new).init = Some(init);
                new
            }
            None => self.graph.add_node(&name, Op::Reinterpret, &[x], ty),
        }
    }

    /// A constant's integers, of any integer type.
    pub(super) fn const_ints(&self, v: ValueId) -> Option<Vec<i64>> {
        let t = self.graph.const_tensor(v)?;
        macro_rules! widen {
            ($($d:ident => $t:ty),*) => {
                match t.dtype() {
                    $(DType::$d => t.as_slice::<$t>().ok().map(|s| s.iter().map(|&x| x as i64).collect()),)*
                    _ => None,
                }
            };
        }
        widen!(I64 => i64, I32 => i32, I16 => i16, I8 => i8, U8 => u8, U16 => u16, U32 => u32, U64 => u64)
    }

    /// A constant's integers or dimensions.
    pub(super) fn const_dims(&self, v: ValueId) -> Option<Vec<Dim>> {
        if let Some(Init::Dims(dims)) = &self.graph.value(v).init {
            return Some(dims.clone());
        }
        // A scalar dimension comes as a reshaped list of one.
        if let Some(node) = self.graph.nodes.iter().rev().find(|n| n.outputs.contains(&v))
            && node.op == Op::Reshape
            && let Some(Init::Dims(dims)) = &self.graph.value(node.inputs[0]).init
        {
            return Some(dims.clone());
        }
        self.const_ints(v).map(|v| v.into_iter().map(Dim::constant).collect())
    }

    /// A float constant's elements.
    pub(super) fn const_floats(&self, v: ValueId) -> Option<Vec<f32>> {
        let t = self.graph.const_tensor(v)?;
        match t.dtype() {
            DType::F32 => t.as_slice::<f32>().ok().map(<[f32]>::to_vec),
            DType::F64 => t.as_slice::<f64>().ok().map(|s| s.iter().map(|&x| x as f32).collect()),
            _ => self.const_ints(v).map(|v| v.into_iter().map(|x| x as f32).collect()),
        }
    }

    /// A float64 constant as float32.
    fn const_f64_as_f32(&self, v: ValueId) -> Option<Tensor> {
        let t = self.graph.const_tensor(v)?;
        let narrow: Vec<f32> = t.as_slice::<f64>().ok()?.iter().map(|&x| x as f32).collect();
        Tensor::from_slice(t.shape(), &narrow).ok()
    }

    /// The one element of a float constant.
    pub(super) fn const_scalar(&self, v: ValueId) -> Option<f32> {
        match self.const_floats(v)?.as_slice() {
            [x] => Some(*x),
            _ => None,
        }
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

fn permuted_type(ty: &ValueType, perm: &[usize]) -> ValueType {
    let quant = ty.quant.clone().map(|q| Quant { axis: q.axis.and_then(|a| perm.iter().position(|&p| p == a)), ..q });
    ValueType { dtype: ty.dtype, shape: perm.iter().map(|&p| ty.shape[p].clone()).collect(), quant }
}

fn permute(tensor: &Tensor, perm: &[usize]) -> Option<Tensor> {
    let size = tensor.dtype().size();
    let shape: Vec<usize> = perm.iter().map(|&p| tensor.shape()[p]).collect();
    let mut strides = vec![size; perm.len()];
    for i in (1..perm.len()).rev() {
        strides[i - 1] = strides[i] * tensor.shape()[i];
    }
    let strides: Vec<usize> = perm.iter().map(|&p| strides[p]).collect();
    let mut out = Tensor::zeros(tensor.dtype(), &shape).ok()?;
    let mut index = vec![0usize; shape.len()];
    let source = tensor.bytes();
    for element in out.bytes_mut().chunks_exact_mut(size.max(1)) {
        let offset: usize = index.iter().zip(&strides).map(|(i, s)| i * s).sum();
        element.copy_from_slice(source.get(offset..offset + size)?);
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_permuted() {
        let t = Tensor::from_slice(&[2, 3], &[1u16, 2, 3, 4, 5, 6]).unwrap();
        let p = permute(&t, &[1, 0]).unwrap();
        assert_eq!(p.shape(), [3, 2]);
        assert_eq!(p.as_slice::<u16>().unwrap(), [1, 4, 2, 5, 3, 6]);
    }

    #[test]
    fn suffixes_of_names_are_stripped() {
        let operators = [("a.b".into(), "LSTM".into())].into();
        assert_eq!(onnx_operator("a.b.scan.x", &operators), "LSTM");
        assert_eq!(onnx_operator("zzz", &operators), "operator");
    }
}
