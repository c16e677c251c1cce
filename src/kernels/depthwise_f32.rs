//! f32 depthwise convolution: vectors of channels, four neighbouring outputs at a time.

use alloc::{boxed::Box, sync::Arc};
use core::ops::Range;

use super::{
    Io, Kernel, Prepare,
    gemm_f32::flush_denormals,
    im2col::Geometry,
    vector::{Isa, Vector, on_isa, unroll},
};
use crate::{
    error::{Error, Result},
    graph::ops::Conv,
    tensor::{AlignedBytes, describe_shape},
};

/// Outputs that are computed together.
const COLUMNS: usize = 4;

struct DepthwiseF32 {
    geometry: Geometry,
    isa: Isa,
    /// Weights and biases, unless they have to be packed in each run.
    weights: Option<Arc<Packed>>,
    bounds: (f32, f32),
}

/// Whether the convolution has as many inputs, outputs and groups, and enough for a vector.
pub(crate) fn applies(g: &Geometry) -> bool {
    g.is_depthwise() && g.out_channels == g.channels && g.channels >= Isa::Portable.lanes()
}

/// Prepares a [`Conv`] to which this file [`applies`].
pub(crate) fn prepare(conv: &Conv, geometry: Geometry, p: &mut Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let fitting = Isa::available().iter().rev().find(|isa| isa.lanes() <= geometry.channels);
    let isa = *fitting.unwrap_or(&Isa::Portable);
    let weight = &p.inputs[1];
    let bias = p.inputs.get(2).filter(|_| conv.bias);
    let len = Packed::len(&geometry, isa)
        .ok_or_else(|| Error::Limit(alloc::format!("weight {} is too large to be packed", describe_shape(&weight.shape))))?;
    let constants = match bias {
        None => weight.constant::<f32>().map(|w| (w, None)),
        Some(bias) => weight.constant::<f32>().zip(bias.constant::<f32>()).map(|(w, b)| (w, Some(b))),
    };
    let weights = match constants {
        None => None,
        Some((w, b)) => {
            let make = || {
                let mut data = AlignedBytes::zeroed(len * size_of::<f32>());
                let floats: &mut [f32] = bytemuck::cast_slice_mut(&mut data);
                pack(&geometry, isa, w, b, floats);
                flush_denormals(floats);
                Ok(Packed { bias: bias.map(|b| b.id), data })
            };
            let packed = p.packed.get(weight.id, "depthwise f32", make)?;
            // Another convolution may share the weights and not the bias.
            Some(if packed.bias == bias.map(|b| b.id) { packed } else { Arc::new(make()?) })
        }
    };
    Ok(Box::new(DepthwiseF32 { geometry, isa, weights, bounds: conv.activation.bounds() }))
}

/// `[groups of channels][bias, then taps][lanes]`.
struct Packed {
    bias: Option<crate::graph::ValueId>,
    data: AlignedBytes,
}

impl Packed {
    /// Elements; `None` if they do not fit in memory.
    fn len(g: &Geometry, isa: Isa) -> Option<usize> {
        let channels = g.channels.checked_next_multiple_of(isa.lanes())?;
        channels.checked_mul(g.depth().checked_add(1)?).filter(|&n| n <= isize::MAX as usize / 4)
    }
}

/// First channel of a group. The last group overlaps the one before it rather than being partly empty.
fn first_channel(group: usize, lanes: usize, channels: usize) -> usize {
    (group * lanes).min(channels - lanes)
}

fn pack(g: &Geometry, isa: Isa, weight: &[f32], bias: Option<&[f32]>, out: &mut [f32]) {
    let (lanes, taps) = (isa.lanes(), g.depth());
    for (group, out) in out.chunks_exact_mut((taps + 1) * lanes).enumerate() {
        let first = first_channel(group, lanes, g.channels);
        for lane in 0..lanes {
            let channel = first + lane;
            out[lane] = bias.map_or(0.0, |b| b[channel]);
            for tap in 0..taps {
                out[(tap + 1) * lanes + lane] = weight[channel * taps + tap];
            }
        }
    }
}

impl Kernel for DepthwiseF32 {
    fn scratch(&self) -> usize {
        match self.weights {
            Some(_) => 0,
            None => Packed::len(&self.geometry, self.isa).unwrap_or(0) * size_of::<f32>(),
        }
    }

    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let g = &self.geometry;
        let (x, weight) = (io.input::<f32>(0), io.input::<f32>(1));
        let bias = (io.input_count() > 2).then(|| io.input::<f32>(2));
        let (y, scratch) = io.output_and_scratch::<f32>(0);
        let packed: &[f32] = match &self.weights {
            Some(packed) => bytemuck::cast_slice(&packed.data),
            None => {
                let floats = bytemuck::cast_slice_mut(scratch);
                pack(g, self.isa, weight, bias, floats);
                floats
            }
        };
        let (from, to) = (g.input[0] * g.input[1] * g.channels, g.output[1] * g.channels);
        assert!(x.len() >= g.batch * from && y.len() >= g.batch * g.output[0] * to);
        assert!(Some(packed.len()) == Packed::len(g, self.isa) && g.channels >= self.isa.lanes());
        for image in 0..g.batch {
            for oy in 0..g.output[0] {
                let line = &Line {
                    g,
                    x: x[image * from..].as_ptr(),
                    oy,
                    weights: packed.as_ptr(),
                    bounds: self.bounds,
                    y: y[(image * g.output[0] + oy) * to..].as_mut_ptr(),
                };
                // SAFETY: the slices hold every image and line, the weights every group; `isa` is proof of the instructions.
                unsafe { on_isa!(self.isa, convolve_line(line: &Line<'_>)) }
            }
        }
        Ok(())
    }
}

/// One line of outputs.
struct Line<'a> {
    g: &'a Geometry,
    /// The image that it is computed from.
    x: *const f32,
    oy: usize,
    weights: *const f32,
    bounds: (f32, f32),
    y: *mut f32,
}

/// # Safety
/// The CPU must have `V`'s instructions, `V::LANES` be the lanes that the weights were packed for and no more than the channels;
/// `x`, `weights` and `y` must be valid for an image, all groups and one line.
#[inline(always)]
unsafe fn convolve_line<V: Vector>(line: &Line<'_>) {
    let g = line.g;
    let rows = g.taps(0, line.oy);
    let interior = g.interior(1);
    // SAFETY: interior outputs are those whose windows lie within the input's columns, rows those taps within its lines.
    unsafe {
        let blocked = if interior.len() < COLUMNS {
            0..0
        } else {
            match (g.kernel[1], g.strides[1], g.dilations[1]) {
                (3, 1, 1) => blocks::<V, COLUMNS, 3, 1>(line, &rows, &interior),
                (3, 2, 1) => blocks::<V, COLUMNS, 3, 2>(line, &rows, &interior),
                (5, 1, 1) => blocks::<V, COLUMNS, 5, 1>(line, &rows, &interior),
                (5, 2, 1) => blocks::<V, COLUMNS, 5, 2>(line, &rows, &interior),
                _ => any_blocks::<V, COLUMNS>(line, &rows, &interior),
            }
            interior
        };
        for ox in (0..blocked.start).chain(blocked.end..g.output[1]) {
            single::<V>(line, &rows, ox);
        }
    }
}

/// Calls `$body` with the first column of each block of the range; the last block may overlap the one before it.
macro_rules! for_blocks {
    ($range:expr, $n:expr, $ox:ident, $body:block) => {
        let mut next = $range.start;
        while next < $range.end {
            let $ox = next.min($range.end - $n);
            $body
            next += $n;
        }
    };
}

/// Outputs `columns`, `N` at a time, for a kernel row of `K` neighbouring taps with stride `S`: each input is loaded once per kernel row.
#[inline(always)]
unsafe fn blocks<V: Vector, const N: usize, const K: usize, const S: usize>(
    line: &Line<'_>,
    rows: &Range<usize>,
    columns: &Range<usize>,
) {
    let g = line.g;
    let c = g.channels;
    // SAFETY: by `convolve_line`'s contract.
    unsafe {
        let (lo, hi) = (V::splat(line.bounds.0), V::splat(line.bounds.1));
        let first_row = if rows.is_empty() { 0 } else { line.oy * g.strides[0] + rows.start * g.dilations[0] - g.pad[0] };
        for_blocks!(columns, N, ox, {
            let x = line.x.add((first_row * g.input[1] + ox * S - g.pad[1]) * c);
            let y = line.y.add(ox * c);
            for group in 0..c.div_ceil(V::LANES) {
                let channel = first_channel(group, V::LANES, c);
                let mut w = line.weights.add(group * (g.depth() + 1) * V::LANES);
                let mut acc = [V::load(w); N];
                w = w.add((1 + rows.start * K) * V::LANES);
                let mut p = x.add(channel);
                for _ in rows.clone() {
                    let mut taps = [acc[0]; K];
                    unroll!(T < K, { taps[T] = V::load(w.add(T * V::LANES)) });
                    unroll!(I < ((N - 1) * S + K), {
                        let value = V::load(p.add(I * c));
                        unroll!(J < N, {
                            if (J * S..J * S + K).contains(&I) {
                                acc[J] = value.mul_add(taps[I - J * S], acc[J]);
                            }
                        });
                    });
                    w = w.add(K * V::LANES);
                    p = p.add(g.dilations[0] * g.input[1] * c);
                }
                unroll!(J < N, { acc[J].clamp(lo, hi).store(y.add(J * c + channel)) });
            }
        });
    }
}

/// Outputs `columns`, `N` at a time, for any kernel.
#[inline(always)]
unsafe fn any_blocks<V: Vector, const N: usize>(line: &Line<'_>, rows: &Range<usize>, columns: &Range<usize>) {
    let g = line.g;
    let c = g.channels;
    // SAFETY: by `convolve_line`'s contract.
    unsafe {
        let (lo, hi) = (V::splat(line.bounds.0), V::splat(line.bounds.1));
        let step = g.strides[1] * c;
        for_blocks!(columns, N, ox, {
            for group in 0..c.div_ceil(V::LANES) {
                let channel = first_channel(group, V::LANES, c);
                let weights = line.weights.add(group * (g.depth() + 1) * V::LANES);
                let mut acc = [V::load(weights); N];
                for ky in rows.clone() {
                    let iy = line.oy * g.strides[0] + ky * g.dilations[0] - g.pad[0];
                    let mut p = line.x.add((iy * g.input[1] + ox * g.strides[1] - g.pad[1]) * c + channel);
                    let mut w = weights.add((1 + ky * g.kernel[1]) * V::LANES);
                    for _ in 0..g.kernel[1] {
                        let tap = V::load(w);
                        unroll!(J < N, { acc[J] = V::load(p.add(J * step)).mul_add(tap, acc[J]) });
                        w = w.add(V::LANES);
                        p = p.add(g.dilations[1] * c);
                    }
                }
                unroll!(J < N, { acc[J].clamp(lo, hi).store(line.y.add((ox + J) * c + channel)) });
            }
        });
    }
}

/// One output anywhere; four groups of channels at a time, so that their sums are independent.
#[inline(always)]
unsafe fn single<V: Vector>(line: &Line<'_>, rows: &Range<usize>, ox: usize) {
    let groups = line.g.channels.div_ceil(V::LANES);
    // SAFETY: by `convolve_line`'s contract.
    unsafe {
        let mut group = 0;
        while group + 4 <= groups {
            single_groups::<V, 4>(line, rows, ox, group);
            group += 4;
        }
        while group < groups {
            single_groups::<V, 1>(line, rows, ox, group);
            group += 1;
        }
    }
}

#[inline(always)]
unsafe fn single_groups<V: Vector, const N: usize>(line: &Line<'_>, rows: &Range<usize>, ox: usize, group: usize) {
    let g = line.g;
    let c = g.channels;
    let columns = g.taps(1, ox);
    let group_size = (g.depth() + 1) * V::LANES;
    // SAFETY: by `convolve_line`'s contract.
    unsafe {
        let weights = line.weights.add(group * group_size);
        let mut channel = [0; N];
        let mut acc = [V::load(weights); N];
        unroll!(Q < N, {
            channel[Q] = first_channel(group + Q, V::LANES, c);
            acc[Q] = V::load(weights.add(Q * group_size));
        });
        for ky in rows.clone() {
            let iy = line.oy * g.strides[0] + ky * g.dilations[0] - g.pad[0];
            for kx in columns.clone() {
                let ix = ox * g.strides[1] + kx * g.dilations[1] - g.pad[1];
                let p = line.x.add((iy * g.input[1] + ix) * c);
                let w = weights.add((1 + ky * g.kernel[1] + kx) * V::LANES);
                unroll!(Q < N, { acc[Q] = V::load(p.add(channel[Q])).mul_add(V::load(w.add(Q * group_size)), acc[Q]) });
            }
        }
        let (lo, hi) = (V::splat(line.bounds.0), V::splat(line.bounds.1));
        unroll!(Q < N, { acc[Q].clamp(lo, hi).store(line.y.add(ox * c + channel[Q])) });
    }
}
