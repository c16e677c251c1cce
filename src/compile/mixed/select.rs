//! Operators whose results are as long as the data says: Unique, NonZero, Compress, NonMaxSuppression.

use alloc::{string::String, vec, vec::Vec};
use core::cmp::Ordering;

use super::{
    call::{Call, axis_of, numbers},
    movement::{row, take_entries},
    value::{Value, checked_count},
};
use crate::error::{Result, bail, ensure};

/// What can be ordered and compared: the elements of a tensor.
enum Elements<'a> {
    Numbers(Vec<f64>),
    Strings(&'a [String]),
}

impl Elements<'_> {
    fn compare(&self, a: usize, b: usize) -> Ordering {
        match self {
            // NaN stands at the end, as in NumPy; all NaN are equal.
            Elements::Numbers(n) => match n[a].partial_cmp(&n[b]) {
                Some(order) => order,
                None => n[a].is_nan().cmp(&n[b].is_nan()),
            },
            Elements::Strings(s) => s[a].cmp(&s[b]),
        }
    }
}

/// Unique: the entries, where each was first, which of them each entry is, and how often it occurs.
pub(super) fn unique(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let value = call.arg(0)?;
    let shape = value.shape()?.to_vec();
    let axis = call.node.int("axis").map(|a| axis_of(a, shape.len())).transpose()?;
    let elements = match value {
        Value::Strings(s) => Elements::Strings(s.data()),
        other => match integers_exceed_f64(other) {
            true => bail!(Unsupported, "integers beyond 2^53 cannot be told apart here"),
            false => Elements::Numbers(numbers(other.tensor()?)?),
        },
    };
    let (count, inner) = match axis {
        Some(axis) => (shape[axis], shape[axis + 1..].iter().product::<usize>()),
        None => (shape.iter().product(), 1),
    };
    checked_count(&[count, 8])?;
    let outer = axis.map_or(1, |axis| shape[..axis].iter().product::<usize>());
    let compare = |a: usize, b: usize| {
        let positions = (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i)));
        let orders = positions.map(|(o, i)| elements.compare((o * count + a) * inner + i, (o * count + b) * inner + i));
        orders.into_iter().find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    };
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| compare(*a, *b));
    // Equal entries are neighbours now, the first of them in front, for the sort is stable.
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for i in order {
        match groups.last_mut() {
            Some(group) if compare(group[0], i).is_eq() => group.push(i),
            _ => groups.push(vec![i]),
        }
    }
    if !call.node.flag("sorted", true) {
        groups.sort_by_key(|g| g[0]);
    }
    let first: Vec<usize> = groups.iter().map(|g| g[0]).collect();
    let mut inverse = vec![0i64; count];
    for (at, group) in groups.iter().enumerate() {
        group.iter().for_each(|i| inverse[*i] = at as i64);
    }
    let counts: Vec<i64> = groups.iter().map(|g| g.len() as i64).collect();
    let values = match axis {
        Some(axis) => take_entries(value, axis, &first, &[first.len()])?,
        None => value.pick(&[first.len()], &mut first.iter().map(|i| Some(*i)))?,
    };
    let indices: Vec<i64> = first.iter().map(|i| *i as i64).collect();
    Ok(vec![
        values,
        Value::numbers(&[indices.len()], &indices)?,
        Value::numbers(&[count], &inverse)?,
        Value::numbers(&[counts.len()], &counts)?,
    ])
}

/// Whether some integers are too large for the comparison in `f64`.
fn integers_exceed_f64(value: &Value) -> bool {
    let Ok(tensor) = value.tensor() else { return false };
    let far = |v: i64| v.unsigned_abs() > 1 << 53;
    tensor.as_slice::<i64>().is_ok_and(|v| v.iter().any(|v| far(*v)))
        || tensor.as_slice::<u64>().is_ok_and(|v| v.iter().any(|v| *v > 1 << 53))
}

pub(super) fn non_zero(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let tensor = call.tensor(0)?;
    let shape = tensor.shape();
    let at: Vec<usize> = numbers(tensor)?.iter().enumerate().filter(|(_, v)| **v != 0.0).map(|(i, _)| i).collect();
    let mut out = Vec::with_capacity(at.len() * shape.len());
    for axis in 0..shape.len() {
        let inner: usize = shape[axis + 1..].iter().product();
        out.extend(at.iter().map(|i| (i / inner % shape[axis]) as i64));
    }
    Ok(vec![Value::numbers(&[shape.len(), at.len()], &out)?])
}

pub(super) fn compress(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let condition = call.tensor(1)?.bytes().to_vec();
    let value = call.arg(0)?;
    let shape = value.shape()?;
    let chosen = |size: usize| -> Vec<usize> { (0..size.min(condition.len())).filter(|i| condition[*i] != 0).collect() };
    let out = match call.node.int("axis") {
        Some(axis) => {
            let axis = axis_of(axis, shape.len())?;
            let chosen = chosen(shape[axis]);
            take_entries(value, axis, &chosen, &[chosen.len()])?
        }
        None => {
            let chosen = chosen(checked_count(shape)?);
            value.pick(&[chosen.len()], &mut chosen.iter().map(|i| Some(*i)))?
        }
    };
    Ok(vec![out])
}

/// Corners of a box, the smaller ones first.
fn corners(b: &[f64], centered: bool) -> [f64; 4] {
    if centered {
        let (x, y, w, h) = (b[0], b[1], b[2] / 2.0, b[3] / 2.0);
        return [y - h, x - w, y + h, x + w];
    }
    [b[0].min(b[2]), b[1].min(b[3]), b[0].max(b[2]), b[1].max(b[3])]
}

/// Share of the union of two boxes that both cover.
fn overlap(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let area = |c: &[f64; 4]| (c[2] - c[0]) * (c[3] - c[1]);
    let (h, w) = (a[2].min(b[2]) - a[0].max(b[0]), a[3].min(b[3]) - a[1].max(b[1]));
    if h <= 0.0 || w <= 0.0 || area(a) <= 0.0 || area(b) <= 0.0 {
        return 0.0;
    }
    h * w / (area(a) + area(b) - h * w)
}

/// NonMaxSuppression: `(batch, class, box)` of the boxes that are kept, best scores first within each class.
pub(super) fn non_max_suppression(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let optional = |i: usize| call.given(i).is_some().then(|| call.float(i)).transpose();
    let most = optional(2)?.unwrap_or(0.0).max(0.0) as usize;
    let (threshold, least) = (optional(3)?.unwrap_or(0.0), optional(4)?);
    let centered = call.node.flag("center_point_box", false);
    let (boxes, scores) = (call.tensor(0)?, call.tensor(1)?);
    let (&[batch, count, 4], &[other, classes, same]) = (boxes.shape(), scores.shape()) else {
        bail!(InvalidInput, "boxes have shape {:?}, scores {:?}", boxes.shape(), scores.shape())
    };
    ensure!(batch == other && count == same, InvalidInput, "boxes {:?} do not fit scores {:?}", boxes.shape(), scores.shape());
    let (boxes, scores) = (numbers(boxes)?, numbers(scores)?);
    let mut out: Vec<i64> = Vec::new();
    for b in 0..batch {
        let boxes: Vec<[f64; 4]> = (0..count).map(|i| corners(&boxes[(b * count + i) * 4..][..4], centered)).collect();
        for class in 0..classes {
            let scores = &scores[(b * classes + class) * count..][..count];
            let mut order: Vec<usize> = (0..count).filter(|i| least.is_none_or(|l| scores[*i] > l)).collect();
            order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
            let mut kept: Vec<usize> = Vec::new();
            for i in order {
                if kept.len() >= most {
                    break;
                }
                if kept.iter().all(|k| overlap(&boxes[*k], &boxes[i]) <= threshold) {
                    kept.push(i);
                }
            }
            out.extend(kept.iter().flat_map(|i| [b as i64, class as i64, *i as i64]));
        }
    }
    Ok(vec![Value::numbers(&[out.len() / 3, 3], &out)?])
}

/// ArrayFeatureExtractor: columns of the last axis.
pub(super) fn columns(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let indices = call.ints(1)?;
    let value = call.arg(0)?;
    let shape = value.shape()?;
    let Some(axis) = shape.len().checked_sub(1) else { bail!(InvalidInput, "the input is a scalar") };
    let indices: Vec<usize> = indices.iter().map(|i| super::movement::entry(*i, shape[axis])).collect::<Result<_>>()?;
    let out = take_entries(value, axis, &indices, &[indices.len()])?;
    // A list gives one row.
    Ok(vec![if axis == 0 { out.reshaped(&[1, indices.len()])? } else { out }])
}

/// ReverseSequence for every type: the first entries of each batch turned round.
pub(super) fn reverse(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let lengths = call.ints(1)?;
    let value = call.arg(0)?;
    let shape = value.shape()?;
    ensure!(shape.len() >= 2, InvalidInput, "the input has rank {}, it must be at least 2", shape.len());
    let time = axis_of(call.node.int("time_axis").unwrap_or(0), 2)?;
    let batch = axis_of(call.node.int("batch_axis").unwrap_or(1), 2)?;
    ensure!(time != batch && lengths.len() == shape[batch], InvalidInput, "{} lengths for {:?}", lengths.len(), shape);
    let mut rows = Vec::new();
    for (b, &length) in lengths.iter().enumerate() {
        let length = usize::try_from(length).ok().filter(|l| *l <= shape[time]);
        let Some(length) = length else { bail!(InvalidInput, "the lengths {lengths:?} do not fit {} steps", shape[time]) };
        let order: Vec<usize> = (0..length).rev().chain(length..shape[time]).collect();
        let own = row(value, batch, b)?;
        rows.push(take_entries(&own, 0, &order, &[order.len()])?);
    }
    Ok(vec![super::movement::join(&rows, batch, true)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_boxes() {
        let a = corners(&[0.0, 0.0, 2.0, 2.0], false);
        assert_eq!(overlap(&a, &corners(&[2.0, 2.0, 1.0, 1.0], false)), 0.25);
        assert_eq!(overlap(&a, &corners(&[1.0, 1.0, 2.0, 2.0], true)), 1.0);
        assert_eq!(overlap(&a, &corners(&[2.0, 0.0, 3.0, 1.0], false)), 0.0);
    }

    #[test]
    fn nan_is_the_largest() {
        let e = Elements::Numbers([f64::NAN, 1.0, f64::NAN].into());
        assert_eq!(e.compare(0, 1), Ordering::Greater);
        assert_eq!(e.compare(1, 2), Ordering::Less);
        assert_eq!(e.compare(0, 2), Ordering::Equal);
    }
}
