//! WebAssembly's 128-bit vectors.

use core::arch::wasm32::*;

use super::Vector;

/// Rows of a tile where multiplication and addition are two instructions.
pub(super) const UNFUSED_ROWS: usize = 4;

/// Whether a product is added without being rounded before, as relaxed SIMD allows and CPUs without FMA do not. The answer is in the result:
/// (1 + 2⁻¹²)² − (1 + 2⁻¹¹) is 2⁻²⁴, and 0 if the square was rounded.
#[cfg(target_feature = "relaxed-simd")]
pub(crate) fn is_fused() -> bool {
    use core::hint::black_box;
    let (x, y) = (black_box(1.0 + 1.0 / 4096.0), black_box(-1.0 - 1.0 / 2048.0));
    f32x4_extract_lane::<0>(f32x4_relaxed_madd(f32x4_splat(x), f32x4_splat(x), f32x4_splat(y))) != 0.0
}

#[derive(Clone, Copy)]
pub(crate) struct Wasm(v128);

impl Vector for Wasm {
    const LANES: usize = 4;
    // V8 has 15 registers on x86-64: 12 accumulators, two columns and one row element. Unfused, a product needs one more; what then
    // spills costs up to half the speed, while 8 accumulators hide the shorter latency of an addition.
    const ROWS: usize = if cfg!(target_feature = "relaxed-simd") { 6 } else { UNFUSED_ROWS };

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: by the contract.
        Wasm(unsafe { v128_load(p.cast()) })
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: by the contract.
        unsafe { v128_store(p.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Wasm(f32x4_splat(x))
    }

    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        #[cfg(target_feature = "relaxed-simd")]
        return Wasm(f32x4_relaxed_madd(self.0, b.0, c.0));
        #[cfg(not(target_feature = "relaxed-simd"))]
        return Wasm(f32x4_add(c.0, f32x4_mul(self.0, b.0)));
    }

    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        Wasm(f32x4_add(self.0, b.0))
    }

    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        Wasm(f32x4_sub(self.0, b.0))
    }

    #[inline(always)]
    unsafe fn clamp(self, lo: Self, hi: Self) -> Self {
        Wasm(f32x4_pmin(f32x4_pmax(self.0, lo.0), hi.0))
    }
}
