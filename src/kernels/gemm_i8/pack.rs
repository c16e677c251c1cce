//! Weights in the order in which the instruction sets read them: `[panel][group of depth][column][depth in group]`.

use core::ops::Range;

use super::{Scheme, padded_depth};
use crate::{
    error::{Result, ensure},
    tensor::AlignedBytes,
};

/// A matrix of weights as a model stores it.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a> {
    pub bytes: &'a [u8],
    /// Elements from one column (or, if `by_depth`, one depth) to the next.
    pub stride: usize,
    /// `bytes[depth · stride + column]` rather than `bytes[column · stride + depth]`.
    pub by_depth: bool,
    /// Elements are u8: they are packed less 128.
    pub unsigned: bool,
}

impl<'a> Weights<'a> {
    /// Columns one after the other, as in a convolution's weight.
    pub fn by_column(bytes: &'a [u8], k: usize) -> Weights<'a> {
        Weights { bytes, stride: k, by_depth: false, unsigned: false }
    }
}

/// A packed matrix.
pub(crate) struct Packed {
    pub bytes: AlignedBytes,
    /// Sum of every column, and zeros up to whole panels.
    pub sums: Vec<i32>,
}

impl Packed {
    /// Packs a `k`×`n` matrix.
    pub fn new(scheme: Scheme, weights: Weights<'_>, n: usize, k: usize) -> Result<Packed> {
        let mut bytes = AlignedBytes::zeroed(packed_len(scheme, n, k));
        let mut sums = vec![0; n.next_multiple_of(scheme.panel())];
        pack_into(scheme, weights, n, k, &mut bytes, &mut sums)?;
        Ok(Packed { bytes, sums })
    }
}

/// Bytes of a packed `k`×`n` matrix.
pub(crate) fn packed_len(scheme: Scheme, n: usize, k: usize) -> usize {
    n.next_multiple_of(scheme.panel()) * padded_depth(k)
}

/// Packs a `k`×`n` matrix to `out`, and the sums of its columns to `sums`.
pub(crate) fn pack_into(
    scheme: Scheme,
    weights: Weights<'_>,
    n: usize,
    k: usize,
    out: &mut [u8],
    sums: &mut [i32],
) -> Result<()> {
    let (panel, group, depth) = (scheme.panel(), scheme.group(), padded_depth(k));
    let padded = n.next_multiple_of(panel);
    let (lines, line) = if weights.by_depth { (k, n) } else { (n, k) };
    ensure!(
        out.len() >= packed_len(scheme, n, k)
            && sums.len() >= padded
            && (lines == 0 || line == 0 || weights.bytes.len() >= (lines - 1) * weights.stride + line),
        Internal,
        "weights of an integer product are too short for {n}×{k}"
    );
    let out = &mut out[..packed_len(scheme, n, k)];
    out.fill(0);
    sums[..padded].fill(0);
    if n == 0 || k == 0 {
        return Ok(());
    }
    let flip = if weights.unsigned { 0x80 } else { 0 };
    for (p, out) in out.chunks_exact_mut(panel * depth).enumerate() {
        let first = p * panel;
        let columns = first..(first + panel).min(n);
        let sums = &mut sums[columns.clone()];
        match group {
            2 => pack_panel::<2>(&weights, columns, (panel, k), flip, out, sums),
            _ => pack_panel::<4>(&weights, columns, (panel, k), flip, out, sums),
        }
    }
    Ok(())
}

/// Packs one panel. Whole groups are moved at once: this runs while a model is loaded, before engines have optimised it.
fn pack_panel<const GROUP: usize>(
    weights: &Weights<'_>,
    columns: Range<usize>,
    (panel, k): (usize, usize),
    flip: u8,
    out: &mut [u8],
    sums: &mut [i32],
) {
    let line = |i: usize, start: usize, len: usize| &weights.bytes[i * weights.stride + start..][..len];
    let (groups, _) = out.as_chunks_mut::<GROUP>();
    if weights.by_depth {
        for (g, out) in groups.chunks_exact_mut(panel).enumerate() {
            let depth = GROUP.min(k.saturating_sub(g * GROUP));
            for d in 0..depth {
                let from = line(g * GROUP + d, columns.start, columns.len());
                for ((to, from), sum) in out.iter_mut().zip(from).zip(sums.iter_mut()) {
                    to[d] = from ^ flip;
                    *sum = sum.wrapping_add(i32::from(to[d] as i8));
                }
            }
        }
        return;
    }
    for (c, sum) in sums.iter_mut().enumerate() {
        let from = line(columns.start + c, 0, k);
        let (whole, rest) = from.as_chunks::<GROUP>();
        for (to, from) in groups[c..].iter_mut().step_by(panel).zip(whole) {
            *to = from.map(|b| b ^ flip);
        }
        if !rest.is_empty() {
            let to = &mut groups[whole.len() * panel + c];
            to.iter_mut().zip(rest).for_each(|(to, from)| *to = from ^ flip);
        }
        *sum = from.iter().map(|b| i32::from((b ^ flip) as i8)).sum();
    }
}
