//! The inner loops: vectors of channels, four neighbouring outputs at a time.

use core::ops::Range;

use super::first_channel;
use crate::kernels::{
    im2col::Geometry,
    vector::{Vector, unroll},
};

/// Outputs that are computed together.
const COLUMNS: usize = 4;

/// One line of outputs.
pub(super) struct Line<'a> {
    pub g: &'a Geometry,
    /// The image that it is computed from.
    pub x: *const f32,
    pub oy: usize,
    pub weights: *const f32,
    pub bounds: (f32, f32),
    pub y: *mut f32,
}

/// # Safety
/// The CPU must have `V`'s instructions, `V::LANES` be the lanes that the weights were packed for and no more than the channels;
/// `x`, `weights` and `y` must be valid for an image, all groups and one line.
#[inline(always)]
pub(super) unsafe fn convolve_line<V: Vector>(line: &Line<'_>) {
    let g = line.g;
    let rows = g.taps(0, line.oy);
    // SAFETY: outputs and rows are the line's own.
    unsafe {
        if g.output[1] < COLUMNS {
            return (0..g.output[1]).for_each(|ox| single::<V>(line, &rows, ox));
        }
        match (g.kernel[1], g.strides[1], g.dilations[1]) {
            (3, 1, 1) => return blocks::<V, COLUMNS, 3, 1>(line, &rows),
            (3, 2, 1) => return blocks::<V, COLUMNS, 3, 2>(line, &rows),
            (5, 1, 1) => return blocks::<V, COLUMNS, 5, 1>(line, &rows),
            (5, 2, 1) => return blocks::<V, COLUMNS, 5, 2>(line, &rows),
            _ => {}
        }
        let mut interior = g.interior(1);
        if interior.len() < COLUMNS {
            interior = 0..0;
        }
        for ox in starts(&interior, COLUMNS) {
            any_block::<V, COLUMNS>(line, &rows, ox);
        }
        for ox in (0..interior.start).chain(interior.end..g.output[1]) {
            single::<V>(line, &rows, ox);
        }
    }
}

/// First columns of blocks of `n` that cover `columns`, which are at least as many; the last block may overlap the one before it.
#[inline(always)]
fn starts(columns: &Range<usize>, n: usize) -> impl Iterator<Item = usize> {
    let last = columns.end.saturating_sub(n);
    columns.clone().step_by(n).map(move |ox| ox.min(last))
}

/// A line for a kernel row of `K` neighbouring taps with stride `S`, in blocks of `N` outputs. In WebAssembly a function of its own, which
/// engines optimise sooner than all of them at once.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
unsafe fn blocks<V: Vector, const N: usize, const K: usize, const S: usize>(line: &Line<'_>, rows: &Range<usize>) {
    let g = line.g;
    for ox in starts(&(0..g.output[1]), N) {
        let first = ox * S;
        let inside = g.pad[1].saturating_sub(first)..(g.input[1] + g.pad[1]).saturating_sub(first);
        // SAFETY: by `convolve_line`'s contract; `inside` are the columns of the block's windows that the input has.
        unsafe {
            if inside.start == 0 && inside.end >= (N - 1) * S + K {
                block::<V, N, K, S, false>(line, rows, ox, inside);
            } else {
                block::<V, N, K, S, true>(line, rows, ox, inside);
            }
        }
    }
}

/// `N` outputs. Each input is loaded once per kernel row. With `BORDER`, columns that are not `inside` count as zero.
#[inline(always)]
unsafe fn block<V: Vector, const N: usize, const K: usize, const S: usize, const BORDER: bool>(
    line: &Line<'_>,
    rows: &Range<usize>,
    ox: usize,
    inside: Range<usize>,
) {
    let g = line.g;
    let c = g.channels;
    let first_row = if rows.is_empty() { 0 } else { line.oy * g.strides[0] + rows.start * g.dilations[0] - g.pad[0] };
    // In the padding when the block is at the left border; never read there.
    let x = line.x.wrapping_add((first_row * g.input[1] + ox * S) * c).wrapping_sub(g.pad[1] * c);
    // SAFETY: by `convolve_line`'s contract.
    unsafe {
        let (lo, hi) = (V::splat(line.bounds.0), V::splat(line.bounds.1));
        let y = line.y.add(ox * c);
        for group in 0..c.div_ceil(V::LANES) {
            let channel = first_channel(group, V::LANES, c);
            let mut w = line.weights.add(group * (g.depth() + 1) * V::LANES);
            let mut acc = [V::load(w); N];
            w = w.add((1 + rows.start * K) * V::LANES);
            let mut p = x.wrapping_add(channel);
            for _ in rows.clone() {
                let mut taps = [acc[0]; K];
                unroll!(T < K, { taps[T] = V::load(w.add(T * V::LANES)) });
                unroll!(I < ((N - 1) * S + K), {
                    if !BORDER || inside.contains(&I) {
                        let value = V::load(p.wrapping_add(I * c));
                        unroll!(J < N, {
                            if (J * S..J * S + K).contains(&I) {
                                acc[J] = value.mul_add(taps[I - J * S], acc[J]);
                            }
                        });
                    }
                });
                w = w.add(K * V::LANES);
                p = p.wrapping_add(g.dilations[0] * g.input[1] * c);
            }
            unroll!(J < N, { acc[J].clamp(lo, hi).store(y.add(J * c + channel)) });
        }
    }
}

/// `N` outputs of the interior, for any kernel.
#[inline(always)]
unsafe fn any_block<V: Vector, const N: usize>(line: &Line<'_>, rows: &Range<usize>, ox: usize) {
    let g = line.g;
    let c = g.channels;
    // SAFETY: by `convolve_line`'s contract, and because windows of the interior lie within the input's columns.
    unsafe {
        let (lo, hi) = (V::splat(line.bounds.0), V::splat(line.bounds.1));
        let step = g.strides[1] * c;
        for group in 0..c.div_ceil(V::LANES) {
            let channel = first_channel(group, V::LANES, c);
            let weights = line.weights.add(group * (g.depth() + 1) * V::LANES);
            let mut acc = [V::load(weights); N];
            for ky in rows.clone() {
                let iy = line.oy * g.strides[0] + ky * g.dilations[0] - g.pad[0];
                let mut p = line.x.add((iy * g.input[1] + ox * g.strides[1] - g.pad[1]) * c + channel);
                let mut w = weights.add((1 + ky * g.kernel[1]) * V::LANES);
                for _ in 0..g.kernel[1] {
                    let tap = V::load(w);
                    unroll!(J < N, { acc[J] = V::load(p.wrapping_add(J * step)).mul_add(tap, acc[J]) });
                    w = w.add(V::LANES);
                    p = p.wrapping_add(g.dilations[1] * c);
                }
            }
            unroll!(J < N, { acc[J].clamp(lo, hi).store(line.y.add((ox + J) * c + channel)) });
        }
    }
}

/// One output anywhere; four groups of channels at a time, so that their sums are independent.
#[inline(always)]
unsafe fn single<V: Vector>(line: &Line<'_>, rows: &Range<usize>, ox: usize) {
    let groups = line.g.channels.div_ceil(V::LANES);
    // SAFETY: by `convolve_line`'s contract.
    unsafe {
        let mut group = 0;
        while group + 4 <= groups {
            single_groups::<V, 4>(line, rows, ox, group);
            group += 4;
        }
        while group < groups {
            single_groups::<V, 1>(line, rows, ox, group);
            group += 1;
        }
    }
}

#[inline(always)]
unsafe fn single_groups<V: Vector, const N: usize>(line: &Line<'_>, rows: &Range<usize>, ox: usize, group: usize) {
    let g = line.g;
    let c = g.channels;
    let columns = g.taps(1, ox);
    let group_size = (g.depth() + 1) * V::LANES;
    // SAFETY: by `convolve_line`'s contract.
    unsafe {
        let weights = line.weights.add(group * group_size);
        let mut channel = [0; N];
        let mut acc = [V::load(weights); N];
        unroll!(Q < N, {
            channel[Q] = first_channel(group + Q, V::LANES, c);
            acc[Q] = V::load(weights.add(Q * group_size));
        });
        for ky in rows.clone() {
            let iy = line.oy * g.strides[0] + ky * g.dilations[0] - g.pad[0];
            for kx in columns.clone() {
                let ix = ox * g.strides[1] + kx * g.dilations[1] - g.pad[1];
                let p = line.x.add((iy * g.input[1] + ix) * c);
                let w = weights.add((1 + ky * g.kernel[1] + kx) * V::LANES);
                unroll!(Q < N, { acc[Q] = V::load(p.add(channel[Q])).mul_add(V::load(w.add(Q * group_size)), acc[Q]) });
            }
        }
        let (lo, hi) = (V::splat(line.bounds.0), V::splat(line.bounds.1));
        unroll!(Q < N, { acc[Q].clamp(lo, hi).store(line.y.add(ox * c + channel[Q])) });
    }
}
