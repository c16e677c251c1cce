//! Loops over strided views: what the kernels that broadcast, permute, slice or reduce have in common.

use alloc::{vec, vec::Vec};

/// One loop: its number of turns, and how far each of `K` operands moves per turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis<const K: usize> {
    pub size: usize,
    pub strides: [isize; K],
}

/// Row-major strides of a dense tensor.
pub(super) fn contiguous(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1isize; shape.len()];
    for i in (1..shape.len()).rev() {
        // Wraps only for tensors without elements, which are never walked.
        strides[i - 1] = strides[i].wrapping_mul(shape[i] as isize);
    }
    strides
}

/// Strides that read a dense tensor of `shape` as if it had the shape `target`; `None` if it cannot be broadcast to that.
pub(super) fn broadcast(shape: &[usize], target: &[usize]) -> Option<Vec<isize>> {
    let lead = target.len().checked_sub(shape.len())?;
    let mut strides = vec![0isize; target.len()];
    for (i, stride) in contiguous(shape).into_iter().enumerate() {
        if shape[i] == target[lead + i] {
            strides[lead + i] = if shape[i] == 1 { 0 } else { stride };
        } else if shape[i] != 1 {
            return None;
        }
    }
    Some(strides)
}

/// The loops over `shape`, without those of a single turn, and with neighbours merged where every operand allows it.
pub(super) fn loops<const K: usize>(shape: &[usize], strides: [&[isize]; K]) -> Vec<Axis<K>> {
    if shape.contains(&0) {
        return vec![Axis { size: 0, strides: [0; K] }];
    }
    let mut axes: Vec<Axis<K>> = Vec::new();
    for (i, &size) in shape.iter().enumerate().filter(|(_, s)| **s != 1) {
        let next = Axis { size, strides: core::array::from_fn(|k| strides[k][i]) };
        match axes.last_mut() {
            Some(last) if (0..K).all(|k| last.strides[k] == next.strides[k] * size as isize) => {
                *last = Axis { size: last.size * size, strides: next.strides };
            }
            _ => axes.push(next),
        }
    }
    axes
}

/// Calls `f` with the operands' offsets at every position, the last axis turning fastest. One function for all that is done there,
/// which should be some work: callers keep the innermost loops to themselves.
pub(super) fn walk<const K: usize>(axes: &[Axis<K>], start: [isize; K], f: &mut dyn FnMut([usize; K])) {
    let Some((axis, rest)) = axes.split_first() else {
        return f(start.map(|o| o as usize));
    };
    let mut at = start;
    for _ in 0..axis.size {
        if rest.is_empty() {
            f(at.map(|o| o as usize));
        } else {
            walk(rest, at, f);
        }
        for (o, stride) in at.iter_mut().zip(axis.strides) {
            *o += stride;
        }
    }
}

/// For each index into the dimensions `to`, flattened, the index into `from`, which broadcasts to `to`.
pub(super) fn broadcast_indices(from: &[usize], to: &[usize]) -> Vec<usize> {
    let mut indices = Vec::from([0]);
    for (axis, &size) in to.iter().enumerate() {
        let own = (axis + from.len()).checked_sub(to.len()).map_or(1, |i| from[i]);
        let step = |index: usize| (0..size).map(move |i| index * own + if own == 1 { 0 } else { i });
        indices = indices.into_iter().flat_map(step).collect();
    }
    indices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_merge() {
        let shape = [2, 1, 3, 4];
        let dense = contiguous(&shape);
        assert_eq!(loops(&shape, [&dense]), [Axis { size: 24, strides: [1] }]);
        let row = broadcast(&[3, 1], &shape).unwrap();
        let expected = [Axis { size: 2, strides: [12, 0] }, Axis { size: 3, strides: [4, 1] }, Axis { size: 4, strides: [1, 0] }];
        assert_eq!(loops(&shape, [&dense, &row]), expected);
        assert_eq!(broadcast(&[2], &shape), None);
        assert_eq!(broadcast(&[1, 2, 1, 3, 4], &shape), None);
    }

    #[test]
    fn empty_tensors_are_not_walked() {
        let mut count = 0;
        walk(&loops(&[3, 0], [&[0, 1]]), [0], &mut |_| count += 1);
        assert_eq!(count, 0);
        walk::<1>(&[], [5], &mut |at| count += at[0]);
        assert_eq!(count, 5);
    }
}
