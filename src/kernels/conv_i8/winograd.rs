//! 3×3 convolution of stride 1 with integers by the method of Winograd, exact: each 4×4 outputs take 36 products per pair of channels
//! instead of 144. It pays where integers are multiplied as i16 anyway ([`Scheme::Dot16`]).
//!
//! Along an axis the points are 0, ±1, ±2 and infinity. Inputs at all points are sums of at most 100 bytes, which i16 holds; filters are
//! scaled by 4, 6, 6, 24, 24 and 1, which makes them integers of i16. Sums over the channels wrap around in 32 bits, and so do those of the
//! interpolation, which give a result times 9 · 2ᵏ with k ≤ 6, modulo 2³². Times the inverse of 9, shifted by k, that is the result itself
//! if it lies within ±2²⁵; filters that could give more are refused. Filters at all points would take eight times the memory of the filters
//! themselves, so that they are evaluated in every run, some outputs at a time, which costs little beside products.

// Indices beyond an array only occur where `unroll!` compiles nothing.
#![allow(clippy::out_of_bounds_indexing)]

use alloc::{vec, vec::Vec};
use core::ops::Range;

use super::super::{
    choice::{Choice, Inner, Made, Method},
    gemm_i8::{Packed, Scheme, Store, cast, padded_depth, run_wide},
    im2col::Geometry,
    team::{Crew, Shared, part},
    vector::unroll,
};
use crate::{
    error::{Result, ensure},
    tensor::AlignedBytes,
};
use lanes::{Bytes, Sums};

mod lanes;

/// Outputs of a tile along an axis.
const OUT: usize = 4;
/// Inputs of a tile along an axis, and points.
const IN: usize = 6;
/// Points of both axes.
const POINTS: usize = IN * IN;
/// Taps of a filter.
const TAPS: usize = 9;
/// Columns of a panel.
const PANEL: usize = 8;
/// Powers of two by which results are too large, along one axis.
const SHIFTS: [u32; OUT] = [3, 2, 1, 1];
/// 9 times this is 1, modulo 2³².
const INVERSE_OF_9: i32 = 0x38E3_8E39;

/// Fewest channels on either side for which transforms cost little beside products.
const MIN_CHANNELS: usize = 16;
/// Fewest tiles: filters are evaluated for them anew in each run.
const MIN_TILES: usize = 4;
/// Bytes of filters at all points.
const FILTER_BYTES: usize = 1536 << 10;
/// Bytes of a block's transformed inputs and sums: they stay in the second-level cache.
const BLOCK_BYTES: usize = 512 << 10;
/// Fewest and most tiles of a block, multiples of the rows that products compute at once.
const BLOCKS: [usize; 2] = [12, 48];
/// Multiply-accumulates that are worth a tile of threads' work: some ten microseconds.
const TILE_MACS: usize = 256 << 10;
/// Elements of evaluated filters that are worth one.
const TILE_FILTERS: usize = 32 << 10;
/// Bytes between the matrices of neighbouring points beyond their size, so that they do not fall on the same lines of the L1 cache.
const GAP: usize = 64;

/// How one convolution is cut.
#[derive(Debug)]
pub(super) struct Winograd {
    /// Tiles of a block.
    block: usize,
    /// Input channels and output channels, rounded up to whole groups and panels.
    depth: usize,
    columns: usize,
    /// Columns whose filters are evaluated at a time: whole panels.
    step: usize,
    zeros: Vec<i32>,
}

impl Winograd {
    /// `None` where it cannot be done, as for `filters` (i8) that may give results of more than 25 bits.
    pub fn new(g: &Geometry, filters: &[u8], choice: Choice) -> Option<Winograd> {
        let can = cfg!(any(test, target_feature = "simd128"))
            && (g.kernel, g.strides, g.dilations, g.groups) == ([3, 3], [1, 1], [1, 1], 1)
            && g.channels >= Bytes::LANES
            && g.out_channels >= Sums::LANES
            && tiles(g) > 0
            && filters.chunks_exact(9 * g.channels).all(fits);
        can.then(|| Winograd::cut(g, choice))
    }

    /// What is prepared.
    pub fn made(&self) -> Made {
        Made { method: Method::Winograd, inner: Inner::Auto, blocks: [self.block, self.step] }
    }

    fn cut(g: &Geometry, choice: Choice) -> Winograd {
        let (depth, columns) = (padded_depth(g.channels), g.out_channels.next_multiple_of(PANEL));
        let fit = FILTER_BYTES / (POINTS * 2 * PANEL * depth);
        let parts = columns.div_ceil(fit.max(1) * PANEL);
        let mut step = columns.div_ceil(parts).next_multiple_of(PANEL);
        // The last part has at least a vector of outputs.
        while (g.out_channels - 1) % step + 1 < Sums::LANES {
            step += PANEL;
        }
        let fit = choice.scale(BLOCK_BYTES) / (POINTS * (2 * depth + 4 * step));
        let most = (fit / 6 * 6).clamp(BLOCKS[0], choice.scale(BLOCKS[1]));
        let tiles = tiles(g);
        Winograd { block: tiles.div_ceil(tiles.div_ceil(most)), depth, columns, step, zeros: vec![0; step] }
    }

    /// Filters `[outputs][3][3][channels]` by tap, as `[taps][panels][channels / 2][8][2]`, and their sums.
    pub fn pack(&self, g: &Geometry, filters: &[u8]) -> Result<Packed> {
        let size = self.depth * self.columns;
        let mut bytes = AlignedBytes::try_zeroed(TAPS * size)?;
        let mut sums = vec![0i32; self.columns];
        for (o, filter) in filters.chunks_exact(TAPS * g.channels).enumerate() {
            sums[o] = filter.iter().map(|w| i32::from(*w as i8)).sum();
            for (tap, from) in filter.chunks_exact(g.channels).enumerate() {
                let to = &mut bytes[tap * size + o / PANEL * self.depth * PANEL + o % PANEL * 2..];
                for (from, to) in from.chunks(2).zip(to.chunks_mut(2 * PANEL)) {
                    to[..from.len()].copy_from_slice(from);
                }
            }
        }
        Ok(Packed { bytes, sums })
    }

    /// Bytes from one point's matrix to the next: of inputs, of sums, of filters.
    fn strides(&self) -> [usize; 3] {
        let rows = [2 * self.depth, 4 * self.step].map(|row| (self.block * row).next_multiple_of(64) + GAP);
        [rows[0], rows[1], 2 * self.depth * self.step + GAP]
    }

    /// Bytes of scratch space that all threads need.
    pub fn scratch(&self) -> usize {
        self.strides()[2] * POINTS
    }

    /// Bytes of scratch space that each thread needs.
    pub fn own_scratch(&self) -> usize {
        (self.strides()[0] + self.strides()[1]) * POINTS
    }

    /// Convolves `x` with the filters `packed`; `fill` is what padding holds. `init` is added to the sums. Pixels of the result are `stride`
    /// apart. `filters` are [`Winograd::scratch`] bytes.
    #[allow(clippy::too_many_arguments)]
    pub fn run<F: Store>(
        &self,
        g: &Geometry,
        (x, fill): (&[u8], u8),
        (packed, init): (&[u8], &[i32]),
        finish: &F,
        out: &mut [F::Out],
        stride: usize,
        filters: &mut [u8],
        crew: Crew<'_>,
    ) -> Result<()> {
        ensure!(
            x.len() >= g.batch * g.input[0] * g.input[1] * g.channels
                && packed.len() >= TAPS * self.depth * self.columns
                && filters.len() >= self.scratch()
                && init.len() >= g.out_channels
                && finish.columns() >= g.out_channels
                && stride >= g.out_channels
                && out.len() >= (g.rows() - 1) * stride + g.out_channels,
            Internal,
            "operands of a convolution are too short"
        );
        let tiles = tiles(g);
        let blocks = crew.even(tiles.div_ceil(self.block), tiles);
        let macs = self.block * POINTS * self.depth * self.step;
        let parts = crew.tiles(blocks, TILE_MACS.div_ceil(macs.max(1)));
        let out = Shared::new(out);
        let call = Call { plan: self, g, x, fill, init, finish, out: &out, stride };
        let [inputs, sums, filter_stride] = self.strides();
        for first in (0..g.out_channels).step_by(self.step) {
            let columns = first..(first + self.step).min(self.columns);
            self.evaluate_filters(packed, columns.clone(), filters, crew)?;
            let filters = &*filters;
            crew.run(parts, &|i, scratch| {
                ensure!(scratch.len() >= self.own_scratch(), Internal, "scratch space of a convolution is too small");
                let (a, c) = scratch.split_at_mut(POINTS * inputs);
                let (a, c) = (cast::<i16>(a)?, cast::<i32>(c)?);
                for block in part(blocks, i, parts) {
                    let range = part(tiles, block, blocks);
                    call.evaluate(range.clone(), a, inputs / 2);
                    for point in 0..POINTS {
                        let rows = &a[point * inputs / 2..][..range.len() * self.depth];
                        let sums = &mut c[point * sums / 4..][..range.len() * columns.len()];
                        run_wide(rows, self.depth, &filters[point * filter_stride..], &self.zeros[..columns.len()], sums)?;
                    }
                    call.interpolate(range, columns.clone(), c, sums / 4);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The filters of some columns at all points.
    fn evaluate_filters(&self, packed: &[u8], columns: Range<usize>, filters: &mut [u8], crew: Crew<'_>) -> Result<()> {
        let stride = self.strides()[2] / 2;
        let out = Shared::new(cast::<i16>(filters)?);
        let (panel, size) = (PANEL * self.depth, self.depth * self.columns);
        let panels = columns.len() / PANEL;
        let tiles = crew.tiles(panels, TILE_FILTERS.div_ceil(POINTS * panel));
        crew.run(tiles, &|tile, _| {
            let part = part(panels, tile, tiles);
            let from = columns.start * self.depth + part.start * panel;
            for at in (0..part.len() * panel).step_by(Bytes::LANES) {
                // SAFETY: whole panels are multiples of 8, of which `packed` holds all columns for every tap and `out` these for every
                // point; these panels are this tile's.
                unsafe {
                    let tap = |tap: usize| Bytes::load_signed(packed.as_ptr().add(tap * size + from + at));
                    let half = [0, 1, 2].map(|kx| evaluate_filter([tap(kx), tap(3 + kx), tap(6 + kx)]));
                    let out = out.as_ptr().add(part.start * panel + at);
                    unroll!(R < IN, {
                        let e = evaluate_filter([half[0][R], half[1][R], half[2][R]]);
                        unroll!(C < IN, { e[C].store(out.add((R * IN + C) * stride)) });
                    });
                }
            }
            Ok(())
        })
    }
}

/// Whether this is the way for a convolution that can be computed so.
pub(super) fn applies(g: &Geometry, scheme: Scheme) -> bool {
    scheme.multiplies_i16()
        && g.channels.min(g.out_channels) >= MIN_CHANNELS
        && tiles(g) >= MIN_TILES
        && tiles(g) * POINTS * 2 <= g.rows() * 9
}

/// Tiles of the whole batch.
fn tiles(g: &Geometry) -> usize {
    g.batch * g.output[0].div_ceil(OUT) * g.output[1].div_ceil(OUT)
}

/// Whether sums of products of any bytes with these weights lie within ±2²⁵.
fn fits(filter: &[u8]) -> bool {
    let sum = |sign: i32| filter.iter().map(|w| (sign * i32::from(*w as i8)).max(0)).sum::<i32>();
    sum(1).max(sum(-1)) < (1 << 25) / 255
}

/// A line of a filter at all points, scaled to integers.
#[inline(always)]
fn evaluate_filter([a, b, c]: [Bytes; 3]) -> [Bytes; IN] {
    let (outer, far) = (a.add(c), a.add(c.shl::<2>()));
    let twice = b.shl::<1>();
    [a, Bytes::splat(0).sub(outer).sub(b), b.sub(outer), far.add(twice), far.sub(twice), c]
}

/// A line of inputs at all points.
#[inline(always)]
fn evaluate(d: [Bytes; IN]) -> [Bytes; IN] {
    let (even, odd) = (d[4].sub(d[2].shl::<2>()), d[3].sub(d[1].shl::<2>()));
    let (outer, inner) = (d[4].sub(d[2]), d[3].sub(d[1]));
    let twice = inner.shl::<1>();
    [
        d[0].sub(d[2]).shl::<2>().add(outer),
        even.add(odd),
        even.sub(odd),
        outer.add(twice),
        outer.sub(twice),
        d[5].sub(d[3]).sub(twice.shl::<1>()),
    ]
}

/// A line of outputs from the sums at all points, times 3 · 2ᵏ with k from [`SHIFTS`].
#[inline(always)]
fn interpolate(m: [Sums; IN]) -> [Sums; OUT] {
    let (even, odd) = (m[1].add(m[2]), m[1].sub(m[2]));
    let (far_even, far_odd) = (m[3].add(m[4]), m[3].sub(m[4]));
    let six = |v: Sums| v.shl::<1>().add(v.shl::<2>());
    [
        six(m[0]).add(even.shl::<2>()).add(far_even),
        odd.shl::<1>().add(far_odd),
        even.add(far_even),
        odd.add(far_odd.shl::<1>()).add(six(m[5])),
    ]
}

struct Call<'a, F: Store> {
    plan: &'a Winograd,
    g: &'a Geometry,
    x: &'a [u8],
    fill: u8,
    init: &'a [i32],
    finish: &'a F,
    out: &'a Shared<'a, F::Out>,
    stride: usize,
}

impl<F: Store> Call<'_, F> {
    /// Image, first output row and first output column of a tile.
    fn place(&self, tile: usize) -> [usize; 3] {
        let [rows, columns] = self.g.output.map(|o| o.div_ceil(OUT));
        [tile / columns / rows, tile / columns % rows * OUT, tile % columns * OUT]
    }

    /// Writes the inputs of `tiles` at all points to `out`, `stride` elements from one point to the next.
    #[inline(never)]
    fn evaluate(&self, tiles: Range<usize>, out: &mut [i16], stride: usize) {
        let g = self.g;
        let [height, width] = g.input;
        assert!(out.len() >= (POINTS - 1) * stride + tiles.len() * self.plan.depth);
        for (i, tile) in tiles.enumerate() {
            let [image, oy, ox] = self.place(tile);
            // Rows and columns of the tile that the input has.
            let rows = g.pad[0].saturating_sub(oy).min(IN)..(height + g.pad[0]).saturating_sub(oy).min(IN);
            let columns = g.pad[1].saturating_sub(ox).min(IN)..(width + g.pad[1]).saturating_sub(ox).min(IN);
            // In the padding for tiles at the upper or left border; never read there.
            let first = ((image * height + oy) * width + ox) * g.channels;
            let x = self.x.as_ptr().wrapping_add(first).wrapping_sub((g.pad[0] * width + g.pad[1]) * g.channels);
            let whole = (rows.start, rows.end, columns.start, columns.end) == (0, IN, 0, IN);
            for vector in 0..g.channels.div_ceil(Bytes::LANES) {
                // The last vector overlaps the one before rather than reach beyond.
                let channel = (vector * Bytes::LANES).min(g.channels - Bytes::LANES);
                let x = x.wrapping_add(channel);
                // SAFETY: `run` found the input whole, and its pixels have 8 channels from this one on; the output's length was checked
                // above.
                unsafe {
                    let out = out.as_mut_ptr().add(i * self.plan.depth + channel);
                    if whole {
                        self.evaluate_tile::<false>(x, &rows, &columns, out, stride);
                    } else {
                        self.evaluate_tile::<true>(x, &rows, &columns, out, stride);
                    }
                }
            }
        }
    }

    /// Eight channels of a tile. With `BORDER`, only `rows` and `columns` are read.
    ///
    /// # Safety
    /// From `x` on, these pixels must be readable for 8 bytes; `out` must be writable for 8 elements at every point.
    #[inline(always)]
    unsafe fn evaluate_tile<const BORDER: bool>(
        &self,
        x: *const u8,
        rows: &Range<usize>,
        columns: &Range<usize>,
        out: *mut i16,
        stride: usize,
    ) {
        let (pixel, line) = (self.g.channels, self.g.input[1] * self.g.channels);
        let fill = Bytes::splat(self.fill);
        let mut half = [[fill; IN]; IN];
        // SAFETY: as the caller promises.
        unsafe {
            unroll!(C < IN, {
                let mut d = [fill; IN];
                if !BORDER || columns.contains(&C) {
                    unroll!(R < IN, {
                        if !BORDER || rows.contains(&R) {
                            d[R] = Bytes::load(x.wrapping_add(R * line + C * pixel));
                        }
                    });
                }
                let e = evaluate(d);
                unroll!(R < IN, { half[R][C] = e[R] });
            });
            unroll!(R < IN, {
                let e = evaluate(half[R]);
                unroll!(C < IN, { e[C].store(out.add((R * IN + C) * stride)) });
            });
        }
    }

    /// Finishes the sums of `tiles` for some columns at all points, `stride` elements from one point to the next.
    #[inline(never)]
    fn interpolate(&self, tiles: Range<usize>, columns: Range<usize>, sums: &[i32], stride: usize) {
        let g = self.g;
        let (width, first) = (columns.len(), columns.start);
        let outputs = columns.end.min(g.out_channels) - first;
        assert!(sums.len() >= (POINTS - 1) * stride + tiles.len() * width && outputs >= Sums::LANES);
        for (i, tile) in tiles.enumerate() {
            let [image, oy, ox] = self.place(tile);
            let [rows, columns] = [g.output[0] - oy, g.output[1] - ox];
            let pixel = (image * g.output[0] + oy) * g.output[1] + ox;
            for vector in 0..outputs.div_ceil(Sums::LANES) {
                let channel = (vector * Sums::LANES).min(outputs - Sums::LANES);
                // SAFETY: the length was checked above; `run` found `init` and the output long enough, and these pixels are this tile's.
                unsafe {
                    let m = sums.as_ptr().add(i * width + channel);
                    let mut half = [[Sums::load(m); IN]; OUT];
                    unroll!(C < IN, {
                        let mut d = [half[0][0]; IN];
                        unroll!(R < IN, { d[R] = Sums::load(m.add((R * IN + C) * stride)) });
                        let e = interpolate(d);
                        unroll!(R < OUT, { half[R][C] = e[R] });
                    });
                    let channel = first + channel;
                    let init = Sums::load(self.init.as_ptr().add(channel));
                    unroll!(R < OUT, {
                        if R < rows {
                            let mut acc = interpolate(half[R]);
                            unroll!(C < OUT, { acc[C] = acc[C].times(INVERSE_OF_9).sar(SHIFTS[R] + SHIFTS[C]).add(init) });
                            let out = self.out.as_ptr().add((pixel + R * g.output[1]) * self.stride + channel);
                            lanes::store(self.finish, acc, columns.min(OUT), channel, out, self.stride);
                        }
                    });
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "winograd_tests.rs"]
mod tests;
