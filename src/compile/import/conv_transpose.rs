//! Transposed convolution, as an ordinary one that computes every phase of the output at once.
//!
//! With stride s, output element `q·s + φ` sees the input elements `q − m` through the kernel elements `φ + s·m`. So a convolution with s·s
//! times the channels, each phase with its share of the kernel, gives all phases side by side; a transpose interleaves them. Nothing is
//! multiplied by the zeros that the textbook's definition inserts.

use alloc::{vec, vec::Vec};

use super::lower::{Call, Lower, Lowering};
use crate::{
    error::{Result, bail, ensure},
    graph::{
        Dim, Op, ValueId, ValueType,
        ops::{Activation, Conv, Window},
    },
    tensor::DType,
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    (op_type == "ConvTranspose").then_some(conv_transpose as Lowering)
}

/// One spatial axis.
struct Axis {
    stride: usize,
    dilation: usize,
    kernel: usize,
    /// Elements cut off the start of the full result.
    cut: usize,
    /// Kernel elements of a phase.
    taps: usize,
    /// Padding behind the input, so that the result is long enough.
    after: usize,
}

fn conv_transpose(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, w, out) = (c.input(0)?, c.input(1)?, c.out()?);
    ensure!(out.dtype == DType::F32, Unsupported, "a transposed convolution of {} is not supported", out.dtype);
    let rank = l.rank(x);
    ensure!(
        (3..=4).contains(&rank),
        Unsupported,
        "a transposed convolution over {} axes is not supported",
        rank.saturating_sub(2)
    );
    let spatial =
        |l: &Lower, v: ValueId| l.shape(v).get(2..).unwrap_or_default().iter().map(Dim::as_fixed).collect::<Option<Vec<_>>>();
    let (Some(size), Some(kernel), Some(result)) =
        (spatial(l, x), spatial(l, w), out.shape.get(2..).and_then(|s| s.iter().map(Dim::as_fixed).collect::<Option<Vec<_>>>()))
    else {
        return symbolic(l, c);
    };
    let axes = (0..rank - 2).map(|i| axis(c, i, size[i], kernel[i], result[i])).collect::<Result<Vec<_>>>()?;
    lower(l, c, &axes, &result.iter().map(|&d| Dim::fixed(d)).collect::<Vec<_>>())
}

/// With a size that is not known yet, the padding must not depend on it.
fn symbolic(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, w, out) = (c.input(0)?, c.input(1)?, c.out()?);
    let explicit = c.node.ints("output_shape").is_none() && matches!(c.node.string("auto_pad"), None | Some("NOTSET" | "VALID"));
    ensure!(explicit, Unsupported, "auto_pad or output_shape needs a known input size");
    let Some(kernel) = l.shape(w)[2..].iter().map(Dim::as_fixed).collect::<Option<Vec<usize>>>() else {
        bail!(Unsupported, "the kernel's size is not known");
    };
    let axes = (0..l.rank(x) - 2)
        .map(|i| {
            // Any size large enough: start and padding do not depend on it.
            let (stride, dilation, before, after) = attributes(c, i)?;
            let extra = list(c, "output_padding", i, 0)?;
            let size = before + after + 1;
            let full = (size - 1) * stride + (kernel[i].max(1) - 1) * dilation + 1 + extra;
            axis(c, i, size, kernel[i], full - before - after)
        })
        .collect::<Result<Vec<_>>>()?;
    lower(l, c, &axes, &out.shape[2..])
}

fn list(c: &Call, name: &str, i: usize, default: usize) -> Result<usize> {
    match c.node.ints(name).and_then(|v| v.get(i)) {
        Some(&v) => match usize::try_from(v) {
            Ok(v) if v < 1 << 16 => Ok(v),
            _ => bail!(Unsupported, "has {name} {v}"),
        },
        None => Ok(default),
    }
}

/// Stride, dilation and explicit padding of an axis.
fn attributes(c: &Call, i: usize) -> Result<(usize, usize, usize, usize)> {
    let (stride, dilation) = (list(c, "strides", i, 1)?, list(c, "dilations", i, 1)?);
    ensure!(stride > 0 && dilation > 0, InvalidModel, "has a stride or dilation of 0");
    let n = c.node.ints("pads").map_or(0, |p| p.len() / 2);
    Ok((stride, dilation, list(c, "pads", i, 0)?, list(c, "pads", n + i, 0)?))
}

fn axis(c: &Call, i: usize, size: usize, kernel: usize, result: usize) -> Result<Axis> {
    ensure!(kernel > 0 && size > 0, Unsupported, "an empty input or kernel is not supported");
    let (stride, dilation, before, _) = attributes(c, i)?;
    let reach = (kernel - 1) * dilation + 1;
    let natural = (size - 1) * stride + reach;
    let auto = c.node.string("auto_pad").unwrap_or("NOTSET");
    let cut = if c.node.ints("output_shape").is_some() || auto.starts_with("SAME") {
        let total = (natural + list(c, "output_padding", i, 0)?).saturating_sub(result);
        if auto == "SAME_UPPER" { total / 2 } else { total - total / 2 }
    } else {
        before
    };
    let taps = reach.div_ceil(stride);
    // The convolution gives size + taps − 1 + extra groups of stride elements.
    let groups = (cut + result).div_ceil(stride);
    let after = groups.saturating_sub(size);
    Ok(Axis { stride, dilation, kernel, cut, taps, after })
}

fn lower(l: &mut Lower, c: &Call, axes: &[Axis], result: &[Dim]) -> Result<Vec<ValueId>> {
    let (x, w, out) = (c.input(0)?, c.input(1)?, c.out()?);
    let groups = usize::try_from(c.node.int("group").unwrap_or(1)).unwrap_or(0);
    let (xs, ws) = (l.shape(x), l.shape(w));
    ensure!(ws.len() == xs.len(), InvalidModel, "the weight has rank {}, the input {}", ws.len(), xs.len());
    let (Some(channels), Some(per_group)) = (ws[0].as_fixed(), ws[1].as_fixed()) else {
        bail!(Unsupported, "the weight's shape is not known");
    };
    ensure!(groups > 0 && channels % groups == 0, InvalidModel, "{channels} channels do not divide into {groups} groups");
    // A 1-D convolution gets a height of 1.
    let unit = Axis { stride: 1, dilation: 1, kernel: 1, cut: 0, taps: 1, after: 0 };
    let [h, v] = match axes {
        [v] => [&unit, v],
        [h, v] => [h, v],
        _ => bail!(Internal, "one or two axes were expected"),
    };
    let flat = |dims: &[Dim]| match dims {
        [n, c, w] => vec![n.clone(), c.clone(), Dim::fixed(1), w.clone()],
        other => other.to_vec(),
    };
    let x = l.reshape(c.name(), x, flat(&xs));
    let w = l.reshape(c.name(), w, flat(&ws));
    let weight = phases(l, c, w, [channels, per_group, groups], [h, v]);
    let x = l.transpose(c.name(), x, &[0, 2, 3, 1]);
    let phases = h.stride * v.stride;
    let mut inputs = vec![x, weight];
    if let Some(bias) = c.optional(2) {
        let f = Dim::fixed;
        let bias = l.reshape(c.name(), bias, vec![f(groups), f(1), f(per_group)]);
        let ty = ValueType::new(DType::F32, vec![f(groups), f(phases), f(per_group)]);
        let bias = l.emit(c, Op::Expand, &[bias], ty);
        inputs.push(l.reshape(c.name(), bias, vec![f(groups * phases * per_group)]));
    }
    let shape = l.shape(x);
    let length = |d: &Dim, a: &Axis| d.clone() + Dim::fixed(a.after);
    let (rows, columns) = (length(&shape[1], h), length(&shape[2], v));
    let window = Window {
        kernel: [h.taps, v.taps],
        strides: [1, 1],
        dilations: [1, 1],
        pads: [[h.taps - 1, h.after], [v.taps - 1, v.after]],
        ceil: false,
    };
    let conv = Conv { window, groups, bias: inputs.len() > 2, dynamic: false, activation: Activation::None };
    let all = groups * phases * per_group;
    let ty = ValueType::new(DType::F32, vec![shape[0].clone(), rows.clone(), columns.clone(), Dim::fixed(all)]);
    let y = l.emit(c, Op::Conv(conv), &inputs, ty);
    let f = Dim::fixed;
    let apart = vec![shape[0].clone(), rows.clone(), columns.clone(), f(groups), f(h.stride), f(v.stride), f(per_group)];
    let y = l.reshape(c.name(), y, apart);
    let y = l.transpose(c.name(), y, &[0, 3, 6, 1, 4, 2, 5]);
    let (full_h, full_w) = (rows * f(h.stride), columns * f(v.stride));
    let mut y = l.reshape(c.name(), y, vec![shape[0].clone(), f(groups * per_group), full_h, full_w]);
    let wanted = if axes.len() == 1 { vec![f(1), result[0].clone()] } else { result.to_vec() };
    for (i, (axis, size)) in [h, v].into_iter().zip(wanted).enumerate() {
        let mut shape = l.shape(y);
        if shape[2 + i] != size || axis.cut > 0 {
            shape[2 + i] = size;
            let ty = ValueType::new(DType::F32, shape);
            y = l.emit(c, Op::Slice { axis: 2 + i, start: f(axis.cut), step: 1 }, &[y], ty);
        }
    }
    Ok(vec![l.reshape(c.name(), y, out.shape)])
}

/// `[C, O/g, KH, KW]` to `[g · phases · O/g, taps, taps, C/g]`, each phase's kernel reversed.
fn phases(l: &mut Lower, c: &Call, w: ValueId, [channels, per_group, groups]: [usize; 3], [h, v]: [&Axis; 2]) -> ValueId {
    let f = Dim::fixed;
    let mut w = w;
    for (i, a) in [h, v].into_iter().enumerate() {
        w = dilate(l, c, w, 2 + i, a);
    }
    let apart = [groups, channels / groups, per_group, h.taps, h.stride, v.taps, v.stride].map(f).to_vec();
    w = l.reshape(c.name(), w, apart);
    for (axis, taps) in [(3, h.taps), (5, v.taps)] {
        if taps > 1 {
            let ty = ValueType::new(DType::F32, l.shape(w));
            w = l.emit(c, Op::Slice { axis, start: f(taps - 1), step: -1 }, &[w], ty);
        }
    }
    w = l.transpose(c.name(), w, &[0, 4, 6, 2, 3, 5, 1]);
    l.reshape(c.name(), w, [groups * h.stride * v.stride * per_group, h.taps, v.taps, channels / groups].map(f).to_vec())
}

/// Spreads the kernel by its dilation and fills it up to whole phases.
fn dilate(l: &mut Lower, c: &Call, w: ValueId, axis: usize, a: &Axis) -> ValueId {
    let mut w = w;
    let mut length = a.kernel;
    if a.dilation > 1 {
        let mut shape = l.shape(w);
        shape.insert(axis + 1, Dim::fixed(1));
        w = l.reshape(c.name(), w, shape);
        w = pad(l, c, w, axis + 1, a.dilation - 1);
        let mut shape = l.shape(w);
        length *= a.dilation;
        shape.remove(axis + 1);
        shape[axis] = Dim::fixed(length);
        w = l.reshape(c.name(), w, shape);
    }
    let full = a.taps * a.stride;
    if length > full {
        // Only zeros lie behind the last element.
        let mut shape = l.shape(w);
        shape[axis] = Dim::fixed(full);
        let ty = ValueType::new(DType::F32, shape);
        w = l.emit(c, Op::Slice { axis, start: Dim::fixed(0), step: 1 }, &[w], ty);
    } else if length < full {
        w = pad(l, c, w, axis, full - length);
    }
    w
}

fn pad(l: &mut Lower, c: &Call, w: ValueId, axis: usize, after: usize) -> ValueId {
    let mut shape = l.shape(w);
    let mut pads = vec![(Dim::fixed(0), Dim::fixed(0)); shape.len()];
    pads[axis].1 = Dim::fixed(after);
    shape[axis] = shape[axis].clone() + Dim::fixed(after);
    let ty = ValueType::new(DType::F32, shape);
    l.emit(c, Op::Pad { pads, value: 0.0 }, &[w], ty)
}
