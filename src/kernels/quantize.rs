//! Between real numbers and stored integers: quantize, dequantize, and quantize by the data's own range.

use alloc::{boxed::Box, vec::Vec};
use core::marker::PhantomData;

use super::{Io, Kernel, Operand, Prepare, quantized::Rounder, team::GRAIN};
use crate::{
    error::{Result, ensure},
    graph::Quant,
    tensor::{DType, Element},
};

const UNBOUNDED: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);

/// How scales are spread over a tensor seen as `[outer, entries, inner]`.
struct Spread {
    scale: Vec<f32>,
    zero_point: Vec<i32>,
    /// Elements that share an entry, next to each other.
    inner: usize,
}

impl Spread {
    fn new(quant: &Quant, of: &Operand<'_>) -> Result<Spread> {
        let entries = quant.scale.len();
        ensure!(
            entries == quant.zero_point.len() && entries > 0,
            InvalidModel,
            "{entries} scales and {} zero points",
            quant.zero_point.len()
        );
        let inner = match quant.axis {
            Some(axis) if entries > 1 => {
                ensure!(
                    of.shape.get(axis) == Some(&entries),
                    InvalidModel,
                    "{entries} scales along axis {axis} of {:?}",
                    of.shape
                );
                of.shape[axis + 1..].iter().product()
            }
            _ => {
                ensure!(entries == 1, InvalidModel, "{entries} scales without an axis");
                of.len()
            }
        };
        Ok(Spread { scale: quant.scale.clone(), zero_point: quant.zero_point.clone(), inner })
    }
}

/// Prepares [`Op::Quantize`](crate::graph::Op::Quantize).
pub(super) fn quantize(p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (x, y) = (&p.inputs[0], &p.outputs[0]);
    let Some(quant) = y.quant else { return Err(p.unsupported()) };
    if x.dtype != DType::F32 || x.quant.is_some() || x.len() != y.len() {
        return Err(p.unsupported());
    }
    let spread = Spread::new(quant, y)?;
    let rounders = spread
        .scale
        .iter()
        .zip(&spread.zero_point)
        .map(|(s, z)| Rounder::new((*s, *z), y.dtype, UNBOUNDED).ok_or_else(|| p.unsupported()))
        .collect::<Result<Vec<Rounder>>>()?;
    let inner = spread.inner;
    match y.dtype.size() {
        // The low bits of a stored integer are the same, signed or not.
        1 => Ok(Box::new(Quantize::<u8> { rounders, inner, element: PhantomData })),
        _ => Ok(Box::new(Quantize::<u16> { rounders, inner, element: PhantomData })),
    }
}

struct Quantize<T> {
    rounders: Vec<Rounder>,
    inner: usize,
    element: PhantomData<fn() -> T>,
}

/// Takes the low bits of an integer.
trait Truncate: Element {
    fn truncate(v: i32) -> Self;
}
impl Truncate for u8 {
    #[inline(always)]
    fn truncate(v: i32) -> u8 {
        v as u8
    }
}
impl Truncate for u16 {
    #[inline(always)]
    fn truncate(v: i32) -> u16 {
        v as u16
    }
}

impl<T: Truncate> Kernel for Quantize<T> {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        if let [rounder] = self.rounders[..] {
            io.each_element(io.input::<f32>(0).len(), &|io| quantize_row(io.input::<f32>(0), io.output::<T>(0), rounder));
            return Ok(());
        }
        let (x, y) = (io.input::<f32>(0), io.output::<T>(0));
        if self.inner == 1 {
            for (x, y) in x.chunks_exact(self.rounders.len()).zip(y.chunks_exact_mut(self.rounders.len())) {
                for ((y, x), rounder) in y.iter_mut().zip(x).zip(&self.rounders) {
                    *y = T::truncate(rounder.store(*x));
                }
            }
        } else if self.inner > 0 {
            let rows = x.chunks_exact(self.inner).zip(y.chunks_exact_mut(self.inner));
            for ((x, y), rounder) in rows.zip(self.rounders.iter().cycle()) {
                quantize_row(x, y, *rounder);
            }
        }
        Ok(())
    }
}

#[inline(always)]
fn quantize_row<T: Truncate>(x: &[f32], y: &mut [T], rounder: Rounder) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = T::truncate(rounder.store(*x));
    }
}

/// Prepares [`Op::Dequantize`](crate::graph::Op::Dequantize).
pub(super) fn dequantize(p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (x, y) = (&p.inputs[0], &p.outputs[0]);
    let Some(quant) = x.quant else { return Err(p.unsupported()) };
    if y.dtype != DType::F32 || y.quant.is_some() || x.len() != y.len() {
        return Err(p.unsupported());
    }
    let spread = Spread::new(quant, x)?;
    Ok(match x.dtype {
        DType::U8 => Box::new(Dequantize::<u8> { spread, element: PhantomData }),
        DType::I8 => Box::new(Dequantize::<i8> { spread, element: PhantomData }),
        DType::U16 => Box::new(Dequantize::<u16> { spread, element: PhantomData }),
        DType::I16 => Box::new(Dequantize::<i16> { spread, element: PhantomData }),
        DType::I32 => Box::new(Dequantize::<i32> { spread, element: PhantomData }),
        _ => return Err(p.unsupported()),
    })
}

struct Dequantize<T> {
    spread: Spread,
    element: PhantomData<fn(T)>,
}

impl<T: Element + Into<i32>> Kernel for Dequantize<T> {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let Spread { scale, zero_point, inner } = &self.spread;
        if let ([scale], [zero_point]) = (&scale[..], &zero_point[..]) {
            io.each_element(io.input::<T>(0).len(), &|io| dequantize_row(io.input::<T>(0), io.output(0), *scale, *zero_point));
            return Ok(());
        }
        let (x, y) = (io.input::<T>(0), io.output::<f32>(0));
        if *inner == 1 {
            for (x, y) in x.chunks_exact(scale.len()).zip(y.chunks_exact_mut(scale.len())) {
                for (((y, x), scale), zero_point) in y.iter_mut().zip(x).zip(scale).zip(zero_point) {
                    *y = (*x).into().wrapping_sub(*zero_point) as f32 * scale;
                }
            }
        } else if *inner > 0 {
            let rows = x.chunks_exact(*inner).zip(y.chunks_exact_mut(*inner));
            for ((x, y), (scale, zero_point)) in rows.zip(scale.iter().zip(zero_point).cycle()) {
                dequantize_row(x, y, *scale, *zero_point);
            }
        }
        Ok(())
    }
}

#[inline(always)]
fn dequantize_row<T: Element + Into<i32>>(x: &[T], y: &mut [f32], scale: f32, zero_point: i32) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = (*x).into().wrapping_sub(zero_point) as f32 * scale;
    }
}

/// Prepares [`Op::DynamicQuantize`](crate::graph::Op::DynamicQuantize).
pub(super) fn dynamic(p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (x, [y, scale, zero_point]) = (&p.inputs[0], p.outputs.as_slice()) else { return Err(p.unsupported()) };
    let dtypes = [x.dtype, y.dtype, scale.dtype, zero_point.dtype];
    if dtypes != [DType::F32, DType::U8, DType::F32, DType::U8] || x.len() != y.len() || scale.len() != 1 || zero_point.len() != 1
    {
        return Err(p.unsupported());
    }
    Ok(Box::new(Dynamic))
}

struct Dynamic;

impl Kernel for Dynamic {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let x = io.input::<f32>(0);
        let (_, scale, zero_point) = io.outputs3::<u8, f32, u8>();
        let (min, max) = range(x);
        // ONNX leaves the scale of all zeros open; ONNX Runtime takes 1.
        scale[0] = if max == min { 1.0 } else { (max - min) / 255.0 };
        zero_point[0] = (0.0 - min / scale[0]).clamp(0.0, 255.0).round_ties_even() as u8;
        if let Some(rounder) = Rounder::new((scale[0], i32::from(zero_point[0])), DType::U8, UNBOUNDED) {
            io.each_range::<u8>([x.len(), GRAIN], |_, range, y| {
                // SAFETY: ranges do not overlap.
                quantize_row(&x[range.clone()], unsafe { y.part(range) }, rounder);
            });
        }
        Ok(())
    }
}

/// Smallest and largest element, at most and at least 0; NaN is passed over.
fn range(x: &[f32]) -> (f32, f32) {
    const LANES: usize = 16;
    let mut lanes = ([0f32; LANES], [0f32; LANES]);
    let smaller = |a: f32, b: f32| if b < a { b } else { a };
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for ((lo, hi), x) in lanes.0.iter_mut().zip(&mut lanes.1).zip(chunk) {
            *lo = smaller(*lo, *x);
            *hi = larger(*hi, *x);
        }
    }
    let min = lanes.0.iter().chain(rest).copied().fold(0.0, smaller);
    let max = lanes.1.iter().chain(rest).copied().fold(0.0, larger);
    (min, max)
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "quantize_tests.rs"]
mod tests;
