//! The sum of two quantized tensors as QLinearAdd computes it.
//!
//! ONNX does not define that operator; ONNX Runtime does, by what it computes on x86: two fused multiply-adds,
//! `a·sa/sy + (b·sb/sy + c)`, with all zero points in the one number `c`. Models quantized for it expect that rounding: in a
//! deep residual network one sum rounded the other way in an early block shows in every score.

use alloc::vec::Vec;
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
    /// Ratios and constant that give the same for all pairs of bytes in f32, whose vectors are several times faster.
    single: Option<[f32; 3]>,
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
        Some(Sum8 { ratios: ratios.map(f64::from), constant, single: None, lo: lo as f32, hi: hi as f32 })
    }

    /// The same for operands that are signed bytes or not, by a faster way if one is found.
    pub(super) fn for_bytes(self, signed: [bool; 2]) -> Sum8 {
        // Each product is rounded here, so that a few of all pairs may lie on the other side of a tie; next to the constants
        // themselves there are mostly some for which none does.
        let near = |x: f64| [x as f32, (x as f32).next_up(), (x as f32).next_down()];
        let [a, b] = self.ratios.map(near);
        let constants = near(self.constant);
        let mut candidates = constants.iter().flat_map(|&c| b.iter().flat_map(move |&b| a.map(|a| [a, b, c])));
        let [first_a, first_b] = signed.map(|s| if s { -128 } else { 0 });
        let exact: Vec<[u8; 256]> = (first_b..first_b + 256).map(|b| row(first_a, |a| self.store(a, b))).collect();
        let same = |single: &[f32; 3]| {
            exact.iter().zip(first_b..).all(|(exact, b)| *exact == row(first_a, |a| self.store_single(*single, a, b)))
        };
        Sum8 { single: candidates.find(same), ..self }
    }

    /// The ratios and the constant for [`Sum8::store_single`], if it gives what [`Sum8::store`] does.
    pub(super) fn single(self) -> Option<[f32; 3]> {
        self.single
    }

    /// The stored integer of a sum, computed in f32.
    #[inline(always)]
    pub(super) fn store_single(self, [ratio_a, ratio_b, constant]: [f32; 3], a: i32, b: i32) -> i32 {
        round_clamped(a as f32 * ratio_a + (b as f32 * ratio_b + constant), self.lo, self.hi, 0)
    }

    /// The stored integer of the sum of two stored integers.
    #[inline(always)]
    pub(super) fn store(self, a: i32, b: i32) -> i32 {
        // f64 holds products and sums of these sizes exactly, so that each line rounds once, like a fused multiply-add.
        let partial = (f64::from(b) * self.ratios[1] + self.constant) as f32;
        let sum = (f64::from(a) * self.ratios[0] + f64::from(partial)) as f32;
        round_clamped(sum, self.lo, self.hi, 0)
    }

    /// The low bytes of what [`Sum8::store_single`] gives for four pairs, by the same operations.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    #[inline(always)]
    pub(super) fn store_x4(self, [ratio_a, ratio_b, constant]: [f32; 3], a: v128, b: v128) -> v128 {
        let product = |v: v128, ratio: f32| f32x4_mul(f32x4_convert_i32x4(v), f32x4_splat(ratio));
        let sum = f32x4_add(product(a, ratio_a), f32x4_add(product(b, ratio_b), f32x4_splat(constant)));
        round_clamped_x4(sum, self.lo, self.hi, 0)
    }
}

/// The bytes that `f` gives for `first` and the 255 integers after it.
#[inline(always)]
fn row(first: i32, f: impl Fn(i32) -> i32) -> [u8; 256] {
    let mut row = [0; 256];
    for (i, byte) in row.iter_mut().enumerate() {
        *byte = f(first + i as i32) as u8;
    }
    row
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
    fn most_sums_are_the_same_in_f32() {
        let mut found = 0;
        for i in 0..100 {
            let scale = |k: i32| 0.01 + ((i * 37 + k * 61) % 101) as f32 * 3.7e-4;
            let sum = Sum8::new((scale(1), i), (scale(2), 99 - i), (scale(3), 2 * i), [0, 255]).unwrap().for_bytes([false; 2]);
            let Some(single) = sum.single() else { continue };
            found += 1;
            for (a, b) in (0..256).flat_map(|a| (0..256).map(move |b| (a, b))) {
                assert_eq!(sum.store_single(single, a, b), sum.store(a, b), "{sum:?} of {a} and {b}");
            }
        }
        assert!(found > 75, "{found} of 100");
    }

    #[test]
    fn scales_that_are_far_apart_are_refused() {
        assert!(Sum8::new((1.0, 0), (1.0, 0), (0.01, 0), [0, 255]).is_none());
    }
}
