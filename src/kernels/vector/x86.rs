//! AVX2 with FMA, and AVX-512.

use core::arch::x86_64::*;

use super::Vector;

macro_rules! vector {
    ($name:ident($register:ty), $lanes:literal lanes, $rows:literal rows, $load:ident $store:ident $splat:ident $fma:ident $add:ident $sub:ident $max:ident $min:ident) => {
        #[derive(Clone, Copy)]
        pub(crate) struct $name($register);

        impl Vector for $name {
            const LANES: usize = $lanes;
            const ROWS: usize = $rows;

            #[inline(always)]
            unsafe fn load(p: *const f32) -> Self {
                // SAFETY: by the contract.
                $name(unsafe { $load(p) })
            }

            #[inline(always)]
            unsafe fn store(self, p: *mut f32) {
                // SAFETY: by the contract.
                unsafe { $store(p, self.0) }
            }

            #[inline(always)]
            unsafe fn splat(x: f32) -> Self {
                // SAFETY: by the contract.
                $name(unsafe { $splat(x) })
            }

            #[inline(always)]
            unsafe fn mul_add(self, b: Self, c: Self) -> Self {
                // SAFETY: by the contract.
                $name(unsafe { $fma(self.0, b.0, c.0) })
            }

            #[inline(always)]
            unsafe fn add(self, b: Self) -> Self {
                // SAFETY: by the contract.
                $name(unsafe { $add(self.0, b.0) })
            }

            #[inline(always)]
            unsafe fn sub(self, b: Self) -> Self {
                // SAFETY: by the contract.
                $name(unsafe { $sub(self.0, b.0) })
            }

            #[inline(always)]
            unsafe fn clamp(self, lo: Self, hi: Self) -> Self {
                // On NaN these give the second operand.
                // SAFETY: by the contract.
                $name(unsafe { $min(hi.0, $max(lo.0, self.0)) })
            }
        }
    };
}

vector!(Avx2(__m256), 8 lanes, 6 rows, _mm256_loadu_ps _mm256_storeu_ps _mm256_set1_ps _mm256_fmadd_ps _mm256_add_ps _mm256_sub_ps _mm256_max_ps _mm256_min_ps);
vector!(Avx512(__m512), 16 lanes, 12 rows, _mm512_loadu_ps _mm512_storeu_ps _mm512_set1_ps _mm512_fmadd_ps _mm512_add_ps _mm512_sub_ps _mm512_max_ps _mm512_min_ps);
