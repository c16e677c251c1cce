//! Matrix products: MatMul, Gemm and the fused float forms of `com.microsoft`.

use alloc::{vec, vec::Vec};

use super::{
    dims::broadcast_shapes,
    lower::{Call, Lower, Lowering, is_one},
};
use crate::{
    error::{Result, bail, ensure},
    graph::{
        Dim, Op, Quant, ValueId, ValueType,
        ops::{Activation, BinaryOp, MatMul, Unary},
    },
    tensor::DType,
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    Some(match op_type {
        "MatMul" => matmul,
        "Gemm" => |l, c| gemm(l, c).map(|v| vec![v]),
        "FusedGemm" => |l, c| {
            let y = gemm(l, c)?;
            Ok(vec![fused_activation(l, c, y)?])
        },
        "FusedMatMul" => fused_matmul,
        _ => return None,
    })
}

/// What a matrix product multiplies.
pub(super) struct Operands {
    pub a: ValueId,
    pub b: ValueId,
    pub transpose_b: bool,
    /// `[N]`.
    pub bias: Option<ValueId>,
    /// Scale and zero point of a.
    pub dynamic: Option<(ValueId, ValueId)>,
    /// Element type and quantization of the result.
    pub dtype: DType,
    pub quant: Option<Quant>,
}

fn matmul(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (a, b, dtype) = (c.input(0)?, c.input(1)?, c.out()?.dtype);
    ensure!(dtype == DType::F32, Unsupported, "a matrix product of {dtype} is not supported");
    Ok(vec![emit(l, c, Operands { a, b, transpose_b: false, bias: None, dynamic: None, dtype, quant: None })?])
}

/// Adds a matrix product with numpy's rules for vectors.
pub(super) fn emit(l: &mut Lower, c: &Call, o: Operands) -> Result<ValueId> {
    let (mut a, mut b) = (o.a, o.b);
    ensure!(l.rank(a) > 0 && l.rank(b) > 0, InvalidModel, "multiplies a scalar");
    let (vector_a, vector_b) = (l.rank(a) == 1, l.rank(b) == 1);
    if vector_a {
        let k = l.shape(a)[0].clone();
        a = l.reshape(c.name(), a, vec![Dim::fixed(1), k]);
    }
    let mut transpose_b = o.transpose_b;
    if vector_b {
        let k = l.shape(b)[0].clone();
        b = l.reshape(c.name(), b, vec![k, Dim::fixed(1)]);
        transpose_b = false;
    }
    let (sa, sb) = (l.shape(a), l.shape(b));
    let (ra, rb) = (sa.len(), sb.len());
    let n = sb[if transpose_b { rb - 2 } else { rb - 1 }].clone();
    let mut shape = broadcast_shapes(&sa[..ra - 2], &sb[..rb - 2]);
    shape.extend([sa[ra - 2].clone(), n]);
    let mut inputs = vec![a, b];
    inputs.extend(o.bias);
    inputs.extend(o.dynamic.into_iter().flat_map(|(scale, zero)| [scale, zero]));
    let op =
        Op::MatMul(MatMul { transpose_b, bias: o.bias.is_some(), dynamic: o.dynamic.is_some(), activation: Activation::None });
    let y = l.emit(c, op, &inputs, ValueType { dtype: o.dtype, shape: shape.clone(), quant: o.quant });
    if vector_b {
        shape.pop();
    }
    if vector_a {
        shape.remove(shape.len() - usize::from(!vector_b) - 1);
    }
    Ok(l.reshape(c.name(), y, shape))
}

/// `alpha·A'·B' + beta·C`.
fn gemm(l: &mut Lower, c: &Call) -> Result<ValueId> {
    let dtype = c.out()?.dtype;
    ensure!(dtype == DType::F32, Unsupported, "a matrix product of {dtype} is not supported");
    let mut a = c.input(0)?;
    if c.node.flag("transA", false) {
        a = l.transpose(c.name(), a, &[1, 0]);
    }
    let (alpha, beta) = (c.node.float("alpha").unwrap_or(1.0), c.node.float("beta").unwrap_or(1.0));
    let bias = match c.optional(2) {
        Some(v) if beta != 1.0 => {
            let factor = l.f32_scalar(c.name(), beta);
            Some(l.binary(c, BinaryOp::Mul, v, factor))
        }
        other => other,
    };
    let n = c.out()?.shape.last().cloned();
    let fused = bias.filter(|&v| alpha == 1.0 && is_row(&l.shape(v), n.as_ref()));
    let vector = match (fused, n) {
        (Some(v), Some(n)) => Some(l.reshape(c.name(), v, vec![n])),
        _ => None,
    };
    let operands = Operands {
        a,
        b: c.input(1)?,
        transpose_b: c.node.flag("transB", false),
        bias: vector,
        dynamic: None,
        dtype,
        quant: None,
    };
    let mut y = emit(l, c, operands)?;
    if alpha != 1.0 {
        let factor = l.f32_scalar(c.name(), alpha);
        y = l.binary(c, BinaryOp::Mul, y, factor);
    }
    Ok(match bias {
        Some(v) if fused.is_none() => l.binary(c, BinaryOp::Add, y, v),
        _ => y,
    })
}

/// Whether a bias of this shape has one number per column.
fn is_row(shape: &[Dim], n: Option<&Dim>) -> bool {
    match shape {
        [.., last] => Some(last) == n && shape[..shape.len() - 1].iter().all(is_one),
        [] => false,
    }
}

fn fused_matmul(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    ensure!(
        !c.node.flag("transBatchA", false) && !c.node.flag("transBatchB", false),
        Unsupported,
        "transposed batch axes are not supported"
    );
    let mut a = c.input(0)?;
    let mut b = c.input(1)?;
    for (name, v) in [("transA", &mut a), ("transB", &mut b)] {
        let rank = l.rank(*v);
        if c.node.flag(name, false) && rank >= 2 {
            let mut perm: Vec<usize> = (0..rank).collect();
            perm.swap(rank - 1, rank - 2);
            *v = l.transpose(c.name(), *v, &perm);
        }
    }
    let mut y = emit(l, c, Operands { a, b, transpose_b: false, bias: None, dynamic: None, dtype: DType::F32, quant: None })?;
    let alpha = c.node.float("alpha").unwrap_or(1.0);
    if alpha != 1.0 {
        let factor = l.f32_scalar(c.name(), alpha);
        y = l.binary(c, BinaryOp::Mul, y, factor);
    }
    Ok(vec![y])
}

/// The activation that `com.microsoft` operators have as attributes.
pub(super) fn fused_activation(l: &mut Lower, c: &Call, y: ValueId) -> Result<ValueId> {
    let params = c.node.floats("activation_params").unwrap_or(&[]);
    let param = |i: usize, name: &str, default: f32| params.get(i).copied().or(c.node.float(name)).unwrap_or(default);
    let op = match c.node.string("activation").unwrap_or("") {
        "" => return Ok(y),
        "Relu" => Unary::Clamp { lo: 0.0, hi: f32::INFINITY },
        "Clip" => {
            Unary::Clamp { lo: param(0, "activation_min", f32::NEG_INFINITY), hi: param(1, "activation_max", f32::INFINITY) }
        }
        "LeakyRelu" => Unary::LeakyRelu { alpha: param(0, "activation_alpha", 0.01) },
        "HardSigmoid" => Unary::HardSigmoid { alpha: param(0, "activation_alpha", 0.2), beta: param(1, "activation_beta", 0.5) },
        "Sigmoid" => Unary::Sigmoid,
        "Tanh" => Unary::Tanh,
        other => bail!(Unsupported, "the fused activation {other} is not supported"),
    };
    Ok(l.unary(c, op, y))
}
