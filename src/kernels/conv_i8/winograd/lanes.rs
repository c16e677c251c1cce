//! Vectors of integers that wrap around: of WebAssembly where there are any, else arrays.

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
pub(super) use arrays::{Bytes, Sums, store};
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(super) use vectors::{Bytes, Sums, store};

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod vectors {
    use core::arch::wasm32::*;

    use crate::kernels::gemm_i8::Store;

    /// Eight bytes, and what is computed from them in 16 bits.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Bytes(v128);

    impl Bytes {
        pub const LANES: usize = 8;

        /// # Safety
        /// `p` must be readable for 8 bytes.
        #[inline(always)]
        pub unsafe fn load(p: *const u8) -> Bytes {
            // SAFETY: as the caller promises.
            Bytes(unsafe { u16x8_load_extend_u8x8(p) })
        }

        /// # Safety
        /// `p` must be readable for 8 bytes.
        #[inline(always)]
        pub unsafe fn load_signed(p: *const u8) -> Bytes {
            // SAFETY: as the caller promises.
            Bytes(unsafe { i16x8_load_extend_i8x8(p.cast()) })
        }

        #[inline(always)]
        pub fn splat(byte: u8) -> Bytes {
            Bytes(i16x8_splat(byte.into()))
        }

        /// # Safety
        /// `p` must be writable for 8 elements.
        #[inline(always)]
        pub unsafe fn store(self, p: *mut i16) {
            // SAFETY: as the caller promises.
            unsafe { v128_store(p.cast(), self.0) }
        }

        #[inline(always)]
        pub fn add(self, b: Bytes) -> Bytes {
            Bytes(i16x8_add(self.0, b.0))
        }

        #[inline(always)]
        pub fn sub(self, b: Bytes) -> Bytes {
            Bytes(i16x8_sub(self.0, b.0))
        }

        #[inline(always)]
        pub fn shl<const N: u32>(self) -> Bytes {
            Bytes(i16x8_shl(self.0, N))
        }
    }

    /// Four sums in 32 bits.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Sums(v128);

    impl Sums {
        pub const LANES: usize = 4;

        /// # Safety
        /// `p` must be readable for 4 elements.
        #[inline(always)]
        pub unsafe fn load(p: *const i32) -> Sums {
            // SAFETY: as the caller promises.
            Sums(unsafe { v128_load(p.cast()) })
        }

        #[inline(always)]
        pub fn add(self, b: Sums) -> Sums {
            Sums(i32x4_add(self.0, b.0))
        }

        #[inline(always)]
        pub fn sub(self, b: Sums) -> Sums {
            Sums(i32x4_sub(self.0, b.0))
        }

        #[inline(always)]
        pub fn shl<const N: u32>(self) -> Sums {
            Sums(i32x4_shl(self.0, N))
        }

        #[inline(always)]
        pub fn times(self, factor: i32) -> Sums {
            Sums(i32x4_mul(self.0, i32x4_splat(factor)))
        }

        #[inline(always)]
        pub fn sar(self, bits: u32) -> Sums {
            Sums(i32x4_shr(self.0, bits))
        }
    }

    /// Finishes the first `count` of four neighbouring pixels, `stride` apart.
    ///
    /// # Safety
    /// As for [`Store::store`], for that many rows.
    #[inline(always)]
    pub(in super::super) unsafe fn store<F: Store>(
        finish: &F,
        acc: [Sums; 4],
        count: usize,
        column: usize,
        out: *mut F::Out,
        stride: usize,
    ) {
        // SAFETY: as the caller promises.
        unsafe {
            if count == 4 {
                finish.store::<4, 1>(acc.map(|acc| [acc.0]), column, out, stride);
            } else {
                for (i, acc) in acc.into_iter().take(count).enumerate() {
                    finish.store::<1, 1>([[acc.0]], column, out.add(i * stride), stride);
                }
            }
        }
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod arrays {
    use core::array::from_fn;

    use crate::kernels::gemm_i8::Store;

    #[derive(Clone, Copy)]
    pub(in super::super) struct Bytes([i16; 8]);

    impl Bytes {
        pub const LANES: usize = 8;

        pub unsafe fn load(p: *const u8) -> Bytes {
            // SAFETY: as the caller promises.
            Bytes(unsafe { p.cast::<[u8; 8]>().read() }.map(i16::from))
        }

        pub unsafe fn load_signed(p: *const u8) -> Bytes {
            // SAFETY: as the caller promises.
            Bytes(unsafe { p.cast::<[i8; 8]>().read() }.map(i16::from))
        }

        pub fn splat(byte: u8) -> Bytes {
            Bytes([byte.into(); 8])
        }

        pub unsafe fn store(self, p: *mut i16) {
            // SAFETY: as the caller promises.
            unsafe { p.cast::<[i16; 8]>().write_unaligned(self.0) }
        }

        pub fn add(self, b: Bytes) -> Bytes {
            Bytes(from_fn(|i| self.0[i].wrapping_add(b.0[i])))
        }

        pub fn sub(self, b: Bytes) -> Bytes {
            Bytes(from_fn(|i| self.0[i].wrapping_sub(b.0[i])))
        }

        pub fn shl<const N: u32>(self) -> Bytes {
            Bytes(self.0.map(|v| v << N))
        }
    }

    #[derive(Clone, Copy)]
    pub(in super::super) struct Sums([i32; 4]);

    impl Sums {
        pub const LANES: usize = 4;

        pub unsafe fn load(p: *const i32) -> Sums {
            // SAFETY: as the caller promises.
            Sums(unsafe { p.cast::<[i32; 4]>().read_unaligned() })
        }

        pub fn add(self, b: Sums) -> Sums {
            Sums(from_fn(|i| self.0[i].wrapping_add(b.0[i])))
        }

        pub fn sub(self, b: Sums) -> Sums {
            Sums(from_fn(|i| self.0[i].wrapping_sub(b.0[i])))
        }

        pub fn shl<const N: u32>(self) -> Sums {
            Sums(self.0.map(|v| v << N))
        }

        pub fn times(self, factor: i32) -> Sums {
            Sums(self.0.map(|v| v.wrapping_mul(factor)))
        }

        pub fn sar(self, bits: u32) -> Sums {
            Sums(self.0.map(|v| v >> bits))
        }
    }

    /// Finishes the first `count` of four neighbouring pixels, `stride` apart.
    ///
    /// # Safety
    /// `out` must be writable for 4 elements at each of them, and nobody else hold these.
    pub(in super::super) unsafe fn store<F: Store>(
        finish: &F,
        acc: [Sums; 4],
        count: usize,
        column: usize,
        out: *mut F::Out,
        stride: usize,
    ) {
        for (i, acc) in acc.into_iter().take(count).enumerate() {
            // SAFETY: as the caller promises.
            let out = unsafe { core::slice::from_raw_parts_mut(out.add(i * stride), 4) };
            finish.row(&acc.0, column, out);
        }
    }
}
