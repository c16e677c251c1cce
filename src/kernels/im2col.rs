//! Convolution as a matrix product: where the windows fall, and the rows of the matrix that they form.
//!
//! Row `(n, oy, ox)`, flattened, holds the window's elements in weight order: kernel row, kernel column, channel.

use core::ops::Range;

use crate::{
    error::{Result, bail, ensure},
    graph::{ops::Conv, shape::window_output},
    tensor::{Element, describe_shape, element_count},
};

/// A convolution's concrete sizes. Pairs are height, width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub batch: usize,
    pub input: [usize; 2],
    pub channels: usize,
    pub output: [usize; 2],
    pub out_channels: usize,
    pub groups: usize,
    pub kernel: [usize; 2],
    pub strides: [usize; 2],
    pub dilations: [usize; 2],
    /// Padding above and to the left. What lies below and to the right follows from the output's size.
    pub pad: [usize; 2],
}

impl Geometry {
    /// The sizes of `conv` on x `[N,H,W,C]` with weight `[O,KH,KW,C/groups]`; fails unless it gives `output` `[N,OH,OW,O]`.
    pub fn new(conv: &Conv, x: &[usize], weight: &[usize], output: &[usize]) -> Result<Geometry> {
        let (&[batch, height, width, channels], &[out_channels, kh, kw, group_channels]) = (x, weight) else {
            bail!(
                InvalidModel,
                "input {} and weight {} of a convolution must have 4 dimensions (NHWC, OHWI)",
                describe_shape(x),
                describe_shape(weight)
            );
        };
        let window = &conv.window;
        let groups = conv.groups;
        ensure!(
            [kh, kw] == window.kernel,
            InvalidModel,
            "weight {} does not fit the kernel {}",
            describe_shape(weight),
            describe_shape(&window.kernel)
        );
        ensure!(
            groups > 0
                && group_channels > 0
                && groups.checked_mul(group_channels) == Some(channels)
                && out_channels % groups == 0,
            InvalidModel,
            "weight {} (OHWI) does not fit {channels} input channels in {groups} groups (input NHWC {})",
            describe_shape(weight),
            describe_shape(x)
        );
        let (oh, ow) = (window_output(window, 0, height)?, window_output(window, 1, width)?);
        let expected = [batch, oh, ow, out_channels];
        ensure!(
            output == expected,
            InvalidModel,
            "the convolution of input {} gives {}, not {}",
            describe_shape(x),
            describe_shape(&expected),
            describe_shape(output)
        );
        element_count(x)?;
        element_count(&expected)?;
        element_count(&[batch, oh, ow])?;
        element_count(weight)?;
        Ok(Geometry {
            batch,
            input: [height, width],
            channels,
            output: [oh, ow],
            out_channels,
            groups,
            kernel: [kh, kw],
            strides: window.strides,
            dilations: window.dilations,
            pad: [window.pads[0][0], window.pads[1][0]],
        })
    }

    /// Rows of the matrix: output positions.
    pub fn rows(&self) -> usize {
        self.batch * self.output[0] * self.output[1]
    }

    /// Input channels of one group.
    pub fn group_channels(&self) -> usize {
        self.channels / self.groups
    }

    /// Elements of a row, for one group.
    pub fn depth(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.group_channels()
    }

    /// Whether the input itself is the matrix: 1×1, every position, no padding.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.strides == [1, 1] && self.input == self.output && self.pad == [0, 0]
    }

    /// Whether each input channel is a group of its own.
    pub fn is_depthwise(&self) -> bool {
        self.groups == self.channels
    }

    /// Along `axis`, the outputs whose windows lie wholly within the input.
    pub fn interior(&self, axis: usize) -> Range<usize> {
        let reach = (self.kernel[axis] - 1) * self.dilations[axis];
        let (pad, stride, outputs) = (self.pad[axis], self.strides[axis], self.output[axis]);
        let end = (self.input[axis] + pad).checked_sub(reach + 1).map_or(0, |last| (last / stride + 1).min(outputs));
        pad.div_ceil(stride).min(end)..end
    }

    /// Along `axis`, the kernel indices that fall within the input for output `o`.
    pub fn taps(&self, axis: usize, o: usize) -> Range<usize> {
        let (start, pad, dilation) = (o * self.strides[axis], self.pad[axis], self.dilations[axis]);
        let end = (self.input[axis] + pad).saturating_sub(start).div_ceil(dilation).min(self.kernel[axis]);
        pad.saturating_sub(start).div_ceil(dilation).min(end)..end
    }
}

/// Writes the matrix rows `rows` for the input channels `channels` to `out`, each `stride` elements after the one before.
/// Positions in the padding get `fill`; elements from the row's end to `stride` get zero. `x` is the whole input.
pub(crate) fn im2col<T: Element>(
    g: &Geometry,
    x: &[T],
    channels: Range<usize>,
    rows: Range<usize>,
    fill: T,
    stride: usize,
    out: &mut [T],
) {
    let depth = g.kernel[0] * g.kernel[1] * channels.len();
    assert!(channels.start <= channels.end && channels.end <= g.channels && rows.end <= g.rows() && depth <= stride);
    assert!(x.len() >= g.batch * g.input[0] * g.input[1] * g.channels);
    let out = &mut out[..rows.len() * stride];
    if depth < stride {
        for row in out.chunks_exact_mut(stride) {
            row[depth..].fill(T::zeroed());
        }
    }
    let [oh, ow] = g.output;
    let mut row = rows.start;
    while row < rows.end {
        let (line, ox) = (row / ow, row % ow);
        let count = (ow - ox).min(rows.end - row);
        let line = Line { image: line / oh, oy: line % oh, columns: ox..ox + count };
        copy_line(g, x, &channels, &line, fill, stride, &mut out[(row - rows.start) * stride..][..count * stride]);
        row += count;
    }
}

/// Neighbouring outputs of one output line.
struct Line {
    image: usize,
    oy: usize,
    columns: Range<usize>,
}

fn copy_line<T: Element>(g: &Geometry, x: &[T], channels: &Range<usize>, line: &Line, fill: T, stride: usize, out: &mut [T]) {
    let [height, width] = g.input;
    let c = channels.len();
    let run = g.kernel[1] * c;
    let interior = g.interior(1);
    let first = interior.start.clamp(line.columns.start, line.columns.end);
    let last = interior.end.clamp(first, line.columns.end);
    let valid = g.taps(0, line.oy);
    for ky in 0..g.kernel[0] {
        let at = ky * run;
        if !valid.contains(&ky) {
            out.chunks_exact_mut(stride).for_each(|row| row[at..at + run].fill(fill));
            continue;
        }
        let iy = line.oy * g.strides[0] + ky * g.dilations[0] - g.pad[0];
        let source = &x[(line.image * height + iy) * width * g.channels..][..width * g.channels];
        for ox in (line.columns.start..first).chain(last..line.columns.end) {
            let row = &mut out[(ox - line.columns.start) * stride + at..][..run];
            copy_border(g, source, channels, ox, fill, row);
        }
        if first == last {
            continue;
        }
        // A kernel row is one contiguous run unless the window skips columns or channels.
        let (pieces, piece, gap) =
            if g.dilations[1] == 1 && c == g.channels { (1, run, 0) } else { (g.kernel[1], c, g.dilations[1] * g.channels) };
        let from = &source[(first * g.strides[1] - g.pad[1]) * g.channels + channels.start..];
        let to = &mut out[(first - line.columns.start) * stride + at..];
        let step = g.strides[1] * g.channels;
        assert!((last - first - 1) * step + (pieces - 1) * gap + piece <= from.len());
        assert!((last - first - 1) * stride + pieces * piece <= to.len());
        for i in 0..last - first {
            for j in 0..pieces {
                // SAFETY: both ends were checked above for the largest i and j.
                unsafe { copy(from.as_ptr().add(i * step + j * gap), to.as_mut_ptr().add(i * stride + j * piece), piece) }
            }
        }
    }
}

/// One kernel row of a window that reaches beyond the left or right border.
fn copy_border<T: Element>(g: &Geometry, source: &[T], channels: &Range<usize>, ox: usize, fill: T, row: &mut [T]) {
    let c = channels.len();
    let valid = g.taps(1, ox);
    row[..valid.start * c].fill(fill);
    row[valid.end * c..].fill(fill);
    for kx in valid {
        let ix = ox * g.strides[1] + kx * g.dilations[1] - g.pad[1];
        row[kx * c..(kx + 1) * c].copy_from_slice(&source[ix * g.channels + channels.start..][..c]);
    }
}

#[cfg(target_arch = "wasm32")]
type Block = core::arch::wasm32::v128;
#[cfg(target_arch = "x86_64")]
type Block = core::arch::x86_64::__m128i;
#[cfg(not(any(target_arch = "wasm32", target_arch = "x86_64")))]
type Block = u128;

/// Copies `len` elements. Runs are short here, where a call to `memcpy` (in wasm, out of the module) costs more than the copy.
///
/// # Safety
/// `from` must be valid for reading and `to` for writing `len` elements, and they must not overlap.
#[inline(always)]
pub(super) unsafe fn copy<T: Element>(from: *const T, to: *mut T, len: usize) {
    const BLOCK: usize = size_of::<Block>();
    let bytes = len * size_of::<T>();
    let (from, to) = (from.cast::<u8>(), to.cast::<u8>());
    // SAFETY: every access lies within `bytes`; the last one of a size may repeat what the one before copied.
    unsafe {
        match bytes {
            1024.. => core::ptr::copy_nonoverlapping(from, to, bytes),
            BLOCK.. => {
                let mut at = 0;
                while at < bytes - BLOCK {
                    copy_one::<Block>(from, to, at);
                    at += BLOCK;
                }
                copy_one::<Block>(from, to, bytes - BLOCK);
            }
            8.. => {
                copy_one::<u64>(from, to, 0);
                copy_one::<u64>(from, to, bytes - 8);
            }
            4.. => {
                copy_one::<u32>(from, to, 0);
                copy_one::<u32>(from, to, bytes - 4);
            }
            _ => {
                for at in 0..bytes {
                    copy_one::<u8>(from, to, at);
                }
            }
        }
    }
}

/// # Safety
/// `at + size_of::<B>()` bytes must be valid for reading at `from` and for writing at `to`.
#[inline(always)]
unsafe fn copy_one<B: Copy>(from: *const u8, to: *mut u8, at: usize) {
    // SAFETY: by the contract.
    unsafe { to.add(at).cast::<B>().write_unaligned(from.add(at).cast::<B>().read_unaligned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ops::{Activation, Window};

    fn conv(window: Window, groups: usize) -> Conv {
        Conv { window, groups, bias: false, dynamic: false, activation: Activation::None }
    }

    fn window(kernel: [usize; 2]) -> Window {
        Window { kernel, strides: [1, 1], dilations: [1, 1], pads: [[0, 0], [0, 0]], ceil: false }
    }

    /// One element at a time, by the definition.
    #[cfg(not(target_arch = "wasm32"))]
    fn reference<T: Element>(
        g: &Geometry,
        x: &[T],
        channels: Range<usize>,
        rows: Range<usize>,
        fill: T,
        stride: usize,
    ) -> Vec<T> {
        let [h, w] = g.input;
        let mut out = Vec::new();
        for row in rows {
            let (n, oy, ox) = (row / g.output[1] / g.output[0], row / g.output[1] % g.output[0], row % g.output[1]);
            for ky in 0..g.kernel[0] {
                for kx in 0..g.kernel[1] {
                    for c in channels.clone() {
                        let iy = (oy * g.strides[0] + ky * g.dilations[0]).wrapping_sub(g.pad[0]);
                        let ix = (ox * g.strides[1] + kx * g.dilations[1]).wrapping_sub(g.pad[1]);
                        out.push(if iy < h && ix < w { x[((n * h + iy) * w + ix) * g.channels + c] } else { fill });
                    }
                }
            }
            out.resize(out.len().next_multiple_of(stride), T::zeroed());
        }
        out
    }

    #[test]
    fn misfits_are_sentences() {
        let message = |x: &[usize], w: &[usize], y: &[usize], groups| {
            Geometry::new(&conv(window([3, 3]), groups), x, w, y).unwrap_err().to_string()
        };
        assert_eq!(
            message(&[1, 8, 8, 4], &[8, 3, 3, 3], &[1, 6, 6, 8], 1),
            "weight 8×3×3×3 (OHWI) does not fit 4 input channels in 1 groups (input NHWC 1×8×8×4)"
        );
        assert_eq!(
            message(&[1, 8, 8, 4], &[8, 3, 3, 4], &[1, 8, 8, 8], 1),
            "the convolution of input 1×8×8×4 gives 1×6×6×8, not 1×8×8×8"
        );
    }

    #[cfg(not(target_arch = "wasm32"))]
    mod random {
        use proptest::prelude::*;

        use super::*;

        fn geometry() -> impl Strategy<Value = Geometry> {
            let pair = |r: Range<usize>| [r.clone(), r];
            (1..3usize, pair(1..9), pair(1..5), pair(1..4), pair(1..4), [pair(0..4), pair(0..4)], 1..4usize, 1..20usize)
                .prop_filter_map("the window fits", |(batch, input, kernel, strides, dilations, pads, groups, group_channels)| {
                    let window = Window { kernel, strides, dilations, pads, ceil: false };
                    let size = |a: usize| window_output(&window, a, input[a]).ok();
                    let output = [batch, size(0)?, size(1)?, groups];
                    let x = [batch, input[0], input[1], groups * group_channels];
                    Geometry::new(&conv(window, groups), &x, &[groups, kernel[0], kernel[1], group_channels], &output).ok()
                })
        }

        fn check<T: Element + PartialEq + core::fmt::Debug>(
            g: &Geometry,
            cuts: [usize; 2],
            extra: usize,
            whole: bool,
            fill: T,
            element: impl Fn(usize) -> T,
        ) {
            let x: Vec<T> = (0..g.batch * g.input[0] * g.input[1] * g.channels).map(element).collect();
            let (a, b) = (cuts[0] % (g.rows() + 1), cuts[1] % (g.rows() + 1));
            let rows = a.min(b)..a.max(b);
            let group = cuts[0] % g.groups;
            let cg = g.group_channels();
            let channels = if whole { 0..g.channels } else { group * cg..(group + 1) * cg };
            let stride = g.kernel[0] * g.kernel[1] * channels.len() + extra;
            let mut out = vec![fill; rows.len() * stride + 3];
            im2col(g, &x, channels.clone(), rows.clone(), fill, stride, &mut out);
            assert_eq!(&out[..rows.len() * stride], &reference(g, &x, channels, rows, fill, stride)[..]);
        }

        proptest! {
            #[test]
            fn as_by_definition(g in geometry(), cuts: [u16; 2], extra in 0..5usize, whole: bool) {
                let cuts = cuts.map(usize::from);
                check::<f32>(&g, cuts, extra, whole, 0.0, |i| i as f32 + 1.0);
                check::<u8>(&g, cuts, extra, whole, 77, |i| (i * 31 % 251) as u8);
            }
        }
    }
}
