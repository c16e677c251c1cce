//! The memory plan: where in one buffer each intermediate lives, so that buffers are reused and `run` never allocates.

use alloc::vec::Vec;

use crate::{
    error::{Error, Result},
    tensor::AlignedBytes,
};

/// A buffer that must exist from step `first` to step `last`, both inclusive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetime {
    pub first: usize,
    pub last: usize,
    pub bytes: usize,
}

const ALIGN: usize = 64;

/// Offsets for `buffers`, so that no two that live at the same time overlap, and the total size, which is an error beyond `limit`.
///
/// Greedy by size: the largest buffer first, each at the lowest offset that is free for its whole life
/// (Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020).
///
/// Not inlined: what engines optimise because its loops are long should be no more than they.
#[inline(never)]
pub(super) fn place(buffers: &[Lifetime], limit: usize) -> Result<(Vec<usize>, usize)> {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_unstable_by_key(|&i| (core::cmp::Reverse(buffers[i].bytes), i));
    let mut offsets = alloc::vec![0; buffers.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(buffers.len());
    let mut total = 0usize;
    for &i in &order {
        let b = buffers[i];
        let mut at = 0usize;
        // `placed` is kept in the order of offsets, so the first gap that fits is found in one walk.
        for &j in &placed {
            let other = buffers[j];
            if other.bytes == 0 || other.last < b.first || b.last < other.first {
                continue;
            }
            if at.checked_add(b.bytes).is_some_and(|end| end <= offsets[j]) {
                break;
            }
            at = at.max((offsets[j] + other.bytes).next_multiple_of(ALIGN));
        }
        offsets[i] = at;
        let end = at.checked_add(b.bytes).filter(|e| *e <= limit).ok_or_else(|| too_large(b.bytes, limit))?;
        total = total.max(end);
        let position = placed.partition_point(|&j| offsets[j] <= at);
        placed.insert(position, i);
    }
    Ok((offsets, total))
}

#[cold]
fn too_large(bytes: usize, limit: usize) -> Error {
    let text = "the model's intermediate results need more memory than the limit of";
    Error::Limit(alloc::format!(
        "{text} {limit} bytes (tensorBytes), one of them {bytes} bytes; raise it, or use a smaller input"
    ))
}

/// The buffer behind all bindings of a session; it only grows.
#[derive(Default)]
pub(super) struct Arena {
    bytes: AlignedBytes,
}

impl Arena {
    /// Makes room for `len` bytes. Contents are lost when it grows.
    pub fn reserve(&mut self, len: usize) -> Result<()> {
        if self.bytes.len() < len {
            self.bytes = AlignedBytes::default();
            self.bytes = AlignedBytes::try_zeroed(len)?;
        }
        Ok(())
    }

    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, mutable.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn live_buffers_never_overlap(raw in prop::collection::vec((0usize..20, 0usize..6, 0usize..500), 0..40)) {
            let buffers: Vec<Lifetime> =
                raw.iter().map(|&(first, len, bytes)| Lifetime { first, last: first + len, bytes }).collect();
            let (offsets, total) = place(&buffers, usize::MAX).unwrap();
            for (i, a) in buffers.iter().enumerate() {
                prop_assert!(offsets[i] % ALIGN == 0 && offsets[i] + a.bytes <= total);
                for (j, b) in buffers.iter().enumerate().skip(i + 1) {
                    let together = a.first <= b.last && b.first <= a.last;
                    let apart = offsets[i] + a.bytes <= offsets[j] || offsets[j] + b.bytes <= offsets[i];
                    prop_assert!(!together || apart || a.bytes == 0 || b.bytes == 0);
                }
            }
        }
    }

    #[test]
    fn a_chain_needs_two_buffers() {
        let chain: Vec<Lifetime> = (0..10).map(|i| Lifetime { first: i, last: i + 1, bytes: 640 }).collect();
        assert_eq!(place(&chain, usize::MAX).unwrap().1, 1280);
    }
}
