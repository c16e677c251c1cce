//! From real numbers to stored integers and back, as every quantized kernel does it.

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use core::arch::wasm32::*;

use super::Operand;
use crate::tensor::DType;

/// 1.5·2²³: adding it to a number below 2²² in magnitude rounds that number, half to even, into the low mantissa bits.
const MAGIC: f32 = 12_582_912.0;

/// Smallest and largest stored value of the integer types up to 16 bits.
pub(super) fn range(dtype: DType) -> Option<(i32, i32)> {
    Some(match dtype {
        DType::U8 => (0, 255),
        DType::I8 => (-128, 127),
        DType::U16 => (0, 65535),
        DType::I16 => (-32768, 32767),
        _ => return None,
    })
}

/// Clamps, rounds half to even and adds; the bounds are integers below 2²² in magnitude. NaN gives the lower bound.
#[inline(always)]
pub(super) fn round_clamped(x: f32, lo: f32, hi: f32, add: i32) -> i32 {
    let x = if x > lo { x } else { lo };
    let x = if x < hi { x } else { hi };
    (x + MAGIC).to_bits() as i32 + (add - MAGIC.to_bits() as i32)
}

/// The same of four numbers, of which only the low bytes count.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[inline(always)]
pub(super) fn round_clamped_x4(x: v128, lo: f32, hi: f32, add: i32) -> v128 {
    let x = f32x4_pmin(f32x4_splat(hi), f32x4_pmax(f32x4_splat(lo), x));
    // The magic number's own low byte is 0.
    i32x4_add(f32x4_add(x, f32x4_splat(MAGIC)), i32x4_splat(add))
}

/// How a real number is stored: divided by the scale, rounded half to even, moved by the zero point, clamped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounder {
    scale: f32,
    zero_point: i32,
    lo: f32,
    hi: f32,
}

impl Rounder {
    /// For values stored as `dtype` with reals clamped to `bounds`; `None` unless `dtype` is an integer of up to 16 bits.
    pub(super) fn new((scale, zero_point): (f32, i32), dtype: DType, bounds: (f32, f32)) -> Option<Rounder> {
        let (min, max) = range(dtype)?;
        let full = Rounder { scale, zero_point, lo: (min - zero_point) as f32, hi: (max - zero_point) as f32 };
        let lo = full.store(bounds.0);
        let hi = full.store(bounds.1);
        Some(Rounder { lo: (lo - zero_point) as f32, hi: (hi - zero_point) as f32, ..full })
    }

    /// The smallest and greatest stored integer that a clamp leaves.
    pub(super) fn stored_bounds(self) -> [i32; 2] {
        [self.lo, self.hi].map(|b| b as i32 + self.zero_point)
    }

    /// The stored integer of a real number.
    #[inline(always)]
    pub(super) fn store(self, real: f32) -> i32 {
        round_clamped(real / self.scale, self.lo, self.hi, self.zero_point)
    }

    /// The low bytes of four reals' stored integers.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    #[inline(always)]
    pub(super) fn store_x4(self, reals: v128) -> v128 {
        round_clamped_x4(f32x4_div(reals, f32x4_splat(self.scale)), self.lo, self.hi, self.zero_point)
    }

    /// The stored integer of an exact integer times `multiplier`, which already includes the output's scale.
    #[inline(always)]
    pub(super) fn rescale(self, sum: i32, multiplier: f32) -> i32 {
        round_clamped(sum as f32 * multiplier, self.lo, self.hi, self.zero_point)
    }
}

/// The real number that a stored integer stands for.
#[inline(always)]
pub(super) fn real(stored: i32, (scale, zero_point): (f32, i32)) -> f32 {
    (stored - zero_point) as f32 * scale
}

/// The same of four integers.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[inline(always)]
pub(super) fn real_x4(stored: v128, (scale, zero_point): (f32, i32)) -> v128 {
    f32x4_mul(f32x4_convert_i32x4(i32x4_sub(stored, i32x4_splat(zero_point))), f32x4_splat(scale))
}

impl Operand<'_> {
    /// Scale and zero point, if the operand is an 8-bit integer that is quantized per tensor.
    pub(super) fn quant8(&self) -> Option<(f32, i32)> {
        matches!(self.dtype, DType::U8 | DType::I8).then_some(())?;
        self.quant?.as_per_tensor()
    }

    /// Whether both store numbers the same way, so that elements can be moved from one to the other unchanged.
    pub(crate) fn stores_like(&self, other: &Operand<'_>) -> bool {
        let same_quant = match (self.quant, other.quant) {
            (None, None) => true,
            // The axis may differ where a kernel permutes or merges axes.
            (Some(a), Some(b)) => a.scale == b.scale && a.zero_point == b.zero_point,
            _ => false,
        };
        self.dtype == other.dtype && same_quant
    }
}

/// The value of each stored byte of an 8-bit type, by the byte's unsigned value.
pub(super) fn stored_values(dtype: DType) -> impl Iterator<Item = (usize, i32)> {
    (0..=255u8).map(move |b| (usize::from(b), if dtype == DType::I8 { i32::from(b as i8) } else { i32::from(b) }))
}

/// The table of a function between two 8-bit quantized types; `None` if `to` is not such a type.
pub(super) fn table(
    from: (DType, (f32, i32)),
    to: (DType, (f32, i32)),
    bounds: (f32, f32),
    f: impl Fn(f32) -> f32,
) -> Option<[u8; 256]> {
    let rounder = Rounder::new(to.1, to.0, bounds)?;
    let mut table = [0u8; 256];
    for (byte, stored) in stored_values(from.0) {
        table[byte] = rounder.store(f(real(stored, from.1))) as u8;
    }
    Some(table)
}

/// Looks every byte of `x` up.
pub(super) fn look_up<T: Copy>(table: &[T; 256], x: &[u8], y: &mut [T]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = table[usize::from(*x)];
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rounding_is_half_to_even_and_saturates(halves in -2000i32..2000, zero_point in 0i32..=255, noise in -0.01f32..0.01) {
            let x = halves as f32 * 0.5 + if halves % 3 == 0 { noise } else { 0.0 };
            let rounder = Rounder::new((1.0, zero_point), DType::U8, (f32::NEG_INFINITY, f32::INFINITY)).unwrap();
            let expected = (x.round_ties_even() + zero_point as f32).clamp(0.0, 255.0) as i32;
            prop_assert_eq!(rounder.store(x), expected);
        }
    }

    #[test]
    fn extremes() {
        let r = Rounder::new((0.5, 3), DType::I8, (f32::NEG_INFINITY, f32::INFINITY)).unwrap();
        assert_eq!(r.store(f32::INFINITY), 127);
        assert_eq!(r.store(f32::NEG_INFINITY), -128);
        assert_eq!(r.store(f32::NAN), -128);
        let relu6 = Rounder::new((0.5, 3), DType::I8, (0.0, 6.0)).unwrap();
        assert_eq!([relu6.store(-1.0), relu6.store(7.0)], [3, 15]);
    }
}
