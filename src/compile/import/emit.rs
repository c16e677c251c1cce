//! What lowerings say: the types of values, constants, and the nodes that are added.

use alloc::vec::Vec;

use super::{
    dims::broadcast_shapes,
    lower::{Call, Lower},
};
use crate::{
    error::{Result, bail, ensure},
    graph::{
        Dim, Init, Op, Quant, ValueId, ValueType,
        ops::{Activation, Binary, BinaryOp, Unary},
    },
    tensor::{DType, Tensor},
};

impl Lower {
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
    pub(super) fn const_f64_as_f32(&self, v: ValueId) -> Option<Tensor> {
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
}
