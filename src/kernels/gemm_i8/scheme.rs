//! The ways in which products of u8 with i8 are computed, one per instruction set.

use super::probe;
use crate::kernels::choice::{Choice, Inner};

/// How products are computed. All give the same results; [`Scheme::best`] is the fastest that is exact on this engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Plain Rust.
    Scalar,
    /// `i32x4.dot_i16x8` on rows widened to i16.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Dot16,
    /// `i32x4.relaxed_dot_i8x16_i7x16_add`, where it multiplies s8 by u8 without saturation.
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    Rdot,
    /// The same instruction where it multiplies s8 by s8: rows are shifted by 128 on the way in.
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    RdotSigned,
    /// `vpmaddwd` on rows widened to i16.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// `vpdpbusd` on 256 bits.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// `vpdpbusd` on 512 bits.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

impl Scheme {
    /// The fastest exact scheme of this engine.
    pub fn best() -> Scheme {
        static BEST: std::sync::OnceLock<Scheme> = std::sync::OnceLock::new();
        *BEST.get_or_init(|| *probe::exact_schemes().last().unwrap_or(&Scheme::Scalar))
    }

    /// [`Scheme::best`], or the exact one that multiplies integers of 16 bits, if that was chosen.
    pub fn of(choice: Choice) -> Scheme {
        let best = Scheme::best();
        match choice.inner {
            Inner::Wide => probe::exact_schemes().into_iter().find(|scheme| scheme.widens()).unwrap_or(best),
            _ => best,
        }
    }

    /// The scheme of products that Winograd's method makes: of 16 bits, without an offset of rows.
    pub const fn of_winograd() -> Scheme {
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        return Scheme::Dot16;
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        Scheme::Scalar
    }

    /// The choice that leads to this scheme.
    pub fn inner(self) -> Inner {
        if self == Scheme::best() { Inner::Auto } else { Inner::Wide }
    }

    /// What the page shows.
    pub const fn name(self) -> &'static str {
        match self {
            Scheme::Scalar => "scalar",
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Scheme::Dot16 => "i16 dot",
            #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
            Scheme::Rdot => "relaxed dot (s8×u8)",
            #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
            Scheme::RdotSigned => "relaxed dot (s8×s8)",
            #[cfg(target_arch = "x86_64")]
            Scheme::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Scheme::AvxVnni => "AVX-VNNI",
            #[cfg(target_arch = "x86_64")]
            Scheme::Avx512Vnni => "AVX-512 VNNI",
        }
    }

    /// Columns of a panel.
    pub const fn panel(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Scheme::Avx2 | Scheme::AvxVnni | Scheme::Avx512Vnni => 16,
            _ => 8,
        }
    }

    /// Depth that one instruction sums.
    pub const fn group(self) -> usize {
        if self.widens() { 2 } else { 4 }
    }

    /// Whether rows are widened to i16.
    pub const fn widens(self) -> bool {
        match self {
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Scheme::Dot16 => true,
            #[cfg(target_arch = "x86_64")]
            Scheme::Avx2 => true,
            _ => false,
        }
    }

    /// Whether products are of i16, which is the only way in WebAssembly where relaxed instructions are missing or not exact.
    pub const fn multiplies_i16(self) -> bool {
        match self {
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Scheme::Dot16 => true,
            _ => false,
        }
    }

    /// What is subtracted from every row element before it is multiplied. Counts as part of the rows' zero point.
    pub const fn row_offset(self) -> i32 {
        match self {
            #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
            Scheme::RdotSigned => 128,
            _ => 0,
        }
    }
}
