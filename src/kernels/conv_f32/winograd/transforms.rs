//! From filters and inputs to their values at the points, and from products at the points to outputs.

// Indices beyond an array only occur where `unroll!` compiles nothing.
#![allow(clippy::out_of_bounds_indexing)]

use core::ops::Range;

use crate::kernels::{
    im2col::Geometry,
    vector::{Vector, unroll},
};

/// Outputs of a tile along an axis.
pub(super) const OUT: usize = 4;
/// Inputs of a tile along an axis, and points.
pub(super) const IN: usize = 6;
/// Points of both axes.
pub(super) const POINTS: usize = IN * IN;

/// The points ±A and ±B.
const A: f32 = 0.625;
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;

/// A block of tiles on its way.
pub(super) struct Tiles<'a> {
    pub g: &'a Geometry,
    /// Counted over all images, row by row.
    pub tiles: Range<usize>,
    pub x: *const f32,
    /// `[points][tiles][channels]`, `input_stride` from one point to the next.
    pub inputs: *mut f32,
    pub input_stride: usize,
    /// `[points][tiles][outputs]`, likewise.
    pub products: *mut f32,
    pub product_stride: usize,
    pub outputs: usize,
    /// One per output; null for zero.
    pub bias: *const f32,
    pub bounds: (f32, f32),
    /// Pixels, `y_stride` from one to the next.
    pub y: *mut f32,
    pub y_stride: usize,
}

impl Tiles<'_> {
    /// Image, first output row and first output column of a tile.
    fn place(&self, tile: usize) -> [usize; 3] {
        let [rows, columns] = self.g.output.map(|o| o.div_ceil(OUT));
        [tile / columns / rows, tile / columns % rows * OUT, tile % columns * OUT]
    }
}

/// First of the `lanes` channels of a vector. The last one overlaps the one before rather than reach beyond.
fn first_channel(vector: usize, lanes: usize, channels: usize) -> usize {
    (vector * lanes).min(channels - lanes)
}

/// Filters on their way: elements `len` of the matrices of all taps.
pub(super) struct Filters {
    pub taps: [*const f32; 9],
    pub len: usize,
    /// `out_stride` from one point to the next.
    pub out: *mut f32,
    pub out_stride: usize,
}

/// A line of a filter at all points, each divided by the product of the distances to the others.
///
/// # Safety
/// The CPU must have `V`'s instructions.
#[inline(always)]
unsafe fn evaluate_filter<V: Vector>(w: [V; 3]) -> [V; IN] {
    const FOR_A: f32 = 1.0 / (2.0 * A2 * (A2 - B2));
    const FOR_B: f32 = 1.0 / (2.0 * B2 * (B2 - A2));
    // SAFETY: by the contract.
    unsafe {
        let zero = V::splat(0.0);
        let scaled = |v: V, factor: f32, more: V| v.mul_add(V::splat(factor), more);
        let even_a = scaled(w[2], FOR_A * A2, scaled(w[0], FOR_A, zero));
        let even_b = scaled(w[2], FOR_B * B2, scaled(w[0], FOR_B, zero));
        [
            scaled(w[0], 1.0 / (A2 * B2), zero),
            scaled(w[1], FOR_A * A, even_a),
            scaled(w[1], -FOR_A * A, even_a),
            scaled(w[1], FOR_B * B, even_b),
            scaled(w[1], -FOR_B * B, even_b),
            w[2],
        ]
    }
}

/// # Safety
/// The CPU must have `V`'s instructions; the job's pointers must be valid for what they describe, whole vectors.
#[inline(always)]
pub(super) unsafe fn transform_filters<V: Vector>(job: &Filters) {
    for at in (0..job.len).step_by(V::LANES) {
        // SAFETY: by the contract.
        unsafe {
            let mut half = [[V::splat(0.0); 3]; IN];
            unroll!(C < 3, {
                let column = [job.taps[C], job.taps[3 + C], job.taps[6 + C]].map(|tap| V::load(tap.add(at)));
                let e = evaluate_filter(column);
                unroll!(R < IN, { half[R][C] = e[R] });
            });
            unroll!(R < IN, {
                let e = evaluate_filter(half[R]);
                unroll!(C < IN, { e[C].store(job.out.add((R * IN + C) * job.out_stride + at)) });
            });
        }
    }
}

/// A line of inputs at all points: the values of `∏ (x − q)` over all points `q` but its own, as a polynomial in shifts of the line.
///
/// # Safety
/// The CPU must have `V`'s instructions.
#[inline(always)]
unsafe fn evaluate<V: Vector>(d: [V; IN]) -> [V; IN] {
    // SAFETY: by the contract.
    unsafe {
        let (product, sum) = (V::splat(A2 * B2), V::splat(-(A2 + B2)));
        let (less_a2, less_b2) = (V::splat(-A2), V::splat(-B2));
        let (even_a, odd_a) = (d[2].mul_add(less_b2, d[4]), d[1].mul_add(less_b2, d[3]));
        let (even_b, odd_b) = (d[2].mul_add(less_a2, d[4]), d[1].mul_add(less_a2, d[3]));
        [
            d[0].mul_add(product, d[2].mul_add(sum, d[4])),
            odd_a.mul_add(V::splat(A), even_a),
            odd_a.mul_add(V::splat(-A), even_a),
            odd_b.mul_add(V::splat(B), even_b),
            odd_b.mul_add(V::splat(-B), even_b),
            d[1].mul_add(product, d[3].mul_add(sum, d[5])),
        ]
    }
}

/// A line of outputs from the products at all points: powers of the points times them.
///
/// # Safety
/// The CPU must have `V`'s instructions.
#[inline(always)]
unsafe fn interpolate<V: Vector>(m: [V; IN]) -> [V; OUT] {
    // SAFETY: by the contract.
    unsafe {
        let (even_a, odd_a) = (m[1].add(m[2]), m[1].sub(m[2]));
        let (even_b, odd_b) = (m[3].add(m[4]), m[3].sub(m[4]));
        let zero = V::splat(0.0);
        [
            m[0].add(even_a).add(even_b),
            odd_a.mul_add(V::splat(A), odd_b.mul_add(V::splat(B), zero)),
            even_a.mul_add(V::splat(A2), even_b.mul_add(V::splat(B2), zero)),
            odd_a.mul_add(V::splat(A2 * A), odd_b.mul_add(V::splat(B2 * B), m[5])),
        ]
    }
}

/// # Safety
/// The CPU must have `V`'s instructions, no more lanes than there are channels; the job's pointers must be valid for what they describe.
#[inline(always)]
pub(super) unsafe fn transform_inputs<V: Vector>(job: &Tiles<'_>) {
    let g = job.g;
    let [height, width] = g.input;
    for (i, tile) in job.tiles.clone().enumerate() {
        let [image, oy, ox] = job.place(tile);
        // Rows and columns of the tile that the input has.
        let rows = g.pad[0].saturating_sub(oy).min(IN)..(height + g.pad[0]).saturating_sub(oy).min(IN);
        let columns = g.pad[1].saturating_sub(ox).min(IN)..(width + g.pad[1]).saturating_sub(ox).min(IN);
        // In the padding for tiles at the upper or left border; never read there.
        let first = ((image * height + oy) * width + ox) * g.channels;
        let x = job.x.wrapping_add(first).wrapping_sub((g.pad[0] * width + g.pad[1]) * g.channels);
        let whole = (rows.start, rows.end, columns.start, columns.end) == (0, IN, 0, IN);
        for vector in 0..g.channels.div_ceil(V::LANES) {
            let channel = first_channel(vector, V::LANES, g.channels);
            // SAFETY: by the contract.
            unsafe {
                let out = job.inputs.add(i * g.channels + channel);
                let x = x.wrapping_add(channel);
                if whole {
                    transform_input::<V, false>(job, x, out, &rows, &columns);
                } else {
                    transform_input::<V, true>(job, x, out, &rows, &columns);
                }
            }
        }
    }
}

/// One tile of some channels. With `BORDER`, only `rows` and `columns` are read and the rest counts as zero.
///
/// # Safety
/// As for [`transform_inputs`].
#[inline(always)]
unsafe fn transform_input<V: Vector, const BORDER: bool>(
    job: &Tiles<'_>,
    x: *const f32,
    out: *mut f32,
    rows: &Range<usize>,
    columns: &Range<usize>,
) {
    let (pixel, line) = (job.g.channels, job.g.input[1] * job.g.channels);
    // SAFETY: by the contract.
    unsafe {
        let mut half = [[V::splat(0.0); IN]; IN];
        unroll!(C < IN, {
            let mut d = [V::splat(0.0); IN];
            if !BORDER || columns.contains(&C) {
                unroll!(R < IN, {
                    if !BORDER || rows.contains(&R) {
                        d[R] = V::load(x.wrapping_add(R * line + C * pixel));
                    }
                });
            }
            let e = evaluate(d);
            unroll!(R < IN, { half[R][C] = e[R] });
        });
        unroll!(R < IN, {
            let e = evaluate(half[R]);
            unroll!(C < IN, { e[C].store(out.add((R * IN + C) * job.input_stride)) });
        });
    }
}

/// # Safety
/// As for [`transform_inputs`]; `V` must have no more lanes than there are outputs.
#[inline(always)]
pub(super) unsafe fn transform_products<V: Vector>(job: &Tiles<'_>) {
    let g = job.g;
    let outputs = job.outputs;
    for (i, tile) in job.tiles.clone().enumerate() {
        let [image, oy, ox] = job.place(tile);
        let [rows, columns] = [g.output[0] - oy, g.output[1] - ox];
        // SAFETY: by the contract; rows and columns are those of the tile that the output has.
        unsafe {
            let y = job.y.add(((image * g.output[0] + oy) * g.output[1] + ox) * job.y_stride);
            let (lo, hi) = (V::splat(job.bounds.0), V::splat(job.bounds.1));
            for vector in 0..outputs.div_ceil(V::LANES) {
                let channel = first_channel(vector, V::LANES, outputs);
                let m = job.products.add(i * outputs + channel).cast_const();
                let mut half = [[V::splat(0.0); IN]; OUT];
                unroll!(C < IN, {
                    let mut d = [V::splat(0.0); IN];
                    unroll!(R < IN, { d[R] = V::load(m.add((R * IN + C) * job.product_stride)) });
                    let e = interpolate(d);
                    unroll!(R < OUT, { half[R][C] = e[R] });
                });
                let bias = if job.bias.is_null() { V::splat(0.0) } else { V::load(job.bias.add(channel)) };
                unroll!(R < OUT, {
                    let e = interpolate(half[R]);
                    if R < rows {
                        unroll!(C < OUT, {
                            if C < columns {
                                e[C].add(bias).clamp(lo, hi).store(y.add((R * g.output[1] + C) * job.y_stride + channel));
                            }
                        });
                    }
                });
            }
        }
    }
}
