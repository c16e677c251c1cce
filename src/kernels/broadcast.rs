//! Feeds broadcast operands to loops over plain slices of equal length.
//!
//! An operator then needs one inner loop per type, however its operands are broadcast: what is not contiguous is copied,
//! a chunk at a time, to a buffer that stays in the first-level cache.

use alloc::vec::Vec;
use core::ops::Range;

use super::{
    strided::{Axis, broadcast, loops},
    team::GRAIN,
};
use crate::{
    error::{Result, bail},
    tensor::Element,
};

/// Elements per chunk.
const CHUNK: usize = 512;

/// Rows shorter than this are taken together with the loop around them.
const SHORT: usize = 128;

/// How `K` operands are read along the rows of a dense output.
#[derive(Debug)]
pub(super) struct Broadcast<const K: usize> {
    outer: Vec<Axis<K>>,
    row: usize,
    feeds: [Feed; K],
}

/// How one operand is read along a row of `turns · inner` elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Feed {
    inner: usize,
    chunk: usize,
    strides: [isize; 2],
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Read in place.
    Direct,
    /// The same for each chunk of a row, and for each row at the same place.
    Periodic,
    /// Gathered for every chunk.
    Gathered,
}

impl<const K: usize> Broadcast<K> {
    /// Plans reading operands of `shapes` as a dense tensor of shape `out`.
    pub(super) fn new(out: &[usize], shapes: [&[usize]; K]) -> Result<Self> {
        let mut strides: [Vec<isize>; K] = [const { Vec::new() }; K];
        for (strides, shape) in strides.iter_mut().zip(shapes) {
            let Some(s) = broadcast(shape, out) else {
                bail!(InvalidModel, "shape {shape:?} cannot be broadcast to {out:?}");
            };
            *strides = s;
        }
        let refs: [&[isize]; K] = core::array::from_fn(|k| strides[k].as_slice());
        let mut outer = loops(out, refs);
        let last = outer.pop().unwrap_or(Axis { size: 1, strides: [1; K] });
        let second = if last.size < SHORT { outer.pop() } else { None };
        let (turns, turn_strides) = second.map_or((1, [0; K]), |a| (a.size, a.strides));
        // Whole periods, so that a periodic chunk can be used again.
        let chunk = if turns == 1 { CHUNK } else { CHUNK / last.size.max(1) * last.size.max(1) };
        let feeds = core::array::from_fn(|k| {
            let strides = [turn_strides[k], last.strides[k]];
            let kind = if strides[1] == 1 && (turns == 1 || strides[0] == last.size as isize) {
                Kind::Direct
            } else if strides[0] == 0 && (turns > 1 || strides[1] == 0) {
                Kind::Periodic
            } else {
                Kind::Gathered
            };
            Feed { inner: last.size, chunk, strides, kind }
        });
        Ok(Broadcast { outer, row: turns * last.size, feeds })
    }

    /// How each operand is read.
    pub(super) fn feeds(&self) -> [Feed; K] {
        self.feeds
    }

    /// Elements of a chunk; the last one of a row may be shorter.
    fn chunk(&self) -> usize {
        if self.feeds.iter().all(|f| f.kind == Kind::Direct) { 4 * CHUNK } else { self.feeds.first().map_or(CHUNK, |f| f.chunk) }
    }

    /// Number of chunks, and how many are worth a tile.
    pub(super) fn count(&self) -> [usize; 2] {
        let rows: usize = self.outer.iter().map(|a| a.size).product();
        let chunk = self.chunk();
        [rows * self.row.div_ceil(chunk), GRAIN.div_ceil(chunk.min(self.row.max(1)))]
    }

    /// Calls `f` for each chunk of `range` with the offsets of the row in the operands, the chunk within the row and the row's start in
    /// the output.
    #[inline(always)]
    pub(super) fn chunks(&self, range: Range<usize>, mut f: impl FnMut([usize; K], Range<usize>, usize)) {
        let chunk = self.chunk();
        let mut at = range.start;
        while at < range.end {
            let per_row = self.row.div_ceil(chunk);
            let (row, first) = (at / per_row, at % per_row);
            let offsets = self.offsets(row);
            let last = per_row.min(first + range.end - at);
            for i in first..last {
                f(offsets, i * chunk..self.row.min((i + 1) * chunk), row * self.row);
            }
            at += last - first;
        }
    }

    /// Where row `row` starts in each operand.
    fn offsets(&self, row: usize) -> [usize; K] {
        let (mut rest, mut offsets) = (row, [0isize; K]);
        for axis in self.outer.iter().rev() {
            let turn = (rest % axis.size) as isize;
            rest /= axis.size;
            for (o, stride) in offsets.iter_mut().zip(axis.strides) {
                *o += turn * stride;
            }
        }
        offsets.map(|o| o as usize)
    }
}

/// A chunk of an operand that is not contiguous.
pub(super) struct Buffer<T> {
    elements: [T; CHUNK],
    /// Where the row starts that the elements are from.
    row: Option<usize>,
    len: usize,
}

impl<T: Element> Buffer<T> {
    pub(super) fn new() -> Buffer<T> {
        Buffer { elements: [T::zeroed(); CHUNK], row: None, len: 0 }
    }
}

impl Feed {
    /// The elements of a chunk, in place or copied to `buffer`, which belongs to this operand and this call of the kernel.
    #[inline(always)]
    pub(super) fn get<'b, T: Copy>(self, x: &'b [T], row: usize, chunk: Range<usize>, buffer: &'b mut Buffer<T>) -> &'b [T] {
        if self.kind == Kind::Direct {
            return &x[row + chunk.start..row + chunk.end];
        }
        let len = chunk.len();
        if self.kind == Kind::Gathered || buffer.row != Some(row) || buffer.len < len {
            self.gather(x, row, chunk, &mut buffer.elements);
            (buffer.row, buffer.len) = (Some(row), len);
        }
        &buffer.elements[..len]
    }

    #[inline(never)]
    fn gather<T: Copy>(self, x: &[T], row: usize, chunk: Range<usize>, buffer: &mut [T; CHUNK]) {
        let (mut turn, mut skip) = (chunk.start / self.inner, chunk.start % self.inner);
        let mut rest = &mut buffer[..chunk.len()];
        while !rest.is_empty() {
            let n = rest.len().min(self.inner - skip);
            let (part, tail) = rest.split_at_mut(n);
            let start = row as isize + turn as isize * self.strides[0] + skip as isize * self.strides[1];
            match self.strides[1] {
                0 => part.fill(x[start as usize]),
                1 => part.copy_from_slice(&x[start as usize..][..n]),
                stride => {
                    for (i, p) in part.iter_mut().enumerate() {
                        *p = x[(start + i as isize * stride) as usize];
                    }
                }
            }
            rest = tail;
            (turn, skip) = (turn + 1, 0);
        }
    }
}
