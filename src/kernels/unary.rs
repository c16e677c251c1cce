//! Elementwise functions of one operand.

use alloc::boxed::Box;

use super::{
    Io, Kernel, Prepare,
    erf::{erf, erfc},
    math,
    quantized::{self, look_up, real, stored_values},
    table,
};
use crate::{
    error::Result,
    graph::ops::{FloatFormat, Unary},
    tensor::{DType, Element},
};

/// Prepares [`Op::Unary`](crate::graph::Op::Unary).
pub(super) fn prepare(op: Unary, p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (x, y) = (&p.inputs[0], &p.outputs[0]);
    if op == Unary::Identity && x.stores_like(y) && x.dtype.size() > 0 {
        return Ok(Box::new(Copy));
    }
    let logical = matches!(op, Unary::Not | Unary::IsNan | Unary::IsInf);
    match (x.quant8(), y.quant8()) {
        (Some(qx), Some(qy)) if !logical => {
            let unbounded = (f32::NEG_INFINITY, f32::INFINITY);
            let table =
                quantized::table((x.dtype, qx), (y.dtype, qy), unbounded, |v| eval(op, v)).ok_or_else(|| p.unsupported())?;
            return Ok(table::kernel(table));
        }
        (Some(qx), None) if !logical && y.dtype == DType::F32 && y.quant.is_none() => {
            let mut table = Box::new([0f32; 256]);
            for (byte, stored) in stored_values(x.dtype) {
                table[byte] = eval(op, real(stored, qx));
            }
            return Ok(Box::new(RealTable { table }));
        }
        _ if x.quant.is_some() || y.quant.is_some() => return Err(p.unsupported()),
        _ => {}
    }
    match (x.dtype, y.dtype, op) {
        (DType::F32, DType::Bool, Unary::IsNan) => Ok(map(|v: f32| u8::from(v.is_nan()))),
        (DType::F32, DType::Bool, Unary::IsInf) => Ok(map(|v: f32| u8::from(v.is_infinite()))),
        (DType::Bool, DType::Bool, Unary::Not) => Ok(map(|v: u8| u8::from(v == 0))),
        (DType::F32, DType::F32, _) if !logical => Ok(Box::new(Float { op })),
        (DType::I32, DType::I32, _) => integer32(op).ok_or_else(|| p.unsupported()),
        (DType::I64, DType::I64, _) => integer64(op).ok_or_else(|| p.unsupported()),
        _ => Err(p.unsupported()),
    }
}

/// The function of one number. Transcendental ones are computed in double precision, so that tables come out the same everywhere.
pub(super) fn eval(op: Unary, x: f32) -> f32 {
    let wide = |f: fn(f64) -> f64| f(f64::from(x)) as f32;
    match op {
        Unary::Identity => x,
        Unary::Clamp { lo, hi } => clamp(x, lo, hi),
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Sign => sign(x),
        Unary::Exp => wide(f64::exp),
        Unary::Log => wide(f64::ln),
        Unary::Sqrt => x.sqrt(),
        Unary::Reciprocal => 1.0 / x,
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        Unary::Sin => wide(f64::sin),
        Unary::Cos => wide(f64::cos),
        Unary::Tan => wide(f64::tan),
        Unary::Asin => wide(f64::asin),
        Unary::Acos => wide(f64::acos),
        Unary::Atan => wide(f64::atan),
        Unary::Sinh => wide(f64::sinh),
        Unary::Cosh => wide(f64::cosh),
        Unary::Asinh => wide(f64::asinh),
        Unary::Acosh => wide(f64::acosh),
        Unary::Atanh => wide(f64::atanh),
        Unary::Tanh => wide(f64::tanh),
        Unary::Sigmoid => wide(sigmoid),
        Unary::Erf => wide(erf),
        Unary::Gelu => wide(|x| 0.5 * x * erfc(-x * core::f64::consts::FRAC_1_SQRT_2)),
        Unary::GeluTanh => wide(|x| x * sigmoid(2.0 * (2.0 / core::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x))),
        Unary::Silu => wide(|x| x * sigmoid(x)),
        Unary::HardSwish => x * hard_sigmoid(x, 1.0 / 6.0, 0.5),
        Unary::HardSigmoid { alpha, beta } => hard_sigmoid(x, alpha, beta),
        Unary::LeakyRelu { alpha } => leaky(x, alpha),
        Unary::Elu { alpha } => elu(x, alpha),
        Unary::Selu { alpha, gamma } => gamma * elu(x, alpha),
        Unary::Softplus => wide(softplus),
        Unary::Softsign => x / (1.0 + x.abs()),
        Unary::Mish => wide(|x| x * softplus(x).tanh()),
        Unary::Not => f32::from(x == 0.0),
        Unary::IsNan => f32::from(x.is_nan()),
        Unary::IsInf => f32::from(x.is_infinite()),
        Unary::RoundTo(format) => round_to(x, format),
    }
}

/// The nearest number of a narrower format, half to even.
fn round_to(x: f32, format: FloatFormat) -> f32 {
    if x.is_nan() {
        return x;
    }
    if x.is_infinite() {
        return format.infinity.copysign(x);
    }
    let magnitude = f64::from(x.abs());
    // Spacing of the format's numbers around x, at least that of the subnormal ones.
    let exponent = (((magnitude.to_bits() >> 52) as i64) - 1023).max(i64::from(format.lowest)) - i64::from(format.mantissa);
    let spacing = f64::from_bits(((exponent + 1023) as u64) << 52);
    let rounded = ((magnitude / spacing).round_ties_even() * spacing) as f32;
    if rounded > format.largest { format.overflow } else { rounded }.copysign(x)
}

// NaN stays NaN.
#[inline(always)]
fn clamp(x: f32, lo: f32, hi: f32) -> f32 {
    let x = if x < lo { lo } else { x };
    if x > hi { hi } else { x }
}

#[inline(always)]
fn sign(x: f32) -> f32 {
    let positive = if x > 0.0 { 1.0 } else { x };
    if x < 0.0 { -1.0 } else { positive }
}

#[inline(always)]
fn hard_sigmoid(x: f32, alpha: f32, beta: f32) -> f32 {
    clamp(x * alpha + beta, 0.0, 1.0)
}

#[inline(always)]
fn leaky(x: f32, alpha: f32) -> f32 {
    if x < 0.0 { x * alpha } else { x }
}

fn elu(x: f32, alpha: f32) -> f32 {
    if x < 0.0 { alpha * f64::from(x).exp_m1() as f32 } else { x }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `ln(1 + e^x)` from x and `e^−|x|`.
#[inline(always)]
fn softplus_from_exp(x: f32, e: f32) -> f32 {
    let positive = if x > 0.0 { x } else { 0.0 };
    positive + math::log(1.0 + e)
}

/// Bytes whose copy is worth a tile.
const COPY_BYTES: usize = 256 << 10;

struct Copy;

impl Kernel for Copy {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        io.each_part(io.input::<u8>(0).len(), COPY_BYTES, usize::MAX, &|io| {
            let x = io.input::<u8>(0);
            io.output::<u8>(0).copy_from_slice(x);
        });
        Ok(())
    }
}

struct RealTable {
    table: Box<[f32; 256]>,
}

impl Kernel for RealTable {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        io.each_element(io.input::<u8>(0).len(), &|io| look_up(&self.table, io.input::<u8>(0), io.output::<f32>(0)));
        Ok(())
    }
}

/// A kernel that applies `f` to every element.
struct Map<T, R, F> {
    f: F,
    types: core::marker::PhantomData<fn(T) -> R>,
}

fn map<T: Element, R: Element>(f: impl Fn(T) -> R + Send + Sync + 'static) -> Box<dyn Kernel> {
    Box::new(Map { f, types: core::marker::PhantomData })
}

impl<T: Element, R: Element, F: Fn(T) -> R + Send + Sync> Kernel for Map<T, R, F> {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        io.each_element(io.input::<T>(0).len(), &|io| each(io.input(0), io.output(0), &self.f));
        Ok(())
    }
}

#[inline(always)]
fn each<T: core::marker::Copy, R>(x: &[T], y: &mut [R], f: impl Fn(T) -> R) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = f(*x);
    }
}

/// The functions that keep integers integers; they wrap.
macro_rules! integer {
    ($name:ident, $t:ty) => {
        fn $name(op: Unary) -> Option<Box<dyn Kernel>> {
            Some(match op {
                Unary::Neg => map(|x: $t| x.wrapping_neg()),
                Unary::Abs => map(|x: $t| x.wrapping_abs()),
                Unary::Sign => map(|x: $t| x.signum()),
                Unary::Clamp { lo, hi } => {
                    let (lo, hi) = (lo.ceil() as $t, hi.floor() as $t);
                    map(move |x: $t| x.max(lo).min(hi))
                }
                _ => return None,
            })
        }
    };
}
integer!(integer32, i32);
integer!(integer64, i64);

/// [`each`] of a function in two steps, the second of which sees the element and the first one's result. Loops with few constants
/// are much faster: V8 keeps what does not fit the registers by computing it anew for every vector.
#[inline(always)]
fn two_steps(x: &[f32], y: &mut [f32], first: impl Fn(f32) -> f32, second: impl Fn(f32, f32) -> f32) {
    const CHUNK: usize = 1024;
    for (x, y) in x.chunks(CHUNK).zip(y.chunks_mut(CHUNK)) {
        each(x, y, &first);
        for (y, x) in y.iter_mut().zip(x) {
            *y = second(*x, *y);
        }
    }
}

struct Float {
    op: Unary,
}

impl Kernel for Float {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        io.each_element(io.input::<f32>(0).len(), &|io| float(self.op, io.input::<f32>(0), io.output::<f32>(0)));
        Ok(())
    }
}

/// `y = op(x)`.
pub(super) fn float(op: Unary, x: &[f32], y: &mut [f32]) {
    match op {
        Unary::Clamp { lo, hi } => each(x, y, |x| clamp(x, lo, hi)),
        Unary::Neg => each(x, y, |x: f32| -x),
        Unary::Abs => each(x, y, f32::abs),
        Unary::Sign => each(x, y, sign),
        Unary::Sqrt => each(x, y, f32::sqrt),
        Unary::Reciprocal => each(x, y, |x: f32| 1.0 / x),
        Unary::Floor => each(x, y, f32::floor),
        Unary::Ceil => each(x, y, f32::ceil),
        Unary::Round => each(x, y, f32::round_ties_even),
        Unary::HardSwish => each(x, y, |x| x * hard_sigmoid(x, 1.0 / 6.0, 0.5)),
        Unary::HardSigmoid { alpha, beta } => each(x, y, |x| hard_sigmoid(x, alpha, beta)),
        Unary::LeakyRelu { alpha } => each(x, y, |x| leaky(x, alpha)),
        Unary::Softsign => each(x, y, |x: f32| x / (1.0 + x.abs())),
        Unary::Exp => each(x, y, math::exp),
        Unary::Log => each(x, y, math::log),
        Unary::Tanh => each(x, y, math::tanh),
        Unary::Sigmoid => two_steps(x, y, math::exp_of_minus, math::sigmoid_from_exp),
        Unary::Erf => each(x, y, math::erf),
        Unary::Gelu => two_steps(x, y, math::gelu_exponent, math::gelu_from_exponent),
        // tanh(z) = 2·sigmoid(2z) − 1, and 2·√(2/π) = 1.5957691
        Unary::GeluTanh => each(x, y, |x| x * math::sigmoid(1.595_769 * (x + 0.044_715 * x * x * x))),
        Unary::Silu => two_steps(x, y, math::exp_of_minus, math::silu_from_exp),
        Unary::Elu { alpha } => each(x, y, |x| if x < 0.0 { alpha * (math::exp(x) - 1.0) } else { x }),
        Unary::Selu { alpha, gamma } => {
            each(x, y, |x| gamma * if x < 0.0 { alpha * (math::exp(x) - 1.0) } else { x });
        }
        Unary::Softplus => two_steps(x, y, |x| math::exp(-x.abs()), softplus_from_exp),
        // With n = e^x, tanh(ln(1 + n)) = (n² + 2n) / (n² + 2n + 2); beyond 20 that is 1.
        Unary::Mish => {
            two_steps(x, y, |x| math::exp(if x > 20.0 { 20.0 } else { x }), |x, n| x * (n * (n + 2.0) / (n * (n + 2.0) + 2.0)))
        }
        op => each(x, y, |x| eval(op, x)),
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "unary_tests.rs"]
mod tests;
