//! What becomes of an i32 accumulator: requantized to u8, dequantized to f32, or kept. One definition for every instruction set.

use super::rescale::Rescale;
use crate::tensor::Element;

/// Adding this to an f32 below 2²² in magnitude rounds it half to even and leaves the integer in the low bits.
pub(crate) const ROUNDING_MAGIC: f32 = 12_582_912.0;
/// The bits of [`ROUNDING_MAGIC`].
pub(crate) const ROUNDING_MAGIC_BITS: i32 = 0x4B40_0000;

/// The definition: one f32 product, round half to even, add the zero point, clamp.
pub(crate) fn requantize(acc: i32, multiplier: f32, zero_point: i32, lo: u8, hi: u8) -> u8 {
    let real = (acc as f32 * multiplier).round_ties_even() + zero_point as f32;
    real.clamp(f32::from(lo), f32::from(hi)) as u8
}

/// The last step of an integer product, column by column. Columns are output channels.
pub(crate) trait Finish: Sync {
    /// Element of the output.
    type Out: Element;

    /// Number of columns for which parameters are held; `usize::MAX` if there are none to hold.
    fn columns(&self) -> usize;

    /// Whether the vector path gives the exact result for every accumulator that can occur.
    fn is_bounded(&self) -> bool {
        true
    }

    /// Finishes the accumulators of columns `first..` of one row.
    fn row(&self, acc: &[i32], first: usize, out: &mut [Self::Out]);
}

/// To u8: see [`requantize`].
#[derive(Clone, Copy)]
pub(crate) struct Requant<'a> {
    pub multiplier: &'a [f32],
    pub zero_point: i32,
    pub lo: u8,
    pub hi: u8,
    /// Applied to the u8 that the above gives. Its bounds are what it gives for `lo` and `hi`, or tighter.
    pub then: Option<Rescale>,
    /// No product of an accumulator and its multiplier, and of `then` if there is one, is below −2²³.
    pub bounded: bool,
}

impl Finish for Requant<'_> {
    type Out = u8;

    fn columns(&self) -> usize {
        self.multiplier.len()
    }

    fn is_bounded(&self) -> bool {
        self.bounded
    }

    #[inline(always)]
    fn row(&self, acc: &[i32], first: usize, out: &mut [u8]) {
        // Bounds are integers, so clamping before rounding gives what clamping after it would.
        let (lo, hi) = ((i32::from(self.lo) - self.zero_point) as f32, (i32::from(self.hi) - self.zero_point) as f32);
        for ((out, &acc), &m) in out.iter_mut().zip(acc).zip(&self.multiplier[first..]) {
            let rounded = clamp(acc as f32 * m, lo, hi) + ROUNDING_MAGIC;
            *out = (rounded.to_bits() as i32 - ROUNDING_MAGIC_BITS + self.zero_point) as u8;
        }
        if let Some(then) = &self.then {
            out.iter_mut().for_each(|out| *out = then.apply(*out));
        }
    }
}

/// To f32: `acc · multiplier + bias`, clamped. Never fused, so that every engine rounds alike.
#[derive(Clone, Copy)]
pub(crate) struct Dequant<'a> {
    pub multiplier: &'a [f32],
    pub bias: &'a [f32],
    pub lo: f32,
    pub hi: f32,
}

impl Finish for Dequant<'_> {
    type Out = f32;

    fn columns(&self) -> usize {
        self.multiplier.len().min(self.bias.len())
    }

    #[inline(always)]
    fn row(&self, acc: &[i32], first: usize, out: &mut [f32]) {
        let columns = self.multiplier[first..].iter().zip(&self.bias[first..]);
        for ((out, &acc), (&m, &b)) in out.iter_mut().zip(acc).zip(columns) {
            *out = clamp(acc as f32 * m + b, self.lo, self.hi);
        }
    }
}

/// The accumulators themselves.
#[derive(Clone, Copy)]
pub(crate) struct Raw;

impl Finish for Raw {
    type Out = i32;

    fn columns(&self) -> usize {
        usize::MAX
    }

    #[inline(always)]
    fn row(&self, acc: &[i32], _first: usize, out: &mut [i32]) {
        for (out, &acc) in out.iter_mut().zip(acc) {
            *out = acc;
        }
    }
}

/// Clamps as the vector instructions do: NaN stays.
#[inline(always)]
fn clamp(v: f32, lo: f32, hi: f32) -> f32 {
    let v = if v < lo { lo } else { v };
    if hi < v { hi } else { v }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_round_to_even_and_extremes_saturate() {
        let cases: &[(i32, f32, i32, u8)] = &[
            (1, 0.5, 0, 0),
            (3, 0.5, 0, 2),
            (5, 0.5, 0, 2),
            (-1, 0.5, 128, 128),
            (-3, 0.5, 128, 126),
            (i32::MAX, 1.0, 7, 255),
            (i32::MIN, 1.0, 200, 0),
            (i32::MIN, 3e38, 128, 0),
            (i32::MAX, 3e38, 128, 255),
            (16_777_217, 1.0 / 16_777_216.0, 0, 1),
        ];
        for &(acc, m, zp, expected) in cases {
            let mut out = [0];
            Requant { multiplier: &[m], zero_point: zp, lo: 0, hi: 255, then: None, bounded: false }.row(&[acc], 0, &mut out);
            assert_eq!((out[0], requantize(acc, m, zp, 0, 255)), (expected, expected), "{acc} · {m} + {zp}");
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn rows_follow_the_definition(acc: i32, shift in 0..31u32, m in 1e-9f32..2.0, zp in 0..256i32, a: u8, b: u8) {
            let (acc, lo, hi) = (acc >> shift, a.min(b), a.max(b));
            let mut out = [0];
            Requant { multiplier: &[m], zero_point: zp, lo, hi, then: None, bounded: false }.row(&[acc], 0, &mut out);
            proptest::prop_assert_eq!(out[0], requantize(acc, m, zp, lo, hi));
        }
    }
}
