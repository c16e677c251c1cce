//! f32 matrix product: row-major left operand, right operand in panels, with bias and clamp.
//!
//! The rows are cut so that a block of the left operand stays in the L2 cache while panel after panel, each in the L1 cache, meets it.

mod operand;
mod pack;
mod selftest;
mod tile;

#[cfg(test)]
mod tests;

pub(crate) use operand::{Right, RightShape};
pub(crate) use pack::{Packed, Panels, flush_denormals, pack, packed_len, panel_width};
pub(crate) use selftest::selftest;
use tile::{Block, run as run_block};

use crate::kernels::vector::on_isa;

/// Deepest range of the depth that is summed up in registers. A panel of this depth fits the L1 cache.
const MAX_DEPTH: usize = 1024;
/// Elements of the left operand that a block of rows may have: 128 KB.
const BLOCK_ELEMENTS: usize = 32 * 1024;
/// Products per call of the inner loops. Engines replace slow code by fast code between calls, so a call is kept below half a
/// millisecond.
const CALL_PRODUCTS: usize = 4 << 20;
/// Largest number of rows in a block.
const MAX_ROWS: usize = 384;

/// Rows of each of the nearly equal blocks that `rows` rows are cut into when the depth is `depth`. Callers that produce the left
/// operand piecemeal do well to use it.
pub(crate) fn block_rows(rows: usize, depth: usize) -> usize {
    let most = (BLOCK_ELEMENTS / depth.max(1)).clamp(24, MAX_ROWS);
    rows.div_ceil(rows.div_ceil(most).max(1))
}

/// A product to be computed: `c[row] = clamp(a[row] · b + bias)`.
pub(crate) struct Gemm<'a> {
    /// Rows of `depth` elements, `a_stride` from one to the next.
    pub a: &'a [f32],
    pub a_stride: usize,
    /// The right-hand matrix.
    pub b: Panels<'a>,
    /// One per column, padded to whole panels.
    pub bias: Option<&'a [f32]>,
    /// Lower and upper bound of the result.
    pub bounds: (f32, f32),
    /// Elements from one row of the result to the next.
    pub c_stride: usize,
}

impl Gemm<'_> {
    /// Computes `rows` rows.
    pub fn run(&self, rows: usize, c: &mut [f32]) {
        let Panels { isa, depth, columns, data } = self.b;
        if rows == 0 || columns == 0 {
            return;
        }
        let width = panel_width(isa);
        let padded = columns.next_multiple_of(width);
        assert!(self.a.len() >= (rows - 1) * self.a_stride + depth, "a is too short");
        assert!(c.len() >= (rows - 1) * self.c_stride + columns, "c is too short");
        assert!(data.len() == padded * depth && self.bias.is_none_or(|b| b.len() >= padded), "b or bias is too short");
        assert!(rows == 1 || self.c_stride >= columns, "rows of c overlap");

        let depth_parts = depth.div_ceil(MAX_DEPTH).max(1);
        let depth_step = depth.div_ceil(depth_parts).max(1);
        let row_step = block_rows(rows, depth);
        let mut row = 0;
        while row < rows {
            let height = row_step.min(rows - row);
            let step = (CALL_PRODUCTS / (height * depth_step) / width * width).max(4 * width);
            for part in 0..depth_parts {
                let k = part * depth_step;
                let last = part + 1 == depth_parts;
                for column in (0..columns).step_by(step) {
                    // SAFETY: row < rows, k ≤ depth and column < columns, within the lengths checked above.
                    let block = unsafe {
                        Block {
                            rows: height,
                            a: self.a.as_ptr().add(row * self.a_stride + k),
                            a_stride: self.a_stride,
                            depth: (depth - k).min(depth_step),
                            b: data.as_ptr().add(column * depth + k * width),
                            b_stride: depth * width,
                            columns: (columns - column).min(step),
                            bias: self.bias.map_or(core::ptr::null(), |b| b.as_ptr().add(column)),
                            accumulate: part > 0,
                            lo: if last { self.bounds.0 } else { f32::NEG_INFINITY },
                            hi: if last { self.bounds.1 } else { f32::INFINITY },
                            c: c.as_mut_ptr().add(row * self.c_stride + column),
                            c_stride: self.c_stride,
                        }
                    };
                    let block = &block;
                    // SAFETY: the block lies within slices whose lengths were checked above; `isa` is proof of the instructions.
                    unsafe { on_isa!(isa, run_block(block: &Block)) }
                }
            }
            row += height;
        }
    }
}
