//! The sum of two quantized tensors as QLinearAdd computes it.
//!
//! ONNX does not define that operator; ONNX Runtime does, by what it computes on x86: two fused multiply-adds,
//! `a·sa/sy + (b·sb/sy + c)`, with all zero points in the one number `c`. Models quantized for it expect that rounding: in a
//! deep residual network one sum rounded the other way in an early block shows in every score.

use super::quantized::round_clamped;

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
        Some(Sum8 { ratios: ratios.map(f64::from), constant: f64::from(y.1 as f32 - zeros), lo: lo as f32, hi: hi as f32 })
    }

    /// The stored integer of the sum of two stored integers.
    #[inline(always)]
    pub(super) fn store(self, a: i32, b: i32) -> i32 {
        // f64 holds products and sums of these sizes exactly, so that each line rounds once, like a fused multiply-add.
        let partial = (f64::from(b) * self.ratios[1] + self.constant) as f32;
        let sum = (f64::from(a) * self.ratios[0] + f64::from(partial)) as f32;
        round_clamped(sum, self.lo, self.hi, 0)
    }
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
