//! 3×3 convolution of stride 1 by the method of Winograd: each 4×4 outputs take 36 products per pair of channels instead of 144.
//!
//! Inputs come in tiles of 6×6. Input tiles and filters are evaluated at 36 points (6 along each axis); at each point the convolution is a
//! matrix product over the channels, and from 36 points 4×4 outputs are interpolated. Filters at all points would take four times the
//! memory of the filters themselves, so that they are evaluated in every run, some outputs at a time, which costs little beside products.
//!
//! What it costs in precision depends on the points. Along an axis they are 0, ±5/8, ±3/2 and infinity, whose powers f32 holds
//! exactly. On noise the largest error is 1·10⁻⁶ of the largest result for 64 channels and 2·10⁻⁶ for 256, a fifth of what the usual
//! points 0, ±1, ±2 and infinity give and three to six times that of plain sums.

mod transforms;

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::ops::Range;

use super::super::{
    Io, Kernel, Placement, Prepare,
    choice::{Choice, Made, Method},
    gemm_f32::{Blocking, Gemm, Packed, Panels, panel_width},
    im2col::Geometry,
    team::{Crew, Shared, part},
    vector::{Isa, on_isa},
};
use crate::{
    error::{Error, Result},
    graph::ops::Conv,
};
use transforms::{Filters, OUT, POINTS, Tiles, transform_filters, transform_inputs, transform_products};

/// Fewest channels on either side for which transforms cost little beside products.
const MIN_CHANNELS: usize = 16;
/// Fewest tiles: filters are evaluated for them anew in each run.
const MIN_TILES: usize = 4;
/// Bytes of filters at all points.
const FILTER_BYTES: usize = 2560 << 10;
/// Bytes of a block's transformed inputs and products: they stay in the second-level cache.
const BLOCK_BYTES: usize = 768 << 10;
/// Most tiles of a block, a multiple of the rows that products compute at once.
const MAX_BLOCK: usize = 48;
/// Multiply-accumulates that are worth a tile of threads' work: some ten microseconds.
const TILE_MACS: usize = 192 << 10;
/// Elements of evaluated filters that are worth one.
const TILE_FILTERS: usize = 32 << 10;
/// Elements between the matrices of neighbouring points beyond their size, so that they do not fall on the same lines of the L1 cache.
const GAP: usize = 16;

/// Whether the convolution can be computed this way, if its weight is a constant.
pub(super) fn can(g: &Geometry) -> bool {
    // Transforms go by vectors of channels.
    (g.kernel, g.strides, g.dilations, g.groups) == ([3, 3], [1, 1], [1, 1], 1)
        && g.channels.min(g.out_channels) >= Isa::best().lanes()
        && tiles(g) > 0
}

/// Whether this is the way to compute the convolution, if its weight and bias are constants.
pub(super) fn applies(g: &Geometry) -> bool {
    can(g)
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
    let [block, columns] = cut(geometry, isa, p.choice);
    p.made = Made { method: Method::Winograd, blocks: [block, columns], ..Made::default() };
    let (geometry, place) = (geometry.clone(), p.placement(geometry.out_channels));
    let (has_bias, bounds) = (conv.bias, conv.activation.bounds());
    Ok(Some(Box::new(Winograd { geometry, isa, taps, has_bias, bounds, place, block, columns })))
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

/// Tiles of a block, and the outputs whose filters are evaluated at a time.
fn cut(g: &Geometry, isa: Isa, choice: Choice) -> [usize; 2] {
    let (channels, outputs, panel) = (g.channels, g.out_channels, panel_width(isa));
    let filter = POINTS * size_of::<f32>() * channels;
    let columns = (FILTER_BYTES / filter / panel).max(1) * panel;
    let parts = outputs.div_ceil(columns);
    let mut columns = outputs.div_ceil(parts).next_multiple_of(panel);
    // The last part has at least a vector of outputs.
    while (outputs - 1) % columns + 1 < isa.lanes() {
        columns += panel;
    }
    let fit = choice.scale(BLOCK_BYTES) / (POINTS * size_of::<f32>() * (channels + columns));
    let most = (fit / 6 * 6).clamp(6, choice.scale(MAX_BLOCK));
    let tiles = tiles(g);
    [tiles.div_ceil(tiles.div_ceil(most)), columns]
}

impl Winograd {
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
                blocking: Blocking::of(Choice::AUTO),
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
        let tiles = crew.tiles(panels, TILE_FILTERS.div_ceil(size * POINTS));
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
        let blocks = crew.even(tiles.div_ceil(self.block), tiles);
        let parts = crew.tiles(blocks, TILE_MACS.div_ceil(self.block * POINTS * g.channels * self.columns));
        let y = Shared::new(&mut y[offset..]);
        for first in (0..outputs).step_by(self.columns) {
            let columns = first..(first + self.columns).min(outputs);
            self.evaluate_filters(columns.clone(), filters, crew)?;
            let operands = Operands { x, bias, y: &y, filters };
            crew.run(parts, &|i, scratch| {
                let scratch = bytemuck::cast_slice_mut(scratch);
                for block in part(blocks, i, parts) {
                    self.block(&operands, columns.clone(), part(tiles, block, blocks), scratch);
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

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "winograd_tests.rs"]
mod tests;
