//! Images between their pixels.

use alloc::boxed::Box;

use super::{Io, Kernel, Prepare};
use crate::{
    error::{Result, ensure},
    graph::ops::{GridSample, Interpolation, Outside},
};

/// Spatial axes that are supported.
const MAX_AXES: usize = 3;
/// Pixels along one axis that make a number.
const MAX_TAPS: usize = 4;

/// Prepares [`Op::GridSample`](crate::graph::Op::GridSample).
pub(super) fn prepare(op: GridSample, p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (x, positions) = (&p.inputs[0], &p.inputs[1]);
    let (&[batch, ref spatial @ .., channels], Some(&axes)) = (x.shape.as_slice(), positions.shape.last()) else {
        return Err(p.unsupported());
    };
    if !p.is_f32() || axes > MAX_AXES || axes == 0 {
        return Err(p.unsupported());
    }
    ensure!(axes == spatial.len(), InvalidModel, "has positions of {axes} axes for an image of {}", spatial.len());
    let mut sizes = [1; MAX_AXES];
    sizes[..axes].copy_from_slice(spatial);
    let points = positions.shape[1..positions.shape.len() - 1].iter().product();
    Ok(Box::new(Sample { op, batch, sizes, axes, channels, points }))
}

struct Sample {
    op: GridSample,
    batch: usize,
    sizes: [usize; MAX_AXES],
    axes: usize,
    channels: usize,
    points: usize,
}

/// Pixels along an axis with their weights; `None` reads zero.
#[derive(Clone, Copy, Default)]
struct Taps {
    at: [Option<usize>; MAX_TAPS],
    weight: [f32; MAX_TAPS],
    count: usize,
}

/// Mirrors `x` into `lo..=hi`.
fn reflect(x: f32, lo: f32, hi: f32) -> f32 {
    let range = hi - lo;
    if range <= 0.0 {
        return lo;
    }
    let (distance, inside_low) = if x < lo { (lo - x, true) } else { (x - hi, false) };
    if distance <= 0.0 || x.is_nan() {
        return x;
    }
    let (turns, rest) = ((distance / range).floor(), distance % range);
    if (turns % 2.0 == 0.0) == inside_low { lo + rest } else { hi - rest }
}

/// The weights of the pixels at −1, 0, 1 and 2 for a position `t` between 0 and 1.
fn cubic(t: f32) -> [f32; 4] {
    const A: f32 = -0.75;
    let near = |t: f32| ((A + 2.0) * t - (A + 3.0)) * t * t + 1.0;
    let far = |t: f32| ((A * t - 5.0 * A) * t + 8.0 * A) * t - 4.0 * A;
    [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
}

impl Sample {
    /// The ends between which reflections lie.
    fn ends(&self, size: usize) -> (f32, f32) {
        if self.op.align_corners { (0.0, size as f32 - 1.0) } else { (-0.5, size as f32 - 0.5) }
    }

    fn taps(&self, position: f32, size: usize) -> Taps {
        let mut position = position;
        if self.op.interpolation == Interpolation::Nearest {
            position = position.round_ties_even();
        }
        let (lo, hi) = self.ends(size);
        if position < lo || position > hi {
            position = match self.op.outside {
                Outside::Zeros => position,
                Outside::Border => position.clamp(0.0, size.saturating_sub(1) as f32),
                Outside::Reflection => reflect(position, lo, hi),
            };
        }
        let base = position.floor();
        let t = position - base;
        let mut taps = Taps::default();
        let first = match self.op.interpolation {
            Interpolation::Nearest => {
                (taps.count, taps.weight[0]) = (1, 1.0);
                position.round_ties_even()
            }
            Interpolation::Linear => {
                (taps.count, taps.weight[0], taps.weight[1]) = (2, 1.0 - t, t);
                base
            }
            Interpolation::Cubic => {
                (taps.count, taps.weight) = (4, cubic(t));
                base - 1.0
            }
        };
        for (i, at) in taps.at[..taps.count].iter_mut().enumerate() {
            *at = self.pixel((first as i64).saturating_add(i as i64), size);
        }
        taps
    }

    /// The pixel that stands for number `index`, which may lie outside.
    fn pixel(&self, index: i64, size: usize) -> Option<usize> {
        if let Ok(at) = usize::try_from(index)
            && at < size
        {
            return Some(at);
        }
        if size == 0 {
            return None;
        }
        match self.op.outside {
            Outside::Zeros => None,
            Outside::Border => Some(index.clamp(0, size as i64 - 1) as usize),
            Outside::Reflection => {
                let (lo, hi) = self.ends(size);
                Some((reflect(index as f32, lo, hi) as usize).min(size - 1))
            }
        }
    }
}

impl Kernel for Sample {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let (x, positions, y) = (io.input::<f32>(0), io.input::<f32>(1), io.output::<f32>(0));
        let image = self.sizes.iter().product::<usize>() * self.channels;
        y.fill(0.0);
        if self.channels == 0 || self.points == 0 {
            return Ok(());
        }
        let points = positions.chunks_exact(self.axes).zip(y.chunks_exact_mut(self.channels)).enumerate();
        for (i, (position, y)) in points.take(self.batch * self.points) {
            let x = &x[i / self.points * image..][..image];
            let mut taps = [Taps { weight: [1.0; MAX_TAPS], count: 1, at: [Some(0); MAX_TAPS] }; MAX_AXES];
            for axis in 0..self.axes {
                taps[axis] = self.taps(position[self.axes - 1 - axis], self.sizes[axis]);
            }
            let [planes, rows, columns] = &taps;
            for a in 0..planes.count {
                for b in 0..rows.count {
                    for c in 0..columns.count {
                        let (Some(plane), Some(row), Some(column)) = (planes.at[a], rows.at[b], columns.at[c]) else { continue };
                        let weight = planes.weight[a] * rows.weight[b] * columns.weight[c];
                        let at = ((plane * self.sizes[1] + row) * self.sizes[2] + column) * self.channels;
                        for (y, x) in y.iter_mut().zip(&x[at..at + self.channels]) {
                            *y += weight * x;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "grid_sample_tests.rs"]
mod tests;
