//! Integer products with 128-bit vectors of WebAssembly.
//!
//! V8 has 15 registers for vectors on x86: a tile of 6 rows × 8 columns is 12 accumulators, 2 vectors of weights and 1 of a row.
//! Accumulators are indexed by constants only; indexed by a variable they would live in memory.

use core::{arch::wasm32::*, mem::MaybeUninit, ops::Range};

use super::{Block, Finish};
use crate::kernels::requant::{Dequant, ROUNDING_MAGIC, ROUNDING_MAGIC_BITS, Raw, Requant};

const PANEL: usize = 8;

/// Repeats the body with `$i` as a constant from 0 to `$n` − 1, at most 8 times.
macro_rules! unroll {
    ($i:ident < $n:expr, $body:expr) => {{
        unroll!(@ $i $n, $body, 0 1 2 3 4 5 6 7);
    }};
    (@ $i:ident $n:expr, $body:expr, $($v:literal)*) => {
        $( { const $i: usize = $v; if $i < $n { $body } } )*
    };
}
pub(crate) use unroll;

/// A dot product of packed weights with a row.
pub(crate) trait Dot {
    /// Bytes of four columns of weights in memory.
    const WEIGHTS: usize = 16;
    /// Groups per turn of the loop, a divisor of the number of groups: where processors are busy with instructions rather than with
    /// products, moving the pointers counts.
    const TURN: usize = 1;

    /// Four columns of weights.
    ///
    /// # Safety
    /// `p` must be readable for `WEIGHTS` bytes.
    #[inline(always)]
    unsafe fn weights(p: *const u8) -> v128 {
        // SAFETY: as the caller promises.
        unsafe { v128_load(p.cast()) }
    }

    /// A group of a row, four times.
    ///
    /// # Safety
    /// `p` must be readable for 4 bytes.
    #[inline(always)]
    unsafe fn row(p: *const u8) -> v128 {
        // SAFETY: as the caller promises.
        unsafe { v128_load32_splat(p.cast()) }
    }

    /// `acc` plus the products of weights and row, summed within each of four lanes.
    fn dot(weights: v128, row: v128, acc: v128) -> v128;
}

/// See [`super::Scheme::Dot16`].
pub(crate) struct Dot16;

impl Dot for Dot16 {
    const WEIGHTS: usize = 8;
    const TURN: usize = 2;

    #[inline(always)]
    unsafe fn weights(p: *const u8) -> v128 {
        // SAFETY: as the caller promises.
        unsafe { i16x8_load_extend_i8x8(p.cast()) }
    }

    #[inline(always)]
    fn dot(weights: v128, row: v128, acc: v128) -> v128 {
        i32x4_add(acc, i32x4_dot_i16x8(weights, row))
    }
}

/// See [`super::Scheme::Rdot`].
#[cfg(target_feature = "relaxed-simd")]
pub(crate) struct Rdot;

#[cfg(target_feature = "relaxed-simd")]
impl Dot for Rdot {
    #[inline(always)]
    fn dot(weights: v128, row: v128, acc: v128) -> v128 {
        i32x4_relaxed_dot_i8x16_i7x16_add(weights, row, acc)
    }
}

/// See [`super::Scheme::RdotSigned`].
#[cfg(target_feature = "relaxed-simd")]
pub(crate) struct RdotSigned;

#[cfg(target_feature = "relaxed-simd")]
impl Dot for RdotSigned {
    #[inline(always)]
    unsafe fn row(p: *const u8) -> v128 {
        // SAFETY: as the caller promises.
        v128_xor(unsafe { v128_load32_splat(p.cast()) }, u8x16_splat(0x80))
    }

    #[inline(always)]
    fn dot(weights: v128, row: v128, acc: v128) -> v128 {
        i32x4_relaxed_dot_i8x16_i7x16_add(weights, row, acc)
    }
}

/// A [`Finish`] on accumulators in registers. Implemented for every one of them; the default goes through memory.
pub(crate) trait Store: Finish {
    /// Finishes `R` rows of `V` vectors, from column `column` on.
    ///
    /// # Safety
    /// Parameters must be held for the columns, and `out` be writable for `4 · V` elements from each row's start, `ldo` apart.
    unsafe fn store<const R: usize, const V: usize>(&self, acc: [[v128; V]; R], column: usize, out: *mut Self::Out, ldo: usize);
}

impl Store for Requant<'_> {
    /// A few accumulators at a time, from the conversion to the store: what waited in a register for its turn would be spilled,
    /// and V8 spills a value where it is computed, in the loop over the depth.
    #[inline(always)]
    unsafe fn store<const R: usize, const V: usize>(&self, acc: [[v128; V]; R], column: usize, out: *mut u8, ldo: usize) {
        // SAFETY: as the caller promises.
        unsafe {
            match &self.then {
                None => requantize(acc, column, out, ldo, &Once { of: self }),
                Some(then) => requantize(acc, column, out, ldo, &Twice { of: self, then }),
            }
        }
    }
}

/// From an accumulator and its multiplier to an integer, which is to be clamped.
trait Rounding {
    fn multiplier(&self) -> *const f32;

    fn round(&self, acc: v128, multiplier: v128) -> v128;

    fn bounds(&self) -> (u8, u8);
}

/// The integer that the bits of a sum with [`ROUNDING_MAGIC`] hold, plus a zero point.
#[inline(always)]
fn integer(sum: v128, zero_point: i32) -> v128 {
    i32x4_sub(sum, i32x4_splat(ROUNDING_MAGIC_BITS - zero_point))
}

/// A product above 2²² gives bits that saturate as they should, and none is below −2²³: `bounded`.
#[inline(always)]
fn add_magic(acc: v128, multiplier: v128) -> v128 {
    f32x4_add(f32x4_mul(f32x4_convert_i32x4(acc), multiplier), f32x4_splat(ROUNDING_MAGIC))
}

struct Once<'a> {
    of: &'a Requant<'a>,
}

impl Rounding for Once<'_> {
    #[inline(always)]
    fn multiplier(&self) -> *const f32 {
        self.of.multiplier.as_ptr()
    }

    #[inline(always)]
    fn round(&self, acc: v128, multiplier: v128) -> v128 {
        integer(add_magic(acc, multiplier), self.of.zero_point)
    }

    #[inline(always)]
    fn bounds(&self) -> (u8, u8) {
        (self.of.lo, self.of.hi)
    }
}

/// With a [`Rescale`](crate::kernels::rescale::Rescale) of the result, whose zero point is `then.from`.
struct Twice<'a> {
    of: &'a Requant<'a>,
    then: &'a crate::kernels::rescale::Rescale,
}

impl Rounding for Twice<'_> {
    #[inline(always)]
    fn multiplier(&self) -> *const f32 {
        self.of.multiplier.as_ptr()
    }

    #[inline(always)]
    fn round(&self, acc: v128, multiplier: v128) -> v128 {
        let magic = f32x4_splat(ROUNDING_MAGIC);
        // Not clamped: what lies beyond the first bounds also lies beyond the second ones.
        let first = f32x4_sub(add_magic(acc, multiplier), magic);
        integer(f32x4_add(f32x4_mul(first, f32x4_splat(self.then.multiplier)), magic), self.then.to.into())
    }

    #[inline(always)]
    fn bounds(&self) -> (u8, u8) {
        (self.then.lo, self.then.hi)
    }
}

/// Sixteen integers, clamped to bounds that u8 holds.
///
/// Clamped between the two narrowings, where LLVM sees that saturation to u8 changes nothing: it makes comparisons of a narrowing that
/// saturates, and a chain of comparisons and shuffles of two that follow each other.
#[inline(always)]
fn narrow([a, b, c, d]: [v128; 4], (lo, hi): (u8, u8)) -> v128 {
    let clamp = |v: v128| i16x8_min(i16x8_max(v, i16x8_splat(lo.into())), i16x8_splat(hi.into()));
    u8x16_narrow_i16x8(clamp(i16x8_narrow_i32x4(a, b)), clamp(i16x8_narrow_i32x4(c, d)))
}

/// See [`Store::store`].
///
/// # Safety
/// As for that.
#[inline(always)]
unsafe fn requantize<const R: usize, const V: usize>(
    acc: [[v128; V]; R],
    column: usize,
    out: *mut u8,
    ldo: usize,
    rounding: &impl Rounding,
) {
    let multiplier = rounding.multiplier();
    let bounds = rounding.bounds();
    // SAFETY: as the caller promises.
    unsafe {
        let m = |q: usize| v128_load(multiplier.add(column + q * 4).cast());
        let round = |acc: v128, m: v128| rounding.round(acc, m);
        let pack = |a: v128, b: v128, c: v128, d: v128| narrow([a, b, c, d], bounds);
        if V == 1 && R == 4 {
            let m = m(0);
            let (a, b) = (round(acc[0][0], m), round(acc[R / 4][0], m));
            let q = pack(a, b, round(acc[R / 2][0], m), round(acc[R - 1][0], m));
            v128_store32_lane::<0>(q, out.cast());
            v128_store32_lane::<1>(q, out.add(ldo).cast());
            v128_store32_lane::<2>(q, out.add(2 * ldo).cast());
            v128_store32_lane::<3>(q, out.add(3 * ldo).cast());
        } else if V == 1 {
            unroll!(I < R, {
                let a = round(acc[I][0], m(0));
                v128_store32_lane::<0>(pack(a, a, a, a), out.add(I * ldo).cast());
            });
        } else if R == 1 && V.is_multiple_of(4) {
            unroll!(Q < V, {
                if Q.is_multiple_of(4) {
                    let (a, b) = (round(acc[0][Q], m(Q)), round(acc[0][Q + 1], m(Q + 1)));
                    let q = pack(a, b, round(acc[0][Q + 2], m(Q + 2)), round(acc[0][Q + 3], m(Q + 3)));
                    v128_store(out.add(Q * 4).cast(), q);
                }
            });
        } else if R == 1 {
            unroll!(Q < V, {
                if Q.is_multiple_of(2) {
                    let (a, b) = (round(acc[0][Q], m(Q)), round(acc[0][Q + 1], m(Q + 1)));
                    v128_store64_lane::<0>(pack(a, b, a, b), out.add(Q * 4).cast());
                }
            });
        } else {
            unroll!(I < R, {
                unroll!(Q < V, {
                    if I.is_multiple_of(2) && Q.is_multiple_of(2) {
                        let (m0, m1) = (m(Q), m(Q + 1));
                        let (a, b) = (round(acc[I][Q], m0), round(acc[I][Q + 1], m1));
                        let q = pack(a, b, round(acc[I + 1][Q], m0), round(acc[I + 1][Q + 1], m1));
                        v128_store64_lane::<0>(q, out.add(I * ldo + Q * 4).cast());
                        v128_store64_lane::<1>(q, out.add((I + 1) * ldo + Q * 4).cast());
                    }
                });
            });
        }
    }
}

impl Store for Dequant<'_> {
    #[inline(always)]
    unsafe fn store<const R: usize, const V: usize>(&self, acc: [[v128; V]; R], column: usize, out: *mut f32, ldo: usize) {
        let (lo, hi) = (f32x4_splat(self.lo), f32x4_splat(self.hi));
        // SAFETY: as the caller promises.
        unsafe {
            unroll!(Q < V, {
                let m = v128_load(self.multiplier.as_ptr().add(column + Q * 4).cast());
                let b = v128_load(self.bias.as_ptr().add(column + Q * 4).cast());
                unroll!(I < R, {
                    let real = f32x4_add(f32x4_mul(f32x4_convert_i32x4(acc[I][Q]), m), b);
                    v128_store(out.add(I * ldo + Q * 4).cast(), f32x4_pmin(f32x4_pmax(real, lo), hi));
                });
            });
        }
    }
}

impl Store for Raw {
    #[inline(always)]
    unsafe fn store<const R: usize, const V: usize>(&self, acc: [[v128; V]; R], _column: usize, out: *mut i32, ldo: usize) {
        // SAFETY: as the caller promises.
        unsafe {
            unroll!(Q < V, unroll!(I < R, v128_store(out.add(I * ldo + Q * 4).cast(), acc[I][Q])));
        }
    }
}

/// `R` rows from `row` on against the `V / 2` panels from `panel` on.
///
/// # Safety
/// As for [`Block::run`]; `out` must be writable for `4 · V` elements at `ldo` distance for each row.
#[inline(always)]
unsafe fn tile<D: Dot, F: Store, const R: usize, const V: usize>(
    block: &Block<'_, F>,
    row: usize,
    panel: usize,
    out: *mut F::Out,
    ldo: usize,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let mut acc = [[i32x4_splat(0); V]; R];
        let mut a = [block.a; R];
        let mut b = [block.b; V];
        unroll!(I < R, a[I] = block.row(row + I));
        unroll!(Q < V, {
            let init = v128_load(block.init.add(panel * PANEL + Q * 4).cast());
            unroll!(I < R, acc[I][Q] = init);
            b[Q] = block.b.add((panel + Q / 2) * block.panel_bytes);
        });
        // No loop is asked at its beginning whether it has a turn: engines would keep two copies of the accumulators apart.
        let mut segment = block.segments;
        loop {
            let mut group = block.groups;
            loop {
                if R > 2 {
                    unroll!(T < D::TURN, {
                        let (b0, b1) = (D::weights(b[0].add(2 * T * D::WEIGHTS)), D::weights(b[0].add((2 * T + 1) * D::WEIGHTS)));
                        unroll!(I < R, {
                            let v = D::row(a[I].add(4 * T));
                            acc[I][0] = D::dot(b0, v, acc[I][0]);
                            acc[I][1] = D::dot(b1, v, acc[I][1]);
                        });
                    });
                    unroll!(I < R, a[I] = a[I].add(4 * D::TURN));
                    b[0] = b[0].add(2 * D::TURN * D::WEIGHTS);
                    group -= D::TURN;
                } else {
                    // Few rows: keep their vectors, and let weights pass through one register.
                    let v0 = D::row(a[0]);
                    let v1 = D::row(a[R - 1]);
                    unroll!(Q < V, {
                        let w = D::weights(b[Q / 2 * 2].add(Q % 2 * D::WEIGHTS));
                        acc[0][Q] = D::dot(w, v0, acc[0][Q]);
                        if R == 2 {
                            acc[R - 1][Q] = D::dot(w, v1, acc[R - 1][Q]);
                        }
                    });
                    unroll!(I < R, a[I] = a[I].add(4));
                    unroll!(Q < V, {
                        if Q.is_multiple_of(2) {
                            b[Q] = b[Q].add(2 * D::WEIGHTS);
                        }
                    });
                    group -= 1;
                }
                if group == 0 {
                    break;
                }
            }
            segment -= 1;
            if segment == 0 {
                break;
            }
            unroll!(I < R, a[I] = a[I].wrapping_add(block.gap));
        }
        block.finish.store::<R, V>(acc, panel * PANEL, out, ldo);
    }
}

/// # Safety
/// As for [`Block::run`].
#[inline(never)]
pub(super) unsafe fn run<D: Dot, F: Store>(block: &Block<'_, F>) {
    let whole = block.n / PANEL;
    let panels = block.panels.start..block.panels.end.min(whole);
    // SAFETY: as the caller promises; whole panels lie within the n columns of `out`.
    unsafe {
        let out = |row: usize, panel: usize| block.out.add(row * block.ldo + panel * PANEL);
        if block.rows >= 6 {
            for panel in panels {
                many_rows::<D, F>(block, 0..block.rows, panel, out(0, panel), block.ldo);
            }
        } else {
            let mut row = 0;
            if panels.len() >= 2 {
                while row + 2 <= block.rows {
                    each_overlapping(panels.clone(), 2, |p| tile::<D, F, 2, 4>(block, row, p, out(row, p), block.ldo));
                    row += 2;
                }
            }
            while row < block.rows {
                if panels.len() >= 4 {
                    each_overlapping(panels.clone(), 4, |p| tile::<D, F, 1, 8>(block, row, p, out(row, p), block.ldo));
                } else {
                    panels.clone().for_each(|p| one_row::<D, F>(block, row, p, out(row, p)));
                }
                row += 1;
            }
        }
        if block.panels.end > whole {
            last_panel::<D, F>(block, whole);
        }
    }
}

/// A whole panel for `rows`, which are six or more; the first begins at `out`, the others `ldo` elements apart. A function of its own:
/// engines optimise whole functions, and the sooner the less there is in them.
///
/// # Safety
/// As for [`Block::run`].
#[inline(never)]
unsafe fn many_rows<D: Dot, F: Store>(block: &Block<'_, F>, rows: Range<usize>, panel: usize, out: *mut F::Out, ldo: usize) {
    let mut row = rows.start;
    while row < rows.end {
        // The last tile overlaps the one before.
        let at = row.min(rows.end - 6);
        // SAFETY: as the caller promises.
        unsafe { tile::<D, F, 6, 2>(block, at, panel, out.add((at - rows.start) * ldo), ldo) };
        row += 6;
    }
}

/// A whole panel for one row.
///
/// # Safety
/// As for [`Block::run`].
#[inline(never)]
unsafe fn one_row<D: Dot, F: Store>(block: &Block<'_, F>, row: usize, panel: usize, out: *mut F::Out) {
    // SAFETY: as the caller promises.
    unsafe { tile::<D, F, 1, 2>(block, row, panel, out, PANEL) }
}

/// Calls `f` with starts of runs of `step` panels that cover `panels`; the last overlaps the one before.
#[inline(always)]
fn each_overlapping(panels: Range<usize>, step: usize, mut f: impl FnMut(usize)) {
    let mut p = panels.start;
    while p < panels.end {
        f(p.min(panels.end - step));
        p += step;
    }
}

/// The panel that reaches beyond the last column: through a buffer.
///
/// # Safety
/// As for [`Block::run`].
#[inline(never)]
unsafe fn last_panel<D: Dot, F: Store>(block: &Block<'_, F>, panel: usize) {
    let columns = block.n - panel * PANEL;
    let mut buffer = [const { MaybeUninit::<F::Out>::uninit() }; 6 * PANEL];
    let out = buffer.as_mut_ptr().cast::<F::Out>();
    let mut row = 0;
    while row < block.rows {
        // SAFETY: as the caller promises; the buffer holds 6 rows of a panel.
        unsafe {
            let count = if block.rows >= 6 { 6 } else { 1 };
            let at = row.min(block.rows - count);
            if count == 6 {
                many_rows::<D, F>(block, at..at + count, panel, out, PANEL);
            } else {
                one_row::<D, F>(block, at, panel, out);
            }
            for i in 0..count {
                for c in 0..columns {
                    *block.out.add((at + i) * block.ldo + panel * PANEL + c) = *out.add(i * PANEL + c);
                }
            }
            row += count;
        }
    }
}
