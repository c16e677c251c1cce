//! Operators that move elements without computing.

use alloc::{vec, vec::Vec};

use super::lower::{Call, Lower, Lowering, is_one};
use crate::{
    error::{Result, bail, ensure},
    graph::{Dim, Op, ValueId, ValueType, dim::Token},
    tensor::{DType, Tensor},
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    Some(match op_type {
        // The result's shape was inferred; the elements stay in order.
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => |l, c| {
            let (x, shape) = (c.input(0)?, c.out()?.shape);
            Ok(vec![l.reshape(c.name(), x, shape)])
        },
        "Transpose" => transpose,
        "Expand" => expand,
        "Tile" => tile,
        "Concat" => |l, c| {
            let axis = c.node.int("axis").unwrap_or(1);
            let inputs = c.inputs.clone();
            concat(l, c, &inputs, axis).map(|v| vec![v])
        },
        "Slice" => slice,
        "Split" => split,
        "Pad" => pad,
        "CenterCropPad" => center_crop_pad,
        "Gather" => gather,
        "DepthToSpace" => depth_to_space,
        "SpaceToDepth" => space_to_depth,
        "ConstantOfShape" => constant_of_shape,
        "Range" => |l, c| {
            let (start, step, ty) = (c.input(0)?, c.input(2)?, c.out()?);
            let (start, step) = (l.cast(c, start, ty.dtype), l.cast(c, step, ty.dtype));
            Ok(vec![l.emit(c, Op::Range, &[start, step], ty)])
        },
        _ => return None,
    })
}

/// The result's type, standing for the same numbers as `x`.
pub(super) fn moved(l: &Lower, x: ValueId, shape: Vec<Dim>) -> ValueType {
    ValueType { dtype: l.dtype(x), shape, quant: l.ty(x).quant.clone().filter(|q| q.axis.is_none()) }
}

fn transpose(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let x = c.input(0)?;
    let rank = l.rank(x);
    let perm: Vec<usize> = match c.node.ints("perm") {
        Some(perm) => perm.iter().map(|&p| l.axis(p, rank)).collect::<Result<_>>()?,
        None => (0..rank).rev().collect(),
    };
    ensure!(perm.len() == rank, InvalidModel, "permutes {} axes of a tensor of rank {rank}", perm.len());
    Ok(vec![l.transpose(c.name(), x, &perm)])
}

fn expand(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, shape) = (c.input(0)?, c.out()?.shape);
    if l.shape(x) == shape {
        return Ok(vec![x]);
    }
    let ty = moved(l, x, shape);
    Ok(vec![l.emit(c, Op::Expand, &[x], ty)])
}

/// Repeats axes (or, with `each`, every element along them) by way of new axes.
pub(super) fn repeat(l: &mut Lower, c: &Call, x: ValueId, times: &[Dim], each: bool) -> Result<ValueId> {
    let shape = l.shape(x);
    let (mut apart, mut wide, mut out) = (Vec::new(), Vec::new(), Vec::new());
    for (d, t) in shape.iter().zip(times) {
        out.push(d.clone() * t.clone());
        let (one, dim) = ((Dim::fixed(1), t.clone()), (d.clone(), d.clone()));
        let axes = if is_one(t) {
            vec![dim]
        } else if each {
            vec![dim, one]
        } else {
            vec![one, dim]
        };
        let (narrow, broad): (Vec<Dim>, Vec<Dim>) = axes.into_iter().unzip();
        apart.extend(narrow);
        wide.extend(broad);
    }
    ensure!(wide.len() <= 8, Unsupported, "repeating {} axes of a tensor is not supported", wide.len() - shape.len());
    let x = l.reshape(c.name(), x, apart);
    let ty = moved(l, x, wide);
    let y = l.emit(c, Op::Expand, &[x], ty);
    Ok(l.reshape(c.name(), y, out))
}

fn tile(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let x = c.input(0)?;
    let Some(times) = l.const_dims(c.input(1)?) else { bail!(Unsupported, "the repeats are not constant") };
    ensure!(times.len() == l.rank(x), InvalidModel, "has {} repeats for rank {}", times.len(), l.rank(x));
    if times.iter().all(is_one) {
        return Ok(vec![x]);
    }
    Ok(vec![repeat(l, c, x, &times, false)?])
}

/// Joins values of one quantization; of different ones, the integers as such.
fn concat(l: &mut Lower, c: &Call, inputs: &[ValueId], axis: i64) -> Result<ValueId> {
    let Some(&first) = inputs.first() else { bail!(InvalidModel, "has no inputs") };
    let axis = l.axis(axis, l.rank(first))?;
    let mut inputs = inputs.to_vec();
    let quant = l.ty(first).quant.clone();
    let same = inputs.iter().all(|&v| l.ty(v).quant == quant);
    if !same {
        inputs = inputs.into_iter().map(|v| l.raw(v)).collect();
    }
    let dtype = l.dtype(first);
    ensure!(inputs.iter().all(|&v| l.dtype(v) == dtype), InvalidModel, "joins values of different types");
    let out = c.out()?;
    let ty = ValueType { dtype, shape: out.shape, quant: if same { quant } else { None } };
    Ok(if inputs.len() == 1 { first } else { l.emit(c, Op::Concat { axis }, &inputs, ty) })
}

struct Range {
    axis: usize,
    start: Dim,
    step: i64,
}

fn slice(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let x = c.input(0)?;
    let rank = l.rank(x);
    let constants = |l: &Lower, i: usize, attribute: &str| -> Result<Option<Vec<Dim>>> {
        match (c.node.ints(attribute), c.optional(i)) {
            (Some(v), _) => Ok(Some(v.iter().map(|&v| Dim::constant(v)).collect())),
            (None, Some(v)) => match l.const_dims(v) {
                Some(dims) => Ok(Some(dims)),
                None => bail!(Unsupported, "the {attribute} are not constant"),
            },
            (None, None) => Ok(None),
        }
    };
    let Some(starts) = constants(l, 1, "starts")? else { bail!(InvalidModel, "has no starts") };
    let axes: Vec<i64> = match constants(l, 3, "axes")? {
        Some(axes) => axes.iter().filter_map(|d| d.eval_signed(&[]).ok()).collect(),
        None => (0..starts.len() as i64).collect(),
    };
    let steps: Vec<i64> = match constants(l, 4, "steps")? {
        Some(steps) => steps.iter().filter_map(|d| d.eval_signed(&[]).ok()).collect(),
        None => vec![1; starts.len()],
    };
    ensure!(axes.len() == starts.len() && steps.len() == starts.len(), InvalidModel, "has operands of different lengths");
    let out = c.out()?.shape;
    let mut ranges = Vec::new();
    for ((start, axis), step) in starts.into_iter().zip(axes).zip(steps) {
        let axis = l.axis(axis, rank)?;
        ensure!(step != 0, InvalidModel, "has step 0");
        let dim = l.shape(x)[axis].clone();
        let start = first_index(start, &dim, step);
        if step == 1 && out[axis] == dim {
            continue;
        }
        ranges.push(Range { axis, start, step });
    }
    Ok(vec![cut(l, c, x, ranges, &out)])
}

fn first_index(start: Dim, dim: &Dim, step: i64) -> Dim {
    let Ok(s) = start.eval_signed(&[]) else { return start };
    let last = if step < 0 { dim.clone() - Dim::fixed(1) } else { dim.clone() };
    if s < 0 {
        (dim.clone() + Dim::constant(s)).combine(Token::Max, Dim::fixed(0))
    } else if s == 0 {
        Dim::fixed(0)
    } else {
        Dim::constant(s).combine(Token::Min, last)
    }
}

fn cut(l: &mut Lower, c: &Call, x: ValueId, ranges: Vec<Range>, out: &[Dim]) -> ValueId {
    ranges.into_iter().fold(x, |x, Range { axis, start, step }| {
        let mut shape = l.shape(x);
        shape[axis] = out[axis].clone();
        let ty = moved(l, x, shape);
        l.emit(c, Op::Slice { axis, start, step }, &[x], ty)
    })
}

fn split(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let x = c.input(0)?;
    let axis = l.axis(c.node.int("axis").unwrap_or(0), l.rank(x))?;
    let mut start = Dim::fixed(0);
    let mut parts = Vec::new();
    for ty in &c.outputs {
        let Some(size) = ty.shape.get(axis).cloned() else { bail!(InvalidModel, "has a part of another rank") };
        let range = Range { axis, start: start.clone(), step: 1 };
        parts.push(cut(l, c, x, vec![range], &ty.shape));
        start = start + size;
    }
    Ok(parts)
}

fn pad(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let x = c.input(0)?;
    let rank = l.rank(x);
    let pads = match (c.node.ints("pads").or(c.node.ints("paddings")), c.optional(1)) {
        (Some(pads), _) => pads.iter().map(|&p| Dim::constant(p)).collect(),
        (None, Some(v)) => match l.const_dims(v) {
            Some(pads) => pads,
            None => bail!(Unsupported, "the pads are not constant"),
        },
        (None, None) => bail!(InvalidModel, "has no pads"),
    };
    let axes = match c.optional(3) {
        Some(v) => match l.const_ints(v) {
            Some(axes) => axes.iter().map(|&a| l.axis(a, rank)).collect::<Result<_>>()?,
            None => bail!(Unsupported, "the axes are not constant"),
        },
        None => (0..rank).collect::<Vec<usize>>(),
    };
    ensure!(pads.len() == 2 * axes.len(), InvalidModel, "has {} pads for {} axes", pads.len(), axes.len());
    let mut all = vec![(Dim::fixed(0), Dim::fixed(0)); rank];
    for (i, &axis) in axes.iter().enumerate() {
        all[axis] = (pads[i].clone(), pads[axes.len() + i].clone());
    }
    let x = crop(l, c, x, &mut all);
    if all.iter().all(|(a, b)| a.as_fixed() == Some(0) && b.as_fixed() == Some(0)) {
        return Ok(vec![x]);
    }
    match c.node.string("mode").unwrap_or("constant") {
        "constant" => {
            let value = match c.optional(2) {
                Some(v) => match l.const_scalar(v) {
                    Some(v) => v,
                    None => bail!(Unsupported, "the padding value is not constant"),
                },
                None => c.node.float("value").unwrap_or(0.0),
            };
            let x = l.raw(x);
            let ty = c.out()?;
            Ok(vec![l.emit(c, Op::Pad { pads: all, value }, &[x], ty)])
        }
        mode @ ("reflect" | "edge") => mirror(l, c, x, &all, mode == "reflect").map(|v| vec![v]),
        other => bail!(Unsupported, "mode {other} is not supported"),
    }
}

/// Cut off, or padded with zeros, at both ends of each axis alike; what is left over goes to the end.
fn center_crop_pad(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, ty) = (c.input(0)?, c.out()?);
    let (mut y, shape) = (l.raw(x), l.shape(x));
    ensure!(shape.len() == ty.shape.len(), InvalidModel, "gives another rank than its input's");
    let mut pads = vec![(Dim::fixed(0), Dim::fixed(0)); shape.len()];
    for (axis, (size, wanted)) in shape.iter().zip(&ty.shape).enumerate() {
        if size == wanted {
            continue;
        }
        let (Some(size), Some(wanted)) = (size.as_fixed(), wanted.as_fixed()) else {
            bail!(Unsupported, "the size along axis {axis} is not known");
        };
        if wanted < size {
            let range = Range { axis, start: Dim::fixed((size - wanted) / 2), step: 1 };
            let mut cropped = l.shape(y);
            cropped[axis] = Dim::fixed(wanted);
            y = cut(l, c, y, vec![range], &cropped);
        } else {
            let before = (wanted - size) / 2;
            pads[axis] = (Dim::fixed(before), Dim::fixed(wanted - size - before));
        }
    }
    if l.shape(y) == ty.shape {
        return Ok(vec![y]);
    }
    Ok(vec![l.emit(c, Op::Pad { pads, value: 0.0 }, &[y], ty)])
}

/// Takes off what negative pads say and makes them zero.
fn crop(l: &mut Lower, c: &Call, x: ValueId, pads: &mut [(Dim, Dim)]) -> ValueId {
    let mut x = x;
    for (axis, (before, after)) in pads.iter_mut().enumerate() {
        let negative = |d: &mut Dim| match d.eval_signed(&[]) {
            Ok(v) if v < 0 => core::mem::replace(d, Dim::fixed(0)),
            _ => Dim::fixed(0),
        };
        let (head, tail) = (negative(before), negative(after));
        if head.as_fixed() == Some(0) && tail.as_fixed() == Some(0) {
            continue;
        }
        let mut shape = l.shape(x);
        shape[axis] = shape[axis].clone() + head.clone() + tail;
        let ty = moved(l, x, shape);
        x = l.emit(c, Op::Slice { axis, start: Dim::fixed(0) - head, step: 1 }, &[x], ty);
    }
    x
}

/// Padding with what is already there, axis by axis: slices joined to both ends.
fn mirror(l: &mut Lower, c: &Call, x: ValueId, pads: &[(Dim, Dim)], reflect: bool) -> Result<ValueId> {
    let mut x = x;
    for (axis, (before, after)) in pads.iter().enumerate() {
        let dim = l.shape(x)[axis].clone();
        if let (true, Some(size), Some(head), Some(tail)) = (reflect, dim.as_fixed(), before.as_fixed(), after.as_fixed())
            && head.max(tail) >= size
        {
            let count = head.checked_add(size).and_then(|n| n.checked_add(tail)).filter(|n| *n < 1 << 24 && size > 0);
            let Some(count) = count else { bail!(InvalidModel, "pads {size} elements by {head} and {tail}") };
            // Reflected again at the far end, and so on: a period is there and back.
            let period = (2 * (size - 1)).max(1);
            let places = (0..count).map(|i| {
                let at = (i + period - head % period) % period;
                at.min(period - at) as i64
            });
            let places = Tensor::from_slice(&[count], &places.collect::<Vec<i64>>())?;
            let places = l.graph.add_const(c.name(), &places);
            let mut shape = l.shape(x);
            shape[axis] = Dim::fixed(count);
            let ty = moved(l, x, shape);
            x = l.emit(c, Op::Gather { axis }, &[x, places], ty);
            continue;
        }
        let last = dim.clone() - Dim::fixed(1);
        let mut parts = Vec::new();
        for (amount, start) in [(before, if reflect { before.clone() } else { Dim::fixed(0) }), (after, last - Dim::fixed(1))] {
            if amount.as_fixed() == Some(0) {
                parts.push(None);
                continue;
            }
            let mut shape = l.shape(x);
            let part = if reflect {
                shape[axis] = amount.clone();
                let ty = moved(l, x, shape);
                l.emit(c, Op::Slice { axis, start, step: -1 }, &[x], ty)
            } else {
                let start = if parts.is_empty() { start } else { start + Dim::fixed(1) };
                shape[axis] = Dim::fixed(1);
                let ty = moved(l, x, shape.clone());
                let edge = l.emit(c, Op::Slice { axis, start, step: 1 }, &[x], ty);
                shape[axis] = amount.clone();
                let ty = moved(l, x, shape);
                l.emit(c, Op::Expand, &[edge], ty)
            };
            parts.push(Some(part));
        }
        let [head, tail] = parts.as_slice() else { bail!(Internal, "an axis has two ends") };
        let pieces: Vec<ValueId> = [*head, Some(x), *tail].into_iter().flatten().collect();
        if pieces.len() > 1 {
            let mut shape = l.shape(x);
            shape[axis] = before.clone() + dim + after.clone();
            let ty = moved(l, x, shape);
            x = l.emit(c, Op::Concat { axis }, &pieces, ty);
        }
    }
    Ok(x)
}

fn gather(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, indices) = (c.input(0)?, c.input(1)?);
    let axis = l.axis(c.node.int("axis").unwrap_or(0), l.rank(x))?;
    let indices = match l.dtype(indices) {
        DType::I32 | DType::I64 => indices,
        _ => l.cast(c, indices, DType::I64),
    };
    let mut shape = l.shape(x);
    shape.splice(axis..=axis, l.shape(indices));
    let ty = moved(l, x, shape);
    Ok(vec![l.emit(c, Op::Gather { axis }, &[x, indices], ty)])
}

fn block_size(c: &Call) -> Result<usize> {
    let size = c.node.int("blocksize").unwrap_or(0);
    ensure!((1..=64).contains(&size), InvalidModel, "has blocksize {size}");
    Ok(size as usize)
}

fn depth_to_space(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, b) = (c.input(0)?, Dim::fixed(block_size(c)?));
    let [n, ch, h, w] = image(l, x)?;
    let depth = ch / (b.clone() * b.clone());
    let crd = c.node.string("mode") == Some("CRD");
    let (apart, perm) = if crd {
        (vec![n, depth, b.clone(), b, h, w], [0, 1, 4, 2, 5, 3])
    } else {
        (vec![n, b.clone(), b, depth, h, w], [0, 3, 4, 1, 5, 2])
    };
    let x = l.reshape(c.name(), x, apart);
    let y = l.transpose(c.name(), x, &perm);
    let shape = c.out()?.shape;
    Ok(vec![l.reshape(c.name(), y, shape)])
}

fn space_to_depth(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, b) = (c.input(0)?, Dim::fixed(block_size(c)?));
    let [n, ch, h, w] = image(l, x)?;
    let apart = vec![n, ch, h / b.clone(), b.clone(), w / b.clone(), b];
    let x = l.reshape(c.name(), x, apart);
    let crd = c.node.string("mode") == Some("CRD");
    let y = l.transpose(c.name(), x, if crd { &[0, 1, 3, 5, 2, 4] } else { &[0, 3, 5, 1, 2, 4] });
    let shape = c.out()?.shape;
    Ok(vec![l.reshape(c.name(), y, shape)])
}

fn image(l: &Lower, x: ValueId) -> Result<[Dim; 4]> {
    match <[Dim; 4]>::try_from(l.shape(x)) {
        Ok(dims) => Ok(dims),
        Err(shape) => bail!(InvalidModel, "needs an input of rank 4, has {}", shape.len()),
    }
}

fn constant_of_shape(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let ty = c.out()?;
    let value = match c.node.tensor("value") {
        Some(t) => super::weights::tensor(t)?,
        None => Tensor::scalar(0f32),
    };
    ensure!(value.len() == 1, InvalidModel, "has a value of {} elements", value.len());
    let value = l.graph.add_const(c.name(), &value.reshaped(&[])?);
    Ok(vec![l.emit(c, Op::Expand, &[value], ty)])
}
