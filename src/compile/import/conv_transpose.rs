//! Transposed convolution as an ordinary one.
//!
//! With stride `s`, every `s`-th pixel of the result sees the same taps of the kernel. So a convolution with `s` times the channels per
//! axis computes all of them from the small input, none multiplied with inserted zeros, and a transpose puts them side by side.

use alloc::{vec, vec::Vec};

use super::{
    conv::{self, Operands},
    lower::{Call, Lower, Lowering},
    node::OnnxNode,
};
use crate::{
    error::{Result, bail, ensure},
    graph::{
        Dim, Op, Quant, ValueId, ValueType,
        ops::{BinaryOp, Window},
    },
    tensor::{DType, Tensor},
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    (op_type == "ConvTranspose").then_some(conv_transpose)
}

/// One spatial axis.
#[derive(Debug, Clone, PartialEq)]
struct Axis {
    size: Dim,
    out: Dim,
    kernel: usize,
    stride: usize,
    dilation: usize,
    /// What the result lacks at its start.
    before: usize,
    /// How many more steps than the input's size the convolution makes.
    extra: usize,
}

impl Axis {
    /// The kernel with its dilation.
    fn span(&self) -> usize {
        self.dilation * (self.kernel - 1) + 1
    }

    /// Taps that one pixel of the result sees.
    fn taps(&self) -> usize {
        self.span().div_ceil(self.stride)
    }

    /// The kernel's index behind tap `tap` of the pixels with remainder `rest`; `None` for what the kernel does not have.
    fn index(&self, rest: usize, tap: usize) -> Option<usize> {
        let at = rest + self.stride * (self.taps() - 1 - tap);
        (at < self.span() && at.is_multiple_of(self.dilation)).then_some(at / self.dilation)
    }

    fn steps(&self) -> Dim {
        self.size.clone() + Dim::fixed(self.extra)
    }
}

fn conv_transpose(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (mut x, mut weight, ty) = (c.input(0)?, c.input(1)?, c.out()?);
    ensure!(ty.dtype == DType::F32, Unsupported, "a transposed convolution of {} is not supported", ty.dtype);
    let rank = l.rank(x);
    ensure!(
        (3..=4).contains(&rank),
        Unsupported,
        "a transposed convolution over {} axes is not supported",
        rank.saturating_sub(2)
    );
    ensure!(l.rank(weight) == rank, InvalidModel, "the weight has rank {}, the input {rank}", l.rank(weight));
    let mut axes = axes(l, c, x, weight, &ty.shape)?;
    if rank == 3 {
        for v in [&mut x, &mut weight] {
            let mut shape = l.shape(*v);
            shape.insert(2, Dim::fixed(1));
            *v = conv::lift(l, c, *v, shape);
        }
        let one = Dim::fixed(1);
        axes.insert(0, Axis { size: one.clone(), out: one, kernel: 1, stride: 1, dilation: 1, before: 0, extra: 0 });
    }
    let [h, w] = axes.as_slice() else { bail!(Internal, "an image has two axes") };
    let Some([channels, out, ..]) = l.ty(weight).fixed_shape().and_then(|s| <[usize; 4]>::try_from(s).ok()) else {
        bail!(Unsupported, "the weight's shape is not known");
    };
    let groups = usize::try_from(c.node.int("group").unwrap_or(1)).unwrap_or(0);
    ensure!(
        groups > 0 && channels.is_multiple_of(groups),
        InvalidModel,
        "{channels} channels do not divide into {groups} groups"
    );

    let phases = h.stride * w.stride;
    let order = Order { groups, phases, out };
    let map = weight_map(h, w, &order, channels / groups);
    let shape = [groups * phases * out, channels / groups, h.taps(), w.taps()];
    let weight = match regroup(l, weight, &shape, &map, Some(&order)) {
        Some(weight) => weight,
        None => gathered(l, c, weight, &shape, &map)?,
    };
    let bias_map: Vec<Option<usize>> = order.channels().map(|(group, _, o)| Some(group * out + o)).collect();
    let bias = c.optional(2).map(|v| regroup(l, v, &[bias_map.len()], &bias_map, None).ok_or(v));

    let window = Window {
        kernel: [h.taps(), w.taps()],
        strides: [1, 1],
        dilations: [1, 1],
        pads: [[h.taps() - 1, h.extra], [w.taps() - 1, w.extra]],
        ceil: false,
    };
    let batch = l.shape(x)[0].clone();
    let wide = vec![batch.clone(), Dim::fixed(shape[0]), h.steps(), w.steps()];
    let fused = bias.and_then(Result::ok);
    let operands = Operands { x, weight, bias: fused, dynamic: None, dtype: ty.dtype, quant: None };
    let mut y = conv::emit_window(l, c, operands, window, groups, &wide);

    if phases > 1 {
        let fixed = Dim::fixed;
        let apart = vec![batch.clone(), fixed(groups), fixed(h.stride), fixed(w.stride), fixed(out), h.steps(), w.steps()];
        let y7 = l.reshape(c.name(), y, apart);
        let y7 = l.transpose(c.name(), y7, &[0, 1, 4, 5, 2, 6, 3]);
        let joined = [h, w].map(|a| a.steps() * fixed(a.stride));
        let [rows, columns] = joined;
        y = l.reshape(c.name(), y7, vec![batch, fixed(groups * out), rows, columns]);
    }
    for (i, axis) in [h, w].into_iter().enumerate() {
        let mut shape = l.shape(y);
        if axis.before > 0 || shape[i + 2] != axis.out {
            shape[i + 2] = axis.out.clone();
            let op = Op::Slice { axis: i + 2, start: Dim::fixed(axis.before), step: 1 };
            y = l.emit(c, op, &[y], ValueType::new(ty.dtype, shape));
        }
    }
    y = l.reshape(c.name(), y, ty.shape);
    if let Some(Err(computed)) = bias {
        let mut shape = vec![Dim::fixed(1); rank - 1];
        shape[0] = Dim::fixed(groups * out);
        let computed = l.reshape(c.name(), computed, shape);
        y = l.binary(c, BinaryOp::Add, y, computed);
    }
    Ok(vec![y])
}

fn axes(l: &Lower, c: &Call, x: ValueId, weight: ValueId, out: &[Dim]) -> Result<Vec<Axis>> {
    let sizes = l.shape(x).split_off(2);
    let Some(kernel) = l.shape(weight)[2..].iter().map(Dim::as_fixed).collect::<Option<Vec<usize>>>() else {
        bail!(Unsupported, "the kernel's size is not known");
    };
    let known: Vec<Option<i64>> = sizes.iter().map(|d| d.as_fixed().map(|n| n as i64)).collect();
    let geometries = geometry(c.node, &kernel, &known)?;
    let mut axes = Vec::new();
    for (i, (g, size)) in geometries.into_iter().zip(sizes).enumerate() {
        ensure!(g.before >= 0, Unsupported, "negative pads are not supported");
        let extra = (g.span - 1 + g.added - g.after).div_euclid(g.stride);
        let Ok(extra) = usize::try_from(extra.max(0)) else { bail!(InvalidModel, "has padding out of range") };
        let Some(out) = out.get(i + 2).cloned() else { bail!(InvalidModel, "has a result of another rank") };
        if let (Some(n), Some(found)) = (known[i], out.as_fixed()) {
            let length = g.stride * (n - 1) + g.offset();
            ensure!(found as i64 == length, InvalidModel, "its size along axis {i} is {length}, which is not {found}");
        }
        axes.push(Axis {
            size,
            out,
            kernel: kernel[i],
            stride: g.stride as usize,
            dilation: g.dilation as usize,
            before: g.before as usize,
            extra,
        });
    }
    Ok(axes)
}

/// The attributes of one spatial axis.
pub(super) struct Geometry {
    pub stride: i64,
    dilation: i64,
    /// The kernel with its dilation.
    span: i64,
    /// `output_padding`.
    added: i64,
    /// Padding.
    before: i64,
    after: i64,
}

impl Geometry {
    /// The result's size is `stride · (size − 1)` and this.
    pub(super) fn offset(&self) -> i64 {
        self.span + self.added - self.before - self.after
    }
}

/// The attributes by spatial axis, for a kernel and an input of these sizes.
pub(super) fn geometry(node: &OnnxNode, kernel: &[usize], sizes: &[Option<i64>]) -> Result<Vec<Geometry>> {
    let n = sizes.len();
    ensure!(kernel.len() == n, InvalidModel, "has a kernel of {} axes for an input of {n}", kernel.len());
    let list = |name: &str, default: i64| -> Result<Vec<i64>> {
        let values = node.ints(name).filter(|v| !v.is_empty());
        let values = values.map_or(vec![default; n], <[i64]>::to_vec);
        ensure!(values.len() == n, InvalidModel, "has {} {name} for {n} axes", values.len());
        Ok(values)
    };
    let (strides, dilations, output_padding) = (list("strides", 1)?, list("dilations", 1)?, list("output_padding", 0)?);
    let pads = node.ints("pads").filter(|p| !p.is_empty());
    ensure!(pads.is_none_or(|p| p.len() == 2 * n), InvalidModel, "has {} pads for {n} axes", pads.map_or(0, <[i64]>::len));
    let auto = node.string("auto_pad").unwrap_or("NOTSET");
    let asked = node.ints("output_shape").filter(|s| s.len() >= n).map(|s| s[s.len() - n..].to_vec());
    let axis = |i: usize| -> Result<Geometry> {
        let (stride, dilation, added) = (strides[i], dilations[i], output_padding[i]);
        ensure!(kernel[i] > 0, InvalidModel, "has a kernel without size");
        ensure!(stride > 0 && dilation > 0 && added >= 0, InvalidModel, "has a stride, dilation or output padding out of range");
        let span = dilation.saturating_mul(kernel[i] as i64 - 1) + 1;
        let (before, after) = match (&asked, auto) {
            (Some(asked), _) => {
                let Some(size) = sizes[i] else { bail!(Unsupported, "output_shape needs a known input size") };
                shares(stride * (size - 1) + added + span - asked[i], auto)
            }
            (None, "SAME_UPPER" | "SAME_LOWER") => shares((span + added - stride).max(0), auto),
            (None, "VALID") => (0, 0),
            (None, _) => pads.map_or((0, 0), |p| (p[i], p[n + i])),
        };
        Ok(Geometry { stride, dilation, span, added, before, after })
    };
    (0..n).map(axis).collect()
}

/// Padding at the start and the end.
fn shares(total: i64, auto: &str) -> (i64, i64) {
    let half = total.div_euclid(2);
    if auto == "SAME_UPPER" { (half, total - half) } else { (total - half, half) }
}

/// The order of the wide convolution's channels: by group, then by the pixel's remainders, then by output channel of the group.
struct Order {
    groups: usize,
    phases: usize,
    out: usize,
}

impl Order {
    fn channels(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let (phases, out) = (self.phases, self.out);
        (0..self.groups).flat_map(move |g| (0..phases).flat_map(move |p| (0..out).map(move |o| (g, p, o))))
    }
}

/// For every element of the wide weight, the index of the one of `[C, O, KH, KW]` that it repeats.
fn weight_map(h: &Axis, w: &Axis, order: &Order, inner: usize) -> Vec<Option<usize>> {
    let mut map = Vec::new();
    for (group, phase, o) in order.channels() {
        let (row, column) = (phase / w.stride, phase % w.stride);
        for i in 0..inner {
            let channel = ((group * inner + i) * order.out + o) * h.kernel * w.kernel;
            for (t, u) in (0..h.taps()).flat_map(|t| (0..w.taps()).map(move |u| (t, u))) {
                let at = h.index(row, t).zip(w.index(column, u));
                map.push(at.map(|(kh, kw)| channel + kh * w.kernel + kw));
            }
        }
    }
    map
}

/// A constant, or what is dequantized from one, with its elements picked by `map`; zeros where that has none.
/// With `order`, scales along axis 1 follow the channels.
fn regroup(l: &mut Lower, v: ValueId, shape: &[usize], map: &[Option<usize>], order: Option<&Order>) -> Option<ValueId> {
    if let Some(node) = l.graph.nodes.iter().rev().find(|n| n.outputs.contains(&v)).cloned()
        && node.op == Op::Dequantize
    {
        let stored = regroup(l, node.inputs[0], shape, map, order)?;
        let ty = ValueType::new(DType::F32, super::lower::fixed(shape));
        return Some(l.graph.add_node(&node.name, Op::Dequantize, &[stored], ty));
    }
    let tensor = l.graph.const_tensor(v)?;
    let (quant, zeros) = match l.ty(v).quant.clone() {
        None => (None, vec![0]),
        Some(q) if q.axis.is_none() => (Some(q.clone()), q.zero_point),
        Some(q) if q.axis == Some(1) => {
            let order = order?;
            let pick =
                |values: usize| order.channels().map(move |(g, _, o)| if values == order.out { o } else { g * order.out + o });
            let scale = pick(q.scale.len()).map(|i| q.scale.get(i).copied()).collect::<Option<Vec<f32>>>()?;
            let zero_point = pick(q.scale.len()).map(|i| q.zero_point.get(i).copied()).collect::<Option<Vec<i32>>>()?;
            (Some(Quant { scale, zero_point: zero_point.clone(), axis: Some(0) }), zero_point)
        }
        // Along the bias's only axis.
        Some(q) if q.axis == Some(0) && shape.len() == 1 => {
            let pick = |i: &Option<usize>| i.and_then(|i| Some((*q.scale.get(i)?, *q.zero_point.get(i)?)));
            let (scale, zero_point): (Vec<f32>, Vec<i32>) = map.iter().map(pick).collect::<Option<Vec<_>>>()?.into_iter().unzip();
            (Some(Quant { scale, zero_point: zero_point.clone(), axis: Some(0) }), zero_point)
        }
        Some(_) => return None,
    };
    let size = tensor.dtype().size();
    let mut out = Tensor::zeros(tensor.dtype(), shape).ok()?;
    let per_channel = map.len() / shape.first().copied().unwrap_or(1).max(1);
    for (i, (element, source)) in out.bytes_mut().chunks_exact_mut(size).zip(map).enumerate() {
        match source {
            Some(at) => element.copy_from_slice(tensor.bytes().get(at * size..(at + 1) * size)?),
            None => {
                let zero = zeros.get(i / per_channel.max(1)).or(zeros.first())?;
                element.copy_from_slice(&zero.to_le_bytes()[..size.min(4)]);
            }
        }
    }
    let name = l.graph.value(v).name.clone();
    Some(l.graph.add_quantized_const(name, &out, quant))
}

/// As [`regroup`], of a weight that is computed: its elements and a zero, picked when the model runs.
fn gathered(l: &mut Lower, c: &Call, weight: ValueId, shape: &[usize], map: &[Option<usize>]) -> Result<ValueId> {
    let Some(count) = l.ty(weight).fixed_shape().map(|s| s.iter().product::<usize>()) else {
        bail!(Unsupported, "the weight's shape is not known");
    };
    let flat = l.reshape(c.name(), weight, vec![Dim::fixed(count)]);
    let pads = vec![(Dim::fixed(0), Dim::fixed(1))];
    let longer = ValueType::new(DType::F32, vec![Dim::fixed(count + 1)]);
    let flat = l.emit(c, Op::Pad { pads, value: 0.0 }, &[flat], longer);
    let picks: Vec<i64> = map.iter().map(|at| at.unwrap_or(count) as i64).collect();
    let picks = l.graph.add_const(c.name(), &Tensor::from_slice(shape, &picks)?);
    let ty = ValueType::new(DType::F32, super::lower::fixed(shape));
    Ok(l.emit(c, Op::Gather { axis: 0 }, &[flat, picks], ty))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_of_a_stride_of_two() {
        let one = Dim::fixed(1);
        let axis = Axis { size: one.clone(), out: one, kernel: 3, stride: 2, dilation: 1, before: 1, extra: 1 };
        // Even pixels see taps 2 and 0 of the kernel, odd ones tap 1.
        assert_eq!([axis.index(0, 0), axis.index(0, 1)], [Some(2), Some(0)]);
        assert_eq!([axis.index(1, 0), axis.index(1, 1)], [None, Some(1)]);
    }
}
