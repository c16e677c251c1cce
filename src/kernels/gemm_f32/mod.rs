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
pub(crate) use pack::{Lines, Packed, Panels, flush_denormals, pack, pack_lines, packed_len, panel_width};
pub(crate) use selftest::selftest;
use tile::{Block, run as run_block};

use crate::kernels::{
    choice::{Choice, Inner, Made, Method},
    team::{Shared, Team, even, part_in_units, tiles},
    vector::{Isa, on_isa},
};
use core::ops::Range;

/// Deepest range of the depth that is summed up in registers. A panel of this depth fits the L1 cache.
const MAX_DEPTH: usize = 1024;
/// Elements of the left operand that a block of rows may have: 128 KB.
const BLOCK_ELEMENTS: usize = 32 * 1024;
/// Products per call of the inner loops. Engines replace slow code by fast code between calls, so a call is kept below half a
/// millisecond.
const CALL_PRODUCTS: usize = 4 << 20;
/// Largest number of rows in a block.
const MAX_ROWS: usize = 384;
/// Rows of the blocks that threads share: whole tiles of most instruction sets.
const BLOCK_SHARED: usize = 48;
/// Multiply-accumulates that are worth a tile of their own: some ten microseconds.
const TILE_MACS: usize = 192 << 10;
/// Tiles begin at rows that are multiples of this, and so of the rows that any instruction set computes at once.
const TILE_ROWS: usize = 12;
/// Fewest columns of a tile, whose rows may have to be copied first.
const TILE_COLUMNS: usize = if cfg!(test) { 8 } else { 64 };

/// How a product is shared by threads: parts of the rows times parts of the columns, in panels.
pub(crate) struct Cut {
    rows: usize,
    unit: usize,
    columns: usize,
    panel: usize,
    parts: [usize; 2],
}

impl Cut {
    /// For `rows` rows, best in blocks of `block`, and `b`'s columns.
    pub fn new(team: &Team, rows: usize, block: usize, b: &Panels<'_>) -> Cut {
        let macs = rows.saturating_mul(b.columns).saturating_mul(b.depth);
        let (tiles, panel) = (tiles(team, macs, TILE_MACS), panel_width(b.isa));
        let unit = block.clamp(1, TILE_ROWS);
        let blocks = rows.div_ceil(block.max(1)).clamp(1, tiles);
        let row_parts = even(team, blocks, rows.div_ceil(unit).min(tiles));
        let most = (b.columns / TILE_COLUMNS).clamp(1, b.columns.div_ceil(panel).max(1));
        Cut { rows, unit, columns: b.columns, panel, parts: [row_parts, tiles.div_ceil(row_parts).min(most)] }
    }

    /// Number of tiles.
    pub fn tiles(&self) -> usize {
        self.parts[0] * self.parts[1]
    }

    /// Rows and columns of a tile.
    pub fn tile(&self, tile: usize) -> [Range<usize>; 2] {
        let [rows, columns] = self.parts;
        [
            part_in_units(self.rows, self.unit, tile / columns, rows),
            part_in_units(self.columns, self.panel, tile % columns, columns),
        ]
    }
}

/// How a product is cut for caches and registers. All give the same bytes: a sum is never reordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocking {
    /// Elements of the left operand that a block of rows may have.
    elements: usize,
    /// Deepest range of the depth that is summed up in registers.
    depth: usize,
    /// Most rows of a tile.
    rows: usize,
}

impl Blocking {
    /// What is usual, or what was chosen instead.
    pub fn of(choice: Choice) -> Blocking {
        Blocking {
            elements: choice.scale(BLOCK_ELEMENTS),
            depth: if choice.inner == Inner::Shallow { MAX_DEPTH / 4 } else { MAX_DEPTH },
            rows: if choice.inner == Inner::Low { 4 } else { Isa::best().rows() },
        }
    }

    /// What a product of `rows` rows is prepared to do.
    pub fn made(self, choice: Choice, rows: usize, depth: usize) -> Made {
        let depth_parts = depth.div_ceil(self.depth);
        let inner = match choice.inner {
            Inner::Shallow if depth_parts == depth.div_ceil(MAX_DEPTH) => Inner::Auto,
            Inner::Wide => Inner::Auto,
            inner => inner,
        };
        Made { method: Method::Rows, inner, blocks: [self.block_rows(rows, depth), depth_parts] }
    }

    /// Rows of each of the nearly equal blocks that `rows` rows are cut into when the depth is `depth`. Callers that produce the left
    /// operand piecemeal do well to use it.
    pub fn block_rows(self, rows: usize, depth: usize) -> usize {
        let most = (self.elements / depth.max(1)).clamp(24, MAX_ROWS);
        rows.div_ceil(rows.div_ceil(most).max(1))
    }
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
    pub blocking: Blocking,
}

impl Gemm<'_> {
    /// Computes `rows` rows.
    pub fn run(&self, rows: usize, c: &mut [f32]) {
        // SAFETY: `c` is borrowed by this call alone.
        unsafe { self.run_part(0..rows, 0..self.b.columns, &Shared::new(c)) }
    }

    /// Computes `rows` rows, shared by `team`.
    pub fn share(&self, team: &Team, rows: usize, c: &mut [f32]) {
        let cut = Cut::new(team, rows, BLOCK_SHARED.min(self.blocking.block_rows(rows, self.b.depth)), &self.b);
        let c = Shared::new(c);
        team.run(cut.tiles(), &|tile, _| {
            let [rows, columns] = cut.tile(tile);
            // SAFETY: tiles do not overlap.
            unsafe { self.run_part(rows, columns, &c) }
        });
    }

    /// Computes some rows and columns. The first column is the first of a panel.
    ///
    /// # Safety
    /// Nobody else may touch these elements of `c`.
    pub unsafe fn run_part(&self, rows: Range<usize>, own: Range<usize>, c: &Shared<'_, f32>) {
        let Panels { isa, depth, columns, data } = self.b;
        if rows.is_empty() || own.is_empty() {
            return;
        }
        let width = panel_width(isa);
        let padded = columns.next_multiple_of(width);
        assert!(own.end <= columns && own.start.is_multiple_of(width), "these columns do not begin with a panel of b");
        assert!(self.a.len() >= (rows.end - 1) * self.a_stride + depth, "a is too short");
        assert!(c.len() >= (rows.end - 1) * self.c_stride + columns, "c is too short");
        assert!(data.len() == padded * depth && self.bias.is_none_or(|b| b.len() >= padded), "b or bias is too short");
        assert!(rows.end == 1 || self.c_stride >= columns, "rows of c overlap");

        let depth_parts = depth.div_ceil(self.blocking.depth).max(1);
        let depth_step = depth.div_ceil(depth_parts).max(1);
        let row_step = self.blocking.block_rows(rows.len(), depth);
        let mut row = rows.start;
        while row < rows.end {
            let height = row_step.min(rows.end - row);
            let step = (CALL_PRODUCTS / (height * depth_step) / width * width).max(4 * width);
            for part in 0..depth_parts {
                let k = part * depth_step;
                let last = part + 1 == depth_parts;
                for column in own.clone().step_by(step) {
                    // SAFETY: row < rows.end, k ≤ depth and column < columns, within the lengths checked above.
                    let block = unsafe {
                        Block {
                            rows: height,
                            a: self.a.as_ptr().add(row * self.a_stride + k),
                            a_stride: self.a_stride,
                            depth: (depth - k).min(depth_step),
                            b: data.as_ptr().add(column * depth + k * width),
                            b_stride: depth * width,
                            columns: (own.end - column).min(step),
                            bias: self.bias.map_or(core::ptr::null(), |b| b.as_ptr().add(column)),
                            accumulate: part > 0,
                            lo: if last { self.bounds.0 } else { f32::NEG_INFINITY },
                            hi: if last { self.bounds.1 } else { f32::INFINITY },
                            c: c.as_ptr().add(row * self.c_stride + column),
                            c_stride: self.c_stride,
                            most_rows: self.blocking.rows,
                        }
                    };
                    let block = &block;
                    // SAFETY: the block lies within slices whose lengths were checked above, and in `c` is the caller's alone; `isa` is
                    // proof of the instructions.
                    unsafe { on_isa!(isa, run_block(block: &Block)) }
                }
            }
            row += height;
        }
    }
}
