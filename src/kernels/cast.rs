//! Conversion between number types.
//!
//! Frequent pairs have their own loop. The others go through the widest number of the source's kind, i64 or f64, which loses nothing.

use alloc::boxed::Box;

use super::{Io, Kernel, Prepare};
use crate::{
    error::Result,
    tensor::{DType, Element},
};

/// Elements that are converted at a time.
const CHUNK: usize = 256;

/// Prepares [`Op::Cast`](crate::graph::Op::Cast).
pub(super) fn prepare(p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (x, y) = (&p.inputs[0], &p.outputs[0]);
    if x.len() != y.len() || x.dtype == DType::String || y.dtype == DType::String {
        return Err(p.unsupported());
    }
    if x.stores_like(y) {
        return Ok(Box::new(Direct(|io| each(io, |v: u8| v))));
    }
    if x.quant.is_some() || y.quant.is_some() {
        return Err(p.unsupported());
    }
    Ok(match (x.dtype, y.dtype) {
        (DType::F32, DType::U8) => Box::new(Direct(|io| each(io, |v: f32| v as u8))),
        (DType::F32, DType::I32) => Box::new(Direct(|io| each(io, |v: f32| v as i32))),
        (DType::F32, DType::I64) => Box::new(Direct(|io| each(io, |v: f32| v as i64))),
        (DType::U8, DType::F32) => Box::new(Direct(|io| each(io, |v: u8| f32::from(v)))),
        (DType::I32, DType::F32) => Box::new(Direct(|io| each(io, |v: i32| v as f32))),
        (DType::I64, DType::F32) => Box::new(Direct(|io| each(io, |v: i64| v as f32))),
        (DType::Bool, DType::F32) => Box::new(Direct(|io| each(io, |v: u8| if v != 0 { 1f32 } else { 0.0 }))),
        (DType::I32, DType::I64) => Box::new(Direct(|io| each(io, |v: i32| i64::from(v)))),
        (DType::I64, DType::I32) => Box::new(Direct(|io| each(io, |v: i64| v as i32))),
        // Only these do not fit the wide integer.
        (DType::U64, DType::F32) => Box::new(Direct(|io| each(io, |v: u64| v as f32))),
        (DType::U64, DType::F64) => Box::new(Direct(|io| each(io, |v: u64| v as f64))),
        (from, to) if matches!(from, DType::F32 | DType::F64 | DType::F16) => Box::new(ByReal { from, to }),
        (from, to) => Box::new(ByInteger { from, to }),
    })
}

/// One loop over all elements.
struct Direct(fn(&mut Io<'_>));

impl Kernel for Direct {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        (self.0)(io);
        Ok(())
    }
}

fn each<T: Element, R: Element>(io: &mut Io<'_>, f: impl Fn(T) -> R + Sync) {
    io.each_element(io.input::<T>(0).len(), &|io| convert(io.input(0), io.output(0), &f));
}

#[inline(always)]
fn convert<T: Copy, R>(x: &[T], y: &mut [R], f: impl Fn(T) -> R) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = f(*x);
    }
}

/// From a floating-point type; integers saturate, and NaN becomes 0.
struct ByReal {
    from: DType,
    to: DType,
}

impl Kernel for ByReal {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let mut wide = [0f64; CHUNK];
        let len = io.output::<u8>(0).len() / self.to.size();
        for start in (0..len).step_by(CHUNK) {
            let wide = &mut wide[..CHUNK.min(len - start)];
            match self.from {
                DType::F32 => convert(&io.input::<f32>(0)[start..], wide, f64::from),
                DType::F16 => convert(&io.input::<u16>(0)[start..], wide, |v| f64::from(f16_to_f32(v))),
                _ => wide.copy_from_slice(&io.input::<f64>(0)[start..start + wide.len()]),
            }
            match self.to {
                DType::F32 => convert(wide, &mut io.output::<f32>(0)[start..], |v| v as f32),
                DType::F64 => convert(wide, &mut io.output::<f64>(0)[start..], |v| v),
                DType::F16 => convert(wide, &mut io.output::<u16>(0)[start..], f64_to_f16),
                DType::I8 => convert(wide, &mut io.output::<i8>(0)[start..], |v| v as i8),
                DType::U8 => convert(wide, &mut io.output::<u8>(0)[start..], |v| v as u8),
                DType::I16 => convert(wide, &mut io.output::<i16>(0)[start..], |v| v as i16),
                DType::U16 => convert(wide, &mut io.output::<u16>(0)[start..], |v| v as u16),
                DType::I32 => convert(wide, &mut io.output::<i32>(0)[start..], |v| v as i32),
                DType::U32 => convert(wide, &mut io.output::<u32>(0)[start..], |v| v as u32),
                DType::I64 => convert(wide, &mut io.output::<i64>(0)[start..], |v| v as i64),
                DType::U64 => convert(wide, &mut io.output::<u64>(0)[start..], |v| v as u64),
                _ => convert(wide, &mut io.output::<u8>(0)[start..], |v| u8::from(v != 0.0)),
            }
        }
        Ok(())
    }
}

/// From an integer or bool; narrower integers keep the low bits, as C and NumPy do.
struct ByInteger {
    from: DType,
    to: DType,
}

impl Kernel for ByInteger {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let mut wide = [0i64; CHUNK];
        let len = io.output::<u8>(0).len() / self.to.size();
        for start in (0..len).step_by(CHUNK) {
            let wide = &mut wide[..CHUNK.min(len - start)];
            match self.from {
                DType::I8 => convert(&io.input::<i8>(0)[start..], wide, i64::from),
                DType::U8 => convert(&io.input::<u8>(0)[start..], wide, i64::from),
                DType::I16 => convert(&io.input::<i16>(0)[start..], wide, i64::from),
                DType::U16 => convert(&io.input::<u16>(0)[start..], wide, i64::from),
                DType::I32 => convert(&io.input::<i32>(0)[start..], wide, i64::from),
                DType::U32 => convert(&io.input::<u32>(0)[start..], wide, i64::from),
                DType::U64 => convert(&io.input::<u64>(0)[start..], wide, |v| v as i64),
                DType::Bool => convert(&io.input::<u8>(0)[start..], wide, |v| i64::from(v != 0)),
                _ => wide.copy_from_slice(&io.input::<i64>(0)[start..start + wide.len()]),
            }
            match self.to {
                DType::F32 => convert(wide, &mut io.output::<f32>(0)[start..], |v| v as f32),
                DType::F64 => convert(wide, &mut io.output::<f64>(0)[start..], |v| v as f64),
                DType::F16 => convert(wide, &mut io.output::<u16>(0)[start..], |v| f64_to_f16(v as f64)),
                DType::I8 | DType::U8 => convert(wide, &mut io.output::<u8>(0)[start..], |v| v as u8),
                DType::I16 | DType::U16 => convert(wide, &mut io.output::<u16>(0)[start..], |v| v as u16),
                DType::I32 | DType::U32 => convert(wide, &mut io.output::<u32>(0)[start..], |v| v as u32),
                DType::I64 | DType::U64 => convert(wide, &mut io.output::<i64>(0)[start..], |v| v),
                _ => convert(wide, &mut io.output::<u8>(0)[start..], |v| u8::from(v != 0)),
            }
        }
        Ok(())
    }
}

/// The number that the bits of a half-precision number stand for.
pub(crate) fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7FFF) << 13;
    // With the exponent moved to f32's bias the product is exact, for subnormal numbers too.
    let value = f32::from_bits(magnitude) * f32::from_bits((127 + 112) << 23);
    let special = if bits & 0x7C00 == 0x7C00 { magnitude | 0x7F80_0000 } else { value.to_bits() };
    f32::from_bits(sign | special)
}

/// The nearest half-precision number, half to even.
pub(crate) fn f32_to_f16(x: f32) -> u16 {
    f64_to_f16(f64::from(x))
}

fn f64_to_f16(x: f64) -> u16 {
    let sign = ((x.to_bits() >> 48) & 0x8000) as u16;
    if x.is_nan() {
        return sign | 0x7E00;
    }
    // Beyond the largest finite number, 65504, all are infinite.
    let magnitude = x.abs().min(1e6);
    // Spacing of half-precision numbers around x, at least that of the subnormal ones.
    let exponent = (((magnitude.to_bits() >> 52) as i64) - 1023).max(-14);
    let spacing = f64::from_bits(((exponent - 10 + 1023) as u64) << 52);
    let rounded = (magnitude / spacing).round_ties_even() * spacing;
    if rounded >= 65520.0 {
        return sign | 0x7C00;
    }
    let exponent = ((rounded.to_bits() >> 52) as i64) - 1023;
    if exponent < -14 {
        // Subnormal: a count of the smallest steps.
        return sign | (rounded * f64::from_bits((24 + 1023) << 52)) as u16;
    }
    sign | (((exponent + 15) as u16) << 10) | ((rounded.to_bits() >> 42) & 0x3FF) as u16
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "cast_tests.rs"]
mod tests;
