//! Integer products with AVX2, AVX-VNNI and AVX-512 VNNI.
//!
//! Tiles leave their accumulators in a small buffer; the finish, compiled for the same instruction set, reads them from there.

// Indices beyond an array only occur where `unroll!` compiles nothing.
#![allow(clippy::out_of_bounds_indexing)]

use core::arch::x86_64::*;

use super::{Block, Finish};

const PANEL: usize = 16;
/// Rows of the largest tile.
const ROWS: usize = 12;

/// Repeats the body with `$i` as a constant from 0 to `$n` − 1, at most 12 times.
macro_rules! unroll {
    ($i:ident < $n:expr, $body:expr) => {{
        unroll!(@ $i $n, $body, 0 1 2 3 4 5 6 7 8 9 10 11);
    }};
    (@ $i:ident $n:expr, $body:expr, $($v:literal)*) => {
        $( { const $i: usize = $v; if $i < $n { $body } } )*
    };
}

#[repr(align(64))]
struct Buffer([i32; ROWS * PANEL]);

/// Defines the driver for one instruction set: `$tile::<R>(block, row, panel, buffer)` for `$rows`, 4 and 1 rows.
macro_rules! driver {
    ($name:ident, $features:literal, $tile:ident, $single:ident, $rows:literal) => {
        /// # Safety
        /// As for [`Block::run`]; the processor must have the features.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $name<F: Finish>(block: &Block<'_, F>) {
            let mut buffer = Buffer([0; ROWS * PANEL]);
            for panel in block.panels.clone() {
                let mut row = 0;
                while row < block.rows {
                    let left = block.rows - row;
                    // SAFETY: as the caller promises; the buffer holds the largest tile.
                    let count = unsafe {
                        if left >= $rows {
                            $tile::<F, $rows>(block, row, panel, &mut buffer);
                            $rows
                        } else if left >= 4 {
                            $tile::<F, 4>(block, row, panel, &mut buffer);
                            4
                        } else {
                            $single(block, row, panel, &mut buffer);
                            1
                        }
                    };
                    let column = panel * PANEL;
                    let columns = PANEL.min(block.n - column);
                    for i in 0..count {
                        // SAFETY: `out` holds n columns from each row's start, and `columns` ends at n.
                        let out = unsafe { block.out_row(row + i, column, columns) };
                        let acc = &buffer.0[i * PANEL..][..PANEL];
                        if let Ok(out) = <&mut [F::Out; PANEL]>::try_from(&mut *out) {
                            block.finish.row(acc, column, out);
                        } else {
                            block.finish.row(acc, column, out);
                        }
                    }
                    row += count;
                }
            }
        }
    };
}
driver!(run_avx2, "avx2,fma", tile_avx2, single_avx2, 6);
driver!(run_avx_vnni, "avx2,fma,avxvnni", tile_avx_vnni, single_avx_vnni, 6);
driver!(run_avx512_vnni, "avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni", tile_avx512_vnni, single_avx512_vnni, 12);

/// Defines a tile of `R` rows and a row by itself, whose depth is cut in four so that the sums do not wait for each other.
macro_rules! tiles {
    ($tile:ident, $single:ident, $features:literal, $vector:ident, $v:literal, $weights:literal,
     $zero:expr, $load_init:expr, $load:expr, $splat:expr, $dot:expr, $add:expr, $store:expr) => {
        /// # Safety
        /// As for [`Block::run`]; the processor must have the features.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn $tile<F: Finish, const R: usize>(block: &Block<'_, F>, row: usize, panel: usize, out: &mut Buffer) {
            // SAFETY: as the caller promises.
            unsafe {
                let mut b = block.b.add(panel * block.panel_bytes);
                let mut a = [block.a; R];
                let mut acc = [[$zero; $v]; R];
                unroll!(I < R, a[I] = block.row(row + I));
                unroll!(Q < $v, {
                    let init = $load_init(block.init.add(panel * PANEL + Q * (PANEL / $v)).cast());
                    unroll!(I < R, acc[I][Q] = init);
                });
                for _ in 0..block.segments {
                    for _ in 0..block.groups {
                        let mut w = [$zero; $v];
                        unroll!(Q < $v, w[Q] = $load(b.add(Q * $weights)));
                        unroll!(I < R, {
                            let x = $splat(a[I].cast::<i32>().read_unaligned());
                            unroll!(Q < $v, acc[I][Q] = $dot(acc[I][Q], x, w[Q]));
                            a[I] = a[I].add(4);
                        });
                        b = b.add($v * $weights);
                    }
                    unroll!(I < R, a[I] = a[I].wrapping_add(block.gap));
                }
                unroll!(I < R, unroll!(Q < $v, $store(out.0.as_mut_ptr().add(I * PANEL + Q * (PANEL / $v)).cast(), acc[I][Q])));
            }
        }

        /// # Safety
        /// As for [`Block::run`]; the processor must have the features.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn $single<F: Finish>(block: &Block<'_, F>, row: usize, panel: usize, out: &mut Buffer) {
            // SAFETY: as the caller promises.
            unsafe {
                let mut b = block.b.add(panel * block.panel_bytes);
                let mut a = block.row(row);
                let mut acc = [[$zero; $v]; 4];
                unroll!(Q < $v, acc[0][Q] = $load_init(block.init.add(panel * PANEL + Q * (PANEL / $v)).cast()));
                for _ in 0..block.segments {
                    let mut group = 0;
                    while group + 4 <= block.groups {
                        unroll!(U < 4, {
                            let x = $splat(a.add((group + U) * 4).cast::<i32>().read_unaligned());
                            unroll!(Q < $v, {
                                let w = $load(b.add(((group + U) * $v + Q) * $weights));
                                acc[U][Q] = $dot(acc[U][Q], x, w);
                            });
                        });
                        group += 4;
                    }
                    while group < block.groups {
                        let x = $splat(a.add(group * 4).cast::<i32>().read_unaligned());
                        unroll!(Q < $v, {
                            let w = $load(b.add((group * $v + Q) * $weights));
                            acc[0][Q] = $dot(acc[0][Q], x, w);
                        });
                        group += 1;
                    }
                    a = a.wrapping_add(4 * block.groups).wrapping_add(block.gap);
                    b = b.add(block.groups * $v * $weights);
                }
                unroll!(Q < $v, {
                    let sum = $add($add(acc[0][Q], acc[1][Q]), $add(acc[2][Q], acc[3][Q]));
                    $store(out.0.as_mut_ptr().add(Q * (PANEL / $v)).cast(), sum);
                });
            }
        }
    };
}

tiles!(
    tile_avx2,
    single_avx2,
    "avx2,fma",
    __m256i,
    2,
    16,
    _mm256_setzero_si256(),
    |p: *const __m256i| _mm256_loadu_si256(p),
    |p: *const u8| _mm256_cvtepi8_epi16(_mm_loadu_si128(p.cast())),
    |x: i32| _mm256_set1_epi32(x),
    |acc, x, w| _mm256_add_epi32(acc, _mm256_madd_epi16(w, x)),
    |a, b| _mm256_add_epi32(a, b),
    |p: *mut __m256i, v| _mm256_storeu_si256(p, v)
);
tiles!(
    tile_avx_vnni,
    single_avx_vnni,
    "avx2,fma,avxvnni",
    __m256i,
    2,
    32,
    _mm256_setzero_si256(),
    |p: *const __m256i| _mm256_loadu_si256(p),
    |p: *const u8| _mm256_loadu_si256(p.cast()),
    |x: i32| _mm256_set1_epi32(x),
    |acc, x, w| _mm256_dpbusd_avx_epi32(acc, x, w),
    |a, b| _mm256_add_epi32(a, b),
    |p: *mut __m256i, v| _mm256_storeu_si256(p, v)
);
tiles!(
    tile_avx512_vnni,
    single_avx512_vnni,
    "avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni",
    __m512i,
    1,
    64,
    _mm512_setzero_si512(),
    |p: *const __m512i| _mm512_loadu_si512(p),
    |p: *const u8| _mm512_loadu_si512(p.cast()),
    |x: i32| _mm512_set1_epi32(x),
    |acc, x, w| _mm512_dpbusd_epi32(acc, x, w),
    |a, b| _mm512_add_epi32(a, b),
    |p: *mut __m512i, v| _mm512_storeu_si512(p, v)
);
