//! Convolution and pooling: ONNX's channels-first to the graph's channels-last, by transposes that the layout pass removes.

use alloc::{vec, vec::Vec};

use super::{
    lower::{Call, Lower, Lowering, fixed},
    matmul::fused_activation,
    node::OnnxNode,
    volume,
};
use crate::{
    error::{Result, bail, ensure},
    graph::{
        Dim, Op, Quant, ValueId, ValueType,
        ops::{Activation, BinaryOp, Conv, Pool, PoolKind, ReduceOp, Unary, Window},
    },
    tensor::DType,
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    Some(match op_type {
        "Conv" => conv,
        "FusedConv" => fused_conv,
        "MaxPool" => max_pool,
        "AveragePool" => |l, c| {
            let x = c.input(0)?;
            let ty = c.out()?;
            average_pool(l, c, x, ty).map(|v| vec![v])
        },
        "LpPool" => lp_pool,
        "GlobalLpPool" => |l, c| {
            let op = match c.node.int("p").unwrap_or(2) {
                1 => ReduceOp::L1,
                2 => ReduceOp::L2,
                p => bail!(Unsupported, "a norm of order {p} is not supported"),
            };
            let x = c.input(0)?;
            global_pool(l, c, op, x).map(|v| vec![v])
        },
        "GlobalAveragePool" => |l, c| {
            let x = c.input(0)?;
            global_pool(l, c, ReduceOp::Mean, x).map(|v| vec![v])
        },
        "CausalConvWithState" => causal_conv,
        "GlobalMaxPool" => |l, c| {
            let x = c.input(0)?;
            global_pool(l, c, ReduceOp::Max, x).map(|v| vec![v])
        },
        _ => return None,
    })
}

/// What a convolution multiplies, beside its attributes.
pub(super) struct Operands {
    pub x: ValueId,
    /// `[O,I/g,KH,KW]`.
    pub weight: ValueId,
    pub bias: Option<ValueId>,
    /// Scale and zero point of x.
    pub dynamic: Option<(ValueId, ValueId)>,
    /// Element type and quantization of the result.
    pub dtype: DType,
    pub quant: Option<Quant>,
}

fn conv(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let ty = c.out()?;
    let (x, weight) = (c.input(0)?, c.input(1)?);
    let operands = Operands { x, weight, bias: c.optional(2), dynamic: None, dtype: ty.dtype, quant: None };
    Ok(vec![emit(l, c, operands)?])
}

/// `activation(Conv(x, w, b) + z)`.
fn fused_conv(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let mut y = conv(l, c)?[0];
    if let Some(z) = c.optional(3) {
        y = l.binary(c, BinaryOp::Add, y, z);
    }
    Ok(vec![fused_activation(l, c, y)?])
}

/// A depthwise convolution over a sequence whose first steps come from the call before; the last ones are kept for the next.
fn causal_conv(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, weight, ty) = (c.input(0)?, c.input(1)?, c.out()?);
    ensure!(ty.dtype == DType::F32 && l.rank(x) == 3, Unsupported, "a convolution of {} is not supported", ty.dtype);
    let Some(&[channels, 1, width]) = l.ty(weight).fixed_shape().as_deref() else {
        bail!(Unsupported, "the weight's shape is not known, or not that of a depthwise convolution");
    };
    ensure!(width > 0, InvalidModel, "has a kernel without size");
    let mut shape = l.shape(x);
    shape[2] = shape[2].clone() + Dim::fixed(width - 1);
    let long = ValueType::new(DType::F32, shape.clone());
    let padded = match c.optional(3) {
        Some(past) => l.emit(c, Op::Concat { axis: 2 }, &[past, x], long),
        None => {
            let mut pads = vec![(Dim::fixed(0), Dim::fixed(0)); 3];
            pads[2].0 = Dim::fixed(width - 1);
            l.emit(c, Op::Pad { pads, value: 0.0 }, &[x], long)
        }
    };
    let one = Span { kernel: 1, stride: 1, dilation: 1, pads: [0, 0] };
    let window = plane([one, Span { kernel: width, ..one }], false);
    let operands = Operands { x: padded, weight, bias: c.optional(2), dynamic: None, dtype: DType::F32, quant: None };
    let mut y = emit_window(l, c, operands, window, channels, &ty.shape);
    match c.node.string("activation").unwrap_or("none") {
        "none" | "" => {}
        "silu" | "swish" => y = l.unary(c, Unary::Silu, y),
        other => bail!(Unsupported, "the activation {other} is not supported"),
    }
    let start = shape[2].clone() - Dim::fixed(width - 1);
    shape[2] = Dim::fixed(width - 1);
    let state = l.emit(c, Op::Slice { axis: 2, start, step: 1 }, &[padded], ValueType::new(DType::F32, shape));
    Ok([y, state].into_iter().enumerate().filter(|(i, _)| c.wants(*i)).map(|(_, v)| v).collect())
}

/// Adds a convolution of channels-first operands; its result is channels-first, too.
pub(super) fn emit(l: &mut Lower, c: &Call, o: Operands) -> Result<ValueId> {
    let out = c.out()?.shape;
    let rank = l.rank(o.x);
    ensure!((3..=5).contains(&rank), Unsupported, "a convolution over {} axes is not supported", rank.saturating_sub(2));
    ensure!(l.rank(o.weight) == rank, InvalidModel, "the weight has rank {}, the input {rank}", l.rank(o.weight));
    let Some(kernel) = l.ty(o.weight).shape[2..].iter().map(Dim::as_fixed).collect::<Option<Vec<usize>>>() else {
        bail!(Unsupported, "the kernel's size is not known");
    };
    let groups = usize::try_from(c.node.int("group").unwrap_or(1)).unwrap_or(0);
    ensure!(groups > 0, InvalidModel, "has {} groups", c.node.int("group").unwrap_or(1));
    if rank == 5 {
        let spans = spans(c.node, &kernel, &l.shape(o.x)[2..])?;
        return volume::conv(l, c, o, &spans, groups, &out);
    }
    let window = window(c.node, &kernel, &l.shape(o.x)[2..], false)?;
    Ok(emit_window(l, c, o, window, groups, &out))
}

/// As [`emit`], by the given window instead of the call's attributes.
pub(super) fn emit_window(l: &mut Lower, c: &Call, o: Operands, window: Window, groups: usize, out: &[Dim]) -> ValueId {
    let rank = l.rank(o.x);
    let x = channels_last(l, c, o.x);
    let weight = channels_last(l, c, o.weight);
    let mut inputs = vec![x, weight];
    inputs.extend(o.bias);
    inputs.extend(o.dynamic.into_iter().flat_map(|(scale, zero)| [scale, zero]));
    let op =
        Op::Conv(Conv { window, groups, bias: o.bias.is_some(), dynamic: o.dynamic.is_some(), activation: Activation::None });
    let ty = ValueType { dtype: o.dtype, shape: last_shape(out), quant: o.quant };
    let y = l.emit(c, op, &inputs, ty);
    channels_first(l, c, y, rank)
}

fn max_pool(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let x = c.input(0)?;
    if c.wants(1) {
        let x = l.raw(x);
        let kernel = kernel(c)?;
        let spans = spans(c.node, &kernel, &l.shape(x)[2..])?;
        return volume::max_with_indices(l, c, x, &spans);
    }
    let ty = ValueType { quant: l.ty(x).quant.clone(), ..c.out()? };
    Ok(vec![pool(l, c, PoolKind::Max, x, ty)?])
}

/// Average pooling of `x` by the call's attributes.
pub(super) fn average_pool(l: &mut Lower, c: &Call, x: ValueId, ty: ValueType) -> Result<ValueId> {
    pool(l, c, PoolKind::Average { count_include_pad: c.node.flag("count_include_pad", false) }, x, ty)
}

/// The norm of order p of each window: the root of the mean of powers, times the size.
fn lp_pool(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, ty) = (c.input(0)?, c.out()?);
    let p = c.node.int("p").unwrap_or(2);
    ensure!(p >= 1 && ty.dtype == DType::F32, Unsupported, "a norm of order {p} of {} is not supported", ty.dtype);
    let area: i64 = c.node.ints("kernel_shape").unwrap_or(&[]).iter().product();
    let (power, root) = (l.f32_scalar(c.name(), p as f32), l.f32_scalar(c.name(), 1.0 / p as f32));
    let area = l.f32_scalar(c.name(), area as f32);
    let x = l.unary(c, Unary::Abs, x);
    let x = l.binary(c, BinaryOp::Pow, x, power);
    let mean = pool(l, c, PoolKind::Average { count_include_pad: true }, x, ty)?;
    let sum = l.binary(c, BinaryOp::Mul, mean, area);
    Ok(vec![l.binary(c, BinaryOp::Pow, sum, root)])
}

fn pool(l: &mut Lower, c: &Call, kind: PoolKind, x: ValueId, ty: ValueType) -> Result<ValueId> {
    let rank = l.rank(x);
    ensure!((3..=5).contains(&rank), Unsupported, "pooling over {} axes is not supported", rank.saturating_sub(2));
    let kernel = kernel(c)?;
    if rank == 5 {
        let spans = spans(c.node, &kernel, &l.shape(x)[2..])?;
        return Ok(volume::pool(l, c, kind, x, &spans, ty));
    }
    let window = window(c.node, &kernel, &l.shape(x)[2..], c.node.flag("ceil_mode", false))?;
    let x = channels_last(l, c, x);
    let shape = last_shape(&ty.shape);
    let y = l.emit(c, Op::Pool(Pool { kind, window }), &[x], ValueType { shape, ..ty });
    Ok(channels_first(l, c, y, rank))
}

/// Reduction of all spatial axes.
pub(super) fn global_pool(l: &mut Lower, c: &Call, op: ReduceOp, x: ValueId) -> Result<ValueId> {
    let axes = (2..l.rank(x)).collect();
    let mut ty = ValueType { dtype: l.dtype(x), shape: l.shape(x), quant: None };
    ty.shape.iter_mut().skip(2).for_each(|d| *d = Dim::fixed(1));
    let x = if l.dtype(x) == DType::F32 { x } else { l.raw(x) };
    Ok(l.emit(c, Op::Reduce { op, axes, keep_dims: true }, &[x], ty))
}

fn kernel(c: &Call) -> Result<Vec<usize>> {
    let Some(kernel) = c.node.ints("kernel_shape") else { bail!(InvalidModel, "has no kernel_shape") };
    Ok(kernel.iter().map(|&k| usize::try_from(k).unwrap_or(0)).collect())
}

/// A window along one axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
    pub pads: [usize; 2],
}

/// The windows along the spatial axes.
fn spans(node: &OnnxNode, kernel: &[usize], spatial: &[Dim]) -> Result<Vec<Span>> {
    let n = spatial.len();
    ensure!(kernel.len() == n, InvalidModel, "has a kernel of {} axes for an input of {n}", kernel.len());
    let list = |name: &str| -> Result<Vec<usize>> {
        let values = node.ints(name).unwrap_or(&[]);
        ensure!(values.is_empty() || values.len() == n, InvalidModel, "has {} {name} for {n} axes", values.len());
        ensure!(values.iter().all(|&v| v > 0), InvalidModel, "has {name} {values:?}");
        Ok(if values.is_empty() { vec![1; n] } else { values.iter().map(|&v| v as usize).collect() })
    };
    let (strides, dilations) = (list("strides")?, list("dilations")?);
    ensure!(kernel.iter().all(|&k| k > 0), InvalidModel, "has a kernel of size {kernel:?}");
    let pads = pads(node, kernel, &strides, &dilations, spatial)?;
    let span = |i: usize| Span { kernel: kernel[i], stride: strides[i], dilation: dilations[i], pads: pads[i] };
    Ok((0..n).map(span).collect())
}

/// A 2-D window from the attributes; a 1-D one gets a height of 1.
fn window(node: &OnnxNode, kernel: &[usize], spatial: &[Dim], ceil: bool) -> Result<Window> {
    let one = Span { kernel: 1, stride: 1, dilation: 1, pads: [0, 0] };
    match spans(node, kernel, spatial)?.as_slice() {
        [w] => Ok(plane([one, *w], ceil)),
        [h, w] => Ok(plane([*h, *w], ceil)),
        spans => bail!(Internal, "a window over {} axes is no plane", spans.len()),
    }
}

/// The window of these two spans.
pub(super) fn plane([h, w]: [Span; 2], ceil: bool) -> Window {
    Window {
        kernel: [h.kernel, w.kernel],
        strides: [h.stride, w.stride],
        dilations: [h.dilation, w.dilation],
        pads: [h.pads, w.pads],
        ceil,
    }
}

fn pads(node: &OnnxNode, kernel: &[usize], strides: &[usize], dilations: &[usize], spatial: &[Dim]) -> Result<Vec<[usize; 2]>> {
    let n = kernel.len();
    let auto = node.string("auto_pad").unwrap_or("NOTSET");
    let pool = matches!(node.op_type.as_str(), "MaxPool" | "AveragePool") && node.outputs.len() == 1;
    let ungapped = pool && spatial.iter().all(|d| d.as_fixed().is_some());
    match auto {
        "NOTSET" | "" => {
            let pads = node.ints("pads").unwrap_or(&[]);
            if pads.is_empty() {
                return Ok(vec![[0, 0]; n]);
            }
            ensure!(pads.len() == 2 * n, InvalidModel, "has {} pads for {n} axes", pads.len());
            ensure!(pads.iter().all(|&p| p >= 0), Unsupported, "has negative pads {pads:?}");
            Ok((0..n).map(|i| [pads[i] as usize, pads[n + i] as usize]).collect())
        }
        "VALID" => Ok(vec![[0, 0]; n]),
        "SAME_UPPER" | "SAME_LOWER" => (0..n)
            .map(|i| {
                // onnxruntime's pools pad for a window without its gaps: with dilations their results are smaller than ONNX's text has
                // it. Models are made and tried with that runtime (and its convolutions refuse this combination).
                let gap = if ungapped { 1 } else { dilations[i] };
                let reach = (kernel[i] - 1).saturating_mul(gap) + 1;
                let total = match spatial[i].as_fixed() {
                    Some(size) => (size.div_ceil(strides[i]).saturating_sub(1) * strides[i] + reach).saturating_sub(size),
                    None if strides[i] == 1 => reach - 1,
                    None => bail!(Unsupported, "auto_pad={auto} with a stride needs a known input size"),
                };
                let small = total / 2;
                Ok(if auto == "SAME_UPPER" { [small, total - small] } else { [total - small, small] })
            })
            .collect(),
        other => bail!(InvalidModel, "has auto_pad={other}"),
    }
}

/// `[N,C,L]` or `[N,C,H,W]` to `[N,H,W,C]`; weights likewise.
fn channels_last(l: &mut Lower, c: &Call, x: ValueId) -> ValueId {
    let x = if l.rank(x) == 3 {
        let mut shape = l.shape(x);
        shape.insert(2, Dim::fixed(1));
        lift(l, c, x, shape)
    } else {
        x
    };
    l.transpose(c.name(), x, &[0, 2, 3, 1])
}

/// A reshape that inserts an axis and so keeps per-axis quantization along axis 0, also that of a dequantized constant.
pub(super) fn lift(l: &mut Lower, c: &Call, x: ValueId, shape: Vec<Dim>) -> ValueId {
    if let Some(node) = l.graph.nodes.iter().rev().find(|n| n.outputs.contains(&x)).cloned()
        && node.op == Op::Dequantize
        && l.graph.value(node.inputs[0]).init.is_some()
    {
        let stored = lift(l, c, node.inputs[0], shape.clone());
        return l.graph.add_node(&node.name, Op::Dequantize, &[stored], ValueType::new(DType::F32, shape));
    }
    let quant = l.ty(x).quant.clone();
    let y = l.reshape(c.name(), x, shape);
    if quant.as_ref().is_some_and(|q| q.axis == Some(0)) {
        l.graph.value_mut(y).ty.quant = quant;
    }
    y
}

fn channels_first(l: &mut Lower, c: &Call, y: ValueId, rank: usize) -> ValueId {
    let y = l.transpose(c.name(), y, &[0, 3, 1, 2]);
    if rank == 3 {
        let mut shape = l.shape(y);
        shape.remove(2);
        l.reshape(c.name(), y, shape)
    } else {
        y
    }
}

fn last_shape(first: &[Dim]) -> Vec<Dim> {
    match first {
        [n, c, w] => vec![n.clone(), Dim::fixed(1), w.clone(), c.clone()],
        [n, c, h, w] => vec![n.clone(), h.clone(), w.clone(), c.clone()],
        other => other.to_vec(),
    }
}

/// The bias `[O]` of a quantized convolution, from a constant or computed value of that size.
pub(super) fn vector(l: &mut Lower, c: &Call, v: ValueId, len: Option<usize>) -> ValueId {
    match len {
        Some(n) if l.ty(v).fixed_shape().is_some_and(|s| s.iter().product::<usize>() == n) => l.reshape(c.name(), v, fixed(&[n])),
        _ => v,
    }
}
