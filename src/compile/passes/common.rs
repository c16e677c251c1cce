//! Small questions that several passes ask of a graph.

use alloc::{format, string::String, vec::Vec};

use super::rewrite::Rewrite;
use crate::{
    graph::{
        Dim, Node, Op, Quant, ValueId,
        ops::{Activation, BinaryOp},
    },
    tensor::DType,
};

/// `Conv 'stem'`, as reports name a node.
pub(super) fn label(node: &Node) -> String {
    format!("{} '{}'", node.op.name(), node.name)
}

/// The inputs of the node that produces `v`, if it is this plain elementwise function.
pub(super) fn binary_inputs(rw: &Rewrite, v: ValueId, op: BinaryOp) -> Option<[ValueId; 2]> {
    let node = rw.source(v)?;
    match (&node.op, node.inputs.as_slice()) {
        (Op::Binary(b), [x, y]) if b.op == op && b.activation == Activation::None => Some([*x, *y]),
        _ => None,
    }
}

/// The number, if `v` is an f32 constant whose elements are all equal.
pub(super) fn uniform(rw: &Rewrite, v: ValueId) -> Option<f32> {
    if !rw.is_const(v) || rw.dtype(v) != DType::F32 {
        return None;
    }
    let elements = rw.graph().const_f32(v)?;
    let (first, rest) = elements.split_first()?;
    rest.iter().all(|e| e.to_bits() == first.to_bits()).then_some(*first)
}

/// The number, if `v` is an f32 constant of one element: cheaper than [`uniform`].
pub(super) fn scalar(rw: &Rewrite, v: ValueId) -> Option<f32> {
    rw.ty(v).shape.iter().all(|d| d.as_fixed() == Some(1)).then(|| uniform(rw, v))?
}

/// Whether a number is `expected` up to f32 rounding of how the exporter computed it.
pub(super) fn close(value: f32, expected: f32) -> bool {
    (value - expected).abs() <= 1e-5 * expected.abs().max(1e-20)
}

/// Whether the constant holds one number per index of the last axis (or one for all) when it is broadcast to rank `rank`.
pub(super) fn is_per_last_axis(shape: &[Dim], rank: usize, last: &Dim) -> bool {
    let Some((innermost, outer)) = shape.split_last() else { return true };
    shape.len() <= rank && outer.iter().all(|d| d.as_fixed() == Some(1)) && (innermost == last || innermost.as_fixed() == Some(1))
}

/// The smallest and greatest stored integer of an 8-bit type.
pub(super) fn byte_range(dtype: DType) -> Option<(i32, i32)> {
    match dtype {
        DType::U8 => Some((0, 255)),
        DType::I8 => Some((-128, 127)),
        _ => None,
    }
}

/// The stored integer of `real`, before saturation.
pub(super) fn quantized(real: f32, scale: f32, zero_point: i32) -> f64 {
    (f64::from(real) / f64::from(scale)).round_ties_even() + f64::from(zero_point)
}

/// Whether `real` is exactly one of the values that the 8-bit type can hold.
pub(super) fn representable(real: f32, dtype: DType, quant: &Quant) -> bool {
    let (Some((lo, hi)), Some((scale, zero))) = (byte_range(dtype), quant.as_per_tensor()) else { return false };
    let q = quantized(real, scale, zero);
    (f64::from(lo)..=f64::from(hi)).contains(&q) && ((q - f64::from(zero)) as f32) * scale == real
}

/// Composes two permutations: first `p`, then `q`.
pub(super) fn compose(p: &[usize], q: &[usize]) -> Vec<usize> {
    q.iter().map(|&i| p[i]).collect()
}

/// The permutation that undoes `p`.
pub(super) fn inverse(p: &[usize]) -> Vec<usize> {
    let mut out = alloc::vec![0; p.len()];
    for (i, &a) in p.iter().enumerate() {
        out[a] = i;
    }
    out
}

/// `items` in the order of the permutation.
pub(super) fn permuted<T: Clone>(items: &[T], perm: &[usize]) -> Vec<T> {
    perm.iter().map(|&i| items[i].clone()).collect()
}

/// Whether a permutation only moves axes of size 1, so that the elements stay in order.
pub(super) fn moves_only_units(shape: &[Dim], perm: &[usize]) -> bool {
    let kept: Vec<usize> = perm.iter().copied().filter(|&i| shape[i].as_fixed() != Some(1)).collect();
    kept.is_sorted()
}

/// Whether `v` is a constant, or one that was only dequantized or moved.
pub(super) fn is_constant_like(rw: &Rewrite, v: ValueId) -> bool {
    let mut v = v;
    for _ in 0..8 {
        if rw.is_const(v) {
            return true;
        }
        match rw.source(v) {
            Some(Node { op: Op::Dequantize | Op::Reshape | Op::Transpose { .. } | Op::Reinterpret, inputs, .. }) => v = inputs[0],
            _ => return false,
        }
    }
    false
}

/// The quantized value that `v` is the real value of, if it was dequantized.
pub(super) fn dequantized(rw: &Rewrite, v: ValueId) -> Option<ValueId> {
    let node = rw.source(v)?;
    (node.op == Op::Dequantize).then(|| node.inputs[0])
}
