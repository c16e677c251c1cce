//! Products of integers that are i16 on both sides, as the methods for fewer products need them. Sums wrap around.

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use core::arch::wasm32::*;

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use super::{Block, Dot, Raw, wasm};
use crate::error::{Result, ensure};

/// Multiplies rows of i16, `depth` (a multiple of 4) long, with columns of i16 in panels of 8 `[panel][depth / 2][8][2]`. Sums wrap around.
/// `zeros` are as many as there are columns, and `sums` has a row of them for each row of `a`.
pub(crate) fn run_wide(a: &[i16], depth: usize, b: &[u8], zeros: &[i32], sums: &mut [i32]) -> Result<()> {
    let (n, rows) = (zeros.len(), a.len() / depth.max(1));
    ensure!(
        n.is_multiple_of(8) && depth.is_multiple_of(4) && b.len() >= 2 * n * depth && sums.len() >= rows * n && rows > 0,
        Internal,
        "operands of a product of 16-bit integers do not fit"
    );
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    {
        let block = Block {
            a: a.as_ptr().cast(),
            lda: 2 * depth,
            offsets: core::ptr::null(),
            rows,
            segments: 1,
            gap: 0,
            b: b.as_ptr(),
            panel_bytes: 16 * depth,
            groups: depth / 2,
            panels: 0..n / 8,
            n,
            init: zeros.as_ptr(),
            finish: &Raw,
            out: sums.as_mut_ptr(),
            ldo: n,
        };
        // SAFETY: the lengths were checked above.
        unsafe { wasm::run::<Wide, Raw>(&block) };
    }
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    for (row, sums) in a.chunks_exact(depth).zip(sums.chunks_exact_mut(n)) {
        for (column, sum) in sums.iter_mut().enumerate() {
            let at = |k: usize| (column / 8 * depth + k / 2 * 2) * 8 + column % 8 * 2 + k % 2;
            let weight = |k: usize| i32::from(i16::from_le_bytes([b[2 * at(k)], b[2 * at(k) + 1]]));
            *sum = (0..depth).fold(0, |sum, k| i32::wrapping_add(sum, i32::from(row[k]).wrapping_mul(weight(k))));
        }
    }
    Ok(())
}

/// The dot product for [`run_wide`].
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
struct Wide;

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
impl Dot for Wide {
    const TURN: usize = 2;

    #[inline(always)]
    fn dot(weights: v128, row: v128, acc: v128) -> v128 {
        i32x4_add(acc, i32x4_dot_i16x8(weights, row))
    }
}
