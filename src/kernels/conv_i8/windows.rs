//! Convolutions whose windows are read where the input lies: lines of it are copied once, with their padding (and widened, where the
//! instruction set wants that), and every window is a row of the product by its address alone.

use alloc::vec::Vec;
use core::ops::Range;

use super::super::{
    choice::Choice,
    gemm_i8::{Gemm, RowSource, Rows, Scheme, Segments, cast, widen},
    im2col::Geometry,
};

/// Bytes of the lines that are copied at a time: they stay in the second-level cache, mostly in the first.
const LINES_BYTES: usize = 64 << 10;
/// Most bytes of a block's lines. Signals of one axis may have lines of any length, of which rows are better made piece by piece.
const MAX_BYTES: usize = 384 << 10;
/// Fewest windows of a block: below, reading the weights anew for each block costs more than copying.
const MIN_BLOCK: usize = 48;

/// The copied lines of a block of output lines.
#[derive(Debug)]
pub(super) struct Windows {
    /// Output lines of a block.
    lines: usize,
    /// Pixels of a copied line.
    width: usize,
    /// Where each window of a block begins, in bytes.
    offsets: Vec<u32>,
    wide: bool,
}

impl Windows {
    /// `None` for windows that are single pixels, skip columns or see only some channels, whose rows are not made of long runs, and for
    /// very long lines.
    pub fn new(g: &Geometry, scheme: Scheme, choice: Choice) -> Option<Windows> {
        let [height, width] = g.output;
        if g.groups != 1 || g.kernel == [1, 1] || g.dilations[1] != 1 || height * width == 0 || g.channels == 0 {
            return None;
        }
        let wide = scheme.widens();
        let line_width = (width - 1) * g.strides[1] + g.kernel[1];
        let line = line_width.checked_mul(g.channels)?.checked_mul(if wide { 2 } else { 1 })?;
        let reach = (g.kernel[0] - 1) * g.dilations[0] + 1;
        let fit = (choice.scale(LINES_BYTES) / line.max(1)).saturating_sub(reach) / g.strides[0] + 1;
        let lines = fit.max(MIN_BLOCK.div_ceil(width)).min(height);
        let windows = Windows { lines, width: line_width, offsets: Vec::new(), wide };
        if windows.bytes(g) > MAX_BYTES {
            return None;
        }
        let pixel = line / line_width;
        let offset = |i: usize| (i / width * g.strides[0] * line + i % width * g.strides[1] * pixel) as u32;
        Some(Windows { offsets: (0..lines * width).map(offset).collect(), ..windows })
    }

    /// The product of one image with `n` filters.
    pub fn gemm(&self, g: &Geometry, scheme: Scheme, n: usize) -> Gemm {
        let segments =
            Segments { count: g.kernel[0], len: g.kernel[1] * g.channels, stride: g.dilations[0] * self.line_bytes(g) };
        Gemm::of_windows(scheme, [g.output[0] * g.output[1], n], segments, self.offsets.len(), self.bytes(g))
    }

    /// Filters with zeros (as i8; u8 are packed less 128) at the end of each segment, if segments are no whole groups.
    pub fn pad_filters(g: &Geometry, bytes: &[u8], unsigned: bool) -> Option<Vec<u8>> {
        let len = g.kernel[1] * g.channels;
        if len.is_multiple_of(4) {
            return None;
        }
        let zeros = [if unsigned { 0x80 } else { 0 }; 3];
        let padding = &zeros[..len.next_multiple_of(4) - len];
        Some(bytes.chunks_exact(len).flat_map(|segment| segment.iter().chain(padding)).copied().collect())
    }

    fn line_bytes(&self, g: &Geometry) -> usize {
        self.width * g.channels * if self.wide { 2 } else { 1 }
    }

    /// Lines of input that `lines` lines of output see.
    fn seen(g: &Geometry, lines: usize) -> usize {
        (lines - 1) * g.strides[0] + (g.kernel[0] - 1) * g.dilations[0] + 1
    }

    /// Bytes of the copied lines, and of what the last group of the last segment may read beyond.
    fn bytes(&self, g: &Geometry) -> usize {
        Windows::seen(g, self.lines).saturating_mul(self.line_bytes(g)).saturating_add(8)
    }
}

/// One image.
pub(super) struct Image<'a> {
    pub windows: &'a Windows,
    pub g: &'a Geometry,
    pub x: &'a [u8],
    /// What padding holds.
    pub fill: u8,
}

impl RowSource for Image<'_> {
    fn rows<'s>(&'s self, range: Range<usize>, scratch: &'s mut [u8]) -> Rows<'s> {
        let first = range.start / self.g.output[1];
        let lines = range.len() / self.g.output[1];
        if self.windows.wide {
            if let Ok(elements) = cast::<i16>(scratch) {
                self.copy(first, lines, elements, i16::from(self.fill), widen);
            }
        } else {
            self.copy(first, lines, scratch, self.fill, |from, to| to.copy_from_slice(from));
        }
        Rows::Windows { bytes: scratch, offsets: &self.windows.offsets }
    }
}

impl Image<'_> {
    /// Copies the input that `lines` lines of output from `first` on see.
    fn copy<T: Copy>(&self, first: usize, lines: usize, out: &mut [T], fill: T, copy: impl Fn(&[u8], &mut [T])) {
        let g = self.g;
        let [height, width] = g.input;
        let line = self.windows.width * g.channels;
        let left = g.pad[1].min(self.windows.width);
        let inside = left * g.channels..(left + width).min(self.windows.width) * g.channels;
        for (i, out) in out.chunks_exact_mut(line).take(Windows::seen(g, lines)).enumerate() {
            let y = (first * g.strides[0] + i).wrapping_sub(g.pad[0]);
            if y >= height {
                out.fill(fill);
                continue;
            }
            out[..inside.start].fill(fill);
            copy(&self.x[y * width * g.channels..][..inside.len()], &mut out[inside.clone()]);
            out[inside.end..].fill(fill);
        }
    }
}
