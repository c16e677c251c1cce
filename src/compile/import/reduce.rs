//! Reductions and softmax.

use alloc::{vec, vec::Vec};

use super::lower::{Call, Lower, Lowering};
use crate::{
    error::{Result, ensure},
    graph::{
        Dim, Op, ValueId, ValueType,
        ops::{BinaryOp, ReduceOp},
    },
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    Some(match op_type {
        "ReduceSum" => |l, c| reduce(l, c, ReduceOp::Sum),
        "ReduceMean" => |l, c| reduce(l, c, ReduceOp::Mean),
        "ReduceMin" => |l, c| reduce(l, c, ReduceOp::Min),
        "ReduceMax" => |l, c| reduce(l, c, ReduceOp::Max),
        "ReduceProd" => |l, c| reduce(l, c, ReduceOp::Prod),
        "ReduceSumSquare" => |l, c| reduce(l, c, ReduceOp::SumSquare),
        "ReduceL1" => |l, c| reduce(l, c, ReduceOp::L1),
        "ReduceL2" => |l, c| reduce(l, c, ReduceOp::L2),
        "ReduceLogSum" => |l, c| reduce(l, c, ReduceOp::LogSum),
        "ReduceLogSumExp" => |l, c| reduce(l, c, ReduceOp::LogSumExp),
        "ArgMax" => |l, c| arg(l, c, ReduceOp::ArgMax),
        "ArgMin" => |l, c| arg(l, c, ReduceOp::ArgMin),
        "Softmax" => |l, c| {
            let x = c.input(0)?;
            softmax(l, c, x, false).map(|v| vec![v])
        },
        "LogSoftmax" => |l, c| {
            let x = c.input(0)?;
            softmax(l, c, x, true).map(|v| vec![v])
        },
        _ => return None,
    })
}

fn reduce(l: &mut Lower, c: &Call, op: ReduceOp) -> Result<Vec<ValueId>> {
    let x = c.input(0)?;
    let x = l.raw(x);
    let rank = l.rank(x);
    let axes = match (c.node.ints("axes"), c.optional(1)) {
        (Some(axes), _) => Some(axes.to_vec()),
        (None, Some(v)) => {
            let axes = l.const_ints(v);
            ensure!(axes.is_some(), Unsupported, "the axes are not constant");
            axes
        }
        (None, None) => None,
    };
    let axes = axes.filter(|a| !a.is_empty());
    if axes.is_none() && c.node.flag("noop_with_empty_axes", false) {
        return Ok(vec![x]);
    }
    let axes = l.axes(axes.as_deref(), rank)?;
    let ty = c.out()?;
    Ok(vec![l.emit(c, Op::Reduce { op, axes, keep_dims: c.node.flag("keepdims", true) }, &[x], ty)])
}

fn arg(l: &mut Lower, c: &Call, op: ReduceOp) -> Result<Vec<ValueId>> {
    let x = c.input(0)?;
    let x = l.raw(x);
    let axis = l.axis(c.node.int("axis").unwrap_or(0), l.rank(x))?;
    let (ty, keep_dims) = (c.out()?, c.node.flag("keepdims", true));
    let reduce = Op::Reduce { op, axes: vec![axis], keep_dims };
    if !c.node.flag("select_last_index", false) {
        return Ok(vec![l.emit(c, reduce, &[x], ty)]);
    }
    // The last of equals is the first from the end.
    let last = l.shape(x)[axis].clone() - Dim::fixed(1);
    let reversed = ValueType::new(l.dtype(x), l.shape(x));
    let x = l.emit(c, Op::Slice { axis, start: last.clone(), step: -1 }, &[x], reversed);
    let from_end = l.emit(c, reduce, &[x], ty);
    let last = l.graph.add_dims(c.name(), vec![last]);
    let last = l.reshape(c.name(), last, Vec::new());
    Ok(vec![l.binary(c, BinaryOp::Sub, last, from_end)])
}

/// Softmax of `x` by the call's attributes.
pub(super) fn softmax(l: &mut Lower, c: &Call, x: ValueId, log: bool) -> Result<ValueId> {
    let rank = l.rank(x);
    let flattens = c.node.opset < 13;
    let axis = l.axis(c.node.int("axis").unwrap_or(if flattens { 1 } else { -1 }), rank.max(1))?;
    let shape = l.shape(x);
    let dtype = l.dtype(x);
    let trailing: Vec<Dim> = shape.iter().skip(axis + 1).filter(|d| d.as_fixed() != Some(1)).cloned().collect();
    if !flattens || trailing.is_empty() {
        let ty = ValueType::new(dtype, shape);
        return Ok(l.emit(c, Op::Softmax { axis, log }, &[x], ty));
    }
    // The old operator takes all axes from `axis` on as one.
    let rows = shape[..axis].iter().cloned().fold(Dim::fixed(1), |a, b| a * b);
    let columns = shape[axis..].iter().cloned().fold(Dim::fixed(1), |a, b| a * b);
    let flat = l.reshape(c.name(), x, vec![rows, columns]);
    let ty = ValueType::new(dtype, l.shape(flat));
    let y = l.emit(c, Op::Softmax { axis: 1, log }, &[flat], ty);
    Ok(l.reshape(c.name(), y, shape))
}
