//! Elementwise functions of two broadcast operands.

use alloc::boxed::Box;

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use super::byte_pairs;
use super::{
    Io, Kernel, Operand, Prepare,
    broadcast::{Broadcast, Buffer},
    quantized::{self, Rounder, look_up},
    sum8::Sum8,
    team::GRAIN,
};
use crate::{
    error::Result,
    graph::ops::{Activation, Binary, BinaryOp},
    tensor::{DType, Element},
};

/// Prepares [`Op::Binary`](crate::graph::Op::Binary).
#[inline(never)]
#[cfg_attr(small, optimize(size))]
pub(super) fn prepare(binary: &Binary, p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (a, b, y) = (&p.inputs[0], &p.inputs[1], &p.outputs[0]);
    let Binary { op, activation } = *binary;
    if a.quant.is_some() || b.quant.is_some() || y.quant.is_some() {
        return quantized(op, activation, p);
    }
    let shape = Broadcast::new(&y.shape, [&a.shape, &b.shape])?;
    if a.dtype != b.dtype || (activation != Activation::None && y.dtype != DType::F32) {
        return Err(p.unsupported());
    }
    let bounds = (activation != Activation::None).then(|| activation.bounds());
    match (a.dtype, y.dtype) {
        (DType::F32, DType::F32) => {
            let square = op == BinaryOp::Pow && b.constant::<f32>().is_some_and(|e| e == [2.0]);
            let f = if square { Some(each!(f32, |a, _b| a * a)) } else { float32(op) };
            elementwise(shape, f, bounds, p)
        }
        (DType::F64, DType::F64) => elementwise(shape, float64(op), None, p),
        (DType::F64, DType::Bool) => elementwise(shape, compare::<f64>(op), None, p),
        (DType::F32, DType::Bool) => elementwise(shape, compare::<f32>(op), None, p),
        (DType::I32, DType::I32) => elementwise(shape, int32(op), None, p),
        (DType::I32, DType::Bool) => elementwise(shape, compare::<i32>(op), None, p),
        (DType::I64, DType::I64) => elementwise(shape, bits(op).or_else(|| int64(op)), None, p),
        (DType::I64, DType::Bool) => elementwise(shape, compare::<i64>(op), None, p),
        (DType::Bool, DType::Bool) => elementwise(shape, logic(op), None, p),
        _ => Err(p.unsupported()),
    }
}

/// A loop over slices of equal length.
type Loop<T, R> = fn(&[T], &[T], &mut [R]);

/// A [`Loop`] from a function of two elements.
macro_rules! each {
    ($t:ty, $f:expr) => {{
        fn run<R>(a: &[$t], b: &[$t], y: &mut [R], f: impl Fn($t, $t) -> R) {
            for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
                *y = f(*a, *b);
            }
        }
        (|a: &[$t], b: &[$t], y: &mut [_]| run(a, b, y, $f)) as Loop<$t, _>
    }};
}
use each;

macro_rules! float {
    ($name:ident, $t:ty) => {
        fn $name(op: BinaryOp) -> Option<Loop<$t, $t>> {
            Some(match op {
                BinaryOp::Add => each!($t, |a, b| a + b),
                BinaryOp::Sub => each!($t, |a, b| a - b),
                BinaryOp::Mul => each!($t, |a, b| a * b),
                BinaryOp::Div => each!($t, |a, b| a / b),
                // NaN in either operand gives NaN.
                BinaryOp::Min => each!($t, |a, b| if a < b || a.is_nan() { a } else { b }),
                BinaryOp::Max => each!($t, |a, b| if a > b || a.is_nan() { a } else { b }),
                BinaryOp::Pow => each!($t, <$t>::powf),
                BinaryOp::Mod => each!($t, |a, b| {
                    let r = a % b;
                    if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
                }),
                BinaryOp::Rem => each!($t, |a, b| a % b),
                _ => return None,
            })
        }
    };
}
float!(float32, f32);
float!(float64, f64);

fn amount(b: i64) -> u32 {
    u32::try_from(b).unwrap_or(u32::MAX)
}

/// Narrower integers are widened for these.
fn bits(op: BinaryOp) -> Option<Loop<i64, i64>> {
    Some(match op {
        BinaryOp::BitAnd => each!(i64, |a, b| a & b),
        BinaryOp::BitOr => each!(i64, |a, b| a | b),
        BinaryOp::BitXor => each!(i64, |a, b| a ^ b),
        BinaryOp::ShiftLeft => each!(i64, |a, b| a.checked_shl(amount(b)).unwrap_or(0)),
        BinaryOp::ShiftRight => each!(i64, |a, b| a >> amount(b).min(63)),
        _ => return None,
    })
}

/// Integers wrap. Division by zero gives 0, as there is no trap to give.
macro_rules! integer {
    ($name:ident, $t:ty) => {
        fn $name(op: BinaryOp) -> Option<Loop<$t, $t>> {
            Some(match op {
                BinaryOp::Add => each!($t, |a, b| a.wrapping_add(b)),
                BinaryOp::Sub => each!($t, |a, b| a.wrapping_sub(b)),
                BinaryOp::Mul => each!($t, |a, b| a.wrapping_mul(b)),
                BinaryOp::Div => each!($t, |a, b| if b == 0 { 0 } else { a.wrapping_div(b) }),
                BinaryOp::Min => each!($t, |a, b| a.min(b)),
                BinaryOp::Max => each!($t, |a, b| a.max(b)),
                BinaryOp::Pow => each!($t, |a, b| match u32::try_from(b) {
                    Ok(e) => a.wrapping_pow(e),
                    // 1 / a^|b|, truncated.
                    Err(_) if a == 1 || (a == -1 && b % 2 == 0) => 1,
                    Err(_) if a == -1 => -1,
                    Err(_) => 0,
                }),
                BinaryOp::Mod => each!($t, |a, b| {
                    let r = if b == 0 { 0 } else { a.wrapping_rem(b) };
                    if r != 0 && (r < 0) != (b < 0) { r + b } else { r }
                }),
                BinaryOp::Rem => each!($t, |a, b| if b == 0 { 0 } else { a.wrapping_rem(b) }),
                _ => return None,
            })
        }
    };
}
integer!(int32, i32);
integer!(int64, i64);

fn compare<T: Element + PartialOrd>(op: BinaryOp) -> Option<Loop<T, u8>> {
    Some(match op {
        BinaryOp::Equal => |a, b, y| zip(a, b, y, |a, b| a == b),
        BinaryOp::Less => |a, b, y| zip(a, b, y, |a, b| a < b),
        BinaryOp::LessOrEqual => |a, b, y| zip(a, b, y, |a, b| a <= b),
        BinaryOp::Greater => |a, b, y| zip(a, b, y, |a, b| a > b),
        BinaryOp::GreaterOrEqual => |a, b, y| zip(a, b, y, |a, b| a >= b),
        _ => return None,
    })
}

fn zip<T: Copy>(a: &[T], b: &[T], y: &mut [u8], f: impl Fn(T, T) -> bool) {
    for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
        *y = u8::from(f(*a, *b));
    }
}

fn logic(op: BinaryOp) -> Option<Loop<u8, u8>> {
    Some(match op {
        BinaryOp::And => |a, b, y| zip(a, b, y, |a, b| a & b != 0),
        BinaryOp::Or => |a, b, y| zip(a, b, y, |a, b| a | b != 0),
        BinaryOp::Xor => |a, b, y| zip(a, b, y, |a, b| (a != 0) != (b != 0)),
        BinaryOp::Equal => |a, b, y| zip(a, b, y, |a, b| (a != 0) == (b != 0)),
        _ => return None,
    })
}

/// A number type whose results can be clamped by an activation.
trait Clamp: Element {
    fn clamp_all(_y: &mut [Self], _bounds: (f32, f32)) {}
}
impl Clamp for u8 {}
impl Clamp for i32 {}
impl Clamp for i64 {}
impl Clamp for f64 {}
impl Clamp for f32 {
    fn clamp_all(y: &mut [f32], (lo, hi): (f32, f32)) {
        for y in y {
            let v = if *y < lo { lo } else { *y };
            *y = if v > hi { hi } else { v };
        }
    }
}

struct Elementwise<T, R> {
    shape: Broadcast<2>,
    f: Loop<T, R>,
    bounds: Option<(f32, f32)>,
}

fn elementwise<T: Element, R: Clamp>(
    shape: Broadcast<2>,
    f: Option<Loop<T, R>>,
    bounds: Option<(f32, f32)>,
    p: &Prepare<'_>,
) -> Result<Box<dyn Kernel>> {
    let f = f.ok_or_else(|| p.unsupported())?;
    Ok(Box::new(Elementwise { shape, f, bounds }))
}

/// Gives `combine` pieces of both operands, as long as each other, and where their results go.
fn each_chunk<T: Element, R: Element>(shape: &Broadcast<2>, io: &mut Io<'_>, combine: impl Fn(&[T], &[T], &mut [R]) + Sync) {
    io.each_range::<R>(shape.count(), |io, range, y| {
        let (a, b) = (io.input::<T>(0), io.input::<T>(1));
        let (mut buffer_a, mut buffer_b) = (Buffer::new(), Buffer::new());
        let [feed_a, feed_b] = shape.feeds();
        shape.chunks(range, |[row_a, row_b], chunk, row| {
            // SAFETY: chunks do not overlap.
            let y = unsafe { y.part(row + chunk.start..row + chunk.end) };
            let a = feed_a.get(a, row_a, chunk.clone(), &mut buffer_a);
            combine(a, feed_b.get(b, row_b, chunk, &mut buffer_b), y);
        });
    });
}

impl<T: Element, R: Clamp> Kernel for Elementwise<T, R> {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        each_chunk::<T, R>(&self.shape, io, |a, b, y| {
            (self.f)(a, b, y);
            if let Some(bounds) = self.bounds {
                R::clamp_all(y, bounds);
            }
        });
        Ok(())
    }
}

/// Functions that have a meaning between quantized values, as functions of reals.
fn on_reals(op: BinaryOp) -> Option<fn(f32, f32) -> f32> {
    Some(match op {
        BinaryOp::Add | BinaryOp::QLinearAdd => |a, b| a + b,
        BinaryOp::Sub => |a, b| a - b,
        BinaryOp::Mul => |a, b| a * b,
        BinaryOp::Div => |a, b| a / b,
        BinaryOp::Min => |a, b| if a < b || a.is_nan() { a } else { b },
        BinaryOp::Max => |a, b| if a > b || a.is_nan() { a } else { b },
        BinaryOp::Pow => |a, b| (f64::from(a).powf(f64::from(b))) as f32,
        _ => return None,
    })
}

fn quantized(op: BinaryOp, activation: Activation, p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (a, b, y) = (&p.inputs[0], &p.inputs[1], &p.outputs[0]);
    let (Some(f), Some(qa), Some(qb), Some(qy)) = (on_reals(op), a.quant8(), b.quant8(), y.quant8()) else {
        return Err(p.unsupported());
    };
    let to = (y.dtype, qy);
    if let (Some(value), true) = (single(b), a.len() == y.len()) {
        let b = quantized::real(value, qb);
        let table = quantized::table((a.dtype, qa), to, activation.bounds(), |a| f(a, b)).ok_or_else(|| p.unsupported())?;
        return Ok(Box::new(Table { table, input: 0 }));
    }
    if let (Some(value), true) = (single(a), b.len() == y.len()) {
        let a = quantized::real(value, qa);
        let table = quantized::table((b.dtype, qb), to, activation.bounds(), |b| f(a, b)).ok_or_else(|| p.unsupported())?;
        return Ok(Box::new(Table { table, input: 1 }));
    }
    let shape = Broadcast::new(&y.shape, [&a.shape, &b.shape])?;
    let rounder = Rounder::new(qy, y.dtype, activation.bounds()).ok_or_else(|| p.unsupported())?;
    let signed = [a.dtype == DType::I8, b.dtype == DType::I8];
    let sum = (op == BinaryOp::QLinearAdd).then(|| Sum8::new(qa, qb, qy, rounder.stored_bounds())).flatten();
    Ok(Box::new(Quantized { shape, op, a: qa, b: qb, signed, rounder, sum }))
}

/// The stored value of a constant of one element.
fn single(x: &Operand<'_>) -> Option<i32> {
    match (x.dtype, x.data?) {
        (DType::U8, [v]) => Some(i32::from(*v)),
        (DType::I8, [v]) => Some(i32::from(*v as i8)),
        _ => None,
    }
}

struct Table {
    table: [u8; 256],
    input: usize,
}

impl Kernel for Table {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let input = self.input;
        io.each_range::<u8>([io.input::<u8>(input).len(), GRAIN], |io, range, y| {
            // SAFETY: ranges do not overlap.
            look_up(&self.table, &io.input::<u8>(input)[range.clone()], unsafe { y.part(range) });
        });
        Ok(())
    }
}

struct Quantized {
    shape: Broadcast<2>,
    op: BinaryOp,
    a: (f32, i32),
    b: (f32, i32),
    signed: [bool; 2],
    rounder: Rounder,
    /// How QLinearAdd rounds, unless its scales are too far apart.
    sum: Option<Sum8>,
}

impl Kernel for Quantized {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        each_chunk::<u8, u8>(&self.shape, io, |a, b, y| self.combine(a, b, y));
        Ok(())
    }
}

impl Quantized {
    fn combine(&self, a: &[u8], b: &[u8], y: &mut [u8]) {
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        let done = self.vectors(a, b, y);
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        let done = 0;
        let (a, b, y) = (&a[done..], &b[done..], &mut y[done..]);
        if let Some(sum) = self.sum {
            return self.add(a, b, y, sum);
        }
        match self.op {
            BinaryOp::Add => self.each(a, b, y, |a, b| a + b),
            BinaryOp::Sub => self.each(a, b, y, |a, b| a - b),
            BinaryOp::Mul => self.each(a, b, y, |a, b| a * b),
            BinaryOp::Div => self.each(a, b, y, |a, b| a / b),
            op => {
                if let Some(f) = on_reals(op) {
                    self.each(a, b, y, f);
                }
            }
        }
    }

    /// The common functions on whole vectors; gives the number of elements done.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    fn vectors(&self, a: &[u8], b: &[u8], y: &mut [u8]) -> usize {
        use core::arch::wasm32::{f32x4_add, f32x4_mul, i32x4_splat, i32x4_sub};

        let flips = self.unsigned().map(|(flip, _)| flip);
        if let Some(sum) = self.sum {
            let [less_a, less_b] = flips.map(|flip| i32x4_splat(flip.into()));
            let (signed_a, signed_b) = (|a| i32x4_sub(a, less_a), |b| i32x4_sub(b, less_b));
            return if super::sum8::madd_is_fused() {
                byte_pairs::run(a, b, y, flips, |a, b| sum.store_x4::<true>(signed_a(a), signed_b(b)))
            } else {
                byte_pairs::run(a, b, y, flips, |a, b| sum.store_x4::<false>(signed_a(a), signed_b(b)))
            };
        }
        let [qa, qb] = self.unsigned().map(|(_, quant)| quant);
        let rounder = self.rounder;
        let (real_a, real_b) = (|a| quantized::real_x4(a, qa), |b| quantized::real_x4(b, qb));
        match self.op {
            BinaryOp::Add | BinaryOp::QLinearAdd => {
                byte_pairs::run(a, b, y, flips, |a, b| rounder.store_x4(f32x4_add(real_a(a), real_b(b))))
            }
            BinaryOp::Mul => byte_pairs::run(a, b, y, flips, |a, b| rounder.store_x4(f32x4_mul(real_a(a), real_b(b)))),
            _ => 0,
        }
    }

    fn add(&self, a: &[u8], b: &[u8], y: &mut [u8], sum: Sum8) {
        let [flip_a, flip_b] = self.unsigned().map(|(flip, _)| flip);
        let integer = |byte: u8, flip: u8| i32::from(byte ^ flip) - i32::from(flip);
        let pairs = y.iter_mut().zip(a.iter().zip(b)).map(|(y, (a, b))| (y, integer(*a, flip_a), integer(*b, flip_b)));
        pairs.for_each(|(y, a, b)| *y = sum.store(a, b) as u8);
    }

    #[inline(always)]
    fn each(&self, a: &[u8], b: &[u8], y: &mut [u8], f: impl Fn(f32, f32) -> f32) {
        let [(flip_a, qa), (flip_b, qb)] = self.unsigned();
        let rounder = self.rounder;
        for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
            let (a, b) = (i32::from(*a ^ flip_a), i32::from(*b ^ flip_b));
            *y = rounder.store(f(quantized::real(a, qa), quantized::real(b, qb))) as u8;
        }
    }

    /// What to flip in the operands' bytes to make them unsigned, and what these stand for. A signed byte is its pattern with the top
    /// bit flipped, less 128.
    #[inline(always)]
    fn unsigned(&self) -> [(u8, (f32, i32)); 2] {
        [(self.a, self.signed[0]), (self.b, self.signed[1])]
            .map(|((scale, zero), signed)| if signed { (0x80, (scale, zero + 128)) } else { (0, (scale, zero)) })
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "binary_tests.rs"]
mod tests;
