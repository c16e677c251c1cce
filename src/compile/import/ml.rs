//! Operators of `ai.onnx.ml`, which classical models are exported with.

use alloc::vec;

use super::lower::{Call, Lower, Lowering};
use crate::{
    error::{Result, ensure},
    graph::{ValueId, ops::BinaryOp},
    tensor::{DType, Tensor},
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    Some(match op_type {
        "Scaler" => scaler,
        _ => return None,
    })
}

/// `(x − offset) · scale`.
fn scaler(l: &mut Lower, c: &Call) -> Result<alloc::vec::Vec<ValueId>> {
    let x = c.input(0)?;
    let mut y = l.cast(c, x, DType::F32);
    for (name, op) in [("offset", BinaryOp::Sub), ("scale", BinaryOp::Mul)] {
        if let Some(values) = c.node.floats(name) {
            ensure!(!values.is_empty(), InvalidModel, "has an empty {name}");
            let values = l.graph.add_const(c.name(), &Tensor::from_slice(&[values.len()], values)?);
            y = l.binary(c, op, y, values);
        }
    }
    Ok(vec![y])
}
