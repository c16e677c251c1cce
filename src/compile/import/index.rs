//! Operators whose results say where something is: gathering by element or by tuple, one-hot vectors, triangles. They become arithmetic on
//! indices, comparisons and a plain Gather.

use alloc::{vec, vec::Vec};

use super::lower::{Call, Lower, Lowering, is_one};
use crate::{
    error::{Result, bail, ensure},
    graph::{
        Dim, Op, ValueId, ValueType,
        ops::{BinaryOp, ReduceOp},
    },
    tensor::{DType, Tensor},
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    Some(match op_type {
        "GatherElements" => |l, c| {
            let (x, indices) = (c.input(0)?, c.input(1)?);
            let axis = l.axis(c.node.int("axis").unwrap_or(0), l.rank(x))?;
            gather_elements(l, c, x, indices, axis).map(|v| vec![v])
        },
        "GatherND" => gather_nd,
        "OneHot" => one_hot,
        "Trilu" => triangle,
        "EyeLike" => eye,
        "Hardmax" => hardmax,
        "Compress" => compress,
        "ReverseSequence" => reverse_sequence,
        _ => return None,
    })
}

/// `0, 1, …, n − 1` along `axis` of a tensor of this rank.
pub(super) fn iota(l: &mut Lower, c: &Call, n: Dim, axis: usize, rank: usize) -> Result<ValueId> {
    let (zero, one) = (l.scalar_of(c.name(), DType::I64, 0.0)?, l.scalar_of(c.name(), DType::I64, 1.0)?);
    let y = l.emit(c, Op::Range, &[zero, one], ValueType::new(DType::I64, vec![n.clone()]));
    let mut shape = vec![Dim::fixed(1); rank];
    shape[axis] = n;
    Ok(l.reshape(c.name(), y, shape))
}

/// Dimensions as an i64 scalar.
pub(super) fn number(l: &mut Lower, c: &Call, dim: Dim) -> ValueId {
    let list = l.graph.add_dims(c.name(), vec![dim]);
    l.reshape(c.name(), list, Vec::new())
}

pub(super) fn product(dims: &[Dim]) -> Dim {
    dims.iter().cloned().fold(Dim::fixed(1), |a, b| a * b)
}

/// Indices that count from the end, made to count from the start.
fn from_start(l: &mut Lower, c: &Call, indices: ValueId, size: ValueId) -> Result<ValueId> {
    let zero = l.scalar_of(c.name(), DType::I64, 0.0)?;
    let negative = l.binary(c, BinaryOp::Less, indices, zero);
    let moved = l.binary(c, BinaryOp::Add, indices, size);
    let ty = ValueType::new(DType::I64, l.shape(indices));
    Ok(l.emit(c, Op::Where, &[negative, moved, indices], ty))
}

/// Numbers, in a tensor of this shape, of the elements at positions along `axis` whose other coordinates are those of the index itself.
pub(super) fn flat_elements(l: &mut Lower, c: &Call, shape: &[Dim], indices: ValueId, axis: usize) -> Result<ValueId> {
    let out = l.shape(indices);
    ensure!(shape.len() == out.len(), InvalidModel, "has indices of rank {} for rank {}", out.len(), shape.len());
    let rank = shape.len();
    let indices = l.cast(c, indices, DType::I64);
    let size = number(l, c, shape[axis].clone());
    let indices = from_start(l, c, indices, size)?;
    let stride = number(l, c, product(&shape[axis + 1..]));
    let mut flat = l.binary(c, BinaryOp::Mul, indices, stride);
    for other in (0..rank).filter(|&a| a != axis) {
        if is_one(&out[other]) {
            continue;
        }
        let steps = iota(l, c, out[other].clone(), other, rank)?;
        let stride = number(l, c, product(&shape[other + 1..]));
        let offset = l.binary(c, BinaryOp::Mul, steps, stride);
        flat = l.binary(c, BinaryOp::Add, flat, offset);
    }
    Ok(flat)
}

/// The elements of x at positions along `axis`; the other coordinates are those of the index itself.
pub(super) fn gather_elements(l: &mut Lower, c: &Call, x: ValueId, indices: ValueId, axis: usize) -> Result<ValueId> {
    let x = l.raw(x);
    let (shape, out) = (l.shape(x), l.shape(indices));
    let flat = flat_elements(l, c, &shape, indices, axis)?;
    let list = l.reshape(c.name(), x, vec![product(&shape)]);
    let ty = ValueType::new(l.dtype(x), out);
    Ok(l.emit(c, Op::Gather { axis: 0 }, &[list, flat], ty))
}

/// Numbers, in a tensor of this shape, of the rows at the tuples along the last axis of the indices, and how many axes are indexed, the
/// `batch` first ones included.
pub(super) fn flat_tuples(l: &mut Lower, c: &Call, shape: &[Dim], indices: ValueId, batch: usize) -> Result<(ValueId, usize)> {
    let indices = l.cast(c, indices, DType::I64);
    let tuples = l.shape(indices);
    let Some(k) = tuples.last().and_then(Dim::as_fixed) else {
        bail!(Unsupported, "the length of the index tuples is not known")
    };
    ensure!(batch < tuples.len() && batch + k <= shape.len(), InvalidModel, "has tuples of {k} for rank {}", shape.len());
    let indexed = &shape[batch..batch + k];
    let sizes = l.graph.add_dims(c.name(), indexed.to_vec());
    let strides = l.graph.add_dims(c.name(), (0..k).map(|i| product(&indexed[i + 1..])).collect());
    let indices = from_start(l, c, indices, sizes)?;
    let scaled = l.binary(c, BinaryOp::Mul, indices, strides);
    let lead = tuples[..tuples.len() - 1].to_vec();
    let sum = Op::Reduce { op: ReduceOp::Sum, axes: vec![lead.len()], keep_dims: false };
    let mut flat = l.emit(c, sum, &[scaled], ValueType::new(DType::I64, lead.clone()));
    if batch > 0 {
        let steps = iota(l, c, product(&shape[..batch]), 0, 1)?;
        let mut along = vec![Dim::fixed(1); lead.len()];
        along[..batch].clone_from_slice(&shape[..batch]);
        let steps = l.reshape(c.name(), steps, along);
        let stride = number(l, c, product(indexed));
        let offset = l.binary(c, BinaryOp::Mul, steps, stride);
        flat = l.binary(c, BinaryOp::Add, flat, offset);
    }
    Ok((flat, batch + k))
}

/// Slices of x at the tuples along the last axis of the indices.
fn gather_nd(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, indices) = (c.input(0)?, c.input(1)?);
    let x = l.raw(x);
    let shape = l.shape(x);
    let batch = usize::try_from(c.node.int("batch_dims").unwrap_or(0)).unwrap_or(usize::MAX);
    let (flat, depth) = flat_tuples(l, c, &shape, indices, batch)?;
    let rest = &shape[depth..];
    let rows = l.reshape(c.name(), x, [&[product(&shape[..depth])], rest].concat());
    let ty = ValueType::new(l.dtype(x), [&l.shape(flat), rest].concat());
    Ok(vec![l.emit(c, Op::Gather { axis: 0 }, &[rows, flat], ty)])
}

fn one_hot(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (indices, values, out) = (c.input(0)?, c.input(2)?, c.out()?);
    let rank = out.shape.len();
    let axis = l.axis(c.node.int("axis").unwrap_or(-1), rank)?;
    let depth = out.shape[axis].clone();
    let indices = l.cast(c, indices, DType::I64);
    let size = number(l, c, depth.clone());
    let indices = from_start(l, c, indices, size)?;
    let mut shape = l.shape(indices);
    shape.insert(axis, Dim::fixed(1));
    let indices = l.reshape(c.name(), indices, shape);
    let steps = iota(l, c, depth, axis, rank)?;
    let hit = l.binary(c, BinaryOp::Equal, indices, steps);
    let mut pick = |start: usize| {
        let ty = ValueType::new(l.dtype(values), vec![Dim::fixed(1)]);
        l.emit(c, Op::Slice { axis: 0, start: Dim::fixed(start), step: 1 }, &[values], ty)
    };
    let (off, on) = (pick(0), pick(1));
    Ok(vec![l.emit(c, Op::Where, &[hit, on, off], out)])
}

/// Column number minus row number, of the last two axes.
fn diagonals(l: &mut Lower, c: &Call, shape: &[Dim]) -> Result<ValueId> {
    let [.., h, w] = shape else { bail!(InvalidModel, "needs a matrix, has rank {}", shape.len()) };
    let (rows, columns) = (iota(l, c, h.clone(), 0, 2)?, iota(l, c, w.clone(), 0, 1)?);
    Ok(l.binary(c, BinaryOp::Sub, columns, rows))
}

fn triangle(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let x = c.input(0)?;
    let x = l.raw(x);
    let k = match c.optional(1) {
        Some(v) => match l.const_ints(v).as_deref() {
            Some([k]) => *k,
            _ => bail!(Unsupported, "the diagonal is not constant"),
        },
        None => 0,
    };
    let upper = c.node.flag("upper", true);
    let diagonal = diagonals(l, c, &l.shape(x))?;
    let k = l.graph.add_const(c.name(), &Tensor::scalar(k));
    let kept = l.binary(c, if upper { BinaryOp::GreaterOrEqual } else { BinaryOp::LessOrEqual }, diagonal, k);
    let ty = c.out()?;
    let zero = l.graph.add_const(c.name(), &Tensor::zeros(ty.dtype, &[])?);
    Ok(vec![l.emit(c, Op::Where, &[kept, x, zero], ty)])
}

fn eye(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let ty = c.out()?;
    let diagonal = diagonals(l, c, &ty.shape)?;
    let k = l.graph.add_const(c.name(), &Tensor::scalar(c.node.int("k").unwrap_or(0)));
    let hit = l.binary(c, BinaryOp::Equal, diagonal, k);
    Ok(vec![l.cast(c, hit, ty.dtype)])
}

/// 1 at the first maximum, 0 elsewhere.
fn hardmax(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let x = c.input(0)?;
    let shape = l.shape(x);
    let flattens = c.node.opset < 13;
    let mut axis = l.axis(c.node.int("axis").unwrap_or(if flattens { 1 } else { -1 }), shape.len().max(1))?;
    let mut y = x;
    if flattens {
        // The old operator takes all axes from `axis` on as one.
        y = l.reshape(c.name(), x, vec![product(&shape[..axis]), product(&shape[axis..])]);
        axis = 1;
    }
    let mut narrow = l.shape(y);
    let (size, rank) = (narrow[axis].clone(), narrow.len());
    narrow[axis] = Dim::fixed(1);
    let arg = Op::Reduce { op: ReduceOp::ArgMax, axes: vec![axis], keep_dims: true };
    let best = l.emit(c, arg, &[y], ValueType::new(DType::I64, narrow));
    let steps = iota(l, c, size, axis, rank)?;
    let hit = l.binary(c, BinaryOp::Equal, best, steps);
    let y = l.cast(c, hit, c.out()?.dtype);
    Ok(vec![l.reshape(c.name(), y, shape)])
}

/// Each row reversed up to its length.
fn reverse_sequence(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, lengths) = (c.input(0)?, c.input(1)?);
    let shape = l.shape(x);
    let rank = shape.len();
    let time = l.axis(c.node.int("time_axis").unwrap_or(0), rank)?;
    let batch = l.axis(c.node.int("batch_axis").unwrap_or(1), rank)?;
    ensure!(time != batch && l.rank(lengths) == 1, InvalidModel, "has one axis for both time and batch, or no list of lengths");
    let lengths = l.cast(c, lengths, DType::I64);
    let mut along = vec![Dim::fixed(1); rank];
    along[batch] = shape[batch].clone();
    let lengths = l.reshape(c.name(), lengths, along);
    let steps = iota(l, c, shape[time].clone(), time, rank)?;
    let one = l.scalar_of(c.name(), DType::I64, 1.0)?;
    let last = l.binary(c, BinaryOp::Sub, lengths, one);
    let reversed = l.binary(c, BinaryOp::Sub, last, steps);
    let inside = l.binary(c, BinaryOp::Less, steps, lengths);
    let ty = ValueType::new(DType::I64, l.shape(reversed));
    let picks = l.emit(c, Op::Where, &[inside, reversed, steps], ty);
    let picks = l.emit(c, Op::Expand, &[picks], ValueType::new(DType::I64, shape));
    Ok(vec![gather_elements(l, c, x, picks, time)?])
}

/// The entries along an axis for which a constant condition holds.
fn compress(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, condition) = (c.input(0)?, c.input(1)?);
    let x = l.raw(x);
    let Some(condition) = l.graph.const_tensor(condition) else { bail!(Unsupported, "the condition is not constant") };
    let kept: Vec<i64> = (0i64..).zip(condition.bytes()).filter(|(_, b)| **b != 0).map(|(i, _)| i).collect();
    let (x, axis) = match c.node.int("axis") {
        Some(axis) => (x, l.axis(axis, l.rank(x))?),
        None => {
            let all = product(&l.shape(x));
            (l.reshape(c.name(), x, vec![all]), 0)
        }
    };
    let indices = l.graph.add_const(c.name(), &Tensor::from_slice(&[kept.len()], &kept)?);
    let ty = c.out()?;
    Ok(vec![l.emit(c, Op::Gather { axis }, &[x, indices], ty)])
}
