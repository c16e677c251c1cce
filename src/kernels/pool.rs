//! Max and average pooling of `[N,H,W,C]`.

use alloc::{boxed::Box, vec::Vec};

use super::{
    Io, Kernel, Prepare,
    quantized::{Rounder, table},
    team::GRAIN,
};
use crate::{
    error::{Result, ensure},
    graph::ops::{Pool, PoolKind, Window},
    tensor::{DType, Element},
};

/// Channels that are pooled side by side.
const LANES: usize = 16;

/// The same, when there are fewer channels.
const FEW_LANES: usize = 4;

/// Prepares [`Op::Pool`](crate::graph::Op::Pool).
pub(super) fn prepare(pool: &Pool, p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (x, y) = (&p.inputs[0], &p.outputs[0]);
    let (&[n, h, w, c], &[yn, yh, yw, yc]) = (x.shape.as_slice(), y.shape.as_slice()) else {
        return Err(p.unsupported());
    };
    ensure!(n == yn && c == yc, InvalidModel, "pooling {:?} does not give {:?}", x.shape, y.shape);
    let area = Area {
        channels: c,
        plane: [h, w],
        rows: spans(&pool.window, 0, h, yh)?,
        columns: spans(&pool.window, 1, w, yw)?,
        dilations: pool.window.dilations,
    };
    let unbounded = (f32::NEG_INFINITY, f32::INFINITY);
    match (x.dtype, x.quant8(), y.quant8(), pool.kind) {
        (DType::F32, _, _, PoolKind::Max) if x.stores_like(y) => {
            Ok(Box::new(Max::<f32> { area, table: None, element: Default::default() }))
        }
        (DType::F32, _, _, PoolKind::Average { count_include_pad }) if x.stores_like(y) => {
            Ok(Box::new(Average { area, count_include_pad }))
        }
        (dtype @ (DType::U8 | DType::I8), _, _, PoolKind::Max) if x.stores_like(y) => Ok(max8(dtype, area, None)),
        (dtype, Some(qx), Some(qy), PoolKind::Max) => {
            let table = table((dtype, qx), (y.dtype, qy), unbounded, |v| v).ok_or_else(|| p.unsupported())?;
            Ok(max8(dtype, area, Some(Box::new(table))))
        }
        (dtype, Some(qx), Some(qy), PoolKind::Average { count_include_pad }) => {
            let rounder = Rounder::new(qy, y.dtype, unbounded).ok_or_else(|| p.unsupported())?;
            let flip = if dtype == DType::I8 { 0x80 } else { 0 };
            let zero_point = if dtype == DType::I8 { qx.1 + 128 } else { qx.1 };
            Ok(Box::new(QuantizedAverage { area, count_include_pad, scales: [qx.0, qy.0], zero_point, flip, rounder }))
        }
        _ => Err(p.unsupported()),
    }
}

fn max8(dtype: DType, area: Area, table: Option<Box<[u8; 256]>>) -> Box<dyn Kernel> {
    if dtype == DType::I8 {
        Box::new(Max::<i8> { area, table, element: Default::default() })
    } else {
        Box::new(Max::<u8> { area, table, element: Default::default() })
    }
}

/// What one output position reads along one axis.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Span {
    /// First input index.
    start: usize,
    /// Number of taps inside the input.
    taps: usize,
    /// Number of taps inside the input or its padding.
    padded: usize,
}

/// The spans of all output positions along an axis of `size`.
fn spans(window: &Window, axis: usize, size: usize, positions: usize) -> Result<Vec<Span>> {
    let (kernel, stride, dilation) = (window.kernel[axis], window.strides[axis], window.dilations[axis]);
    let [before, after] = window.pads[axis];
    ensure!(
        kernel > 0 && stride > 0 && dilation > 0,
        InvalidModel,
        "a pooling window needs positive sizes, strides and dilations, not {kernel}, {stride} and {dilation}"
    );
    let end = size.saturating_add(before).saturating_add(after);
    (0..positions)
        .map(|i| {
            // Positions are counted in the padded input.
            let first = i.saturating_mul(stride);
            let taps_before = |bound: usize| bound.saturating_sub(first).div_ceil(dilation).min(kernel);
            let (outside, inside, padded) = (taps_before(before), taps_before(before.saturating_add(size)), taps_before(end));
            let start = first.saturating_add(outside.saturating_mul(dilation)).saturating_sub(before);
            Ok(Span { start, taps: inside - outside, padded })
        })
        .collect()
}

/// Shapes and windows.
struct Area {
    channels: usize,
    plane: [usize; 2],
    rows: Vec<Span>,
    columns: Vec<Span>,
    dilations: [usize; 2],
}

impl Area {
    /// Calls `f` for each output pixel with its image's input, its output, and its spans.
    #[inline(always)]
    fn pixels<T: Element, R: Element>(&self, io: &mut Io<'_>, f: impl Fn(&[T], &mut [R], Span, Span) + Sync) {
        let image = self.plane[0] * self.plane[1] * self.channels;
        let line = self.columns.len() * self.channels;
        if line == 0 || self.rows.is_empty() {
            return;
        }
        let lines = io.output::<R>(0).len() / line;
        let taps = self.rows[0].padded.max(1) * self.columns[0].padded.max(1);
        io.each_range::<R>([lines, GRAIN.div_ceil(line.saturating_mul(taps))], |io, range, y| {
            for at in range {
                let x = &io.input::<T>(0)[at / self.rows.len() * image..][..image];
                let rows = self.rows[at % self.rows.len()];
                // SAFETY: a line is nobody else's.
                let y = unsafe { y.part(at * line..(at + 1) * line) };
                for (columns, y) in self.columns.iter().zip(y.chunks_exact_mut(self.channels)) {
                    f(x, y, rows, *columns);
                }
            }
        });
    }

    /// Folds channels `first..first + N` over a window.
    #[inline(always)]
    fn fold<T: Copy, A: Copy, const N: usize>(
        &self,
        x: &[T],
        first: usize,
        (rows, columns): (Span, Span),
        init: A,
        add: impl Fn(A, T) -> A,
    ) -> [A; N] {
        let mut lanes = [init; N];
        let [row_step, column_step] = [self.dilations[0] * self.plane[1] * self.channels, self.dilations[1] * self.channels];
        let mut row = (rows.start * self.plane[1] + columns.start) * self.channels + first;
        for _ in 0..rows.taps {
            let mut at = row;
            for _ in 0..columns.taps {
                let tap = &x[at..][..N];
                for i in 0..N {
                    lanes[i] = add(lanes[i], tap[i]);
                }
                at += column_step;
            }
            row += row_step;
        }
        lanes
    }

    /// Folds every channel over a window and stores `finish` of it.
    #[inline(always)]
    fn fold_all<T: Copy, A: Copy, R>(
        &self,
        x: &[T],
        y: &mut [R],
        spans: (Span, Span),
        init: A,
        add: impl Fn(A, T) -> A + Copy,
        finish: impl Fn(A) -> R,
    ) {
        match y.len() {
            LANES.. => self.fold_lanes::<T, A, R, LANES>(x, y, spans, init, add, finish),
            FEW_LANES.. => self.fold_lanes::<T, A, R, FEW_LANES>(x, y, spans, init, add, finish),
            _ => self.fold_lanes::<T, A, R, 1>(x, y, spans, init, add, finish),
        }
    }

    /// [`Area::fold_all`], `N` channels at a time. There are at least `N`; the last turn may repeat what the one before did.
    #[inline(always)]
    fn fold_lanes<T: Copy, A: Copy, R, const N: usize>(
        &self,
        x: &[T],
        y: &mut [R],
        spans: (Span, Span),
        init: A,
        add: impl Fn(A, T) -> A + Copy,
        finish: impl Fn(A) -> R,
    ) {
        for first in (0..y.len()).step_by(N) {
            let first = first.min(y.len() - N);
            let lanes = self.fold::<T, A, N>(x, first, spans, init, add);
            for (y, lane) in y[first..first + N].iter_mut().zip(lanes) {
                *y = finish(lane);
            }
        }
    }
}

/// What a maximum starts from.
trait Lowest: Element + PartialOrd {
    const LOWEST: Self;
}
impl Lowest for f32 {
    const LOWEST: f32 = f32::NEG_INFINITY;
}
impl Lowest for u8 {
    const LOWEST: u8 = 0;
}
impl Lowest for i8 {
    const LOWEST: i8 = -128;
}

struct Max<T> {
    area: Area,
    table: Option<Box<[u8; 256]>>,
    element: core::marker::PhantomData<fn(T)>,
}

impl<T: Lowest> Kernel for Max<T> {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        self.area.pixels(io, |x: &[T], y: &mut [T], rows, columns| {
            self.area.fold_all(x, y, (rows, columns), T::LOWEST, |a, b| if a < b { b } else { a }, |a| a);
        });
        if let Some(table) = &self.table {
            for y in io.output::<u8>(0) {
                *y = table[usize::from(*y)];
            }
        }
        Ok(())
    }
}

/// Number of elements that a mean is taken over.
fn divisor(rows: Span, columns: Span, count_include_pad: bool) -> f32 {
    let count = if count_include_pad { rows.padded * columns.padded } else { rows.taps * columns.taps };
    count.max(1) as f32
}

struct Average {
    area: Area,
    count_include_pad: bool,
}

impl Kernel for Average {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        self.area.pixels(io, |x: &[f32], y: &mut [f32], rows, columns| {
            let divisor = divisor(rows, columns, self.count_include_pad);
            self.area.fold_all(x, y, (rows, columns), 0f32, |a, b| a + b, |sum| sum / divisor);
        });
        Ok(())
    }
}

struct QuantizedAverage {
    area: Area,
    count_include_pad: bool,
    scales: [f32; 2],
    zero_point: i32,
    flip: u8,
    rounder: Rounder,
}

impl Kernel for QuantizedAverage {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let [sx, sy] = self.scales;
        let (flip, rounder) = (self.flip, self.rounder);
        self.area.pixels(io, |x: &[u8], y: &mut [u8], rows, columns| {
            let multiplier = sx / (sy * divisor(rows, columns, self.count_include_pad));
            // Padding stands for real zeros, which add nothing once the zero point is subtracted.
            let zero_sum = self.zero_point.wrapping_mul((rows.taps * columns.taps) as i32);
            let add = |sum: i32, x: u8| sum.wrapping_add(i32::from(x ^ flip));
            self.area.fold_all(x, y, (rows, columns), -zero_sum, add, |sum| rounder.rescale(sum, multiplier) as u8);
        });
        Ok(())
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "pool_tests.rs"]
mod tests;
