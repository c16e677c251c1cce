//! Sequences and optionals.

use alloc::{vec, vec::Vec};

use super::{
    call::{Call, axis_of, integers},
    machine::check_length,
    movement::{cut, join, row},
    value::{Value, checked_count},
};
use crate::{
    error::{Result, bail, ensure},
    tensor::DType,
};

fn items(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Sequence(items) => Ok(items),
        other => bail!(InvalidInput, "{} is where a sequence is needed", other.describe()),
    }
}

pub(super) fn construct(call: &mut Call<'_>) -> Result<Vec<Value>> {
    Ok(vec![Value::Sequence(core::mem::take(&mut call.args).into_iter().flatten().collect())])
}

pub(super) fn empty(_call: &mut Call<'_>) -> Result<Vec<Value>> {
    Ok(vec![Value::Sequence(Vec::new())])
}

/// A position, counted from the back if negative.
fn position(index: i64, size: usize) -> Result<usize> {
    let from_front = if index < 0 { index.saturating_add(size as i64) } else { index };
    match usize::try_from(from_front).ok().filter(|i| *i < size) {
        Some(i) => Ok(i),
        None => bail!(InvalidInput, "position {index} is out of range for a sequence of {size}"),
    }
}

/// The element type and kind, which all elements of a sequence share.
fn same_type(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Tensor(a), Value::Tensor(b)) => a.dtype() == b.dtype(),
        _ => core::mem::discriminant(a) == core::mem::discriminant(b),
    }
}

pub(super) fn insert(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let at = call.given(2).is_some().then(|| call.int(2)).transpose()?;
    let (mut items, new) = (items(call.take(0)?)?, call.take(1)?);
    check_length(items.len() + 1)?;
    if let Some(first) = items.first().filter(|f| !same_type(f, &new)) {
        bail!(InvalidInput, "{} cannot be put into a sequence of which {} is an element", new.describe(), first.describe());
    }
    let at = match at {
        Some(at) if at == items.len() as i64 => items.len(),
        Some(at) => position(at, items.len())?,
        None => items.len(),
    };
    items.insert(at, new);
    // Adding up each time would make a loop that collects values slow.
    if items.len().is_power_of_two() {
        checked_count(&[items.iter().map(Value::bytes).sum()])?;
    }
    Ok(vec![Value::Sequence(items)])
}

pub(super) fn erase(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let at = call.given(1).is_some().then(|| call.int(1)).transpose()?;
    let mut items = items(call.take(0)?)?;
    let at = position(at.unwrap_or(-1), items.len())?;
    items.remove(at);
    Ok(vec![Value::Sequence(items)])
}

pub(super) fn at(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let index = call.int(1)?;
    let Value::Sequence(items) = call.arg(0)? else { bail!(InvalidInput, "{} is no sequence", call.arg(0)?.describe()) };
    Ok(vec![items[position(index, items.len())?].clone()])
}

pub(super) fn length(call: &mut Call<'_>) -> Result<Vec<Value>> {
    Ok(vec![Value::scalar(items(call.take(0)?)?.len() as i64)])
}

pub(super) fn split_to(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let value = call.arg(0)?;
    let shape = value.shape()?;
    let axis = axis_of(call.node.int("axis").unwrap_or(0), shape.len())?;
    let size = shape[axis];
    let Some(split) = call.given(1) else {
        let keep = call.node.flag("keepdims", true);
        let part = |i| if keep { cut(value, axis, i, 1) } else { row(value, axis, i) };
        check_length(size)?;
        return Ok(vec![Value::Sequence((0..size).map(part).collect::<Result<_>>()?)]);
    };
    let lengths = integers(split.tensor()?)?;
    let lengths: Vec<usize> = match (split.shape()?, lengths.as_slice()) {
        ([], [each]) => {
            let Some(each) = usize::try_from(*each).ok().filter(|n| *n > 0) else {
                bail!(InvalidInput, "parts of length {each} cannot be made")
            };
            check_length(size.div_ceil(each))?;
            (0..size.div_ceil(each)).map(|i| each.min(size - i * each)).collect()
        }
        _ => lengths.iter().map(|l| usize::try_from(*l).unwrap_or(usize::MAX)).collect(),
    };
    let sum = lengths.iter().try_fold(0usize, |n, l| n.checked_add(*l));
    ensure!(sum == Some(size), InvalidInput, "parts of {lengths:?} do not make up axis {axis} of {shape:?}");
    let mut start = 0;
    let mut parts = Vec::with_capacity(lengths.len());
    for length in lengths {
        parts.push(cut(value, axis, start, length)?);
        start += length;
    }
    Ok(vec![Value::Sequence(parts)])
}

pub(super) fn concat_from(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let items = items(call.take(0)?)?;
    let Some(first) = items.first() else { bail!(InvalidInput, "the sequence is empty: there is nothing to concatenate") };
    let Some(axis) = call.node.int("axis") else { bail!(InvalidModel, "the attribute 'axis' is missing") };
    let new = call.node.flag("new_axis", false);
    let axis = axis_of(axis, first.shape()?.len() + usize::from(new))?;
    Ok(vec![join(&items, axis, new)?])
}

pub(super) fn optional(call: &mut Call<'_>) -> Result<Vec<Value>> {
    Ok(vec![call.take(0).unwrap_or(Value::None)])
}

pub(super) fn has_element(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let has = !matches!(call.given(0), None | Some(Value::None));
    Ok(vec![crate::Tensor::from_bytes(DType::Bool, &[], &[u8::from(has)])?.into()])
}

pub(super) fn get_element(call: &mut Call<'_>) -> Result<Vec<Value>> {
    match call.take(0)? {
        Value::None => bail!(InvalidInput, "the optional is empty; ask with OptionalHasElement first"),
        value => Ok(vec![value]),
    }
}
