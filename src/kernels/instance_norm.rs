//! Instance normalisation: each channel of each sample over its positions, channels last.

use alloc::boxed::Box;

use super::{Io, Kernel, Prepare, team::Shared};
use crate::{
    error::{Result, ensure},
    graph::ops::InstanceNorm,
};

/// Channels that are computed side by side: half a cache line, of which the three walks over a sample find most in the cache.
const LANES: usize = 8;
/// Positions that are summed up by themselves first: long sums of small numbers lose their last bits.
const ROWS: usize = 256;
/// Elements that are worth a tile of their own.
const ELEMENTS: usize = 8192;

struct Float {
    channels: usize,
    positions: usize,
    epsilon: f32,
    bounds: (f32, f32),
}

/// Prepares [`Op::InstanceNorm`](crate::graph::Op::InstanceNorm).
pub(super) fn prepare(op: &InstanceNorm, p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let shape = &p.inputs[0].shape;
    let (Some(&channels), true) = (shape.last(), p.is_f32()) else { return Err(p.unsupported()) };
    let fits = shape.len() > 1 && p.inputs[1..].iter().all(|parameter| parameter.shape == [channels]);
    ensure!(fits, InvalidModel, "scale and bias do not have one element for each of {channels} channels");
    let positions = shape[1..shape.len() - 1].iter().product();
    Ok(Box::new(Float { channels, positions, epsilon: op.epsilon, bounds: op.activation.bounds() }))
}

impl Kernel for Float {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let sample = self.channels * self.positions;
        let len = io.input::<f32>(0).len();
        if len == 0 {
            return Ok(());
        }
        let blocks = self.channels.div_ceil(LANES);
        let grain = ELEMENTS.div_ceil(self.positions * LANES.min(self.channels));
        io.each_range::<f32>([len / sample * blocks, grain], |io, units, y| {
            let [x, scale, bias] = [0, 1, 2].map(|i| io.input::<f32>(i));
            for unit in units {
                let first = unit % blocks * LANES;
                let at = unit / blocks * sample + first;
                let (x, y) = (&x[at..], y.from(at));
                let (scale, bias) = (&scale[first..], &bias[first..]);
                match scale.len() {
                    LANES.. => self.block::<LANES>(x, scale, bias, &y),
                    width => (0..width).for_each(|i| self.block::<1>(&x[i..], &scale[i..], &bias[i..], &y.from(i))),
                }
            }
        });
        Ok(())
    }
}

impl Float {
    /// The first `N` channels of a sample.
    #[inline(never)]
    fn block<const N: usize>(&self, x: &[f32], scale: &[f32], bias: &[f32], y: &Shared<'_, f32>) {
        let count = self.positions as f32;
        let mean = self.sums(x, |x: &[f32; N], _| *x, &[0.0; N]).map(|s| s / count);
        let deviations = |x: &[f32; N], mean: &[f32; N]| core::array::from_fn(|i| (x[i] - mean[i]) * (x[i] - mean[i]));
        let variance = self.sums(x, deviations, &mean).map(|s| s / count);
        let factor: [f32; N] = core::array::from_fn(|i| scale[i] / (variance[i] + self.epsilon).sqrt());
        let bias: [f32; N] = core::array::from_fn(|i| bias[i]);
        let (lo, hi) = self.bounds;
        for (i, x) in x.chunks(self.channels).take(self.positions).enumerate() {
            let Some(x) = x.first_chunk::<N>() else { return };
            let first = i * self.channels;
            // SAFETY: these channels are this unit's alone.
            let y = unsafe { y.part(first..first + N) };
            for (i, y) in y.iter_mut().enumerate().take(N) {
                let value = (x[i] - mean[i]) * factor[i] + bias[i];
                let value = if value < lo { lo } else { value };
                *y = if value > hi { hi } else { value };
            }
        }
    }

    #[inline(always)]
    fn sums<const N: usize>(&self, x: &[f32], term: impl Fn(&[f32; N], &[f32; N]) -> [f32; N], mean: &[f32; N]) -> [f32; N] {
        let mut total = [0f32; N];
        let mut left = self.positions;
        for rows in x.chunks(self.channels * ROWS) {
            let mut sum = [0f32; N];
            for row in rows.chunks(self.channels).take(left) {
                let Some(row) = row.first_chunk::<N>() else { break };
                for (sum, term) in sum.iter_mut().zip(term(row, mean)) {
                    *sum += term;
                }
            }
            for (total, sum) in total.iter_mut().zip(sum) {
                *total += sum;
            }
            left = left.saturating_sub(ROWS);
            if left == 0 {
                break;
            }
        }
        total
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "instance_norm_tests.rs"]
mod tests;
