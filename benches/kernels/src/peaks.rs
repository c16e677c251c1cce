//! What the instructions do at best: loops in registers, enough sums side by side to hide the latency.

use core::hint::black_box;

use nearside::{Result, kernels};

use crate::measure::{Clock, fastest};

/// The speed of one instruction, or pair of instructions.
pub(crate) struct Peak {
    pub name: &'static str,
    /// Billions of multiply-accumulates per second.
    pub speed: f64,
    /// Whether integer kernels that say so rest on it; see [`kernels::integer_path`].
    integer_path: Option<&'static str>,
}

pub(crate) struct Peaks(Vec<Peak>);

const ROUNDS: usize = 4000;

/// `run(rounds)` computes 12 sums of vectors of `lanes` products.
struct Loop {
    name: &'static str,
    integer_path: Option<&'static str>,
    lanes: usize,
    run: fn(usize),
}

impl Peaks {
    pub fn measure(clock: Clock<'_>) -> Peaks {
        let measure = |l: Loop| {
            let millis = fastest(clock, &mut || {
                (l.run)(black_box(ROUNDS));
                Ok(())
            });
            let macs = (12 * l.lanes * ROUNDS) as f64;
            Peak { name: l.name, integer_path: l.integer_path, speed: millis.map_or(f64::NAN, |ms| macs / ms / 1e6) }
        };
        Peaks(loops().into_iter().map(measure).collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Peak> {
        self.0.iter()
    }

    /// The peak of the instruction that integer products use here.
    pub fn integer(&self) -> f64 {
        let path = kernels::integer_path();
        let found = self.0.iter().find(|p| p.integer_path.is_some_and(|i| path.starts_with(i)));
        found.map_or(f64::NAN, |p| p.speed)
    }

    /// The peak of the fastest f32 instruction.
    pub fn float(&self) -> f64 {
        self.0.iter().filter(|p| p.integer_path.is_none()).map(|p| p.speed).fold(f64::NAN, f64::max)
    }
}

/// GB/s, read and written, of a copy of `len` bytes.
pub(crate) fn copy_speed(clock: Clock<'_>, len: usize) -> Result<f64> {
    let len = len.max(64);
    let (from, mut to) = (vec![1u8; len], vec![2u8; len]);
    let millis = fastest(clock, &mut || {
        black_box(&mut to[..]).copy_from_slice(black_box(&from));
        Ok(())
    })?;
    Ok(2.0 * len as f64 / millis / 1e6)
}

/// Defines a loop over 12 sums. `$step` must depend on the sum, or the compiler computes it once.
macro_rules! register_loop {
    ($(#[$attribute:meta])* $name:ident: $start:expr, |$acc:ident, $a:ident, $b:ident| $step:expr) => {
        $(#[$attribute])*
        fn $name(rounds: usize) {
            let ($a, $b) = (black_box($start), black_box($start));
            let mut acc = [black_box($start); 12];
            for _ in 0..rounds {
                for $acc in &mut acc {
                    *$acc = $step;
                }
            }
            black_box(acc);
        }
    };
}

#[cfg(target_arch = "wasm32")]
fn loops() -> Vec<Loop> {
    use core::arch::wasm32::*;

    register_loop!(mul_add: f32x4_splat(0.5), |acc, a, b| f32x4_add(f32x4_mul(*acc, a), b));
    register_loop!(dot16: i16x8_splat(3), |acc, a, b| i32x4_add(b, i32x4_dot_i16x8(*acc, a)));
    #[allow(unused_mut)]
    let mut loops = vec![
        Loop { name: "f32x4.mul, f32x4.add", integer_path: None, lanes: 4, run: mul_add },
        Loop { name: "i32x4.dot_i16x8_s, i32x4.add", integer_path: Some("i16 dot"), lanes: 8, run: dot16 },
    ];
    #[cfg(target_feature = "relaxed-simd")]
    {
        register_loop!(fused: f32x4_splat(0.5), |acc, a, b| f32x4_relaxed_madd(*acc, a, b));
        register_loop!(relaxed_dot: i8x16_splat(3), |acc, a, b| i32x4_relaxed_dot_i8x16_i7x16_add(a, b, *acc));
        loops.push(Loop { name: "f32x4.relaxed_madd", integer_path: None, lanes: 4, run: fused });
        let integer_path = Some("relaxed dot");
        loops.push(Loop { name: "i32x4.relaxed_dot_i8x16_i7x16_add_s", integer_path, lanes: 16, run: relaxed_dot });
    }
    loops
}

#[cfg(target_arch = "x86_64")]
fn loops() -> Vec<Loop> {
    use core::arch::x86_64::*;

    register_loop!(#[target_feature(enable = "avx2,fma")] fma256: _mm256_set1_ps(0.5), |acc, a, b| _mm256_fmadd_ps(*acc, a, b));
    register_loop!(#[target_feature(enable = "avx512f")] fma512: _mm512_set1_ps(0.5), |acc, a, b| _mm512_fmadd_ps(*acc, a, b));
    register_loop!(#[target_feature(enable = "avx2")] madd: _mm256_set1_epi16(3), |acc, a, b| {
        _mm256_add_epi32(b, _mm256_madd_epi16(*acc, a))
    });
    register_loop!(#[target_feature(enable = "avxvnni")] vnni256: _mm256_set1_epi8(3), |acc, a, b| {
        _mm256_dpbusd_avx_epi32(*acc, a, b)
    });
    register_loop!(#[target_feature(enable = "avx512f,avx512vnni")] vnni512: _mm512_set1_epi8(3), |acc, a, b| {
        _mm512_dpbusd_epi32(*acc, a, b)
    });
    let mut loops = Vec::new();
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has the loop's features.
        let run = |rounds| unsafe { fma256(rounds) };
        loops.push(Loop { name: "vfmadd, 256 bits", integer_path: None, lanes: 8, run });
        // SAFETY: the processor has the loop's features.
        let run = |rounds| unsafe { madd(rounds) };
        loops.push(Loop { name: "vpmaddwd, vpaddd, 256 bits", integer_path: Some("AVX2"), lanes: 16, run });
    }
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has the loop's features.
        let run = |rounds| unsafe { fma512(rounds) };
        loops.push(Loop { name: "vfmadd, 512 bits", integer_path: None, lanes: 16, run });
    }
    if is_x86_feature_detected!("avxvnni") {
        // SAFETY: the processor has the loop's features.
        let run = |rounds| unsafe { vnni256(rounds) };
        loops.push(Loop { name: "vpdpbusd, 256 bits", integer_path: Some("AVX-VNNI"), lanes: 32, run });
    }
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
        // SAFETY: the processor has the loop's features.
        let run = |rounds| unsafe { vnni512(rounds) };
        loops.push(Loop { name: "vpdpbusd, 512 bits", integer_path: Some("AVX-512 VNNI"), lanes: 64, run });
    }
    loops
}

#[cfg(not(any(target_arch = "wasm32", target_arch = "x86_64")))]
fn loops() -> Vec<Loop> {
    Vec::new()
}
