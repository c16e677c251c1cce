//! Depthwise convolution with dot products: rows are interleaved so that a vector holds four channels of several rows.
//!
//! Lines of input are interleaved once, padding included, and then serve every tap of one or two lines of output:
//! what remains is a one-dimensional filter without borders.

// Indices beyond an array only occur where `unroll!` compiles nothing.
#![allow(clippy::out_of_bounds_indexing)]

use alloc::{sync::Arc, vec::Vec};
use core::arch::wasm32::*;
use core::ops::Range;

use super::{Filters, TILE_MACS};
#[cfg(target_feature = "relaxed-simd")]
use crate::kernels::gemm_i8::{Rdot, RdotSigned};
use crate::{
    error::{Result, ensure},
    graph::ValueId,
    kernels::{
        PackedWeights,
        gemm_i8::{Dot, Dot16, Scheme, Store, unroll},
        im2col::Geometry,
        linear_i8::Linear,
        team::{Crew, Shared, part},
    },
};

/// A dot product over interleaved rows.
trait Interleave: Dot {
    /// Rows that one vector holds.
    const ROWS: usize;

    /// From 16 channels of `ROWS` rows (or of fewer: four) to four vectors of four channels.
    fn interleave(rows: [v128; 4]) -> [v128; 4];
}

impl Interleave for Dot16 {
    const ROWS: usize = 2;

    #[inline(always)]
    fn interleave([a, b, ..]: [v128; 4]) -> [v128; 4] {
        let (lo, hi) = (zip_low(a, b), zip_high(a, b));
        [u16x8_extend_low_u8x16(lo), u16x8_extend_high_u8x16(lo), u16x8_extend_low_u8x16(hi), u16x8_extend_high_u8x16(hi)]
    }
}

#[cfg(target_feature = "relaxed-simd")]
impl Interleave for Rdot {
    const ROWS: usize = 4;

    #[inline(always)]
    fn interleave([a, b, c, d]: [v128; 4]) -> [v128; 4] {
        let (ab_lo, ab_hi, cd_lo, cd_hi) = (zip_low(a, b), zip_high(a, b), zip_low(c, d), zip_high(c, d));
        [zip_pairs_low(ab_lo, cd_lo), zip_pairs_high(ab_lo, cd_lo), zip_pairs_low(ab_hi, cd_hi), zip_pairs_high(ab_hi, cd_hi)]
    }
}

#[cfg(target_feature = "relaxed-simd")]
impl Interleave for RdotSigned {
    const ROWS: usize = 4;

    #[inline(always)]
    fn interleave(rows: [v128; 4]) -> [v128; 4] {
        Rdot::interleave(rows.map(|row| v128_xor(row, u8x16_splat(0x80))))
    }
}

#[inline(always)]
fn zip_low(a: v128, b: v128) -> v128 {
    i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(a, b)
}

#[inline(always)]
fn zip_high(a: v128, b: v128) -> v128 {
    i8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(a, b)
}

#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
fn zip_pairs_low(a: v128, b: v128) -> v128 {
    i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(a, b)
}

#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
fn zip_pairs_high(a: v128, b: v128) -> v128 {
    i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(a, b)
}

/// Most vectors of interleaved rows of four channels: beyond, they would leave every cache.
const LARGEST: usize = 1 << 14;

/// How one convolution is run.
pub(super) struct Plan {
    scheme: Scheme,
    /// Lines of output that share interleaved input: 1 or 2.
    lines: usize,
    /// Vectors of rows that one line of output reads.
    depth: usize,
    /// Interleaved positions of a line, padding included.
    width: usize,
    /// `[line][channel group][vector of rows][kernel column]`, 16 bytes each.
    weights: Arc<Vec<[i8; 16]>>,
}

impl Plan {
    /// `None` if this way is not exact or not possible for the convolution.
    pub fn new(
        g: &Geometry,
        linear: &Linear,
        filters: &Filters,
        id: ValueId,
        packed: &mut PackedWeights,
    ) -> Result<Option<Plan>> {
        if g.channels < 4 || !linear.is_bounded() || g.rows() == 0 {
            return Ok(None);
        }
        let narrow = filters.taps.iter().all(|w| i8::try_from(*w).is_ok()) && linear.zero_points().iter().all(|z| *z == 0);
        let scheme = match Scheme::best() {
            Scheme::Scalar => return Ok(None),
            best if narrow => best,
            _ => Scheme::Dot16,
        };
        let rows = if scheme.widens() { 2 } else { 4 };
        let depth = g.kernel[0].div_ceil(rows);
        let both = g.strides[0] == 1 && g.dilations[0] == 1 && (g.kernel[0] + 1).div_ceil(rows) == depth;
        let lines = if both { 2 } else { 1 };
        let layout = if both { "depthwise_i8 by two lines" } else { "depthwise_i8 by lines" };
        let width = (g.output[1] - 1) * g.strides[1] + (g.kernel[1] - 1) * g.dilations[1] + 1;
        if width.saturating_mul(depth) > LARGEST {
            return Ok(None);
        }
        let weights = packed.get(id, layout, || Ok(pack(g, filters, rows, depth, lines)))?;
        Ok(Some(Plan { scheme, lines, depth, width, weights }))
    }

    /// See [`Scheme::row_offset`].
    pub fn row_offset(&self) -> i32 {
        self.scheme.row_offset()
    }

    /// Bytes of scratch space for each thread: the interleaved rows of 16 channels.
    pub fn scratch(&self) -> usize {
        4 * self.depth * self.width * 16
    }

    /// Operands were found long enough for the geometry.
    #[allow(clippy::too_many_arguments)]
    pub fn run<F: Store>(
        &self,
        g: &Geometry,
        x: &[u8],
        fill: u8,
        init: &[i32],
        finish: &F,
        out: &Shared<'_, F::Out>,
        crew: Crew<'_>,
    ) -> Result<()> {
        let call = Call { plan: self, g, x, fill, init, finish };
        let strips = g.batch * g.output[0].div_ceil(self.lines);
        let macs = self.lines * g.output[1] * g.channels * g.depth();
        let tiles = crew.tiles(strips, TILE_MACS.div_ceil(macs.max(1)));
        crew.run(tiles, &|tile, scratch| {
            ensure!(scratch.len() >= self.scratch(), Internal, "scratch space is too small");
            let strips = part(strips, tile, tiles);
            match self.scheme {
                #[cfg(target_feature = "relaxed-simd")]
                Scheme::Rdot => call.run::<Rdot>(strips, out, scratch),
                #[cfg(target_feature = "relaxed-simd")]
                Scheme::RdotSigned => call.run::<RdotSigned>(strips, out, scratch),
                _ => call.run::<Dot16>(strips, out, scratch),
            }
            Ok(())
        })
    }
}

/// First channels of the groups of four: the last may overlap the one before.
fn group_starts(channels: usize) -> impl Iterator<Item = usize> {
    (0..channels.div_ceil(4)).map(move |i| (4 * i).min(channels - 4))
}

fn pack(g: &Geometry, filters: &Filters, rows: usize, depth: usize, lines: usize) -> Vec<[i8; 16]> {
    let mut out = Vec::with_capacity(lines * g.channels.div_ceil(4) * depth * g.kernel[1]);
    for line in 0..lines {
        for start in group_starts(g.channels) {
            for part in 0..depth {
                for kx in 0..g.kernel[1] {
                    let mut vector = [0i8; 16];
                    for i in 0..4 * rows {
                        // Channel by channel, and within a channel row by row.
                        let (channel, row) = (start + i / rows, part * rows + i % rows);
                        let ky = row.wrapping_sub(line);
                        let w = if ky < g.kernel[0] { filters.taps[(ky * g.kernel[1] + kx) * g.channels + channel] } else { 0 };
                        if rows == 2 {
                            vector[2 * i..2 * i + 2].copy_from_slice(&w.to_le_bytes().map(|b| b as i8));
                        } else {
                            vector[i] = w as i8;
                        }
                    }
                    out.push(vector);
                }
            }
        }
    }
    out
}

struct Call<'a, F: Store> {
    plan: &'a Plan,
    g: &'a Geometry,
    x: &'a [u8],
    fill: u8,
    init: &'a [i32],
    finish: &'a F,
}

/// A line of input: the address of its first pixel, and bytes from pixel to pixel (0 for a line of padding).
#[derive(Clone, Copy)]
struct Row {
    first: *const u8,
    step: usize,
}

impl<F: Store> Call<'_, F> {
    /// Strips are the lines of output that share interleaved input, counted over all images.
    fn run<D: Interleave>(&self, strips: Range<usize>, out: &Shared<'_, F::Out>, scratch: &mut [u8]) {
        let (g, plan) = (self.g, self.plan);
        let line_len = g.output[1] * g.channels;
        let whole = g.channels / 16 * 16;
        let per_image = g.output[0].div_ceil(plan.lines);
        for strip in strips {
            let (image, oy) = (strip / per_image, strip % per_image * plan.lines);
            let lines = plan.lines.min(g.output[0] - oy);
            let first = (image * g.output[0] + oy) * line_len;
            // SAFETY: a strip's lines are nobody else's.
            let out = unsafe { out.part(first..first + lines * line_len) };
            for start in (0..whole).step_by(16) {
                self.channels::<D, 4>(image, oy, lines, start, start / 4, out, scratch);
            }
            for (group, start) in group_starts(g.channels).enumerate().skip(whole / 4) {
                self.channels::<D, 1>(image, oy, lines, start, group, out, scratch);
            }
        }
    }

    /// `4 · G` channels from `start` on, which is group `group` of the weights, for `lines` lines of output.
    #[inline(never)]
    #[allow(clippy::too_many_arguments)]
    fn channels<D: Interleave, const G: usize>(
        &self,
        image: usize,
        oy: usize,
        lines: usize,
        start: usize,
        group: usize,
        out: &mut [F::Out],
        scratch: &mut [u8],
    ) {
        let (g, plan) = (self.g, self.plan);
        let plane = plan.depth * plan.width;
        let fill = [self.fill; 16];
        let planes = scratch.as_mut_ptr().cast::<v128>();
        for part in 0..plan.depth {
            let mut rows = [Row { first: fill.as_ptr(), step: 0 }; 4];
            for (i, row) in rows.iter_mut().enumerate().take(D::ROWS) {
                let ky = part * D::ROWS + i;
                let iy = (oy * g.strides[0] + ky * g.dilations[0]).wrapping_sub(g.pad[0]);
                if iy < g.input[0] && ky < g.kernel[0] + lines - 1 {
                    let first = &self.x[(image * g.input[0] + iy) * g.input[1] * g.channels + start..];
                    *row = Row { first: first.as_ptr(), step: g.channels };
                }
            }
            // SAFETY: `scratch` holds 4 planes; rows hold `input[1]` pixels of at least 4 · G channels from `start` on, or are padding.
            unsafe { self.interleave::<D, G>(rows, &fill, planes.add(part * plan.width), plane) };
        }
        let groups = g.channels.div_ceil(4);
        let taps = plan.depth * g.kernel[1];
        for line in 0..lines {
            for i in 0..G {
                let weights = &plan.weights[(line * groups + group + i) * taps..][..taps];
                let out = &mut out[line * g.output[1] * g.channels + start + 4 * i..];
                // SAFETY: the planes were written above; `out` holds a line from this channel on, `init` and the finish all channels.
                unsafe {
                    let plane = planes.add(i * plane).cast_const();
                    let out = out.as_mut_ptr();
                    match (g.strides[1], g.dilations[1], g.kernel[1], plan.depth) {
                        (1, 1, 3, 1) => self.filter::<D, 1, 3>(plane, weights, start + 4 * i, out),
                        (2, 1, 3, 1) => self.filter::<D, 2, 3>(plane, weights, start + 4 * i, out),
                        (1, 1, 3, 2) => self.filter::<D, 1, 6>(plane, weights, start + 4 * i, out),
                        (2, 1, 3, 2) => self.filter::<D, 2, 6>(plane, weights, start + 4 * i, out),
                        _ => self.filter::<D, 0, 0>(plane, weights, start + 4 * i, out),
                    }
                }
            }
        }
    }

    /// # Safety
    /// `planes` must be writable for `G` planes of `plane` vectors less what was skipped; rows as [`Row`] says.
    #[inline(never)]
    unsafe fn interleave<D: Interleave, const G: usize>(&self, rows: [Row; 4], fill: &[u8; 16], planes: *mut v128, plane: usize) {
        let width = self.plan.width;
        let left = self.g.pad[1].min(width);
        let right = (left + self.g.input[1]).min(width);
        // SAFETY: positions `left..right` are pixels of the rows, all positions lie within the planes.
        unsafe {
            let padding = D::interleave([v128_load(fill.as_ptr().cast()); 4]);
            let put = |at: usize, v: [v128; 4]| {
                unroll!(
                    I < 4,
                    if I < G {
                        v128_store(planes.add(I * plane + at), v[I])
                    }
                )
            };
            for at in (0..left).chain(right..width) {
                put(at, padding);
            }
            let mut p = rows.map(|row| row.first);
            for at in left..right {
                let load = |p: *const u8| if G == 4 { v128_load(p.cast()) } else { v128_load32_zero(p.cast()) };
                let zero = i32x4_splat(0);
                let v = if D::ROWS == 2 { [load(p[0]), load(p[1]), zero, zero] } else { p.map(load) };
                put(at, D::interleave(v));
                unroll!(
                    I < 4,
                    if I < D::ROWS {
                        p[I] = p[I].add(rows[I].step)
                    }
                );
            }
        }
    }

    /// Four channels of a line, in a function of its own: engines optimise a small function sooner than all of them at once. `S` is the
    /// stride and `T` the number of vectors of weights; 0 if only known when run.
    ///
    /// # Safety
    /// `plane` must be readable for the plan's depth and width, and `out` be writable for 4 channels of every pixel of a line.
    #[inline(never)]
    unsafe fn filter<D: Interleave, const S: usize, const T: usize>(
        &self,
        plane: *const v128,
        weights: &[[i8; 16]],
        channel: usize,
        out: *mut F::Out,
    ) {
        let outputs = self.g.output[1];
        let stride = if S == 0 { self.g.strides[1] } else { S };
        // SAFETY: as the caller promises.
        unsafe {
            let init = v128_load(self.init.as_ptr().add(channel).cast());
            let mut w = [init; T];
            unroll!(J < T, w[J] = v128_load(weights.as_ptr().add(J).cast()));
            if outputs >= 4 {
                let mut ox = 0;
                while ox < outputs {
                    // The last four overlap the ones before.
                    let at = ox.min(outputs - 4);
                    let from = plane.add(at * stride);
                    let mut acc = [[init; 1]; 4];
                    if T > 0 {
                        unroll!(J < T, {
                            let from = from.add(J / 3 * self.plan.width);
                            unroll!(I < 4, acc[I][0] = D::dot(w[J], v128_load(from.add(I * S + J % 3)), acc[I][0]));
                        });
                    } else {
                        self.taps(weights, |offset, w| {
                            unroll!(I < 4, acc[I][0] = D::dot(w, v128_load(from.add(I * stride + offset)), acc[I][0]));
                        });
                    }
                    self.finish.store::<4, 1>(acc, channel, out.add(at * self.g.channels), self.g.channels);
                    ox += 4;
                }
            } else {
                for ox in 0..outputs {
                    let from = plane.add(ox * stride);
                    let mut acc = init;
                    self.taps(weights, |offset, w| acc = D::dot(w, v128_load(from.add(offset)), acc));
                    self.finish.store::<1, 1>([[acc; 1]; 1], channel, out.add(ox * self.g.channels), self.g.channels);
                }
            }
        }
    }

    /// Calls `f` with the offset of each tap's position in the plane and its weights.
    #[inline(always)]
    fn taps(&self, weights: &[[i8; 16]], mut f: impl FnMut(usize, v128)) {
        let mut at = 0;
        for part in 0..self.plan.depth {
            for kx in 0..self.g.kernel[1] {
                // SAFETY: a vector of weights is 16 bytes.
                let w = unsafe { v128_load(weights[at].as_ptr().cast()) };
                f(part * self.plan.width + kx * self.g.dilations[1], w);
                at += 1;
            }
        }
    }
}
