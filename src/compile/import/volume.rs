//! Convolution and pooling over three axes by way of two, and pooling that says where its maxima are.

use alloc::{vec, vec::Vec};

use super::{
    conv::{Operands, Span, emit_window, plane},
    index::iota,
    lower::{Call, Lower},
};
use crate::{
    error::{Error, Result, bail, ensure},
    graph::{
        Dim, Op, ValueId, ValueType,
        ops::{BinaryOp, Pool, PoolKind, ReduceOp},
    },
    tensor::{DType, Tensor},
};

/// A convolution of `[N,C,D,H,W]`: the planes that a kernel sees become channels, the planes of the result images of a batch.
pub(super) fn conv(l: &mut Lower, c: &Call, o: Operands, spans: &[Span], groups: usize, out: &[Dim]) -> Result<ValueId> {
    let (&[depth, h, w], [_, channels, planes, oh, ow]) = (spans, out) else {
        bail!(InvalidModel, "gives another rank than 5");
    };
    ensure!(o.dynamic.is_none(), Unsupported, "a dynamically quantized convolution over 3 axes is not supported");
    ensure!(
        [o.x, o.weight].iter().all(|&v| l.ty(v).quant.as_ref().is_none_or(|q| q.axis.is_none())),
        Unsupported,
        "a convolution over 3 axes with scales per channel is not supported"
    );
    let Ok([n, all, _, height, width]) = <[Dim; 5]>::try_from(l.shape(o.x)) else { bail!(Internal, "rank 5") };
    let typed = |l: &Lower, x: ValueId, shape: Vec<Dim>| ValueType { dtype: l.dtype(x), shape, quant: l.ty(x).quant.clone() };
    let mut x = o.x;
    if depth.pads != [0, 0] {
        let mut pads = vec![(Dim::fixed(0), Dim::fixed(0)); 5];
        pads[2] = (Dim::fixed(depth.pads[0]), Dim::fixed(depth.pads[1]));
        let mut shape = l.shape(x);
        shape[2] = shape[2].clone() + Dim::fixed(depth.pads[0] + depth.pads[1]);
        let ty = typed(l, x, shape);
        x = l.emit(c, Op::Pad { pads, value: 0.0 }, &[x], ty);
    }
    let per_group = all.clone() / Dim::fixed(groups);
    let mut taps = Vec::new();
    for tap in 0..depth.kernel {
        let mut shape = l.shape(x);
        shape[2] = planes.clone();
        let ty = typed(l, x, shape);
        let cut = l.emit(c, Op::Slice { axis: 2, start: Dim::fixed(tap * depth.dilation), step: depth.stride as i64 }, &[x], ty);
        // [N,C,D',H,W] to [N·D',g,1,C/g,H,W].
        let moved = l.transpose(c.name(), cut, &[0, 2, 1, 3, 4]);
        let images = n.clone() * planes.clone();
        let apart = vec![images, Dim::fixed(groups), Dim::fixed(1), per_group.clone(), height.clone(), width.clone()];
        taps.push(l.reshape(c.name(), moved, apart));
    }
    let mut shape = l.shape(taps[0]);
    shape[2] = Dim::fixed(depth.kernel);
    let ty = typed(l, taps[0], shape);
    let joined = if taps.len() == 1 { taps[0] } else { l.emit(c, Op::Concat { axis: 2 }, &taps, ty) };
    let images = n.clone() * planes.clone();
    let x = l.reshape(c.name(), joined, vec![images.clone(), all * Dim::fixed(depth.kernel), height, width]);
    let weight = l.transpose(c.name(), o.weight, &[0, 2, 1, 3, 4]);
    let ws = l.shape(weight);
    let weight = l.reshape(c.name(), weight, vec![ws[0].clone(), ws[1].clone() * ws[2].clone(), ws[3].clone(), ws[4].clone()]);
    let flat = [images, channels.clone(), oh.clone(), ow.clone()];
    let y = emit_window(l, c, Operands { x, weight, ..o }, plane([h, w], false), groups, &flat);
    let y = l.reshape(c.name(), y, vec![n, planes.clone(), channels.clone(), oh.clone(), ow.clone()]);
    Ok(l.transpose(c.name(), y, &[0, 2, 1, 3, 4]))
}

/// Pooling of `[N,C,D,H,W]`: of each plane, then across planes. Maxima are exact; a mean over a box is the mean of means, also where
/// padding does not count.
pub(super) fn pool(l: &mut Lower, c: &Call, kind: PoolKind, x: ValueId, spans: &[Span], ty: ValueType) -> ValueId {
    let ceil = c.node.flag("ceil_mode", false);
    let one = Span { kernel: 1, stride: 1, dilation: 1, pads: [0, 0] };
    let (shape, out) = (l.shape(x), ty.shape);
    let quant = ty.quant;
    let typed = |shape: Vec<Dim>| ValueType { dtype: ty.dtype, shape, quant: quant.clone() };
    // [N,C,D,H,W] to [N·D,H,W,C].
    let y = l.transpose(c.name(), x, &[0, 2, 3, 4, 1]);
    let planes = vec![shape[0].clone() * shape[2].clone(), shape[3].clone(), shape[4].clone(), shape[1].clone()];
    let y = l.reshape(c.name(), y, planes);
    let [d, h, w] = [0, 1, 2].map(|i| spans.get(i).copied().unwrap_or(one));
    let pooled = vec![shape[0].clone() * shape[2].clone(), out[3].clone(), out[4].clone(), shape[1].clone()];
    let y = l.emit(c, Op::Pool(Pool { kind, window: plane([h, w], ceil) }), &[y], typed(pooled));
    let area = out[3].clone() * out[4].clone();
    let y = l.reshape(c.name(), y, vec![shape[0].clone(), shape[2].clone(), area.clone(), shape[1].clone()]);
    let pooled = vec![shape[0].clone(), out[2].clone(), area, shape[1].clone()];
    let y = l.emit(c, Op::Pool(Pool { kind, window: plane([d, one], ceil) }), &[y], typed(pooled));
    let apart = vec![shape[0].clone(), out[2].clone(), out[3].clone(), out[4].clone(), shape[1].clone()];
    let y = l.reshape(c.name(), y, apart);
    l.transpose(c.name(), y, &[0, 4, 1, 2, 3])
}

/// Elements of the table that says what each window sees.
const MAX_TABLE: usize = 1 << 22;

/// The maxima and their places in the whole tensor, which needs to know its sizes: every window's pixels, side by side.
pub(super) fn max_with_indices(l: &mut Lower, c: &Call, x: ValueId, spans: &[Span]) -> Result<Vec<ValueId>> {
    let ty = c.out()?;
    let shape = l.shape(x);
    let fixed = |dims: &[Dim]| dims.iter().map(Dim::as_fixed).collect::<Option<Vec<usize>>>();
    let (Some(sizes), Some(steps)) = (fixed(&shape[2..]), fixed(&ty.shape[2..])) else {
        bail!(Unsupported, "the places of maxima need sizes that are known");
    };
    let pixels: usize = sizes.iter().product();
    let (windows, taps): (usize, usize) = (steps.iter().product(), spans.iter().map(|s| s.kernel).product());
    ensure!(pixels > 0, Unsupported, "the places of maxima need an image that is not empty");
    let count = windows.checked_mul(taps).filter(|n| *n <= MAX_TABLE);
    let Some(count) = count else { return Err(Error::Unsupported("the windows see too many pixels".into())) };
    let column_major = c.node.int("storage_order") == Some(1);
    let (mut seen, mut places) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for window in 0..windows {
        for tap in 0..taps {
            let (mut step, mut rest) = (window, tap);
            let mut at = Some(Vec::new());
            for i in (0..sizes.len()).rev() {
                let from_start = step % steps[i] * spans[i].stride + rest % spans[i].kernel * spans[i].dilation;
                (step, rest) = (step / steps[i], rest / spans[i].kernel);
                let inside = from_start.checked_sub(spans[i].pads[0]).filter(|p| *p < sizes[i]);
                at = at.zip(inside).map(|(mut at, p): (Vec<usize>, usize)| {
                    at.push(p);
                    at
                });
            }
            let number = |order: &mut dyn Iterator<Item = (usize, usize)>| order.fold(0, |n, (p, size)| n * size + p) as i64;
            let at = at.map(|at| {
                let pairs: Vec<(usize, usize)> = at.into_iter().zip(sizes.iter().rev().copied()).collect();
                let rows = number(&mut pairs.iter().rev().copied());
                (rows, if column_major { number(&mut pairs.iter().copied()) } else { rows })
            });
            // Behind the last pixel is one that is less than all others.
            seen.push(at.map_or(pixels as i64, |(row, _)| row));
            places.push(at.map_or(0, |(_, place)| place));
        }
    }
    let images = shape[0].clone() * shape[1].clone();
    let lowest = match ty.dtype {
        DType::F32 => f32::NEG_INFINITY,
        DType::I8 => -128.0,
        DType::U8 => 0.0,
        other => bail!(Unsupported, "the places of maxima of {other} are not supported"),
    };
    let flat = l.reshape(c.name(), x, vec![images.clone(), Dim::fixed(pixels)]);
    let pads = vec![(Dim::fixed(0), Dim::fixed(0)), (Dim::fixed(0), Dim::fixed(1))];
    let longer = ValueType::new(ty.dtype, vec![images.clone(), Dim::fixed(pixels + 1)]);
    let flat = l.emit(c, Op::Pad { pads, value: lowest }, &[flat], longer);
    let seen = l.graph.add_const(c.name(), &Tensor::from_slice(&[windows, taps], &seen)?);
    let wide = ValueType::new(ty.dtype, vec![images.clone(), Dim::fixed(windows), Dim::fixed(taps)]);
    let all = l.emit(c, Op::Gather { axis: 1 }, &[flat, seen], wide);
    let narrow = vec![images.clone(), Dim::fixed(windows)];
    let reduce = |op| Op::Reduce { op, axes: vec![2], keep_dims: false };
    let values = l.emit(c, reduce(ReduceOp::Max), &[all], ValueType::new(ty.dtype, narrow.clone()));
    let tap = l.emit(c, reduce(ReduceOp::ArgMax), &[all], ValueType::new(DType::I64, narrow.clone()));
    // The window's row in the table of places, then the tap, then what the images before take up.
    let starts = iota(l, c, Dim::fixed(windows), 1, 2)?;
    let width = l.graph.add_const(c.name(), &Tensor::scalar(taps as i64));
    let starts = l.binary(c, BinaryOp::Mul, starts, width);
    let number = l.binary(c, BinaryOp::Add, starts, tap);
    let places = l.graph.add_const(c.name(), &Tensor::from_slice(&[count], &places)?);
    let place = l.emit(c, Op::Gather { axis: 0 }, &[places, number], ValueType::new(DType::I64, narrow));
    let image = iota(l, c, images, 0, 2)?;
    let size = l.graph.add_const(c.name(), &Tensor::scalar(pixels as i64));
    let offset = l.binary(c, BinaryOp::Mul, image, size);
    let place = l.binary(c, BinaryOp::Add, place, offset);
    Ok(vec![l.reshape(c.name(), values, ty.shape.clone()), l.reshape(c.name(), place, ty.shape)])
}
