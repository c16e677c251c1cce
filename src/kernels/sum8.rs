//! The sum of two quantized tensors as QLinearAdd computes it.
//!
//! ONNX does not define that operator; ONNX Runtime does, by what it computes on x86: two fused multiply-adds,
//! `a·sa/sy + (b·sb/sy + c)`, with all zero points in the one number `c`. Models quantized for it expect that rounding: in a
//! deep residual network one sum rounded the other way in an early block shows in every score.

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use core::arch::wasm32::*;

use super::quantized::round_clamped;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use super::quantized::round_clamped_x4;

/// Scales of a, b and the sum are at most this far apart; beyond, `c` would swallow the low bits of the smaller operand.
const MAX_RATIO: f32 = 16.0;

/// A sum, prepared for the quantizations of its operands and its result.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum8 {
    ratios: [f64; 2],
    constant: f64,
    lo: f32,
    hi: f32,
}

impl Sum8 {
    /// For results that are clamped to the stored integers `lo..=hi`; `None` if the scales are too far apart.
    pub(super) fn new(a: (f32, i32), b: (f32, i32), y: (f32, i32), [lo, hi]: [i32; 2]) -> Option<Sum8> {
        let ratios = [a.0 / y.0, b.0 / y.0];
        if !ratios.iter().all(|r| *r < MAX_RATIO) {
            return None;
        }
        // One product is exact until the sum is rounded, as compilers that contract to a fused multiply-add leave it.
        let zeros = (f64::from(ratios[0]) * f64::from(a.1) + f64::from(ratios[1] * b.1 as f32)) as f32;
        let constant = f64::from(y.1 as f32 - zeros);
        Some(Sum8 { ratios: ratios.map(f64::from), constant, lo: lo as f32, hi: hi as f32 })
    }

    /// The stored integer of the sum of two stored integers.
    #[inline(always)]
    pub(super) fn store(self, a: i32, b: i32) -> i32 {
        // f64 holds products and sums of these sizes exactly, so that each line rounds once, like a fused multiply-add.
        let partial = (f64::from(b) * self.ratios[1] + self.constant) as f32;
        let sum = (f64::from(a) * self.ratios[0] + f64::from(partial)) as f32;
        round_clamped(sum, self.lo, self.hi, 0)
    }

    /// The low bytes of what [`Sum8::store`] gives for four pairs. `FUSED` where [`madd_is_fused`].
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    #[inline(always)]
    pub(super) fn store_x4<const FUSED: bool>(self, a: v128, b: v128) -> v128 {
        // These numbers were f32 before.
        let [ratio_a, ratio_b] = self.ratios;
        let sum = if FUSED {
            let partial = madd(f32x4_convert_i32x4(b), f32x4_splat(ratio_b as f32), f32x4_splat(self.constant as f32));
            madd(f32x4_convert_i32x4(a), f32x4_splat(ratio_a as f32), partial)
        } else {
            let half = |a: v128, b: v128| {
                let product = f64x2_mul(f64x2_convert_low_i32x4(b), f64x2_splat(ratio_b));
                let partial = f32x4_demote_f64x2_zero(f64x2_add(product, f64x2_splat(self.constant)));
                let product = f64x2_mul(f64x2_convert_low_i32x4(a), f64x2_splat(ratio_a));
                f32x4_demote_f64x2_zero(f64x2_add(product, f64x2_promote_low_f32x4(partial)))
            };
            let upper = |v: v128| i64x2_shuffle::<1, 1>(v, v);
            i64x2_shuffle::<0, 2>(half(a, b), half(upper(a), upper(b)))
        };
        round_clamped_x4(sum, self.lo, self.hi, 0)
    }
}

/// `a · b + c`; rounded once where [`madd_is_fused`], and only used there.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[inline(always)]
fn madd(a: v128, b: v128, c: v128) -> v128 {
    #[cfg(target_feature = "relaxed-simd")]
    return f32x4_relaxed_madd(a, b, c);
    #[cfg(not(target_feature = "relaxed-simd"))]
    return f32x4_add(f32x4_mul(a, b), c);
}

/// Whether this engine rounds `a · b + c` of vectors once.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(super) fn madd_is_fused() -> bool {
    // The square of 1 + 2⁻¹² is 1 + 2⁻¹¹ + 2⁻²⁴, of which f32 rounds the last term off.
    let [x, less] = core::hint::black_box([1.0 + 1.0 / 4096.0, -1.0 - 1.0 / 2048.0]);
    let y = madd(f32x4_splat(x), f32x4_splat(x), f32x4_splat(less));
    f32x4_extract_lane::<0>(y) != 0.0
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn differs_from_the_real_sum_only_at_ties(
            scales in (0.001f32..0.1, 0.001f32..0.1, 0.01f32..0.2),
            zeros in (0i32..256, 0i32..256, 0i32..256),
            a in 0i32..256,
            b in 0i32..256,
        ) {
            let sum = Sum8::new((scales.0, zeros.0), (scales.1, zeros.1), (scales.2, zeros.2), [0, 255]).unwrap();
            let real = f64::from(a - zeros.0) * f64::from(scales.0) + f64::from(b - zeros.1) * f64::from(scales.1);
            let exact = real / f64::from(scales.2) + f64::from(zeros.2);
            let distance = (f64::from(sum.store(a, b)) - exact.clamp(0.0, 255.0)).abs();
            // Terms stay below 2¹³, so that four roundings lose less than 2⁻⁹.
            prop_assert!(distance < 0.5 + 1.0 / 512.0, "{distance}");
        }
    }

    #[test]
    fn scales_that_are_far_apart_are_refused() {
        assert!(Sum8::new((1.0, 0), (1.0, 0), (0.01, 0), [0, 255]).is_none());
    }
}
