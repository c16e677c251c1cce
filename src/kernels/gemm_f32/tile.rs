//! The inner loops: tiles of a few rows by one or more panels, accumulated in registers.

use crate::kernels::vector::{Vector, unroll};

/// Rows times panels of a product, over one range of the depth.
pub(super) struct Block {
    pub rows: usize,
    /// First element of the first row, and elements from row to row.
    pub a: *const f32,
    pub a_stride: usize,
    pub depth: usize,
    /// First element of the first panel in this range of the depth, and elements from panel to panel.
    pub b: *const f32,
    pub b_stride: usize,
    /// Columns; the last panel need not be full.
    pub columns: usize,
    /// For each column, panels padded; null for zero.
    pub bias: *const f32,
    /// Whether `c` holds what the depths before this range gave, in place of the bias.
    pub accumulate: bool,
    pub lo: f32,
    pub hi: f32,
    pub c: *mut f32,
    pub c_stride: usize,
    /// Most rows of a tile, if fewer than the instruction set's.
    pub most_rows: usize,
}

/// Rows and columns of the largest tile of any instruction set.
const MAX_TILE: usize = 12 * 32;

/// Computes a block.
///
/// # Safety
/// The CPU must have `V`'s instructions, and the block's pointers must be valid for what they describe: `a` for `rows` rows of
/// `depth` elements, `b` for the panels (each `2 · LANES` columns wide), `c` for `rows` rows of `columns` elements.
#[inline(always)]
pub(super) unsafe fn run<V: Vector>(block: &Block) {
    // Tiles of almost equal height waste less than full tiles and a low rest.
    let tiles = block.rows.div_ceil(V::ROWS.min(block.most_rows));
    let (height, higher) = (block.rows / tiles.max(1), block.rows % tiles.max(1));
    // SAFETY: the two ranges of rows are within the block.
    unsafe {
        strips::<V>(block, 0, height + 1, higher);
        strips::<V>(block, higher * (height + 1), height, tiles - higher);
    }
}

/// `count` tiles of `height` rows each, from `row` on, over all panels.
#[inline(always)]
unsafe fn strips<V: Vector>(block: &Block, row: usize, height: usize, count: usize) {
    if count == 0 {
        return;
    }
    macro_rules! heights {
        ($($h:literal x $panels:literal)*) => {
            match height {
                $(
                    // SAFETY: by `run`'s contract.
                    $h if $h <= V::ROWS => unsafe { strip::<V, $h, { 2 * $panels }>(block, row, count) },
                )*
                _ => {}
            }
        };
    }
    // Low tiles take several panels at once: fewer than eight accumulators cannot hide the latency of an addition.
    heights!(1 x 4 2 x 2 3 x 1 4 x 1 5 x 1 6 x 1 7 x 1 8 x 1 9 x 1 10 x 1 11 x 1 12 x 1);
}

/// Tiles of `MR` rows by `NV` vectors, then single panels for what is left of the columns. In WebAssembly a function of its own: engines
/// optimise whole functions, and the sooner the less there is in them. Natively it must be a part of a function with `V`'s instructions.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
unsafe fn strip<V: Vector, const MR: usize, const NV: usize>(block: &Block, row: usize, count: usize) {
    let panel = 2 * V::LANES;
    let mut column = 0;
    // SAFETY: by `run`'s contract; full tiles end before `columns`, and what would reach beyond goes through a buffer.
    unsafe {
        while column + NV * V::LANES <= block.columns {
            for t in 0..count {
                tile::<V, MR, NV>(&at(block, row + t * MR, column, panel));
            }
            column += NV * V::LANES;
        }
        while column < block.columns {
            let width = (block.columns - column).min(panel);
            for t in 0..count {
                let tile_block = at(block, row + t * MR, column, panel);
                if width == panel {
                    tile::<V, MR, 2>(&tile_block);
                } else {
                    narrow_tile::<V, MR>(&tile_block, width);
                }
            }
            column += panel;
        }
    }
}

/// The block's part from `row` and `column` (the first of a panel) on.
#[inline(always)]
unsafe fn at(block: &Block, row: usize, column: usize, panel: usize) -> Block {
    // SAFETY: by `run`'s contract row and column are within the block.
    unsafe {
        Block {
            a: block.a.add(row * block.a_stride),
            b: block.b.add(column / panel * block.b_stride),
            bias: if block.bias.is_null() { block.bias } else { block.bias.add(column) },
            c: block.c.add(row * block.c_stride + column),
            ..*block
        }
    }
}

/// A tile of one panel of which only the first `width` columns exist.
#[inline(always)]
unsafe fn narrow_tile<V: Vector, const MR: usize>(block: &Block, width: usize) {
    let panel = 2 * V::LANES;
    let (c, c_stride) = (block.c, block.c_stride);
    let mut buffer = [0f32; MAX_TILE];
    // SAFETY: the buffer holds `MR` rows of one panel, `c` has `width` columns.
    unsafe {
        if block.accumulate {
            for r in 0..MR {
                core::ptr::copy_nonoverlapping(block.c.add(r * block.c_stride), buffer.as_mut_ptr().add(r * panel), width);
            }
        }
        let block = &Block { c: buffer.as_mut_ptr(), c_stride: panel, ..*block };
        // Images that a model gives have three channels: half of the panel is nothing.
        if width <= V::LANES {
            tile::<V, MR, 1>(block);
        } else {
            tile::<V, MR, 2>(block);
        }
        for r in 0..MR {
            core::ptr::copy_nonoverlapping(buffer.as_ptr().add(r * panel), c.add(r * c_stride), width);
        }
    }
}

/// `MR` rows by `NV` vectors of columns.
#[inline(always)]
unsafe fn tile<V: Vector, const MR: usize, const NV: usize>(block: &Block) {
    // SAFETY: by `run`'s contract.
    unsafe {
        let mut acc = [[V::splat(0.0); NV]; MR];
        if block.accumulate {
            unroll!(R < MR, {
                unroll!(Q < NV, { acc[R][Q] = V::load(block.c.add(R * block.c_stride + Q * V::LANES)) });
            });
        } else if !block.bias.is_null() {
            unroll!(Q < NV, {
                let bias = V::load(block.bias.add(Q * V::LANES));
                unroll!(R < MR, { acc[R][Q] = bias });
            });
        }
        let mut a = [block.a; MR];
        unroll!(R < MR, { a[R] = block.a.add(R * block.a_stride) });
        let mut b = [block.b; NV];
        unroll!(Q < NV, { b[Q] = block.b.add(Q / 2 * block.b_stride + Q % 2 * V::LANES) });
        let mut k = 0;
        while k < block.depth {
            if NV == 2 {
                let (b0, b1) = (V::load(b[0]), V::load(b[0].add(V::LANES)));
                unroll!(R < MR, {
                    let x = V::splat(*a[R]);
                    acc[R][0] = x.mul_add(b0, acc[R][0]);
                    acc[R][1] = x.mul_add(b1, acc[R][1]);
                    a[R] = a[R].add(1);
                });
                b[0] = b[0].add(2 * V::LANES);
            } else {
                let mut x = [V::splat(0.0); MR];
                unroll!(R < MR, {
                    x[R] = V::splat(*a[R]);
                    a[R] = a[R].add(1);
                });
                unroll!(Q < NV, {
                    let column = V::load(b[Q]);
                    unroll!(R < MR, { acc[R][Q] = x[R].mul_add(column, acc[R][Q]) });
                    b[Q] = b[Q].add(2 * V::LANES);
                });
            }
            k += 1;
        }
        let (lo, hi) = (V::splat(block.lo), V::splat(block.hi));
        unroll!(R < MR, {
            unroll!(Q < NV, { acc[R][Q].clamp(lo, hi).store(block.c.add(R * block.c_stride + Q * V::LANES)) });
        });
    }
}
