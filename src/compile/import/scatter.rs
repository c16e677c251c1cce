//! Operators that write to computed places. Like gathering, they become arithmetic on indices and one operator on rows.

use alloc::{vec, vec::Vec};

use super::{
    index::{flat_elements, flat_tuples, iota, number, product},
    lower::{Call, Lower, Lowering},
};
use crate::{
    error::{Result, bail, ensure},
    graph::{
        Dim, Op, ValueId, ValueType,
        ops::{BinaryOp, Combine},
    },
    tensor::{DType, Tensor},
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    Some(match op_type {
        "ScatterElements" | "Scatter" => scatter_elements,
        "ScatterND" => scatter_nd,
        "TensorScatter" => tensor_scatter,
        "MaxUnpool" => max_unpool,
        "Col2Im" => col2im,
        _ => return None,
    })
}

fn combine(c: &Call) -> Result<Combine> {
    Ok(match c.node.string("reduction").unwrap_or("none") {
        "none" => Combine::Set,
        "add" => Combine::Add,
        "mul" => Combine::Mul,
        "min" => Combine::Min,
        "max" => Combine::Max,
        other => bail!(InvalidModel, "has the reduction '{other}'"),
    })
}

/// Rows of `data [R,…]` combined with `updates`.
fn rows(l: &mut Lower, c: &Call, data: ValueId, indices: ValueId, updates: ValueId, combine: Combine) -> ValueId {
    let dtype = l.dtype(data);
    // What is only moved may be of any type; small integers are computed as larger ones, which wraps as their own arithmetic does.
    let wide = match dtype {
        _ if combine == Combine::Set => dtype,
        DType::I8 | DType::U8 | DType::I16 | DType::U16 | DType::Bool => DType::I32,
        DType::U32 => DType::I64,
        other => other,
    };
    let (data, updates) = (l.cast(c, data, wide), l.cast(c, updates, wide));
    let ty = ValueType::new(wide, l.shape(data));
    let y = l.emit(c, Op::Scatter { combine }, &[data, indices, updates], ty);
    l.cast(c, y, dtype)
}

fn scatter_elements(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (data, indices, updates) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let (data, updates) = (l.raw(data), l.raw(updates));
    let shape = l.shape(data);
    let axis = l.axis(c.node.int("axis").unwrap_or(0), shape.len())?;
    let places = flat_elements(l, c, &shape, indices, axis)?;
    let all = product(&l.shape(places));
    let places = l.reshape(c.name(), places, vec![all.clone()]);
    let updates = l.reshape(c.name(), updates, vec![all]);
    let flat = l.reshape(c.name(), data, vec![product(&shape)]);
    let y = rows(l, c, flat, places, updates, combine(c)?);
    Ok(vec![l.reshape(c.name(), y, shape)])
}

fn scatter_nd(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (data, indices, updates) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let (data, updates) = (l.raw(data), l.raw(updates));
    let shape = l.shape(data);
    let (places, depth) = flat_tuples(l, c, &shape, indices, 0)?;
    let (lead, rest) = shape.split_at(depth);
    let list = l.reshape(c.name(), data, [&[product(lead)], rest].concat());
    let y = rows(l, c, list, places, updates, combine(c)?);
    Ok(vec![l.reshape(c.name(), y, shape)])
}

/// Steps written into a cache along `axis`, for each sample from an index of its own on.
fn tensor_scatter(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (cache, update) = (c.input(0)?, c.input(1)?);
    let (cache, update) = (l.raw(cache), l.raw(update));
    let (shape, part) = (l.shape(cache), l.shape(update));
    ensure!(shape.len() == part.len() && shape.len() >= 2, InvalidModel, "has a cache and an update of different ranks");
    let axis = l.axis(c.node.int("axis").unwrap_or(-2), shape.len())?;
    ensure!(axis > 0, InvalidModel, "writes along the batch's axis");
    let rank = axis + 1;
    let mut steps = iota(l, c, part[axis].clone(), axis, rank)?;
    if let Some(start) = c.optional(2) {
        let start = l.cast(c, start, DType::I64);
        let mut along = vec![Dim::fixed(1); rank];
        along[0] = shape[0].clone();
        let start = l.reshape(c.name(), start, along);
        steps = l.binary(c, BinaryOp::Add, steps, start);
    }
    if c.node.string("mode") == Some("circular") {
        let size = number(l, c, shape[axis].clone());
        steps = l.binary(c, BinaryOp::Mod, steps, size);
    }
    for other in 0..axis {
        let at = iota(l, c, shape[other].clone(), other, rank)?;
        let stride = number(l, c, product(&shape[other + 1..rank]));
        let offset = l.binary(c, BinaryOp::Mul, at, stride);
        steps = l.binary(c, BinaryOp::Add, steps, offset);
    }
    let list = l.reshape(c.name(), cache, [&[product(&shape[..rank])], &shape[rank..]].concat());
    let count = product(&part[..rank]);
    let steps = l.reshape(c.name(), steps, vec![count.clone()]);
    let update = l.reshape(c.name(), update, [&[count], &part[rank..]].concat());
    let y = rows(l, c, list, steps, update, Combine::Set);
    Ok(vec![l.reshape(c.name(), y, shape)])
}

/// A tensor of zeros.
fn zeros(l: &mut Lower, c: &Call, dtype: DType, shape: Vec<Dim>) -> Result<ValueId> {
    let zero = l.graph.add_const(c.name(), &Tensor::zeros(dtype, &[])?);
    Ok(l.emit(c, Op::Expand, &[zero], ValueType::new(dtype, shape)))
}

/// Maxima back where they came from; their indices count through the whole tensor that was pooled.
fn max_unpool(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, indices, ty) = (c.input(0)?, c.input(1)?, c.out()?);
    let shape = l.shape(x);
    let natural = unpooled(c, &shape)?;
    let all = product(&shape);
    let list = zeros(l, c, ty.dtype, vec![product(&natural)])?;
    let indices = l.cast(c, indices, DType::I64);
    let (indices, x) = (l.reshape(c.name(), indices, vec![all.clone()]), l.reshape(c.name(), x, vec![all]));
    let y = rows(l, c, list, indices, x, Combine::Set);
    let y = l.reshape(c.name(), y, natural.clone());
    if natural == ty.shape {
        return Ok(vec![y]);
    }
    let pads = natural.into_iter().zip(&ty.shape).map(|(d, out)| (Dim::fixed(0), out.clone() - d)).collect();
    Ok(vec![l.emit(c, Op::Pad { pads, value: 0.0 }, &[y], ty)])
}

/// The shape that pooling by the call's attributes makes `shape` of.
fn unpooled(c: &Call, shape: &[Dim]) -> Result<Vec<Dim>> {
    let n = shape.len().saturating_sub(2);
    let list = |name: &str, len: usize, default: i64| -> Result<Vec<i64>> {
        let values = c.node.ints(name).filter(|v| !v.is_empty()).map_or(vec![default; len], <[i64]>::to_vec);
        ensure!(values.len() == len, InvalidModel, "has {} {name} for {n} spatial axes", values.len());
        Ok(values)
    };
    let (kernel, strides, pads) = (list("kernel_shape", n, 1)?, list("strides", n, 1)?, list("pads", 2 * n, 0)?);
    let mut out = shape.to_vec();
    for (i, d) in out.iter_mut().skip(2).enumerate() {
        let rest = Dim::constant(kernel[i] - pads[i] - pads[n + i]);
        *d = (d.clone() - Dim::fixed(1)) * Dim::constant(strides[i]) + rest;
    }
    Ok(out)
}

/// Columns of blocks added up where the blocks lie in the image.
fn col2im(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, ty) = (c.input(0)?, c.out()?);
    let (Some(image), Some(block)) = (l.const_ints(c.input(1)?), l.const_ints(c.input(2)?)) else {
        bail!(Unsupported, "the image's or the block's shape is not constant");
    };
    let n = image.len();
    let list = |name: &str, len: usize, default: i64| -> Result<Vec<i64>> {
        let values = c.node.ints(name).filter(|v| !v.is_empty()).map_or(vec![default; len], <[i64]>::to_vec);
        ensure!(values.len() == len, InvalidModel, "has {} {name} for {n} axes", values.len());
        Ok(values)
    };
    let (strides, dilations, pads) = (list("strides", n, 1)?, list("dilations", n, 1)?, list("pads", 2 * n, 0)?);
    ensure!(block.len() == n && l.rank(x) == 3, InvalidModel, "has an image of {n} axes, a block of {}", block.len());
    ensure!(image.iter().chain(&block).all(|d| (1..1 << 16).contains(d)), InvalidModel, "has sizes out of range");
    let mut steps = Vec::new();
    for i in 0..n {
        let room = image[i] + pads[i] + pads[n + i] - dilations[i] * (block[i] - 1) - 1;
        ensure!(room >= 0, InvalidModel, "has a block that does not fit the image");
        steps.push(room / strides[i] + 1);
    }
    let total = |sizes: &[i64]| sizes.iter().try_fold(1i64, |n, &d| n.checked_mul(d)).filter(|n| *n < 1 << 31);
    let (Some(pixels), Some(columns), Some(taps)) = (total(&image), total(&steps), total(&block)) else {
        bail!(Limit, "its image is too large")
    };
    let count = columns.checked_mul(taps).filter(|n| *n < 1 << 22);
    let Some(count) = count else { bail!(Limit, "its blocks have too many elements") };
    // What lies in the padding goes to a row behind the last pixel.
    let mut places: Vec<i64> = Vec::with_capacity(count as usize);
    for at in 0..count {
        let (mut tap, mut step) = (at / columns, at % columns);
        let (mut place, mut stride) = (0, 1);
        for i in (0..n).rev() {
            let coordinate = step % steps[i] * strides[i] + tap % block[i] * dilations[i] - pads[i];
            (tap, step) = (tap / block[i], step / steps[i]);
            if !(0..image[i]).contains(&coordinate) {
                place = i64::MIN;
            }
            place = place.saturating_add(coordinate.max(0) * stride);
            stride *= image[i];
        }
        places.push(if place < 0 { pixels } else { place });
    }
    let [batch, blocks, _] = <[Dim; 3]>::try_from(l.shape(x)).map_err(|_| crate::Error::Internal("rank 3".into()))?;
    let channels = blocks / Dim::constant(taps);
    let images = batch * channels;
    let x = l.reshape(c.name(), x, vec![images.clone(), Dim::fixed(places.len())]);
    let x = l.transpose(c.name(), x, &[1, 0]);
    let places = l.graph.add_const(c.name(), &Tensor::from_slice(&[places.len()], &places)?);
    let list = zeros(l, c, ty.dtype, vec![Dim::constant(pixels + 1), images.clone()])?;
    let y = rows(l, c, list, places, x, Combine::Add);
    let cut = ValueType::new(ty.dtype, vec![Dim::constant(pixels), images]);
    let y = l.emit(c, Op::Slice { axis: 0, start: Dim::fixed(0), step: 1 }, &[y], cut);
    let y = l.transpose(c.name(), y, &[1, 0]);
    Ok(vec![l.reshape(c.name(), y, ty.shape)])
}
