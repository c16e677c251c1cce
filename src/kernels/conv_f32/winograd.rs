//! 3×3 convolution of stride 1 by the method of Winograd: each 4×4 outputs take 36 products per pair of channels instead of 144.
//!
//! Inputs come in tiles of 6×6. Input tiles and filters are evaluated at 36 points (6 along each axis); at each point the convolution is a
//! matrix product over the channels, and from 36 points 4×4 outputs are interpolated. Filters at all points would take four times the
//! memory of the filters themselves, so that they are evaluated in every run, some outputs at a time, which costs little beside products.
//!
//! What it costs in precision depends on the points. Along an axis they are 0, ±5/8, ±3/2 and infinity, whose powers f32 holds
//! exactly. On noise the largest error is 1·10⁻⁶ of the largest result for 64 channels and 2·10⁻⁶ for 256, a fifth of what the usual
//! points 0, ±1, ±2 and infinity give and three to six times that of plain sums.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::ops::Range;

use super::super::{
    Io, Kernel, Placement, Prepare,
    gemm_f32::{Gemm, Packed, Panels, panel_width},
    im2col::Geometry,
    team::{Crew, Shared, part},
    vector::{Isa, Vector, on_isa, unroll},
};
use crate::{
    error::{Error, Result},
    graph::ops::Conv,
};

/// Outputs of a tile along an axis.
const OUT: usize = 4;
/// Inputs of a tile along an axis, and points.
const IN: usize = 6;
/// Points of both axes.
const POINTS: usize = IN * IN;

/// The points ±A and ±B.
const A: f32 = 0.625;
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;

/// Fewest channels on either side for which transforms cost little beside products.
const MIN_CHANNELS: usize = 16;
/// Fewest tiles: filters are evaluated for them anew in each run.
const MIN_TILES: usize = 9;
/// Bytes of filters at all points.
const FILTER_BYTES: usize = 2560 << 10;
/// Bytes of a block's transformed inputs and products: they stay in the second-level cache.
const BLOCK_BYTES: usize = 768 << 10;
/// Most tiles of a block, a multiple of the rows that products compute at once.
const MAX_BLOCK: usize = 48;
/// Multiply-accumulates that are worth a tile of threads' work: some ten microseconds.
const TILE_MACS: usize = 192 << 10;
/// Elements between the matrices of neighbouring points beyond their size, so that they do not fall on the same lines of the L1 cache.
const GAP: usize = 16;

/// Whether this is the way to compute the convolution, if its weight and bias are constants.
pub(super) fn applies(g: &Geometry) -> bool {
    (g.kernel, g.strides, g.dilations, g.groups) == ([3, 3], [1, 1], [1, 1], 1)
        && g.channels.min(g.out_channels) >= MIN_CHANNELS
        && tiles(g) >= MIN_TILES
        // Narrow images waste most of a tile.
        && tiles(g) * POINTS * 2 <= g.rows() * 9
}

/// Tiles of the whole batch.
fn tiles(g: &Geometry) -> usize {
    g.batch * g.output[0].div_ceil(OUT) * g.output[1].div_ceil(OUT)
}

struct Winograd {
    geometry: Geometry,
    isa: Isa,
    /// A matrix for each of the 9 taps.
    taps: Arc<Packed>,
    has_bias: bool,
    bounds: (f32, f32),
    place: Placement,
    /// Tiles of a block.
    block: usize,
    /// Outputs whose filters are evaluated at a time: whole panels.
    columns: usize,
}

/// Prepares a [`Conv`] to which this file [`applies`]; `None` if its weight is not a constant.
pub(super) fn prepare(conv: &Conv, geometry: &Geometry, p: &mut Prepare<'_>) -> Result<Option<Box<dyn Kernel>>> {
    let isa = Isa::best();
    let weight = &p.inputs[1];
    if weight.data.is_none() {
        return Ok(None);
    }
    let taps = p.packed.get(weight.id, "f32 by tap", || pack(geometry, isa, weight.constant().unwrap_or_default()))?;
    let place = p.placement(geometry.out_channels);
    Ok(Some(Box::new(Winograd::new(geometry.clone(), isa, taps, conv.bias, conv.activation.bounds(), place))))
}

/// Filters `[outputs][3][3][channels]` as a matrix in panels for each tap.
fn pack(g: &Geometry, isa: Isa, weight: &[f32]) -> Result<Packed> {
    let mut by_tap = Vec::with_capacity(weight.len());
    for tap in 0..9 {
        weight.chunks_exact(9 * g.channels).for_each(|f| by_tap.extend_from_slice(&f[tap * g.channels..][..g.channels]));
    }
    Packed::new(isa, &by_tap, g.channels, g.out_channels, true)
        .ok_or_else(|| Error::Limit("a weight is too large to be packed".into()))
}

impl Winograd {
    fn new(geometry: Geometry, isa: Isa, taps: Arc<Packed>, has_bias: bool, bounds: (f32, f32), place: Placement) -> Winograd {
        let (channels, outputs, panel) = (geometry.channels, geometry.out_channels, panel_width(isa));
        let filter = POINTS * size_of::<f32>() * channels;
        let columns = (FILTER_BYTES / filter / panel).max(1) * panel;
        let parts = outputs.div_ceil(columns);
        let mut columns = outputs.div_ceil(parts).next_multiple_of(panel);
        // The last part has at least a vector of outputs.
        while (outputs - 1) % columns + 1 < isa.lanes() {
            columns += panel;
        }
        let fit = BLOCK_BYTES / (POINTS * size_of::<f32>() * (channels + columns));
        let most = (fit / 6 * 6).clamp(6, MAX_BLOCK);
        let tiles = tiles(&geometry);
        let block = tiles.div_ceil(tiles.div_ceil(most));
        Winograd { geometry, isa, taps, has_bias, bounds, place, block, columns }
    }

    /// Elements from the matrix of one point to the next: of filters, of inputs, of products.
    fn strides(&self) -> [usize; 3] {
        let channels = self.geometry.channels;
        [self.columns * channels, self.block * channels, self.block * self.columns].map(|len| len + GAP)
    }

    /// Outputs `columns` of the tiles in `tiles`.
    fn block(&self, job: &Operands<'_>, columns: Range<usize>, tiles: Range<usize>, scratch: &mut [f32]) {
        let g = &self.geometry;
        let [filter_stride, input_stride, product_stride] = self.strides();
        let (inputs, products) = scratch.split_at_mut(POINTS * input_stride);
        let (count, isa) = (tiles.len(), self.isa);
        let tiles = &Tiles {
            g,
            tiles,
            x: job.x.as_ptr(),
            inputs: inputs.as_mut_ptr(),
            input_stride,
            products: products.as_mut_ptr(),
            product_stride,
            outputs: columns.len(),
            bias: job.bias.map_or(core::ptr::null(), |b| b[columns.clone()].as_ptr()),
            bounds: self.bounds,
            y: job.y.from(columns.start).as_ptr(),
            y_stride: self.place.stride,
        };
        // SAFETY: `share` found `x` and `y` long enough for all images; the scratch space holds a block; these outputs are this block's.
        unsafe { on_isa!(isa, transform_inputs(tiles: &Tiles<'_>)) }
        let panels = columns.len().next_multiple_of(panel_width(isa)) * g.channels;
        for point in 0..POINTS {
            let data = &job.filters[point * filter_stride..][..panels];
            let gemm = Gemm {
                a: &inputs[point * input_stride..][..input_stride],
                a_stride: g.channels,
                b: Panels { isa, depth: g.channels, columns: columns.len(), data },
                bias: None,
                bounds: (f32::NEG_INFINITY, f32::INFINITY),
                c_stride: columns.len(),
            };
            gemm.run(count, &mut products[point * product_stride..][..product_stride]);
        }
        // SAFETY: as above.
        unsafe { on_isa!(isa, transform_products(tiles: &Tiles<'_>)) }
    }

    /// Evaluates the filters of the outputs `columns`.
    fn evaluate_filters(&self, columns: Range<usize>, filters: &mut [f32], crew: Crew<'_>) -> Result<()> {
        let (isa, panel) = (self.isa, panel_width(self.isa));
        let out_stride = self.strides()[0];
        let size = panel * self.geometry.channels;
        let filters = Shared::new(filters);
        let panels = columns.len().div_ceil(panel);
        let tiles = crew.tiles(panels, TILE_MACS.div_ceil(size * POINTS));
        crew.run(tiles, &|tile, _| {
            let part = part(panels, tile, tiles);
            let taps =
                core::array::from_fn(|tap| self.taps.matrix(tap).data[(columns.start / panel + part.start) * size..].as_ptr());
            let out = filters.from(part.start * size).as_ptr();
            let job = &Filters { taps, len: part.len() * size, out, out_stride };
            // SAFETY: whole panels of every tap are in `taps`, `filters` holds them at all points, and these panels are this tile's.
            unsafe { on_isa!(isa, transform_filters(job: &Filters)) }
            Ok(())
        })
    }

    fn share(&self, x: &[f32], bias: Option<&[f32]>, y: &mut [f32], filters: &mut [f32], crew: Crew<'_>) -> Result<()> {
        let g = &self.geometry;
        let Placement { offset, stride } = self.place;
        let outputs = g.out_channels;
        assert!(x.len() >= g.batch * g.input[0] * g.input[1] * g.channels);
        assert!(stride >= outputs && y.len() >= offset + (g.rows() - 1) * stride + outputs);
        assert!(bias.is_none_or(|b| b.len() >= outputs) && filters.len() >= POINTS * self.strides()[0]);
        let tiles = tiles(g);
        let blocks = tiles.div_ceil(self.block);
        let parts = crew.tiles(blocks, TILE_MACS.div_ceil(self.block * POINTS * g.channels * self.columns));
        let y = Shared::new(&mut y[offset..]);
        for first in (0..outputs).step_by(self.columns) {
            let columns = first..(first + self.columns).min(outputs);
            self.evaluate_filters(columns.clone(), filters, crew)?;
            let operands = Operands { x, bias, y: &y, filters };
            crew.run(parts, &|i, scratch| {
                let scratch = bytemuck::cast_slice_mut(scratch);
                for block in part(blocks, i, parts) {
                    let first = block * self.block;
                    self.block(&operands, columns.clone(), first..(first + self.block).min(tiles), scratch);
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// What all blocks share.
struct Operands<'a> {
    x: &'a [f32],
    bias: Option<&'a [f32]>,
    y: &'a Shared<'a, f32>,
    filters: &'a [f32],
}

impl Kernel for Winograd {
    fn scratch(&self) -> usize {
        self.strides()[0] * POINTS * size_of::<f32>()
    }

    fn own_scratch(&self) -> usize {
        let [_, inputs, products] = self.strides();
        (inputs + products) * POINTS * size_of::<f32>()
    }

    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let x = io.input::<f32>(0);
        let bias = self.has_bias.then(|| io.input::<f32>(2));
        let (y, filters, crew) = io.output_scratch_and_crew::<f32>(0);
        self.share(x, bias, y, bytemuck::cast_slice_mut(filters), crew)
    }
}

/// A block of tiles on its way.
struct Tiles<'a> {
    g: &'a Geometry,
    /// Counted over all images, row by row.
    tiles: Range<usize>,
    x: *const f32,
    /// `[points][tiles][channels]`, `input_stride` from one point to the next.
    inputs: *mut f32,
    input_stride: usize,
    /// `[points][tiles][outputs]`, likewise.
    products: *mut f32,
    product_stride: usize,
    outputs: usize,
    /// One per output; null for zero.
    bias: *const f32,
    bounds: (f32, f32),
    /// Pixels, `y_stride` from one to the next.
    y: *mut f32,
    y_stride: usize,
}

impl Tiles<'_> {
    /// Image, first output row and first output column of a tile.
    fn place(&self, tile: usize) -> [usize; 3] {
        let [rows, columns] = self.g.output.map(|o| o.div_ceil(OUT));
        [tile / columns / rows, tile / columns % rows * OUT, tile % columns * OUT]
    }
}

/// First of the `lanes` channels of a vector. The last one overlaps the one before rather than reach beyond.
fn first_channel(vector: usize, lanes: usize, channels: usize) -> usize {
    (vector * lanes).min(channels - lanes)
}

/// Filters on their way: elements `len` of the matrices of all taps.
struct Filters {
    taps: [*const f32; 9],
    len: usize,
    /// `out_stride` from one point to the next.
    out: *mut f32,
    out_stride: usize,
}

/// A line of a filter at all points, each divided by the product of the distances to the others.
///
/// # Safety
/// The CPU must have `V`'s instructions.
#[inline(always)]
unsafe fn evaluate_filter<V: Vector>(w: [V; 3]) -> [V; IN] {
    const FOR_A: f32 = 1.0 / (2.0 * A2 * (A2 - B2));
    const FOR_B: f32 = 1.0 / (2.0 * B2 * (B2 - A2));
    // SAFETY: by the contract.
    unsafe {
        let zero = V::splat(0.0);
        let scaled = |v: V, factor: f32, more: V| v.mul_add(V::splat(factor), more);
        let even_a = scaled(w[2], FOR_A * A2, scaled(w[0], FOR_A, zero));
        let even_b = scaled(w[2], FOR_B * B2, scaled(w[0], FOR_B, zero));
        [
            scaled(w[0], 1.0 / (A2 * B2), zero),
            scaled(w[1], FOR_A * A, even_a),
            scaled(w[1], -FOR_A * A, even_a),
            scaled(w[1], FOR_B * B, even_b),
            scaled(w[1], -FOR_B * B, even_b),
            w[2],
        ]
    }
}

/// # Safety
/// The CPU must have `V`'s instructions; the job's pointers must be valid for what they describe, whole vectors.
#[inline(always)]
unsafe fn transform_filters<V: Vector>(job: &Filters) {
    for at in (0..job.len).step_by(V::LANES) {
        // SAFETY: by the contract.
        unsafe {
            let mut half = [[V::splat(0.0); 3]; IN];
            unroll!(C < 3, {
                let column = [job.taps[C], job.taps[3 + C], job.taps[6 + C]].map(|tap| V::load(tap.add(at)));
                let e = evaluate_filter(column);
                unroll!(R < IN, { half[R][C] = e[R] });
            });
            unroll!(R < IN, {
                let e = evaluate_filter(half[R]);
                unroll!(C < IN, { e[C].store(job.out.add((R * IN + C) * job.out_stride + at)) });
            });
        }
    }
}

/// A line of inputs at all points: the values of `∏ (x − q)` over all points `q` but its own, as a polynomial in shifts of the line.
///
/// # Safety
/// The CPU must have `V`'s instructions.
#[inline(always)]
unsafe fn evaluate<V: Vector>(d: [V; IN]) -> [V; IN] {
    // SAFETY: by the contract.
    unsafe {
        let (product, sum) = (V::splat(A2 * B2), V::splat(-(A2 + B2)));
        let (less_a2, less_b2) = (V::splat(-A2), V::splat(-B2));
        let (even_a, odd_a) = (d[2].mul_add(less_b2, d[4]), d[1].mul_add(less_b2, d[3]));
        let (even_b, odd_b) = (d[2].mul_add(less_a2, d[4]), d[1].mul_add(less_a2, d[3]));
        [
            d[0].mul_add(product, d[2].mul_add(sum, d[4])),
            odd_a.mul_add(V::splat(A), even_a),
            odd_a.mul_add(V::splat(-A), even_a),
            odd_b.mul_add(V::splat(B), even_b),
            odd_b.mul_add(V::splat(-B), even_b),
            d[1].mul_add(product, d[3].mul_add(sum, d[5])),
        ]
    }
}

/// A line of outputs from the products at all points: powers of the points times them.
///
/// # Safety
/// The CPU must have `V`'s instructions.
#[inline(always)]
unsafe fn interpolate<V: Vector>(m: [V; IN]) -> [V; OUT] {
    // SAFETY: by the contract.
    unsafe {
        let (even_a, odd_a) = (m[1].add(m[2]), m[1].sub(m[2]));
        let (even_b, odd_b) = (m[3].add(m[4]), m[3].sub(m[4]));
        let zero = V::splat(0.0);
        [
            m[0].add(even_a).add(even_b),
            odd_a.mul_add(V::splat(A), odd_b.mul_add(V::splat(B), zero)),
            even_a.mul_add(V::splat(A2), even_b.mul_add(V::splat(B2), zero)),
            odd_a.mul_add(V::splat(A2 * A), odd_b.mul_add(V::splat(B2 * B), m[5])),
        ]
    }
}

/// # Safety
/// The CPU must have `V`'s instructions, no more lanes than there are channels; the job's pointers must be valid for what they describe.
#[inline(always)]
unsafe fn transform_inputs<V: Vector>(job: &Tiles<'_>) {
    let g = job.g;
    let [height, width] = g.input;
    for (i, tile) in job.tiles.clone().enumerate() {
        let [image, oy, ox] = job.place(tile);
        // Rows and columns of the tile that the input has.
        let rows = g.pad[0].saturating_sub(oy).min(IN)..(height + g.pad[0]).saturating_sub(oy).min(IN);
        let columns = g.pad[1].saturating_sub(ox).min(IN)..(width + g.pad[1]).saturating_sub(ox).min(IN);
        // In the padding for tiles at the upper or left border; never read there.
        let first = ((image * height + oy) * width + ox) * g.channels;
        let x = job.x.wrapping_add(first).wrapping_sub((g.pad[0] * width + g.pad[1]) * g.channels);
        let whole = (rows.start, rows.end, columns.start, columns.end) == (0, IN, 0, IN);
        for vector in 0..g.channels.div_ceil(V::LANES) {
            let channel = first_channel(vector, V::LANES, g.channels);
            // SAFETY: by the contract.
            unsafe {
                let out = job.inputs.add(i * g.channels + channel);
                let x = x.wrapping_add(channel);
                if whole {
                    transform_input::<V, false>(job, x, out, &rows, &columns);
                } else {
                    transform_input::<V, true>(job, x, out, &rows, &columns);
                }
            }
        }
    }
}

/// One tile of some channels. With `BORDER`, only `rows` and `columns` are read and the rest counts as zero.
///
/// # Safety
/// As for [`transform_inputs`].
#[inline(always)]
unsafe fn transform_input<V: Vector, const BORDER: bool>(
    job: &Tiles<'_>,
    x: *const f32,
    out: *mut f32,
    rows: &Range<usize>,
    columns: &Range<usize>,
) {
    let (pixel, line) = (job.g.channels, job.g.input[1] * job.g.channels);
    // SAFETY: by the contract.
    unsafe {
        let mut half = [[V::splat(0.0); IN]; IN];
        unroll!(C < IN, {
            let mut d = [V::splat(0.0); IN];
            if !BORDER || columns.contains(&C) {
                unroll!(R < IN, {
                    if !BORDER || rows.contains(&R) {
                        d[R] = V::load(x.wrapping_add(R * line + C * pixel));
                    }
                });
            }
            let e = evaluate(d);
            unroll!(R < IN, { half[R][C] = e[R] });
        });
        unroll!(R < IN, {
            let e = evaluate(half[R]);
            unroll!(C < IN, { e[C].store(out.add((R * IN + C) * job.input_stride)) });
        });
    }
}

/// # Safety
/// As for [`transform_inputs`]; `V` must have no more lanes than there are outputs.
#[inline(always)]
unsafe fn transform_products<V: Vector>(job: &Tiles<'_>) {
    let g = job.g;
    let outputs = job.outputs;
    for (i, tile) in job.tiles.clone().enumerate() {
        let [image, oy, ox] = job.place(tile);
        let [rows, columns] = [g.output[0] - oy, g.output[1] - ox];
        // SAFETY: by the contract; rows and columns are those of the tile that the output has.
        unsafe {
            let y = job.y.add(((image * g.output[0] + oy) * g.output[1] + ox) * job.y_stride);
            let (lo, hi) = (V::splat(job.bounds.0), V::splat(job.bounds.1));
            for vector in 0..outputs.div_ceil(V::LANES) {
                let channel = first_channel(vector, V::LANES, outputs);
                let m = job.products.add(i * outputs + channel).cast_const();
                let mut half = [[V::splat(0.0); IN]; OUT];
                unroll!(C < IN, {
                    let mut d = [V::splat(0.0); IN];
                    unroll!(R < IN, { d[R] = V::load(m.add((R * IN + C) * job.product_stride)) });
                    let e = interpolate(d);
                    unroll!(R < OUT, { half[R][C] = e[R] });
                });
                let bias = if job.bias.is_null() { V::splat(0.0) } else { V::load(job.bias.add(channel)) };
                unroll!(R < OUT, {
                    let e = interpolate(half[R]);
                    if R < rows {
                        unroll!(C < OUT, {
                            if C < columns {
                                e[C].add(bias).clamp(lo, hi).store(y.add((R * g.output[1] + C) * job.y_stride + channel));
                            }
                        });
                    }
                });
            }
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "winograd_tests.rs"]
mod tests;
