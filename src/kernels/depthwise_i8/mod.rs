//! Quantized depthwise convolution: each channel has a filter of its own.

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::ops::Range;

use super::{
    Io, Kernel, PackedWeights,
    gemm_i8::{Columns, Store},
    im2col::Geometry,
    linear_i8::{ColumnSet, Linear, Parameters, Product},
    team::{Crew, Shared, part},
};
use crate::{
    error::{Result, ensure},
    graph::ValueId,
};

/// Prepares a convolution that has one input channel per output channel. `weight` is `[C,KH,KW]`.
#[inline(never)]
#[cfg_attr(small, optimize(size))]
pub(crate) fn prepare(
    geometry: Geometry,
    linear: Linear,
    id: ValueId,
    weight: &[u8],
    unsigned: bool,
    packed: &mut PackedWeights,
) -> Result<Box<dyn Kernel>> {
    let filters = packed.get(id, "depthwise_i8", || Ok(Filters::new(weight, unsigned, linear.zero_points())))?;
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    let fast = wasm::Plan::new(&geometry, &linear, &filters, id, packed)?;
    let mut kernel = Depthwise {
        geometry,
        linear,
        filters,
        parameters: Parameters::default(),
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        fast,
    };
    kernel.parameters = kernel.linear.parameters(&kernel.columns(), true);
    Ok(Box::new(kernel))
}

/// Multiply-accumulates that are worth a tile of their own: some ten microseconds.
const TILE_MACS: usize = 128 << 10;

/// Filters with their zero points subtracted.
struct Filters {
    /// `[tap][channel]`.
    taps: Vec<i16>,
    /// Sums over the stored weights, zero points not subtracted.
    sums: Vec<i32>,
}

impl Filters {
    fn new(weight: &[u8], unsigned: bool, zero_points: &[i32]) -> Filters {
        let channels = zero_points.len();
        let count = weight.len() / channels.max(1);
        let flip = if unsigned { 0x80 } else { 0 };
        let mut filters = Filters { taps: alloc::vec![0; weight.len()], sums: alloc::vec![0; channels] };
        for (channel, &zero_point) in zero_points.iter().enumerate() {
            for tap in 0..count {
                let w = i32::from((weight[channel * count + tap] ^ flip) as i8);
                filters.taps[tap * channels + channel] = (w - zero_point) as i16;
                filters.sums[channel] += w;
            }
        }
        filters
    }
}

struct Depthwise {
    geometry: Geometry,
    linear: Linear,
    filters: Arc<Filters>,
    parameters: Parameters,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    fast: Option<wasm::Plan>,
}

impl Depthwise {
    fn columns(&self) -> ColumnSet<'_> {
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        let row_offset = self.fast.as_ref().map_or(0, wasm::Plan::row_offset);
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        let row_offset = 0;
        ColumnSet { channels: 0..self.geometry.channels, k: self.geometry.depth(), row_offset, sums: &self.filters.sums }
    }
}

impl Kernel for Depthwise {
    fn scratch(&self) -> usize {
        self.linear.scratch(self.geometry.channels)
    }

    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    fn own_scratch(&self) -> usize {
        self.fast.as_ref().map_or(0, wasm::Plan::scratch)
    }

    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let x = io.input::<u8>(0);
        let g = &self.geometry;
        ensure!(x.len() >= g.batch * g.input[0] * g.input[1] * g.channels, Internal, "the input of a convolution is too short");
        let rows = self.linear.rows(io)?;
        let (out, scratch, crew) = io.output_scratch_and_crew::<u8>(0);
        let product = Call { kernel: self, x, fill: rows.zero_point };
        self.linear.run(&self.columns(), &[], &self.parameters, rows, &product, out, 0, scratch, crew)
    }
}

struct Call<'a> {
    kernel: &'a Depthwise,
    x: &'a [u8],
    fill: u8,
}

impl Product for Call<'_> {
    fn run<F: Store>(&self, columns: Columns<'_>, finish: &F, out: &mut [F::Out], crew: Crew<'_>) -> Result<()> {
        let g = &self.kernel.geometry;
        ensure!(
            out.len() >= g.rows() * g.channels && columns.init.len() >= g.channels && finish.columns() >= g.channels,
            Internal,
            "operands of a depthwise convolution are too short"
        );
        let out = &Shared::new(out);
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        if let Some(fast) = &self.kernel.fast {
            return fast.run(g, self.x, self.fill, columns.init, finish, out, crew);
        }
        let (lines, line_len) = (g.batch * g.output[0], g.output[1] * g.channels);
        let tiles = crew.tiles(lines, TILE_MACS.div_ceil((line_len * g.depth()).max(1)));
        crew.run(tiles, &|tile, _| {
            let lines = part(lines, tile, tiles);
            // SAFETY: these lines are this tile's alone.
            let out = unsafe { out.part(lines.start * line_len..lines.end * line_len) };
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has AVX2.
                unsafe { self.run_avx2(lines, columns.init, finish, out) };
                return Ok(());
            }
            self.run_portable(lines, columns.init, finish, out);
            Ok(())
        })
    }
}

impl Call<'_> {
    /// The same code, compiled for wider vectors.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn run_avx2<F: Store>(&self, lines: Range<usize>, init: &[i32], finish: &F, out: &mut [F::Out]) {
        self.run_portable(lines, init, finish, out);
    }

    /// Computes `lines` of all images, which `out` holds.
    #[inline(always)]
    fn run_portable<F: Store>(&self, lines: Range<usize>, init: &[i32], finish: &F, out: &mut [F::Out]) {
        let g = &self.kernel.geometry;
        let channels = g.channels;
        let first_line = lines.start;
        for line in lines {
            let (image, oy) = (line / g.output[0], line % g.output[0]);
            let valid_y = g.taps(0, oy);
            for ox in 0..g.output[1] {
                let valid_x = g.taps(1, ox);
                let out = &mut out[((line - first_line) * g.output[1] + ox) * channels..][..channels];
                let mut first = 0;
                while first < channels {
                    const BLOCK: usize = 64;
                    let count = BLOCK.min(channels - first);
                    let mut acc = [0i32; BLOCK];
                    acc[..count].copy_from_slice(&init[first..first + count]);
                    for ky in 0..g.kernel[0] {
                        for kx in 0..g.kernel[1] {
                            let w = &self.kernel.filters.taps[(ky * g.kernel[1] + kx) * channels + first..][..count];
                            if valid_y.contains(&ky) && valid_x.contains(&kx) {
                                let iy = oy * g.strides[0] + ky * g.dilations[0] - g.pad[0];
                                let ix = ox * g.strides[1] + kx * g.dilations[1] - g.pad[1];
                                let x = &self.x[((image * g.input[0] + iy) * g.input[1] + ix) * channels + first..][..count];
                                match (<&[u8; BLOCK]>::try_from(x), <&[i16; BLOCK]>::try_from(w)) {
                                    (Ok(x), Ok(w)) => accumulate(&mut acc, x, w),
                                    _ => accumulate(&mut acc, x, w),
                                }
                            } else {
                                acc.iter_mut().zip(w).for_each(|(acc, w)| *acc += i32::from(*w) * i32::from(self.fill));
                            }
                        }
                    }
                    finish.row(&acc[..count], first, &mut out[first..first + count]);
                    first += count;
                }
            }
        }
    }
}

#[inline(always)]
fn accumulate(acc: &mut [i32], x: &[u8], w: &[i16]) {
    for ((acc, x), w) in acc.iter_mut().zip(x).zip(w) {
        *acc = acc.wrapping_add(i32::from(*x) * i32::from(*w));
    }
}
