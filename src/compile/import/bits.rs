//! The bits of integers.

use alloc::{vec, vec::Vec};

use super::lower::{Call, Lower, Lowering};
use crate::{
    error::{Result, bail, ensure},
    graph::{Op, ValueId, ValueType, ops::BinaryOp},
    tensor::{DType, Tensor},
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    Some(match op_type {
        "BitwiseAnd" => |l, c| combine(l, c, BinaryOp::BitAnd),
        "BitwiseOr" => |l, c| combine(l, c, BinaryOp::BitOr),
        "BitwiseXor" => |l, c| combine(l, c, BinaryOp::BitXor),
        "BitwiseNot" => |l, c| {
            let x = c.input(0)?;
            let x = l.raw(x);
            let dtype = l.dtype(x);
            let ones = l.graph.add_const(c.name(), &Tensor::scalar(-1i64));
            let x = l.cast(c, x, DType::I64);
            let y = l.binary(c, BinaryOp::BitXor, x, ones);
            Ok(vec![l.cast(c, y, dtype)])
        },
        "BitShift" => shift,
        "BitCast" => bit_cast,
        _ => return None,
    })
}

/// In 64 bits, of which the cast back keeps those that the type has.
fn combine(l: &mut Lower, c: &Call, op: BinaryOp) -> Result<Vec<ValueId>> {
    let (a, b) = (c.input(0)?, c.input(1)?);
    let dtype = l.dtype(a);
    let (a, b) = (l.raw(a), l.raw(b));
    let (a, b) = (l.cast(c, a, DType::I64), l.cast(c, b, DType::I64));
    let y = l.binary(c, op, a, b);
    Ok(vec![l.cast(c, y, dtype)])
}

fn shift(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    match c.node.string("direction") {
        Some("LEFT") => combine(l, c, BinaryOp::ShiftLeft),
        // A negative amount, which unsigned 64-bit ones can only look like, is as good as a large one.
        Some("RIGHT") if l.dtype(c.input(0)?) == DType::U64 => shift_unsigned(l, c),
        Some("RIGHT") => combine(l, c, BinaryOp::ShiftRight),
        other => bail!(InvalidModel, "has the direction {other:?}"),
    }
}

/// The topmost bit is a sign to the wide shift: it is taken away after a shift by one, and the rest of the shift follows.
fn shift_unsigned(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, amount) = (c.input(0)?, c.input(1)?);
    let (x, amount) = (l.cast(c, x, DType::I64), l.cast(c, amount, DType::I64));
    let mut number = |v: i64| l.graph.add_const(c.name(), &Tensor::scalar(v));
    let (zero, one, mask) = (number(0), number(1), number(i64::MAX));
    let half = l.binary(c, BinaryOp::ShiftRight, x, one);
    let half = l.binary(c, BinaryOp::BitAnd, half, mask);
    let rest = l.binary(c, BinaryOp::Sub, amount, one);
    let shifted = l.binary(c, BinaryOp::ShiftRight, half, rest);
    let none = l.binary(c, BinaryOp::Equal, amount, zero);
    let ty = ValueType::new(DType::I64, l.shape(shifted));
    let y = l.emit(c, Op::Where, &[none, x, shifted], ty);
    Ok(vec![l.cast(c, y, DType::U64)])
}

/// The same bytes as another type of the same size.
fn bit_cast(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, ty) = (c.input(0)?, c.out()?);
    let x = l.raw(x);
    ensure!(
        l.dtype(x).size() == ty.dtype.size() && !matches!(ty.dtype, DType::String | DType::Bool),
        Unsupported,
        "the bits of {} are not those of {}",
        l.dtype(x),
        ty.dtype
    );
    if let Some(tensor) = l.graph.const_tensor(x) {
        return Ok(vec![l.graph.add_const(c.name(), &Tensor::from_bytes(ty.dtype, tensor.shape(), tensor.bytes())?)]);
    }
    Ok(vec![l.emit(c, Op::Reinterpret, &[x], ty)])
}
