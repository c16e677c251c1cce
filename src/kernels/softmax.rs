//! Softmax and log-softmax along one axis.

use alloc::boxed::Box;

use super::{Io, Kernel, Prepare, math, quantized::Rounder};
use crate::{
    error::{Result, ensure},
    tensor::DType,
};

/// Neighbours that are computed side by side when the axis is not the last.
const LANES: usize = 16;

/// Elements that are worth a tile of their own.
const ELEMENTS: usize = 4096;

/// Stored integers that are looked up at a time.
const CHUNK: usize = 256;

/// Prepares [`Op::Softmax`](crate::graph::Op::Softmax).
pub(super) fn prepare(axis: usize, log: bool, p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (x, y) = (&p.inputs[0], &p.outputs[0]);
    ensure!(axis < x.shape.len() && x.shape == y.shape, InvalidModel, "axis {axis} of {:?} gives {:?}", x.shape, y.shape);
    let block = Block { size: x.shape[axis], inner: x.shape[axis + 1..].iter().product() };
    match (x.dtype, y.dtype) {
        (DType::F32, DType::F32) => Ok(Box::new(Float { block, log })),
        (DType::U8 | DType::I8, DType::U8 | DType::I8) => {
            let (Some(qx), Some(qy)) = (x.quant8(), y.quant8()) else { return Err(p.unsupported()) };
            let unbounded = (f32::NEG_INFINITY, f32::INFINITY);
            let rounder = Rounder::new(qy, y.dtype, unbounded).ok_or_else(|| p.unsupported())?;
            let below = |d: usize| d as f32 * -qx.0;
            let mut exp = Box::new([0f32; 256]);
            for (d, e) in exp.iter_mut().enumerate() {
                *e = f64::from(below(d)).exp() as f32;
            }
            let flip = if x.dtype == DType::I8 { 0x80 } else { 0 };
            Ok(Box::new(Quantized { block, log, exp, scale: qx.0, flip, rounder }))
        }
        _ => Err(p.unsupported()),
    }
}

/// The tensor as `[outer, size, inner]`.
struct Block {
    size: usize,
    inner: usize,
}

struct Float {
    block: Block,
    log: bool,
}

impl Kernel for Float {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let Block { size, inner } = self.block;
        let len = io.input::<f32>(0).len();
        if len == 0 {
            return Ok(());
        }
        let block = size * inner;
        io.each_part(len / block, ELEMENTS.div_ceil(block), 1, &|io| {
            for (x, y) in io.input::<f32>(0).chunks_exact(block).zip(io.output::<f32>(0).chunks_exact_mut(block)) {
                if inner == 1 {
                    row(x, y, self.log);
                } else {
                    for first in (0..inner).step_by(LANES) {
                        columns(x, y, inner, first, LANES.min(inner - first), self.log);
                    }
                }
            }
        });
        Ok(())
    }
}

fn max(a: f32, b: f32) -> f32 {
    if a < b { b } else { a }
}

/// Softmax of one contiguous row.
fn row(x: &[f32], y: &mut [f32], log: bool) {
    y.copy_from_slice(x);
    let (top, sum) = exponentials(y);
    if log {
        let shift = math::log(sum);
        for (y, x) in y.iter_mut().zip(x) {
            *y = (*x - top) - shift;
        }
    } else {
        divide(y, sum);
    }
}

/// Softmax of one contiguous row, which it replaces.
pub(super) fn row_in_place(y: &mut [f32]) {
    let (_, sum) = exponentials(y);
    divide(y, sum);
}

/// Replaces numbers by their exponentials relative to the greatest; that one, and the sum.
#[inline(never)]
fn exponentials(y: &mut [f32]) -> (f32, f32) {
    let top = top(y);
    // A sum in this loop would keep it from being vectorised.
    for y in &mut *y {
        *y = math::exp_below(*y - top);
    }
    (top, sum(y))
}

fn top(x: &[f32]) -> f32 {
    let mut tops = [f32::NEG_INFINITY; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (top, x) in tops.iter_mut().zip(chunk) {
            *top = max(*top, *x);
        }
    }
    tops.iter().chain(rest).copied().fold(f32::NEG_INFINITY, max)
}

fn divide(y: &mut [f32], sum: f32) {
    let scale = 1.0 / sum;
    for y in y {
        *y *= scale;
    }
}

fn sum(x: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += x;
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// Softmax of `count` neighbouring columns of a `[size, inner]` block.
fn columns(x: &[f32], y: &mut [f32], inner: usize, first: usize, count: usize, log: bool) {
    let mut tops = [f32::NEG_INFINITY; LANES];
    for x in x.chunks_exact(inner) {
        for (top, x) in tops.iter_mut().zip(&x[first..first + count]) {
            *top = max(*top, *x);
        }
    }
    let mut sums = [0f32; LANES];
    for (x, y) in x.chunks_exact(inner).zip(y.chunks_exact_mut(inner)) {
        let (x, y) = (&x[first..first + count], &mut y[first..first + count]);
        for (((y, x), sum), top) in y.iter_mut().zip(x).zip(&mut sums).zip(&tops) {
            let shifted = x - top;
            let e = math::exp_below(shifted);
            *y = if log { shifted } else { e };
            *sum += e;
        }
    }
    let factors = sums.map(|s| if log { math::log(s) } else { 1.0 / s });
    for y in y.chunks_exact_mut(inner) {
        for (y, factor) in y[first..first + count].iter_mut().zip(&factors) {
            *y = if log { *y - factor } else { *y * factor };
        }
    }
}

/// From 8 bits to 8 bits. Distances below the maximum are integers, so that exponentials come from a table.
struct Quantized {
    block: Block,
    log: bool,
    exp: Box<[f32; 256]>,
    scale: f32,
    flip: u8,
    rounder: Rounder,
}

impl Kernel for Quantized {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let Block { size, inner } = self.block;
        let len = io.input::<u8>(0).len();
        if len == 0 {
            return Ok(());
        }
        let block = size * inner;
        io.each_part(len / block, ELEMENTS.div_ceil(block), 1, &|io| {
            for (x, y) in io.input::<u8>(0).chunks_exact(block).zip(io.output::<u8>(0).chunks_exact_mut(block)) {
                for first in 0..inner {
                    self.column(&x[first..], &mut y[first..], inner);
                }
            }
        });
        Ok(())
    }
}

impl Quantized {
    fn column(&self, x: &[u8], y: &mut [u8], stride: usize) {
        let (mut bytes, mut terms) = ([0u8; CHUNK], [0f32; CHUNK]);
        let mut top = 0;
        for x in x.chunks(CHUNK * stride) {
            top = self.gather(x, stride, &mut bytes).iter().copied().fold(top, u8::max);
        }
        let mut total = 0.0;
        for x in x.chunks(CHUNK * stride) {
            total += sum(self.look_up(self.gather(x, stride, &mut bytes), top, &mut terms));
        }
        // A logarithm in double precision comes out the same everywhere once it is rounded.
        let log_total = if self.log { f64::from(total).ln() as f32 } else { 0.0 };
        for (x, y) in x.chunks(CHUNK * stride).zip(y.chunks_mut(CHUNK * stride)) {
            let below = self.gather(x, stride, &mut bytes);
            let mut stored = [0u8; CHUNK];
            if self.log {
                for (stored, x) in stored.iter_mut().zip(below) {
                    *stored = self.rounder.store(f32::from(top.wrapping_sub(*x)) * -self.scale - log_total) as u8;
                }
            } else {
                for (stored, term) in stored.iter_mut().zip(self.look_up(below, top, &mut terms)) {
                    *stored = self.rounder.store(term / total) as u8;
                }
            }
            if stride == 1 {
                y.copy_from_slice(&stored[..y.len()]);
            } else {
                for (y, stored) in y.iter_mut().step_by(stride).zip(stored) {
                    *y = stored;
                }
            }
        }
    }

    /// A chunk of a column as unsigned bytes of the same order.
    #[inline(always)]
    fn gather<'b>(&self, x: &[u8], stride: usize, bytes: &'b mut [u8; CHUNK]) -> &'b [u8] {
        let count = x.len().div_ceil(stride).min(CHUNK);
        let bytes = &mut bytes[..count];
        if stride == 1 {
            for (byte, x) in bytes.iter_mut().zip(x) {
                *byte = x ^ self.flip;
            }
        } else {
            for (byte, x) in bytes.iter_mut().zip(x.iter().step_by(stride)) {
                *byte = x ^ self.flip;
            }
        }
        bytes
    }

    /// The exponentials of a chunk, relative to the maximum.
    #[inline(always)]
    fn look_up<'t>(&self, bytes: &[u8], top: u8, terms: &'t mut [f32; CHUNK]) -> &'t [f32] {
        let terms = &mut terms[..bytes.len().min(CHUNK)];
        for (term, x) in terms.iter_mut().zip(bytes) {
            *term = self.exp[usize::from(top.wrapping_sub(*x))];
        }
        terms
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "softmax_tests.rs"]
mod tests;
