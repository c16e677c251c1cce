//! Operators that only move elements, whatever their type: a shape and a position for each element of the result.

use alloc::{vec, vec::Vec};

use super::{
    call::{Call, axis_of},
    value::{Value, checked_count},
};
use crate::error::{Result, bail, ensure};

/// Row-major strides.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut out = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        out[axis - 1] = out[axis] * shape[axis];
    }
    out
}

/// Positions in a tensor: the sum over the axes of `at(axis, coordinate)`, in row-major order of `shape`.
fn walk<'a>(shape: &'a [usize], at: &'a dyn Fn(usize, usize) -> Option<usize>) -> impl Iterator<Item = Option<usize>> + 'a {
    let count = shape.iter().product();
    let mut coordinates = vec![0usize; shape.len()];
    (0..count).map(move |_| {
        let sum = coordinates.iter().enumerate().try_fold(0, |sum, (axis, &c)| Some(sum + at(axis, c)?));
        for axis in (0..shape.len()).rev() {
            coordinates[axis] += 1;
            if coordinates[axis] < shape[axis] {
                break;
            }
            coordinates[axis] = 0;
        }
        sum
    })
}

/// `length` entries along an axis, from `start`.
pub(super) fn cut(value: &Value, axis: usize, start: usize, length: usize) -> Result<Value> {
    let shape = value.shape()?;
    let Some(&size) = shape.get(axis) else { bail!(InvalidInput, "axis {axis} is out of range for rank {}", shape.len()) };
    ensure!(start + length <= size, InvalidInput, "entries {start} to {} of {size} are asked for", start + length);
    let mut out = shape.to_vec();
    out[axis] = length;
    if checked_count(&out)? == 0 {
        return value.pick(&out, &mut core::iter::empty());
    }
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    let mut at = (0..outer).flat_map(|o| (0..length * inner).map(move |i| Some((o * size + start) * inner + i)));
    value.pick(&out, &mut at)
}

/// One entry along an axis, without that axis.
pub(super) fn row(value: &Value, axis: usize, index: usize) -> Result<Value> {
    let part = cut(value, axis, index, 1)?;
    let mut shape = part.shape()?.to_vec();
    shape.remove(axis);
    part.reshaped(&shape)
}

/// Tensors along one axis: an axis that they have, or a new one.
pub(super) fn join(values: &[Value], axis: usize, new: bool) -> Result<Value> {
    let Some(first) = values.first() else { bail!(InvalidInput, "there is nothing to join") };
    let mut shapes: Vec<Vec<usize>> = Vec::with_capacity(values.len());
    for value in values {
        ensure!(
            core::mem::discriminant(value) == core::mem::discriminant(first),
            InvalidInput,
            "{} and {} cannot be joined",
            first.describe(),
            value.describe()
        );
        if let (Value::Tensor(a), Value::Tensor(b)) = (first, value) {
            ensure!(a.dtype() == b.dtype(), InvalidInput, "{} and {} cannot be joined", first.describe(), value.describe());
        }
        let mut shape = value.shape()?.to_vec();
        if new {
            ensure!(axis <= shape.len(), InvalidInput, "axis {axis} is out of range for rank {}", shape.len());
            shape.insert(axis, 1);
        }
        let base = shapes.first().unwrap_or(&shape);
        let fits = shape.len() == base.len()
            && axis < shape.len()
            && shape.iter().zip(base).enumerate().all(|(i, (a, b))| i == axis || a == b);
        ensure!(fits, InvalidInput, "shapes {base:?} and {shape:?} cannot be joined along axis {axis}");
        shapes.push(shape);
    }
    let mut out = shapes[0].clone();
    out[axis] = shapes.iter().map(|s| s[axis]).sum();
    let count = checked_count(&out)?;
    if count == 0 {
        return first.pick(&out, &mut core::iter::empty());
    }
    let outer: usize = out[..axis].iter().product();
    let runs: Vec<usize> = shapes.iter().map(|s| s[axis..].iter().product()).collect();
    match first {
        Value::Strings(_) => {
            let mut data = Vec::with_capacity(count);
            for o in 0..outer {
                for (value, &run) in values.iter().zip(&runs) {
                    data.extend_from_slice(&value.as_strings()?.data()[o * run..(o + 1) * run]);
                }
            }
            Value::strings(&out, data)
        }
        Value::Tensor(like) => {
            let size = like.dtype().size();
            let mut result = crate::Tensor::zeros(like.dtype(), &out)?;
            let mut to = 0;
            for o in 0..outer {
                for (value, &run) in values.iter().zip(&runs) {
                    let (bytes, run) = (value.tensor()?.bytes(), run * size);
                    result.bytes_mut()[to..to + run].copy_from_slice(&bytes[o * run..(o + 1) * run]);
                    to += run;
                }
            }
            Ok(result.into())
        }
        other => bail!(Unsupported, "{} cannot be joined", other.describe()),
    }
}

pub(super) fn identity(call: &mut Call<'_>) -> Result<Vec<Value>> {
    Ok(vec![call.take(0)?])
}

pub(super) fn shape(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let shape: Vec<i64> = call.arg(0)?.shape()?.iter().map(|&d| d as i64).collect();
    let rank = shape.len() as i64;
    let clamp = |v: i64| (if v < 0 { v + rank } else { v }).clamp(0, rank) as usize;
    let (start, end) = (clamp(call.node.int("start").unwrap_or(0)), clamp(call.node.int("end").unwrap_or(rank)));
    let part = shape.get(start..end).unwrap_or(&[]);
    Ok(vec![Value::numbers(&[part.len()], part)?])
}

pub(super) fn size(call: &mut Call<'_>) -> Result<Vec<Value>> {
    Ok(vec![Value::scalar(checked_count(call.arg(0)?.shape()?)? as i64)])
}

pub(super) fn reshape(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let Some(wanted) = call.ints_or_attribute(1, "shape")? else { bail!(InvalidModel, "the shape is missing") };
    let value = call.take(0)?;
    let old = value.shape()?.to_vec();
    let count: usize = old.iter().product();
    ensure!(wanted.iter().filter(|d| **d == -1).count() < 2, InvalidInput, "a shape of {wanted:?} leaves two axes open");
    let mut shape = Vec::with_capacity(wanted.len());
    for (i, &d) in wanted.iter().enumerate() {
        shape.push(match d {
            0 if !call.node.flag("allowzero", false) => old.get(i).copied().unwrap_or(0),
            -1 => 1,
            d => usize::try_from(d).unwrap_or(usize::MAX),
        });
    }
    if let Some(open) = wanted.iter().position(|d| *d == -1) {
        let rest = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).unwrap_or(0);
        shape[open] = count.checked_div(rest).unwrap_or(0);
    }
    Ok(vec![value.reshaped(&shape)?])
}

pub(super) fn flatten(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let value = call.take(0)?;
    let shape = value.shape()?.to_vec();
    let axis = call.node.int("axis").unwrap_or(1);
    let axis = if axis == shape.len() as i64 { shape.len() } else { axis_of(axis, shape.len())? };
    Ok(vec![value.reshaped(&[shape[..axis].iter().product(), shape[axis..].iter().product()])?])
}

pub(super) fn squeeze(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let axes = call.ints_or_attribute(1, "axes")?;
    let value = call.take(0)?;
    let mut shape = value.shape()?.to_vec();
    let gone: Vec<usize> = match axes {
        Some(axes) => axes.iter().map(|a| axis_of(*a, shape.len())).collect::<Result<_>>()?,
        None => (0..shape.len()).filter(|i| shape[*i] == 1).collect(),
    };
    ensure!(gone.iter().all(|i| shape[*i] == 1), InvalidInput, "axes {gone:?} of {shape:?} are not all of size 1");
    let mut axis = 0..;
    shape.retain(|_| axis.next().is_none_or(|i| !gone.contains(&i)));
    Ok(vec![value.reshaped(&shape)?])
}

pub(super) fn unsqueeze(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let Some(axes) = call.ints_or_attribute(1, "axes")? else { bail!(InvalidModel, "the axes are missing") };
    let value = call.take(0)?;
    let mut shape = value.shape()?.to_vec();
    let rank = shape.len() + axes.len();
    let mut axes: Vec<usize> = axes.iter().map(|a| axis_of(*a, rank)).collect::<Result<_>>()?;
    axes.sort_unstable();
    ensure!(axes.windows(2).all(|w| w[0] != w[1]), InvalidInput, "an axis is given twice");
    for axis in axes {
        shape.insert(axis, 1);
    }
    Ok(vec![value.reshaped(&shape)?])
}

pub(super) fn concat(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let values: Vec<Value> = core::mem::take(&mut call.args).into_iter().flatten().collect();
    let rank = values.first().map_or(Ok(0), |v| v.shape().map(<[usize]>::len))?;
    Ok(vec![join(&values, axis_of(call.node.int("axis").unwrap_or(1), rank)?, false)?])
}

pub(super) fn transpose(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let value = call.arg(0)?;
    let shape = value.shape()?;
    let rank = shape.len();
    let order: Vec<usize> = match call.node.ints("perm") {
        Some(perm) => perm.iter().map(|a| axis_of(*a, rank)).collect::<Result<_>>()?,
        None => (0..rank).rev().collect(),
    };
    ensure!(order.len() == rank, InvalidInput, "the permutation {order:?} does not fit rank {rank}");
    let (from, out): (Vec<usize>, Vec<usize>) = {
        let strides = strides(shape);
        order.iter().map(|a| (strides[*a], shape[*a])).unzip()
    };
    let at = |axis: usize, c: usize| Some(c * from[axis]);
    Ok(vec![value.pick(&out, &mut walk(&out, &at))?])
}

pub(super) fn slice(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let starts = call.ints_or_attribute(1, "starts")?;
    let ends = call.ints_or_attribute(2, "ends")?;
    let (Some(starts), Some(ends)) = (starts, ends) else { bail!(InvalidModel, "the bounds are missing") };
    let axes = call.ints_or_attribute(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = call.ints_or_attribute(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    let same = [ends.len(), axes.len(), steps.len()].iter().all(|n| *n == starts.len());
    ensure!(same, InvalidInput, "starts, ends, axes and steps have different lengths");
    let value = call.arg(0)?;
    let shape = value.shape()?;
    let strides = strides(shape);
    let mut out = shape.to_vec();
    let mut first = vec![0i64; shape.len()];
    let mut step = vec![1i64; shape.len()];
    for i in 0..starts.len() {
        let axis = axis_of(axes[i], shape.len())?;
        let size = shape[axis] as i64;
        ensure!(steps[i] != 0, InvalidInput, "a step is 0");
        let bound = |v: i64, least: i64, most: i64| (if v < 0 { v.saturating_add(size) } else { v }).clamp(least, most);
        let (start, end) = if steps[i] > 0 {
            (bound(starts[i], 0, size), bound(ends[i], 0, size))
        } else {
            (bound(starts[i], 0, size - 1), bound(ends[i], -1, size - 1))
        };
        let distance = if steps[i] > 0 { end - start } else { start - end };
        let count = if distance <= 0 { 0 } else { (distance - 1) / steps[i].saturating_abs() + 1 };
        (first[axis], step[axis], out[axis]) = (start, steps[i], count as usize);
    }
    let at = |axis: usize, c: usize| {
        let index = usize::try_from(first[axis] + c as i64 * step[axis]).ok()?;
        Some(index * strides[axis])
    };
    Ok(vec![value.pick(&out, &mut walk(&out, &at))?])
}

/// The index of an entry, counted from the back if negative.
pub(super) fn entry(index: i64, size: usize) -> Result<usize> {
    let from_front = if index < 0 { index.saturating_add(size as i64) } else { index };
    match usize::try_from(from_front).ok().filter(|i| *i < size) {
        Some(i) => Ok(i),
        None => bail!(InvalidInput, "index {index} is out of range for {size} entries"),
    }
}

pub(super) fn gather(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let indices = call.ints(1)?;
    let value = call.arg(0)?;
    let shape = value.shape()?;
    let axis = axis_of(call.node.int("axis").unwrap_or(0), shape.len())?;
    let indices: Vec<usize> = indices.iter().map(|i| entry(*i, shape[axis])).collect::<Result<_>>()?;
    Ok(vec![take_entries(value, axis, &indices, call.arg(1)?.shape()?)?])
}

/// The entries at these indices along an axis, which is replaced by the axes of the indices.
pub(super) fn take_entries(value: &Value, axis: usize, indices: &[usize], of: &[usize]) -> Result<Value> {
    let shape = value.shape()?;
    let out = [&shape[..axis], of, &shape[axis + 1..]].concat();
    if checked_count(&out)? == 0 {
        return value.pick(&out, &mut core::iter::empty());
    }
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    let size = shape[axis];
    let entries = (0..outer).flat_map(|o| indices.iter().map(move |i| (o * size + i) * inner));
    value.pick(&out, &mut entries.flat_map(|start| (start..start + inner).map(Some)))
}

pub(super) fn expand(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let wanted = call.ints(1)?;
    let value = call.arg(0)?;
    let wanted: Vec<usize> = wanted.iter().map(|d| usize::try_from(*d).unwrap_or(usize::MAX)).collect();
    let out = broadcast_shape(value.shape()?, &wanted)?;
    Ok(vec![broadcast(value, &out)?])
}

/// The shape that two shapes broadcast to.
pub(super) fn broadcast_shape(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let dim = |shape: &[usize], i: usize| (i + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    let dims = (0..rank).map(|i| match (dim(a, i), dim(b, i)) {
        (x, y) if x == y || y == 1 => Ok(x),
        (1, y) => Ok(y),
        _ => bail!(InvalidInput, "shapes {a:?} and {b:?} do not broadcast"),
    });
    dims.collect()
}

/// The value with its axes of size 1 repeated.
pub(super) fn broadcast(value: &Value, out: &[usize]) -> Result<Value> {
    let shape = value.shape()?;
    let lead = out.len() - shape.len();
    let strides = strides(shape);
    checked_count(out)?;
    let at = |axis: usize, c: usize| match axis.checked_sub(lead) {
        Some(axis) if shape[axis] != 1 => Some(c * strides[axis]),
        _ => Some(0),
    };
    value.pick(out, &mut walk(out, &at))
}

pub(super) fn tile(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let repeats = call.ints(1)?;
    let value = call.arg(0)?;
    let shape = value.shape()?;
    ensure!(repeats.len() == shape.len(), InvalidInput, "{} repeats for rank {}", repeats.len(), shape.len());
    let times = repeats.iter().map(|r| usize::try_from(*r).unwrap_or(0));
    let out: Vec<usize> = shape.iter().zip(times).map(|(d, r)| d.saturating_mul(r)).collect();
    checked_count(&out)?;
    let strides = strides(shape);
    let at = |axis: usize, c: usize| Some(c % shape[axis] * strides[axis]);
    Ok(vec![value.pick(&out, &mut walk(&out, &at))?])
}

/// Lengths of the parts of an axis: given, or `count` equal ones of which the last may be shorter.
fn parts(size: usize, given: Option<Vec<i64>>, count: usize) -> Result<Vec<usize>> {
    let lengths: Vec<usize> = match given {
        Some(lengths) => lengths.iter().map(|l| usize::try_from(*l).unwrap_or(usize::MAX)).collect(),
        None => {
            let each = size.div_ceil(count.max(1));
            (0..count).map(|i| each.min(size.saturating_sub(i * each))).collect()
        }
    };
    let sum = lengths.iter().try_fold(0usize, |n, l| n.checked_add(*l));
    ensure!(sum == Some(size), InvalidInput, "parts of {lengths:?} do not make up {size}");
    Ok(lengths)
}

pub(super) fn split(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let given = call.ints_or_attribute(1, "split")?;
    let value = call.arg(0)?;
    let shape = value.shape()?;
    let axis = axis_of(call.node.int("axis").unwrap_or(0), shape.len())?;
    let mut start = 0;
    let mut out = Vec::new();
    for length in parts(shape[axis], given, call.outputs())? {
        out.push(cut(value, axis, start, length)?);
        start += length;
    }
    Ok(out)
}

/// Pad: with a constant, with the entries at the edge, mirrored or from the other side. Negative pads cut.
pub(super) fn pad(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let Some(pads) = call.ints_or_attribute(1, "pads")? else { bail!(InvalidModel, "the pads are missing") };
    let mode = call.node.string("mode").unwrap_or("constant");
    let value = call.arg(0)?;
    let shape = value.shape()?;
    let axes = match call.given(3) {
        Some(_) => call.ints(3)?.iter().map(|a| axis_of(*a, shape.len())).collect::<Result<Vec<_>>>()?,
        None => (0..shape.len()).collect(),
    };
    ensure!(pads.len() == 2 * axes.len(), InvalidInput, "there are {} pads for {} axes", pads.len(), axes.len());
    let mut before = vec![0i64; shape.len()];
    let mut out = shape.to_vec();
    for (i, &axis) in axes.iter().enumerate() {
        let (start, end) = (pads[i], pads[axes.len() + i]);
        let size = (shape[axis] as i64).checked_add(start).and_then(|n| n.checked_add(end)).filter(|n| *n >= 0);
        let Some(size) = size else { bail!(InvalidInput, "pads {start} and {end} do not fit axis {axis} of {shape:?}") };
        (before[axis], out[axis]) = (start, usize::try_from(size).unwrap_or(usize::MAX));
    }
    checked_count(&out)?;
    let strides = strides(shape);
    let at = |axis: usize, c: usize| {
        let (size, p) = (shape[axis] as i64, c as i64 - before[axis]);
        let inside = match mode {
            _ if (0..size).contains(&p) => p,
            _ if size == 0 => return None,
            "edge" => p.clamp(0, size - 1),
            "wrap" => p.rem_euclid(size),
            "reflect" if size == 1 => 0,
            "reflect" => (size - 1) - ((p.rem_euclid(2 * (size - 1))) - (size - 1)).abs(),
            _ => return None,
        };
        Some(inside as usize * strides[axis])
    };
    ensure!(matches!(mode, "constant" | "edge" | "wrap" | "reflect"), InvalidModel, "has the mode '{mode}'");
    let Some(fill) = call.given(2).filter(|_| mode == "constant") else {
        return Ok(vec![value.pick(&out, &mut walk(&out, &at))?]);
    };
    let count = checked_count(shape)?;
    let all = join(&[value.clone().reshaped(&[count])?, fill.clone().reshaped(&[1])?], 0, false)?;
    Ok(vec![all.pick(&out, &mut walk(&out, &at).map(|p| p.or(Some(count))))?])
}

pub(super) fn where_op(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let shape = broadcast_shape(call.arg(0)?.shape()?, call.arg(1)?.shape()?)?;
    let shape = broadcast_shape(&shape, call.arg(2)?.shape()?)?;
    let [condition, x, y] = [0, 1, 2].map(|i| call.arg(i).and_then(|v| broadcast(v, &shape)));
    let (condition, both) = (condition?, join(&[x?, y?], 0, true)?);
    let condition = condition.tensor()?;
    let count = condition.len();
    let mut at = condition.bytes().iter().enumerate().map(|(i, c)| Some(if *c != 0 { i } else { count + i }));
    Ok(vec![both.pick(&shape, &mut at)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(shape: &[usize]) -> Value {
        let count: usize = shape.iter().product();
        Value::numbers(shape, &(0..count as i64).collect::<Vec<_>>()).unwrap()
    }

    fn data(value: &Value) -> Vec<i64> {
        value.tensor().unwrap().as_slice::<i64>().unwrap().to_vec()
    }

    #[test]
    fn rows_are_cut_out_and_joined_again() {
        let x = numbers(&[2, 3, 2]);
        for axis in 0..3 {
            let rows: Vec<Value> = (0..x.shape().unwrap()[axis]).map(|i| row(&x, axis, i).unwrap()).collect();
            let back = join(&rows, axis, true).unwrap();
            assert_eq!((back.shape().unwrap(), data(&back)), (x.shape().unwrap(), data(&x)));
        }
        assert_eq!(data(&cut(&x, 1, 1, 2).unwrap()), [2, 3, 4, 5, 8, 9, 10, 11]);
        assert!(cut(&x, 1, 2, 2).is_err());
    }

    #[test]
    fn broadcasting_follows_numpy() {
        assert_eq!(broadcast_shape(&[3, 1], &[2, 1, 4]).unwrap(), [2, 3, 4]);
        assert!(broadcast_shape(&[3], &[2]).is_err());
        assert_eq!(data(&broadcast(&numbers(&[2, 1]), &[2, 2, 3]).unwrap()), [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1]);
    }

    #[test]
    fn padding_by_position() {
        let run = |mode: &str, fill: Option<i64>| {
            let attribute = tract_onnx::pb::AttributeProto { name: "mode".into(), s: mode.into(), ..Default::default() };
            let node = tract_onnx::pb::NodeProto { attribute: vec![attribute], ..Default::default() };
            let node = crate::compile::import::OnnxNode::new(&node, 19);
            let pads = Value::numbers(&[2], &[3i64, 2]).unwrap();
            let args = vec![Some(numbers(&[3])), Some(pads), fill.map(Value::scalar)];
            data(&pad(&mut Call { node: &node, args, random: &mut super::super::random::Random::new(0) }).unwrap()[0])
        };
        assert_eq!(run("constant", Some(9)), [9, 9, 9, 0, 1, 2, 9, 9]);
        assert_eq!(run("constant", None), [0, 0, 0, 0, 1, 2, 0, 0]);
        assert_eq!(run("edge", None), [0, 0, 0, 0, 1, 2, 2, 2]);
        assert_eq!(run("reflect", None), [1, 2, 1, 0, 1, 2, 1, 0]);
        assert_eq!(run("wrap", None), [0, 1, 2, 0, 1, 2, 0, 1]);
    }

    #[test]
    fn parts_of_an_axis() {
        assert_eq!(parts(7, None, 3).unwrap(), [3, 3, 1]);
        assert_eq!(parts(2, None, 4).unwrap(), [1, 1, 0, 0]);
        assert!(parts(7, Some([4, 4].into()), 2).is_err());
    }
}
