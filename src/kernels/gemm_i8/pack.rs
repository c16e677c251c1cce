//! Weights in the order in which the instruction sets read them: `[panel][group of depth][column][depth in group]`.

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
        let columns = panel.min(n - first);
        let sums = &mut sums[first..first + columns];
        if weights.by_depth {
            for d in 0..k {
                let from = &weights.bytes[d * weights.stride + first..][..columns];
                let to = &mut out[d / group * group * panel + d % group..];
                for ((to, from), sum) in to.iter_mut().step_by(group).zip(from).zip(sums.iter_mut()) {
                    *to = from ^ flip;
                    *sum = sum.wrapping_add(i32::from(*to as i8));
                }
            }
        } else {
            for (c, sum) in sums.iter_mut().enumerate() {
                let from = &weights.bytes[(first + c) * weights.stride..][..k];
                for (from, to) in from.chunks(group).zip(out[c * group..].chunks_mut(group * panel)) {
                    for (to, from) in to.iter_mut().zip(from) {
                        *to = from ^ flip;
                        *sum = sum.wrapping_add(i32::from(*to as i8));
                    }
                }
            }
        }
    }
    Ok(())
}
