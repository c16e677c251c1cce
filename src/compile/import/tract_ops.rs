//! tract's own operators, as far as they appear in what it makes of ONNX operators that have no lowering here.

use alloc::{vec, vec::Vec};

use tract_onnx::tract_core::{
    internal::*,
    ops::{cast::Cast, change_axes::AxisOp, identity::Identity},
};

use super::lower::Lower;
use crate::{
    error::{Result, bail},
    graph::{Op, ValueId, ValueType},
};

/// Lowers a node of tract's.
pub(super) fn lower(l: &mut Lower, node: &TypedNode, inputs: &[ValueId], outputs: &[ValueType]) -> Result<Vec<ValueId>> {
    let ([x, ..], [ty]) = (inputs, outputs) else {
        bail!(Unsupported, "there is no lowering for this operator");
    };
    if node.op_is::<Identity>() {
        return Ok(vec![*x]);
    }
    if node.op_is::<Cast>() {
        let x = l.raw(*x);
        return Ok(vec![l.graph.add_node(&node.name, Op::Cast, &[x], ty.clone())]);
    }
    match node.op_as::<AxisOp>() {
        Some(AxisOp::Add(_) | AxisOp::Rm(_) | AxisOp::Reshape(..)) => Ok(vec![l.reshape(&node.name, *x, ty.shape.clone())]),
        Some(AxisOp::Move(from, to)) => {
            let mut perm: Vec<usize> = (0..l.rank(*x)).collect();
            let axis = perm.remove(*from);
            perm.insert(*to, axis);
            Ok(vec![l.transpose(&node.name, *x, &perm)])
        }
        None => bail!(Unsupported, "there is no lowering for this operator"),
    }
}
