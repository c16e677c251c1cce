//! f32 depthwise convolution, a line of outputs at a time.

mod line;

use alloc::{boxed::Box, sync::Arc, vec, vec::Vec};

use line::{Line, convolve_line};

use super::{
    Io, Kernel, Prepare,
    gemm_f32::flush_denormals,
    im2col::Geometry,
    team::{Shared, Team, part, tiles},
    vector::{Isa, on_isa},
};
use crate::{
    error::{Error, Result, ensure},
    graph::ops::Conv,
    tensor::{AlignedBytes, describe_shape},
};

/// Multiply-accumulates that are worth a tile of their own: some ten microseconds.
const TILE_MACS: usize = 64 << 10;

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
        let team = io.team();
        let (y, scratch) = io.output_and_scratch::<f32>(0);
        let packed: &[f32] = match &self.weights {
            Some(packed) => bytemuck::cast_slice(&packed.data),
            None => {
                let floats = bytemuck::cast_slice_mut(scratch);
                pack(g, self.isa, weight, bias, floats);
                floats
            }
        };
        convolve(g, self.isa, packed, self.bounds, x, y, team);
        Ok(())
    }
}

fn convolve(g: &Geometry, isa: Isa, packed: &[f32], bounds: (f32, f32), x: &[f32], y: &mut [f32], team: &Team) {
    let (from, to) = (g.input[0] * g.input[1] * g.channels, g.output[1] * g.channels);
    let lines = g.batch * g.output[0];
    assert!(x.len() >= g.batch * from && y.len() >= lines * to);
    assert!(Some(packed.len()) == Packed::len(g, isa) && g.channels >= isa.lanes());
    let y = Shared::new(y);
    let tiles = tiles(team, lines, TILE_MACS.div_ceil((to * g.depth()).max(1)));
    team.run(tiles, &|tile, _| {
        for at in part(lines, tile, tiles) {
            let line = &Line {
                g,
                x: x[at / g.output[0] * from..].as_ptr(),
                oy: at % g.output[0],
                weights: packed.as_ptr(),
                bounds,
                y: y.from(at * to).as_ptr(),
            };
            // SAFETY: the slices hold every image and line, the weights every group, and no other tile has this line; `isa` is proof of
            // the instructions.
            unsafe { on_isa!(isa, convolve_line(line: &Line<'_>)) }
        }
    });
}

/// Compares every path on every instruction set with plain sums, on small integers, whose sums are exact in any order.
pub(crate) fn selftest() -> Result<()> {
    for (kernel, stride, channels) in [(3, 1, 4), (3, 2, 20), (5, 1, 16), (5, 2, 33), (2, 1, 17), (7, 3, 18)] {
        let output = [(9 - 1) / stride + 1, (8 - 1) / stride + 1];
        let g = Geometry {
            batch: 1,
            input: [8 + kernel % 2, 7 + kernel % 2],
            channels,
            output,
            out_channels: channels,
            groups: channels,
            kernel: [kernel; 2],
            strides: [stride; 2],
            dilations: [1; 2],
            pad: [kernel / 2; 2],
        };
        let numbers = |n: usize, step: usize| (0..n).map(|i| (i * step % 17) as f32 - 8.0).collect::<Vec<f32>>();
        let x = numbers(g.input[0] * g.input[1] * channels, 5);
        let (weight, bias) = (numbers(g.depth() * channels, 7), numbers(channels, 3));
        let bounds = (-50.0, 200.0);
        let expected: Vec<f32> = (0..g.rows() * channels).map(|at| plain(&g, &x, &weight, &bias, bounds, at)).collect();
        for &isa in Isa::available().iter().filter(|isa| isa.lanes() <= channels) {
            let mut packed = vec![0.0; Packed::len(&g, isa).unwrap_or(0)];
            pack(&g, isa, &weight, Some(&bias), &mut packed);
            let mut y = vec![0.0; g.rows() * channels];
            convolve(&g, isa, &packed, bounds, &x, &mut y, &Team::ALONE);
            ensure!(
                y == expected,
                Internal,
                "depthwise convolution by {isa:?} is wrong here ({kernel}×{kernel}, stride {stride})"
            );
        }
    }
    Ok(())
}

/// Element `at` of the result for one image.
#[inline(never)]
fn plain(g: &Geometry, x: &[f32], weight: &[f32], bias: &[f32], (lo, hi): (f32, f32), at: usize) -> f32 {
    let (c, ox, oy) = (at % g.channels, at / g.channels % g.output[1], at / g.channels / g.output[1]);
    let mut sum = bias[c];
    for ky in g.taps(0, oy) {
        for kx in g.taps(1, ox) {
            let (iy, ix) = (oy * g.strides[0] + ky - g.pad[0], ox * g.strides[1] + kx - g.pad[1]);
            sum += x[(iy * g.input[1] + ix) * g.channels + c] * weight[c * g.depth() + ky * g.kernel[1] + kx];
        }
    }
    sum.clamp(lo, hi)
}
