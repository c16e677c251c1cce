//! `com.microsoft.GatherBlockQuantized`: rows of a table of few bits, whose blocks share a scale and a zero point.
//!
//! The table stays as it is stored; the rows that are looked up become float32.

use alloc::vec::Vec;

use super::lower::{Call, Lower, Lowering};
use crate::{
    error::{Result, bail, ensure},
    graph::{Dim, Op, ValueId, ValueType, ops::BinaryOp},
    tensor::{DType, Tensor},
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    (op_type == "GatherBlockQuantized").then_some(gather)
}

/// Set where the table's bytes hold several numbers each: types of less than a byte are held unpacked, and look the same.
pub(super) const PACKED: &str = "nearside.packed";

/// How many numbers a byte of the table holds.
pub(super) fn per_byte(node: &super::OnnxNode) -> usize {
    match (node.flag(PACKED, false), node.int("bits").unwrap_or(4)) {
        (true, bits @ (2 | 4)) => 8 / bits as usize,
        _ => 1,
    }
}

fn gather(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (table, indices, scales) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let out = c.out()?;
    let rank = l.rank(table);
    ensure!(rank > 0 && l.rank(scales) == rank, InvalidModel, "has a table and scales of different ranks");
    let axis = l.axis(c.node.int("gather_axis").unwrap_or(0), rank)?;
    let along = l.axis(c.node.int("quantize_axis").unwrap_or(1), rank)?;
    let block = c.node.int("block_size").and_then(|b| usize::try_from(b).ok()).unwrap_or(128);
    let (per_byte, bits) = (per_byte(c.node), c.node.int("bits").unwrap_or(4));
    ensure!(axis != along && block > 0, InvalidModel, "gathers along the axis of its blocks");
    ensure!(per_byte == 1 || along == rank - 1, InvalidModel, "has packed numbers along another axis than its blocks");
    let indices = l.cast(c, indices, DType::I64);
    let added = l.rank(indices);
    let along = if along > axis { along + added - 1 } else { along };
    let rows = |l: &mut Lower, x: ValueId| {
        let mut shape = l.shape(x);
        shape.splice(axis..=axis, l.shape(indices));
        let ty = ValueType::new(l.dtype(x), shape);
        l.emit(c, Op::Gather { axis }, &[x, indices], ty)
    };
    let q = rows(l, table);
    let q = unpacked(l, c, q, per_byte)?;
    let Some(count) = l.shape(q)[along].as_fixed() else { bail!(Unsupported, "the size of the table is not known") };
    let places: Vec<i64> = (0..count).map(|i| (i / block) as i64).collect();
    let places = l.graph.add_const(c.name(), &Tensor::from_slice(&[count], &places)?);
    let each = |l: &mut Lower, x: ValueId| {
        let mut shape = l.shape(x);
        shape[along] = Dim::fixed(count);
        let ty = ValueType::new(l.dtype(x), shape);
        l.emit(c, Op::Gather { axis: along }, &[x, places], ty)
    };
    let scales = l.cast(c, scales, DType::F32);
    let scale = rows(l, scales);
    let scale = each(l, scale);
    let mut x = l.cast(c, q, DType::F32);
    let zero = match c.optional(3) {
        Some(zeros) => {
            let zeros = rows(l, zeros);
            let zeros = unpacked(l, c, zeros, per_byte)?;
            let zeros = each(l, zeros);
            Some(l.cast(c, zeros, DType::F32))
        }
        None if c.node.flag(PACKED, false) => Some(l.f32_scalar(c.name(), f32::from(1u8 << (bits.clamp(1, 8) - 1)))),
        None => None,
    };
    if let Some(zero) = zero {
        x = l.binary(c, BinaryOp::Sub, x, zero);
    }
    let y = l.binary(c, BinaryOp::Mul, x, scale);
    Ok(alloc::vec![l.reshape(c.name(), y, out.shape)])
}

/// The numbers of the bytes of x along its last axis, the lowest bits first.
fn unpacked(l: &mut Lower, c: &Call, x: ValueId, per_byte: usize) -> Result<ValueId> {
    if per_byte == 1 {
        return Ok(x);
    }
    let bits = 8 / per_byte as i64;
    let x = l.cast(c, x, DType::I64);
    let mut shape = l.shape(x);
    let axis = shape.len();
    shape.push(Dim::fixed(1));
    let x = l.reshape(c.name(), x, shape.clone());
    let mask = l.graph.add_const(c.name(), &Tensor::scalar((1i64 << bits) - 1));
    let mut parts = Vec::new();
    for i in 0..per_byte as i64 {
        let shift = l.graph.add_const(c.name(), &Tensor::scalar(i * bits));
        let part = l.binary(c, BinaryOp::ShiftRight, x, shift);
        parts.push(l.binary(c, BinaryOp::BitAnd, part, mask));
    }
    shape[axis] = Dim::fixed(per_byte);
    let all = l.emit(c, Op::Concat { axis }, &parts, ValueType::new(DType::I64, shape.clone()));
    shape.pop();
    if let Some(last) = shape.last_mut() {
        *last = last.clone() * Dim::fixed(per_byte);
    }
    Ok(l.reshape(c.name(), all, shape))
}
