//! Panels: the right-hand matrix in the order in which the inner loop reads it, `[columns / width][depth][width]`, padded by zeros.

use crate::{kernels::vector::Isa, tensor::AlignedBytes};

/// Columns of a panel.
pub(crate) fn panel_width(isa: Isa) -> usize {
    2 * isa.lanes()
}

/// Elements of a packed matrix; `None` if they do not fit in memory.
pub(crate) fn packed_len(isa: Isa, depth: usize, columns: usize) -> Option<usize> {
    columns.checked_next_multiple_of(panel_width(isa))?.checked_mul(depth).filter(|&n| n <= isize::MAX as usize / 4)
}

/// A matrix in panels.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a> {
    pub isa: Isa,
    pub depth: usize,
    pub columns: usize,
    /// [`packed_len`] elements.
    pub data: &'a [f32],
}

/// Matrices of one shape in panels, one after the other: a constant's, packed once.
pub(crate) struct Packed {
    isa: Isa,
    depth: usize,
    columns: usize,
    count: usize,
    data: AlignedBytes,
}

impl Packed {
    /// Packs consecutive matrices, each `[columns][depth]` if `transposed`, else `[depth][columns]`. Denormals become zero:
    /// arithmetic on them is many times slower, and their share of a sum is below its rounding error.
    pub fn new(isa: Isa, matrices: &[f32], depth: usize, columns: usize, transposed: bool) -> Option<Packed> {
        let (len, size) = (packed_len(isa, depth, columns)?, depth * columns);
        let count = matrices.len().checked_div(size).unwrap_or(0);
        let bytes = len.checked_mul(count)?.checked_mul(4)?;
        let mut data = AlignedBytes::zeroed(bytes);
        let floats: &mut [f32] = bytemuck::cast_slice_mut(&mut data);
        for i in 0..count {
            pack(isa, &matrices[i * size..(i + 1) * size], depth, columns, transposed, &mut floats[i * len..(i + 1) * len]);
        }
        flush_denormals(floats);
        Some(Packed { isa, depth, columns, count, data })
    }

    /// Whether it is `count` matrices of this shape, packed for `isa`.
    pub fn is(&self, isa: Isa, depth: usize, columns: usize, count: usize) -> bool {
        (self.isa, self.depth, self.columns, self.count) == (isa, depth, columns, count)
    }

    /// Matrix `i`.
    pub fn matrix(&self, i: usize) -> Panels<'_> {
        let floats: &[f32] = bytemuck::cast_slice(&self.data);
        let len = self.columns.next_multiple_of(panel_width(self.isa)) * self.depth;
        Panels { isa: self.isa, depth: self.depth, columns: self.columns, data: &floats[i * len..(i + 1) * len] }
    }
}

/// Makes denormal numbers zero.
pub(crate) fn flush_denormals(values: &mut [f32]) {
    for v in values {
        *v = if v.abs() < f32::MIN_POSITIVE { 0.0 } else { *v };
    }
}

/// The rows of a matrix that is a part of a larger one.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'a> {
    /// From the first element on.
    pub data: &'a [f32],
    /// Elements from one row to the next.
    pub stride: usize,
}

/// Packs one matrix, `[columns][depth]` if `transposed`, else `[depth][columns]`, to `out` of [`packed_len`] elements.
pub(crate) fn pack(isa: Isa, matrix: &[f32], depth: usize, columns: usize, transposed: bool, out: &mut [f32]) {
    let stride = if transposed { depth } else { columns };
    pack_lines(isa, Lines { data: matrix, stride }, depth, columns, transposed, out);
}

/// [`pack`] for a matrix that is a part of a larger one.
pub(crate) fn pack_lines(isa: Isa, lines: Lines<'_>, depth: usize, columns: usize, transposed: bool, out: &mut [f32]) {
    match panel_width(isa) {
        8 => pack_panels::<8>(lines, depth, columns, transposed, out),
        16 => pack_panels::<16>(lines, depth, columns, transposed, out),
        _ => pack_panels::<32>(lines, depth, columns, transposed, out),
    }
}

fn pack_panels<const W: usize>(lines: Lines<'_>, depth: usize, columns: usize, transposed: bool, out: &mut [f32]) {
    if depth == 0 {
        return;
    }
    let Lines { data, stride } = lines;
    for (i, panel) in out.chunks_exact_mut(depth * W).enumerate() {
        let first = i * W;
        let width = W.min(columns - first);
        let (rows, _) = panel.as_chunks_mut::<W>();
        if transposed {
            pack_columns(Lines { data: &data[first * stride..], stride }, depth, width, rows);
            continue;
        }
        let mut at = first;
        for row in rows {
            if width == W {
                row.copy_from_slice(&data[at..at + W]);
            } else {
                row[..width].copy_from_slice(&data[at..at + width]);
                row[width..].fill(0.0);
            }
            at += stride;
        }
    }
}

/// Transposes `width` columns, up to `W`, of `depth` elements each, four by four.
fn pack_columns<const W: usize>(columns: Lines<'_>, depth: usize, width: usize, rows: &mut [[f32; W]]) {
    let column = |j: usize| &columns.data[j * columns.stride..][..depth];
    for quad in 0..W / 4 {
        let at = quad * 4;
        if at + 4 > width {
            for (k, row) in rows.iter_mut().enumerate() {
                for (j, value) in row[at..at + 4].iter_mut().enumerate() {
                    *value = if at + j < width { column(at + j)[k] } else { 0.0 };
                }
            }
            continue;
        }
        let [c0, c1, c2, c3] = core::array::from_fn(|j| column(at + j));
        let (fours, rest) = rows.as_chunks_mut::<4>();
        let ((c0, t0), (c1, t1), (c2, t2), (c3, t3)) =
            (c0.as_chunks::<4>(), c1.as_chunks::<4>(), c2.as_chunks::<4>(), c3.as_chunks::<4>());
        for ((((four, x), y), z), w) in fours.iter_mut().zip(c0).zip(c1).zip(c2).zip(c3) {
            for (i, row) in four.iter_mut().enumerate() {
                row[at..at + 4].copy_from_slice(&[x[i], y[i], z[i], w[i]]);
            }
        }
        for (i, row) in rest.iter_mut().enumerate() {
            row[at..at + 4].copy_from_slice(&[t0[i], t1[i], t2[i], t3[i]]);
        }
    }
}
