//! Vectors of f32, one type per instruction set. Kernels are written once over [`Vector`] and compiled for each type.

mod portable;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use portable::Portable;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(crate) use wasm::Wasm;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

/// A vector of `LANES` f32.
pub(crate) trait Vector: Copy {
    /// Elements.
    const LANES: usize;
    /// Rows of a matrix tile two vectors wide, whose accumulators just fill the registers.
    const ROWS: usize;

    /// # Safety
    /// The CPU must have the type's instructions; `p` must be valid for reading `LANES` elements.
    unsafe fn load(p: *const f32) -> Self;

    /// # Safety
    /// The CPU must have the type's instructions; `p` must be valid for writing `LANES` elements.
    unsafe fn store(self, p: *mut f32);

    /// # Safety
    /// The CPU must have the type's instructions.
    unsafe fn splat(x: f32) -> Self;

    /// `self · b + c`, rounded once or twice.
    ///
    /// # Safety
    /// The CPU must have the type's instructions.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;

    /// # Safety
    /// The CPU must have the type's instructions.
    unsafe fn add(self, b: Self) -> Self;

    /// # Safety
    /// The CPU must have the type's instructions.
    unsafe fn sub(self, b: Self) -> Self;

    /// `min(max(self, lo), hi)`; NaN stays NaN.
    ///
    /// # Safety
    /// The CPU must have the type's instructions.
    unsafe fn clamp(self, lo: Self, hi: Self) -> Self;
}

/// The instruction sets that there are code paths for. The value of [`Isa::best`] is proof that the CPU has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isa {
    /// What every CPU of the target has. The reference for the others.
    Portable,
    /// 128 bits, with fused multiply-add if the module was built with relaxed SIMD.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Wasm,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// The fastest one that this machine has; the same throughout a process, since packed weights depend on it.
    pub fn best() -> Isa {
        *Isa::available().last().unwrap_or(&Isa::Portable)
    }

    /// All that this machine has, slowest first.
    #[cfg(target_arch = "x86_64")]
    pub fn available() -> &'static [Isa] {
        let all = &[Isa::Portable, Isa::Avx2, Isa::Avx512];
        if cfg!(miri) || !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
            &all[..1]
        } else if !is_x86_feature_detected!("avx512f") {
            &all[..2]
        } else {
            all
        }
    }

    /// All that this machine has, slowest first. A module with vectors does without the portable path, which would only make it larger.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    pub fn available() -> &'static [Isa] {
        &[Isa::Wasm]
    }

    /// All that this machine has, slowest first.
    #[cfg(not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128"))))]
    pub fn available() -> &'static [Isa] {
        &[Isa::Portable]
    }

    /// Rows of a tile of its type: [`Vector::ROWS`], or fewer where a product takes a register more than expected.
    pub fn rows(self) -> usize {
        #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
        if !wasm::is_fused() {
            return wasm::UNFUSED_ROWS;
        }
        usize::MAX
    }

    /// [`Vector::LANES`] of its type.
    pub fn lanes(self) -> usize {
        match self {
            Isa::Portable => Portable::LANES,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Isa::Wasm => Wasm::LANES,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Avx512::LANES,
        }
    }
}

/// Calls `$function::<V>($arguments)` compiled for the instruction set `$isa`, with `V` its vector type.
/// `$function` must be `#[inline(always)]` and unsafe, and must ask of its caller no more than that the CPU has `V`'s instructions
/// beside what the arguments' own contract says.
macro_rules! on_isa {
    ($isa:expr, $function:ident($($name:ident: $type:ty),*)) => {{
        // Each in a function of its own: engines optimise functions one by one, and swap in the result at calls only.
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        #[inline(never)]
        unsafe fn portable($($name: $type),*) {
            // SAFETY: the caller's arguments are as `$function` demands; every CPU has these instructions.
            unsafe { $function::<$crate::kernels::vector::Portable>($($name),*) }
        }
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        #[inline(never)]
        unsafe fn wasm($($name: $type),*) {
            // SAFETY: the caller's arguments are as `$function` demands; a module with such instructions was loaded.
            unsafe { $function::<$crate::kernels::vector::Wasm>($($name),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2($($name: $type),*) {
            // SAFETY: the caller's arguments are as `$function` demands; the features are this function's own.
            unsafe { $function::<$crate::kernels::vector::Avx2>($($name),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f")]
        unsafe fn avx512($($name: $type),*) {
            // SAFETY: the caller's arguments are as `$function` demands; the features are this function's own.
            unsafe { $function::<$crate::kernels::vector::Avx512>($($name),*) }
        }
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        {
            let _: $crate::kernels::vector::Isa = $isa;
            wasm($($name),*)
        }
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        match $isa {
            $crate::kernels::vector::Isa::Portable => portable($($name),*),
            #[cfg(target_arch = "x86_64")]
            $crate::kernels::vector::Isa::Avx2 => avx2($($name),*),
            #[cfg(target_arch = "x86_64")]
            $crate::kernels::vector::Isa::Avx512 => avx512($($name),*),
        }
    }};
}
pub(crate) use on_isa;

/// Repeats a block for the constants `0..$n` (up to 13). Arrays of vectors must be indexed by constants to stay in registers,
/// and loops are not unrolled reliably.
macro_rules! unroll {
    ($i:ident < $n:expr, $body:block) => {
        $crate::kernels::vector::unroll!(@ $i, $n, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12)
    };
    (@ $i:ident, $n:expr, $body:block, $($k:literal)*) => { $( {
        const $i: usize = $k;
        if $i < $n $body
    } )* };
}
pub(crate) use unroll;
