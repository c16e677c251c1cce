//! Where the rows of an integer product come from, and how they lie in memory.

use core::ops::Range;

/// Where rows come from.
pub(crate) trait RowSource: Sync {
    /// The rows of `range`, either in place or written to `scratch`.
    fn rows<'s>(&'s self, range: Range<usize>, scratch: &'s mut [u8]) -> Rows<'s>;
}

/// Rows in memory.
pub(crate) enum Rows<'s> {
    /// u8, `stride` from one row to the next.
    Apart { bytes: &'s [u8], stride: usize },
    /// Rows that may overlap, as the windows of a convolution do: each begins at an offset of its own, and is cut into segments (see
    /// [`Segments`]). Elements are i16 if the scheme widens rows, else u8.
    Windows { bytes: &'s [u8], offsets: &'s [u32] },
}

/// How the rows of [`Rows::Windows`] are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segments {
    /// Segments of a row.
    pub count: usize,
    /// Elements of a segment, without those that round it up to whole groups: these are read, and must have weights of zero.
    pub len: usize,
    /// Bytes from the beginning of one segment to that of the next.
    pub stride: usize,
}

impl Segments {
    /// Depth of the product: whole groups in every segment.
    pub fn depth(&self) -> usize {
        self.count * padded_depth(self.len)
    }
}

/// Rows in memory as they are needed: a multiple of 4 long.
pub(crate) struct InPlace<'a> {
    pub bytes: &'a [u8],
    pub stride: usize,
}

impl RowSource for InPlace<'_> {
    fn rows<'s>(&'s self, range: Range<usize>, _: &'s mut [u8]) -> Rows<'s> {
        Rows::Apart { bytes: &self.bytes[range.start * self.stride..], stride: self.stride }
    }
}

/// Rows whose length is no multiple of 4.
pub(crate) struct Padded<'a> {
    pub bytes: &'a [u8],
    pub depth: usize,
}

impl RowSource for Padded<'_> {
    fn rows<'s>(&'s self, range: Range<usize>, scratch: &'s mut [u8]) -> Rows<'s> {
        let stride = padded_depth(self.depth);
        for (row, out) in self.bytes[range.start * self.depth..]
            .chunks_exact(self.depth)
            .zip(scratch.chunks_exact_mut(stride))
            .take(range.len())
        {
            out[..self.depth].copy_from_slice(row);
            out[self.depth..].fill(0);
        }
        Rows::Apart { bytes: scratch, stride }
    }
}

/// Elements of a row with the zeros that round it up to whole groups of any scheme.
pub(crate) const fn padded_depth(depth: usize) -> usize {
    depth.next_multiple_of(4)
}

/// Widens u8 to i16.
pub(crate) fn widen(from: &[u8], to: &mut [i16]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = i16::from(from);
    }
}
