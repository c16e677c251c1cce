//! Images between their pixels: GridSample, RoiAlign, DeformConv, and the grids of AffineGrid.

use alloc::{vec, vec::Vec};

use super::{
    conv,
    dims::{to_first, to_last},
    index::iota,
    lower::{Call, Lower, Lowering, fixed},
    matmul,
};
use crate::{
    error::{Result, bail, ensure},
    graph::{
        Dim, Op, ValueId, ValueType,
        ops::{BinaryOp, GridSample, Interpolation, Outside, RoiAlign, Window},
    },
    tensor::{DType, Tensor},
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    Some(match op_type {
        "GridSample" => grid_sample,
        "AffineGrid" => affine_grid,
        "RoiAlign" => roi_align,
        "DeformConv" => deform_conv,
        _ => return None,
    })
}

fn sample(l: &mut Lower, c: &Call, op: GridSample, x: ValueId, positions: ValueId) -> ValueId {
    let mut shape = l.shape(positions);
    let at = shape.len() - 1;
    shape[at] = l.shape(x)[l.rank(x) - 1].clone();
    l.emit(c, Op::GridSample(op), &[x, positions], ValueType::new(DType::F32, shape))
}

fn grid_sample(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, grid, ty) = (c.input(0)?, c.input(1)?, c.out()?);
    let rank = l.rank(x);
    ensure!((3..=5).contains(&rank) && l.rank(grid) == rank, Unsupported, "samples of rank {rank} are not supported");
    ensure!(ty.dtype == DType::F32, Unsupported, "samples of {} are not supported", ty.dtype);
    let interpolation = match c.node.string("mode").unwrap_or("linear") {
        "linear" | "bilinear" => Interpolation::Linear,
        "nearest" => Interpolation::Nearest,
        "cubic" | "bicubic" => Interpolation::Cubic,
        other => bail!(Unsupported, "mode {other} is not supported"),
    };
    let outside = match c.node.string("padding_mode").unwrap_or("zeros") {
        "zeros" => Outside::Zeros,
        "border" => Outside::Border,
        "reflection" => Outside::Reflection,
        other => bail!(InvalidModel, "has the padding mode '{other}'"),
    };
    let align_corners = c.node.flag("align_corners", false);
    // From −1…1 to pixels; the grid's first coordinate is that of the last axis.
    let one = l.f32_scalar(c.name(), 1.0);
    let half = l.f32_scalar(c.name(), 0.5);
    let less = Dim::fixed(usize::from(align_corners));
    let sizes = l.shape(x).into_iter().skip(2).rev().map(|d| d - less.clone()).collect();
    let sizes = l.graph.add_dims(c.name(), sizes);
    let sizes = l.cast(c, sizes, DType::F32);
    let grid = l.binary(c, BinaryOp::Add, grid, one);
    let positions = if align_corners {
        let share = l.binary(c, BinaryOp::Mul, grid, half);
        l.binary(c, BinaryOp::Mul, share, sizes)
    } else {
        let scaled = l.binary(c, BinaryOp::Mul, grid, sizes);
        let edge = l.binary(c, BinaryOp::Sub, scaled, one);
        l.binary(c, BinaryOp::Mul, edge, half)
    };
    let x = l.transpose(c.name(), x, &to_last(rank));
    let y = sample(l, c, GridSample { interpolation, outside, align_corners }, x, positions);
    Ok(vec![l.transpose(c.name(), y, &to_first(rank))])
}

/// The positions in −1…1 that a matrix per image sends its pixels to.
fn affine_grid(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (theta, ty) = (c.input(0)?, c.out()?);
    let Some(size) = l.const_ints(c.input(1)?) else { bail!(Unsupported, "the size is not constant") };
    let spatial = size.get(2..).unwrap_or_default();
    let n = spatial.len();
    ensure!((2..=3).contains(&n) && l.rank(theta) == 3, InvalidModel, "has a size of {} numbers", size.len());
    let count = spatial.iter().try_fold(1i64, |all, &d| all.checked_mul(d)).filter(|n| (1..1 << 22).contains(n));
    let Some(count) = count else { bail!(Limit, "has a grid of {spatial:?}") };
    let align = c.node.flag("align_corners", false);
    let mut points = Vec::with_capacity(count as usize * (n + 1));
    for at in 0..count {
        let mut rest = at;
        for &size in spatial.iter().rev() {
            let i = (rest % size) as f64;
            rest /= size;
            let size = size as f64;
            let point = match (align, size == 1.0) {
                (true, true) => -1.0,
                (true, false) => -1.0 + 2.0 * i / (size - 1.0),
                (false, _) => (2.0 * i + 1.0) / size - 1.0,
            };
            points.push(point as f32);
        }
        points.push(1.0);
    }
    let points = l.graph.add_const(c.name(), &Tensor::from_slice(&[1, count as usize, n + 1], &points)?);
    let operands =
        matmul::Operands { a: points, b: theta, transpose_b: true, bias: None, dynamic: None, dtype: DType::F32, quant: None };
    ensure!(ty.dtype == DType::F32, Unsupported, "grids of {} are not supported", ty.dtype);
    let y = matmul::emit(l, c, operands)?;
    Ok(vec![l.reshape(c.name(), y, ty.shape)])
}

fn roi_align(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, boxes, images, ty) = (c.input(0)?, c.input(1)?, c.input(2)?, c.out()?);
    ensure!(ty.dtype == DType::F32 && l.rank(x) == 4, Unsupported, "boxes of {} are not supported", ty.dtype);
    // Before operator set 16 there was no choice.
    let default = if c.node.opset < 16 { "output_half_pixel" } else { "half_pixel" };
    let mode = c.node.string("coordinate_transformation_mode").unwrap_or(default);
    let samples = c.node.int("sampling_ratio").unwrap_or(0);
    ensure!((0..=256).contains(&samples), InvalidModel, "has sampling_ratio {samples}");
    let op = RoiAlign {
        max: c.node.string("mode") == Some("max"),
        samples: samples as usize,
        scale: c.node.float("spatial_scale").unwrap_or(1.0),
        half_pixel: mode == "half_pixel",
    };
    let (x, images) = (l.transpose(c.name(), x, &to_last(4)), l.cast(c, images, DType::I64));
    let [r, ch, h, w] =
        <[Dim; 4]>::try_from(ty.shape).map_err(|_| crate::Error::InvalidModel("gives another rank than 4".into()))?;
    let y = l.emit(c, Op::RoiAlign(op), &[x, boxes, images], ValueType::new(DType::F32, vec![r, h, w, ch]));
    Ok(vec![l.transpose(c.name(), y, &to_first(4))])
}

/// A convolution whose taps are moved by offsets: the taps are sampled, and a convolution with a kernel of 1×1 sums them.
fn deform_conv(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, weight, offset, ty) = (c.input(0)?, c.input(1)?, c.input(2)?, c.out()?);
    ensure!(ty.dtype == DType::F32 && l.rank(x) == 4, Unsupported, "convolutions of {} are not supported", ty.dtype);
    let [n, channels, _, _] = <[Dim; 4]>::try_from(l.shape(x)).map_err(|_| crate::Error::Internal("rank 4".into()))?;
    let [_, _, oh, ow] =
        <[Dim; 4]>::try_from(ty.shape.clone()).map_err(|_| crate::Error::InvalidModel("gives another rank than 4".into()))?;
    let Some(&[out, inner, kh, kw]) = l.ty(weight).fixed_shape().as_deref() else {
        bail!(Unsupported, "the weight's shape is not known")
    };
    let list = |name: &str, len: usize, default: i64| -> Result<Vec<i64>> {
        let values = c.node.ints(name).filter(|v| !v.is_empty()).map_or(vec![default; len], <[i64]>::to_vec);
        ensure!(values.len() == len, InvalidModel, "has {} {name} for 2 axes", values.len());
        Ok(values)
    };
    let (strides, dilations, pads) = (list("strides", 2, 1)?, list("dilations", 2, 1)?, list("pads", 4, 0)?);
    let groups = usize::try_from(c.node.int("group").unwrap_or(1)).unwrap_or(0);
    let sets = usize::try_from(c.node.int("offset_group").unwrap_or(1)).unwrap_or(0);
    ensure!(groups > 0 && sets > 0, InvalidModel, "has no groups");
    let taps = kh * kw;
    let (set, part) = (Dim::fixed(sets), channels.clone() / Dim::fixed(sets));
    let images = n.clone() * set.clone();

    let grid = vec![images.clone(), Dim::fixed(taps), oh.clone(), ow.clone()];
    let apart = l.reshape(c.name(), offset, vec![images.clone(), Dim::fixed(taps), Dim::fixed(2), oh.clone(), ow.clone()]);
    let mut positions = Vec::new();
    // Offsets give the row first, positions the column.
    for axis in [1, 0] {
        let tap = |t: usize| if axis == 0 { t / kw } else { t % kw } as i64 * dilations[axis] - pads[axis];
        let starts: Vec<f32> = (0..taps).map(|t| tap(t) as f32).collect();
        let starts = l.graph.add_const(c.name(), &Tensor::from_slice(&[taps, 1, 1], &starts)?);
        let steps = iota(l, c, if axis == 0 { oh.clone() } else { ow.clone() }, axis + 1, 3)?;
        let steps = l.cast(c, steps, DType::F32);
        let stride = l.f32_scalar(c.name(), strides[axis] as f32);
        let steps = l.binary(c, BinaryOp::Mul, steps, stride);
        let base = l.binary(c, BinaryOp::Add, steps, starts);
        let mut one = l.shape(apart);
        one[2] = Dim::fixed(1);
        let moved = l.emit(c, Op::Slice { axis: 2, start: Dim::fixed(axis), step: 1 }, &[apart], ValueType::new(DType::F32, one));
        let moved = l.reshape(c.name(), moved, grid.clone());
        let at = l.binary(c, BinaryOp::Add, moved, base);
        positions.push(l.reshape(c.name(), at, [&grid[..], &[Dim::fixed(1)]].concat()));
    }
    let pair = ValueType::new(DType::F32, [&grid[..], &[Dim::fixed(2)]].concat());
    let positions = l.emit(c, Op::Concat { axis: 4 }, &positions, pair);

    let spatial = l.shape(x).split_off(2);
    let x = l.reshape(c.name(), x, [&[images, part.clone()], &spatial[..]].concat());
    let x = l.transpose(c.name(), x, &to_last(4));
    let bilinear = GridSample { interpolation: Interpolation::Linear, outside: Outside::Zeros, align_corners: true };
    let mut y = sample(l, c, bilinear, x, positions);
    if let Some(mask) = c.optional(4) {
        let mask = l.reshape(c.name(), mask, [&grid[..], &[Dim::fixed(1)]].concat());
        y = l.binary(c, BinaryOp::Mul, y, mask);
    }
    let y = l.reshape(c.name(), y, vec![n.clone(), set, Dim::fixed(taps), oh.clone(), ow.clone(), part]);
    let y = l.transpose(c.name(), y, &[0, 1, 5, 2, 3, 4]);
    let y = l.reshape(c.name(), y, vec![n, channels * Dim::fixed(taps), oh, ow]);
    let weight = l.reshape(c.name(), weight, fixed(&[out, inner * taps, 1, 1]));
    let window = Window { kernel: [1; 2], strides: [1; 2], dilations: [1; 2], pads: [[0; 2]; 2], ceil: false };
    let operands = conv::Operands { x: y, weight, bias: c.optional(3), dynamic: None, dtype: DType::F32, quant: None };
    Ok(vec![conv::emit_window(l, c, operands, window, groups, &ty.shape)])
}
