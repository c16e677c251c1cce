//! Operators from integers to integers: ONNX's QLinearConv and QLinearMatMul, and those of `com.microsoft`.

use alloc::{vec, vec::Vec};

use super::{
    conv, elementwise,
    lower::{Call, Lower, Lowering},
    matmul,
    quant::{Params, dequantize, quantization, quantize},
    reduce,
};
use crate::{
    error::{Result, bail, ensure},
    graph::{
        Op, Quant, ValueId, ValueType,
        ops::{BinaryOp, ReduceOp, Unary},
    },
    tensor::DType,
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    Some(match op_type {
        "QLinearConv" => qlinear_conv,
        "QLinearMatMul" => qlinear_matmul,
        "QGemm" => qgemm,
        "QLinearAdd" => |l, c| arithmetic(l, c, BinaryOp::QLinearAdd),
        "QLinearMul" => |l, c| arithmetic(l, c, BinaryOp::Mul),
        "QLinearSigmoid" => |l, c| table(l, c, Unary::Sigmoid),
        "QLinearLeakyRelu" => |l, c| {
            let alpha = c.node.float("alpha").unwrap_or(0.01);
            table(l, c, Unary::LeakyRelu { alpha })
        },
        "QLinearSoftmax" => |l, c| in_floats(l, c, |l, c, x| reduce::softmax(l, c, x, false)),
        "QLinearAveragePool" => |l, c| {
            channels_first(c)?;
            in_floats(l, c, |l, c, x| {
                let ty = ValueType { dtype: DType::F32, ..c.out()? };
                conv::average_pool(l, c, x, ty)
            })
        },
        "QLinearGlobalAveragePool" => |l, c| {
            channels_first(c)?;
            in_floats(l, c, |l, c, x| conv::global_pool(l, c, ReduceOp::Mean, x))
        },
        "QLinearReduceMean" => |l, c| {
            in_floats(l, c, |l, c, x| {
                let axes = l.axes(c.node.ints("axes"), l.rank(x))?;
                let ty = ValueType { dtype: DType::F32, ..c.out()? };
                let keep_dims = c.node.flag("keepdims", true);
                Ok(l.emit(c, Op::Reduce { op: ReduceOp::Mean, axes, keep_dims }, &[x], ty))
            })
        },
        "QLinearConcat" => concat,
        "QLinearWhere" => select,
        _ => return None,
    })
}

fn channels_first(c: &Call) -> Result<()> {
    ensure!(!c.node.flag("channels_last", false), Unsupported, "channels_last is not supported");
    Ok(())
}

/// An operand under its constant, per-tensor quantization.
fn activation(l: &mut Lower, c: &Call, x: usize, scale: usize, zero: usize) -> Result<ValueId> {
    let v = c.input(x)?;
    let quant = per_tensor(l, c, scale, zero)?;
    Ok(l.reinterpret(v, Some(quant)))
}

/// The constant quantization that two inputs give.
fn per_tensor(l: &Lower, c: &Call, scale: usize, zero: usize) -> Result<Quant> {
    match Params::read(c, scale, zero)?.constant(l, &[], 0)? {
        Some(quant) => Ok(quant),
        None => bail!(Unsupported, "a computed scale or zero point is not supported"),
    }
}

fn qlinear_conv(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let x = activation(l, c, 0, 1, 2)?;
    let weight = c.input(3)?;
    let Some(quant) = Params::read(c, 4, 5)?.constant(l, &l.shape(weight), 0)? else {
        bail!(Unsupported, "a computed scale of the weight is not supported");
    };
    let weight = l.reinterpret(weight, Some(quant));
    let quant = Some(per_tensor(l, c, 6, 7)?);
    let operands = conv::Operands { x, weight, bias: c.optional(8), dynamic: None, dtype: c.out()?.dtype, quant };
    Ok(vec![conv::emit(l, c, operands)?])
}

fn qlinear_matmul(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let a = activation(l, c, 0, 1, 2)?;
    let b = c.input(3)?;
    let Some(quant) = Params::read(c, 4, 5)?.constant(l, &l.shape(b), -1)? else {
        bail!(Unsupported, "a computed scale of the weight is not supported");
    };
    let b = l.reinterpret(b, Some(quant));
    let quant = Some(per_tensor(l, c, 6, 7)?);
    let operands = matmul::Operands { a, b, transpose_b: false, bias: None, dynamic: None, dtype: c.out()?.dtype, quant };
    Ok(vec![matmul::emit(l, c, operands)?])
}

/// `alpha·A'·B' + C`, C being i32 in units of alpha·scale(A)·scale(B).
fn qgemm(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let mut a = activation(l, c, 0, 1, 2)?;
    if c.node.flag("transA", false) {
        a = l.transpose(c.name(), a, &[1, 0]);
    }
    let transpose_b = c.node.flag("transB", false);
    let b = c.input(3)?;
    let params = Params::read(c, 4, 5)?;
    let Some(quant) = params.constant(l, &l.shape(b), if transpose_b { 0 } else { 1 })? else {
        bail!(Unsupported, "a computed scale of the weight is not supported");
    };
    let alpha = c.node.float("alpha").unwrap_or(1.0);
    ensure!(alpha.is_finite() && alpha.is_sign_positive(), Unsupported, "alpha = {alpha} is not supported");
    let scale = quant.scale.iter().map(|s| s * alpha).collect();
    let quant = quantization(l, scale, quant.zero_point, &l.shape(b), if transpose_b { 0 } else { 1 })?;
    let b = l.reinterpret(b, Some(quant));
    let ty = c.out()?;
    let n = ty.shape.last().and_then(crate::graph::Dim::as_fixed);
    let bias = match c.optional(6) {
        Some(v) => {
            let v = conv::vector(l, c, v, n);
            ensure!(l.rank(v) == 1, Unsupported, "a bias that is not a row is not supported");
            Some(v)
        }
        None => None,
    };
    let quant = match c.optional(7) {
        Some(_) => Some(per_tensor(l, c, 7, 8)?),
        None => None,
    };
    let operands = matmul::Operands { a, b, transpose_b, bias, dynamic: None, dtype: ty.dtype, quant };
    Ok(vec![matmul::emit(l, c, operands)?])
}

fn arithmetic(l: &mut Lower, c: &Call, op: BinaryOp) -> Result<Vec<ValueId>> {
    let a = activation(l, c, 0, 1, 2)?;
    let b = activation(l, c, 3, 4, 5)?;
    let ty = ValueType { quant: Some(per_tensor(l, c, 6, 7)?), ..c.out()? };
    Ok(vec![elementwise::binary_as(l, c, op, a, b, ty)])
}

fn table(l: &mut Lower, c: &Call, op: Unary) -> Result<Vec<ValueId>> {
    let x = activation(l, c, 0, 1, 2)?;
    let ty = ValueType { quant: Some(per_tensor(l, c, 3, 4)?), ..c.out()? };
    Ok(vec![l.emit(c, Op::Unary(op), &[x], ty)])
}

/// `quantize(f(dequantize(x)))`; the passes make it an integer operator where there is one.
fn in_floats(l: &mut Lower, c: &Call, f: impl Fn(&mut Lower, &Call, ValueId) -> Result<ValueId>) -> Result<Vec<ValueId>> {
    let x = c.input(0)?;
    let dtype = l.dtype(x);
    let x = dequantize(l, c, x, Params::read(c, 1, 2)?, 0)?;
    let y = f(l, c, x)?;
    Ok(vec![quantize(l, c, y, dtype, Params::read(c, 3, 4)?, 0)?])
}

fn concat(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let ty = ValueType { quant: Some(per_tensor(l, c, 0, 1)?), ..c.out()? };
    let mut parts = Vec::new();
    for i in (2..c.node.inputs.len()).step_by(3) {
        parts.push(activation(l, c, i, i + 1, i + 2)?);
    }
    let axis = l.axis(c.node.int("axis").unwrap_or(1), ty.shape.len())?;
    Ok(vec![l.emit(c, Op::Concat { axis }, &parts, ty)])
}

fn select(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, y, dtype) = (c.input(1)?, c.input(4)?, c.out()?.dtype);
    let x = dequantize(l, c, x, Params::read(c, 2, 3)?, 0)?;
    let y = dequantize(l, c, y, Params::read(c, 5, 6)?, 0)?;
    let ty = ValueType::new(DType::F32, c.out()?.shape);
    let cond = c.input(0)?;
    let z = l.emit(c, Op::Where, &[cond, x, y], ty);
    Ok(vec![quantize(l, c, z, dtype, Params::read(c, 7, 8)?, 0)?])
}
