//! Moves elements from one strided view to another: the one loop nest behind transpose, expand, slice, concat and pad.

use alloc::vec::Vec;
use core::ops::Range;

use super::{
    Io,
    strided::{Axis, loops, walk},
    team::{GRAIN, Shared},
};
use crate::tensor::{DType, Element};

/// Side of the square tiles in which a matrix is transposed.
const TILE: usize = 8;

/// A planned copy. Axes are those of the destination, source first in each pair of strides.
#[derive(Debug)]
pub(super) struct StridedCopy {
    outer: Vec<Axis<2>>,
    inner: Inner,
    from: isize,
    to: isize,
}

/// The innermost loops.
#[derive(Debug, Clone, Copy)]
enum Inner {
    /// Rows that are contiguous on both sides.
    Row(usize),
    /// A strided row.
    Strided(Axis<2>),
    /// Rows that are contiguous in the source become columns: (source-contiguous axis, destination-contiguous axis).
    Transpose(Axis<2>, Axis<2>),
}

impl StridedCopy {
    /// Plans copying a view of `shape` with `strides` (source, destination), which start at `starts`.
    pub(super) fn new(shape: &[usize], strides: [&[isize]; 2], starts: [isize; 2]) -> StridedCopy {
        let mut outer = loops(shape, strides);
        let last = outer.pop().unwrap_or(Axis { size: 1, strides: [1, 1] });
        let inner = match last.strides {
            [1, 1] => Inner::Row(last.size),
            [stride, 1] if stride > 1 => match outer.iter().position(|a| a.strides[0] == 1 && a.strides[1] > 1) {
                Some(i) => Inner::Transpose(outer.remove(i), last),
                None => Inner::Strided(last),
            },
            _ => Inner::Strided(last),
        };
        StridedCopy { outer, inner, from: starts[0], to: starts[1] }
    }

    /// Copies input `i` of `io` to its output 0; `dtype` tells the elements' size.
    pub(super) fn run_io(&self, dtype: DType, i: usize, io: &mut Io<'_>) {
        let (size, units) = (dtype.size(), self.units());
        let grain = (GRAIN * size * units).div_ceil(io.input::<u8>(i).len().max(1));
        io.each_range::<u8>([units, grain], |io, part, y| {
            let (outer, turns, inner, start) = self.cut(part);
            // SAFETY: the parts are disjoint, and operands are aligned for elements of any type.
            walk(outer, start, &mut |start| unsafe {
                match size {
                    1 => copy::<u8>(turns, inner, io.input(i), y, start),
                    2 => copy::<u16>(turns, inner, io.input(i), &y.cast(), start),
                    4 => copy::<u32>(turns, inner, io.input(i), &y.cast(), start),
                    _ => copy::<u64>(turns, inner, io.input(i), &y.cast(), start),
                }
            });
        });
    }

    /// The loop that threads cut: rows of a transposition, or the turns around the innermost loop. Its number of turns, 1 where elements of
    /// different turns are mixed in the destination.
    fn units(&self) -> usize {
        let turns = self.outer.last().map_or(1, |axis| axis.size);
        match self.inner {
            Inner::Transpose(rows, _) => rows.size,
            Inner::Strided(Axis { strides: [_, stride], .. }) if stride != 1 => 1,
            _ => turns,
        }
    }

    /// The loops of some of the [units](StridedCopy::units), and where they start.
    fn cut(&self, part: Range<usize>) -> (&[Axis<2>], Axis<2>, Inner, [isize; 2]) {
        let (mut turns, outer) = match self.outer.split_last() {
            Some((last, outer)) => (*last, outer),
            None => (Axis { size: 1, strides: [0, 0] }, &[][..]),
        };
        let (mut start, mut inner) = ([self.from, self.to], self.inner);
        let axis = match &mut inner {
            Inner::Transpose(rows, _) => rows,
            _ if part.len() < self.units() => &mut turns,
            _ => return (outer, turns, inner, start),
        };
        start = core::array::from_fn(|k| start[k] + part.start as isize * axis.strides[k]);
        axis.size = part.len();
        (outer, turns, inner, start)
    }
}

/// Turns of the innermost loop.
///
/// # Safety
/// Nobody else may touch the elements of `y` from the first to the last that a turn writes.
unsafe fn copy<T: Element>(turns: Axis<2>, inner: Inner, x: &[T], y: &Shared<'_, T>, [mut from, mut to]: [usize; 2]) {
    for _ in 0..turns.size {
        // SAFETY: as the caller promises.
        let y = unsafe { y.part(to..to + inner.extent()) };
        match inner {
            Inner::Row(n) => copy_row(&x[from..from + n], y),
            Inner::Strided(axis) => strided(axis, x, from, y),
            Inner::Transpose(rows, columns) => transpose(rows, columns, &x[from..], y),
        }
        from = from.wrapping_add_signed(turns.strides[0]);
        to = to.wrapping_add_signed(turns.strides[1]);
    }
}

impl Inner {
    /// Elements of the destination from the first to the last that is written.
    fn extent(self) -> usize {
        let reach = |axis: Axis<2>| axis.size.saturating_sub(1) * axis.strides[1] as usize;
        match self {
            Inner::Row(n) => n,
            Inner::Strided(axis) => reach(axis) + 1,
            Inner::Transpose(rows, columns) => reach(rows) + reach(columns) + 1,
        }
    }
}

/// Copies a row, which may be short.
pub(super) fn copy_row<T: Element>(x: &[T], y: &mut [T]) {
    let len = x.len().min(y.len());
    // SAFETY: both slices have at least `len` elements, and a shared and a unique borrow do not overlap.
    unsafe { super::im2col::copy(x.as_ptr(), y.as_mut_ptr(), len) }
}

fn strided<T: Copy>(axis: Axis<2>, x: &[T], from: usize, y: &mut [T]) {
    let (mut i, mut o) = (from as isize, 0);
    match axis.strides {
        [0, 1] if axis.size > 0 => y[..axis.size].fill(x[from]),
        [stride, 1] => {
            for y in y.iter_mut().take(axis.size) {
                *y = x[i as usize];
                i += stride;
            }
        }
        [from_stride, to_stride] => {
            for _ in 0..axis.size {
                y[o as usize] = x[i as usize];
                i += from_stride;
                o += to_stride;
            }
        }
    }
}

/// `y[r · ystride + c] = x[c · xstride + r]`.
// Its four sizes of elements in one function would take browsers long to optimise.
#[inline(never)]
fn transpose<T: Element>(rows: Axis<2>, columns: Axis<2>, x: &[T], y: &mut [T]) {
    let (xstride, ystride) = (columns.strides[0] as usize, rows.strides[1] as usize);
    if ystride == columns.size {
        match columns.size {
            2 => return interleave::<T, 2>(rows.size, xstride, x, y),
            3 => return interleave::<T, 3>(rows.size, xstride, x, y),
            4 => return interleave::<T, 4>(rows.size, xstride, x, y),
            _ => {}
        }
    }
    let (full_rows, full_columns) = (rows.size / TILE * TILE, columns.size / TILE * TILE);
    for r in (0..full_rows).step_by(TILE) {
        for c in (0..full_columns).step_by(TILE) {
            let tile: [[T; TILE]; TILE] = core::array::from_fn(|i| block(&x[(c + i) * xstride + r..]));
            for j in 0..TILE {
                let line: [T; TILE] = core::array::from_fn(|i| tile[i][j]);
                y[(r + j) * ystride + c..][..TILE].copy_from_slice(&line);
            }
        }
    }
    for c in 0..columns.size {
        let first = if c < full_columns { full_rows } else { 0 };
        for r in first..rows.size {
            y[r * ystride + c] = x[c * xstride + r];
        }
    }
}

/// The first `TILE` elements.
#[inline(always)]
fn block<T: Element>(x: &[T]) -> [T; TILE] {
    let mut block = [T::zeroed(); TILE];
    block.copy_from_slice(&x[..TILE]);
    block
}

/// A transposition with few columns: `N` rows of `x` become one, in turns.
fn interleave<T: Copy, const N: usize>(len: usize, stride: usize, x: &[T], y: &mut [T]) {
    let rows: [&[T]; N] = core::array::from_fn(|i| &x[i * stride..][..len]);
    for (at, y) in y.chunks_exact_mut(N).take(len).enumerate() {
        for (y, row) in y.iter_mut().zip(rows) {
            *y = row[at];
        }
    }
}
