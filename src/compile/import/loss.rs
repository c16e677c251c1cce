//! The losses of classifiers.

use alloc::{vec, vec::Vec};

use super::{
    index::gather_elements,
    lower::{Call, Lower, Lowering},
};
use crate::{
    error::{Result, bail, ensure},
    graph::{
        Dim, Op, ValueId, ValueType,
        ops::{BinaryOp, ReduceOp, Unary},
    },
    tensor::{DType, Tensor},
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    Some(match op_type {
        "NegativeLogLikelihoodLoss" => |l, c| {
            let x = c.input(0)?;
            loss(l, c, x).map(|v| vec![v])
        },
        "SoftmaxCrossEntropyLoss" => |l, c| {
            let x = c.input(0)?;
            ensure!(l.rank(x) >= 2, InvalidModel, "needs scores of rank 2 or more");
            let ty = ValueType::new(l.dtype(x), l.shape(x));
            let log = l.emit(c, Op::Softmax { axis: 1, log: true }, &[x], ty);
            Ok(vec![loss(l, c, log)?, log])
        },
        _ => return None,
    })
}

/// `−weight[target] · x[target]`, along axis 1; targets that are to be ignored weigh nothing.
fn loss(l: &mut Lower, c: &Call, x: ValueId) -> Result<ValueId> {
    let target = c.input(1)?;
    let shape = l.shape(x);
    ensure!(shape.len() >= 2 && l.dtype(x) == DType::F32, Unsupported, "needs float32 scores of rank 2 or more");
    let mut target = l.cast(c, target, DType::I64);
    let mut counted = None;
    if let Some(ignored) = c.node.int("ignore_index") {
        let ignored = l.graph.add_const(c.name(), &Tensor::scalar(ignored));
        let skip = l.binary(c, BinaryOp::Equal, target, ignored);
        let zero = l.scalar_of(c.name(), DType::I64, 0.0)?;
        let ty = ValueType::new(DType::I64, l.shape(target));
        target = l.emit(c, Op::Where, &[skip, zero, target], ty);
        let kept = l.unary(c, Unary::Not, skip);
        counted = Some(l.cast(c, kept, DType::F32));
    }
    let flat = l.shape(target);
    let mut column = flat.clone();
    column.insert(1, Dim::fixed(1));
    let indices = l.reshape(c.name(), target, column);
    let picked = gather_elements(l, c, x, indices, 1)?;
    let picked = l.reshape(c.name(), picked, flat.clone());
    let mut losses = l.unary(c, Unary::Neg, picked);
    let mut weights = counted;
    if let Some(table) = c.optional(2) {
        let ty = ValueType::new(DType::F32, flat);
        let weight = l.emit(c, Op::Gather { axis: 0 }, &[table, target], ty);
        weights = Some(match counted {
            Some(counted) => l.binary(c, BinaryOp::Mul, weight, counted),
            None => weight,
        });
    }
    if let Some(weights) = weights {
        losses = l.binary(c, BinaryOp::Mul, losses, weights);
    }
    match (c.node.string("reduction").unwrap_or("mean"), weights) {
        ("none", _) => Ok(losses),
        ("sum", _) => Ok(total(l, c, losses, ReduceOp::Sum)),
        ("mean", None) => Ok(total(l, c, losses, ReduceOp::Mean)),
        ("mean", Some(weights)) => {
            let sum = total(l, c, losses, ReduceOp::Sum);
            let weight = total(l, c, weights, ReduceOp::Sum);
            Ok(l.binary(c, BinaryOp::Div, sum, weight))
        }
        (other, _) => bail!(InvalidModel, "has the reduction '{other}'"),
    }
}

fn total(l: &mut Lower, c: &Call, x: ValueId, op: ReduceOp) -> ValueId {
    let axes: Vec<usize> = (0..l.rank(x)).collect();
    l.emit(c, Op::Reduce { op, axes, keep_dims: false }, &[x], ValueType::new(DType::F32, Vec::new()))
}
