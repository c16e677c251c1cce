//! Which schemes are exact here, and a check of the fastest against plain arithmetic.

use alloc::vec::Vec;

use super::{Columns, Gemm, InPlace, Packed, Scheme, Weights};
use crate::{
    error::{Result, ensure},
    kernels::{
        choice::Choice,
        requant::{Raw, Requant, requantize},
        team::Crew,
    },
};

/// Schemes that give exact results on this engine, the fastest last.
#[inline(never)]
pub(crate) fn exact_schemes() -> Vec<Scheme> {
    #[allow(unused_mut)]
    let mut schemes = alloc::vec![Scheme::Scalar];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            schemes.push(Scheme::Avx2);
            if is_x86_feature_detected!("avxvnni") {
                schemes.push(Scheme::AvxVnni);
            }
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
            {
                schemes.push(Scheme::Avx512Vnni);
            }
        }
    }
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    schemes.push(Scheme::Dot16);
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    schemes.extend(relaxed_scheme());
    schemes
}

/// What the relaxed dot product computes here, if one of the two exact meanings.
///
/// Engines may read the second operand as signed or unsigned when its top bit is set, and may saturate or wrap sums of two
/// products in i16. The vectors hold every pair of extremes in every pair of positions, so each such engine is told apart.
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
#[inline(never)]
fn relaxed_scheme() -> Option<Scheme> {
    use core::hint::black_box;

    const WEIGHTS: [i8; 5] = [-128, -127, 1, 64, 127];
    const ROWS: [u8; 6] = [0, 1, 127, 128, 200, 255];
    let (mut unsigned, mut signed) = (true, true);
    for case in 0..WEIGHTS.len() * ROWS.len() * WEIGHTS.len() * ROWS.len() {
        let (w0, x0) = (WEIGHTS[case % 5], ROWS[case / 5 % 6]);
        let (w1, x1) = (WEIGHTS[case / 30 % 5], ROWS[case / 150]);
        // Lanes hold the pair at the front, at the back, twice, and apart.
        let w: [i8; 16] = [w0, w1, 0, 0, 0, 0, w0, w1, w0, w1, w0, w1, w0, 0, w1, 0];
        let x: [u8; 16] = [x0, x1, 0, 0, 0, 0, x0, x1, x0, x1, x0, x1, x0, 0, x1, 0];
        let start = 1_000_000_000;
        let lanes = relaxed_dot(black_box(&w), black_box(&x), start);
        let expected = |x0: i32, x1: i32| {
            let sum = i32::from(w0) * x0 + i32::from(w1) * x1;
            [sum, sum, 2 * sum, sum].map(|s| start + s)
        };
        unsigned &= lanes == expected(x0.into(), x1.into());
        signed &= lanes == expected((x0 as i8).into(), (x1 as i8).into());
    }
    if unsigned {
        Some(Scheme::Rdot)
    } else if signed {
        Some(Scheme::RdotSigned)
    } else {
        None
    }
}

/// Not inlined: a loop around much code would make engines spend their time on optimising a probe.
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
#[inline(never)]
fn relaxed_dot(w: &[i8; 16], x: &[u8; 16], start: i32) -> [i32; 4] {
    use core::arch::wasm32::*;
    // SAFETY: both are 16 bytes.
    let (w, x) = unsafe { (v128_load(w.as_ptr().cast()), v128_load(x.as_ptr().cast())) };
    let y = i32x4_relaxed_dot_i8x16_i7x16_add(w, x, i32x4_splat(start));
    [i32x4_extract_lane::<0>(y), i32x4_extract_lane::<1>(y), i32x4_extract_lane::<2>(y), i32x4_extract_lane::<3>(y)]
}

/// Compares the scheme in use with plain arithmetic on small products of extreme values.
pub(crate) fn selftest() -> Result<()> {
    for scheme in exact_schemes() {
        for (m, n, k) in [(1, 40, 8), (2, 17, 4), (7, 23, 36), (13, 8, 64)] {
            check(scheme, m, n, k)?;
        }
    }
    Ok(())
}

#[inline(never)]
fn check(scheme: Scheme, m: usize, n: usize, k: usize) -> Result<()> {
    let mut state = (m * 31 + n * 17 + k) as u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match state >> 28 {
            0..4 => [0, 127, 128, 255][(state >> 28) as usize],
            _ => (state >> 16) as u8,
        }
    };
    let a: Vec<u8> = (0..m * k).map(|_| next()).collect();
    let w: Vec<u8> = (0..n * k).map(|_| next()).collect();
    let packed = Packed::new(scheme, Weights::by_column(&w, k), n, k)?;
    let gemm = Gemm::new(scheme, m, n, k, false, Choice::AUTO);
    let padded = gemm.padded_columns();
    let init: Vec<i32> = packed.sums.iter().map(|s| scheme.row_offset() * s + 5).collect();
    let multiplier: Vec<f32> = (0..padded).map(|c| 0.001 + c as f32 * 1e-4).collect();
    let columns = Columns { packed: &packed.bytes, init: &init, row_sum: None };
    let source = InPlace { bytes: &a, stride: k };
    let mut scratch = crate::tensor::AlignedBytes::zeroed(gemm.scratch());
    let mut raw = alloc::vec![0i32; m * n];
    gemm.run(&source, columns, &Raw, &mut raw, n, Crew::alone(&mut scratch))?;
    let finish = Requant { multiplier: &multiplier, zero_point: 3, lo: 3, hi: 250, then: None, bounded: true };
    let mut bytes = alloc::vec![0u8; m * n];
    gemm.run(&source, columns, &finish, &mut bytes, n, Crew::alone(&mut scratch))?;
    for i in 0..m * n {
        let (row, column) = (i / n, i % n);
        let products = a[row * k..][..k].iter().zip(&w[column * k..][..k]).map(|(&a, &w)| i32::from(a) * i32::from(w as i8));
        let acc = 5 + products.sum::<i32>();
        let byte = requantize(acc, multiplier[column], 3, 3, 250);
        ensure!(
            (raw[i], bytes[i]) == (acc, byte),
            Internal,
            "integer products by {scheme:?} are not exact here: {} and {} instead of {acc} and {byte} in a {m}×{n}×{k} product",
            raw[i],
            bytes[i]
        );
    }
    Ok(())
}
