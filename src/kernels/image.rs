//! Pictures as inputs of models: scaling, colours, normalisation, layout and type in one pass over the pixels.
//!
//! Scaling is linear with half-pixel centres, antialiased where it shrinks: with `step` input pixels to an output pixel, output `i` is the
//! mean of the inputs `j`, each weighing `max(0, 1 − |j + ½ − (i + ½)·step| / max(step, 1))`; weights that fall outside are left out.
//! That is what Pillow's `BILINEAR` does, and ONNX's Resize with `linear`, `half_pixel`, `antialias` and `exclude_outside`. Lines are mixed
//! first, and of the one line that results its pixels, so no scaled picture is kept in between. Sums are of f32, unfused and from first to
//! last, and so the same in every build.

use alloc::{vec, vec::Vec};

use super::cast::f32_to_f16;
use crate::{
    error::{Hundredths, Result, ensure},
    tensor::DType,
};

/// Bytes of a pixel: red, green, blue and alpha, not multiplied by it.
const PIXEL: usize = 4;
/// Bytes of a line that are mixed at a time: as many f32 as fill four vectors of 128 bits.
const BLOCK: usize = 16;
/// Weights of red, green and blue in grey (ITU-R BT.601).
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// The channels of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colors {
    Rgb,
    Bgr,
    Gray,
}

impl Colors {
    /// Number of channels.
    pub(crate) fn count(self) -> usize {
        if self == Colors::Gray { 1 } else { 3 }
    }
}

/// A part of a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Area<T> {
    pub left: T,
    pub top: T,
    pub width: T,
    pub height: T,
}

/// What becomes of a picture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    /// The part of the picture that is used.
    pub window: Area<f64>,
    /// The part of the result that it fills; around it is `background`.
    pub frame: Area<usize>,
    /// Pixels of a line of the result.
    pub width: usize,
    /// Lines of the result.
    pub height: usize,
    /// Red, green and blue beside the frame and behind what is transparent.
    pub background: [u8; 3],
    pub colors: Colors,
    /// Channels last; otherwise a plane for each channel.
    pub interleaved: bool,
    /// Channel `c` of the result is `colour · scale[c] + offset[c]`, colours from 0 to 255.
    pub scale: [f32; 3],
    pub offset: [f32; 3],
}

impl Recipe {
    /// Elements of the result.
    pub(crate) fn elements(&self) -> Option<usize> {
        self.width.checked_mul(self.height)?.checked_mul(self.colors.count())
    }

    fn check(&self, width: usize, height: usize) -> Result<()> {
        let Area { left, top, width: w, height: h } = self.window;
        let inside = |start: f64, len: f64, all: usize| start >= 0.0 && len > 0.0 && start + len <= all as f64 + 1e-6;
        ensure!(
            inside(left, w, width) && inside(top, h, height),
            InvalidInput,
            "the part {}×{} from ({}, {}) on is not within a picture of {width}×{height} pixels",
            Hundredths(w),
            Hundredths(h),
            Hundredths(left),
            Hundredths(top)
        );
        let f = self.frame;
        let within = |start: usize, len: usize, all: usize| len > 0 && start.checked_add(len).is_some_and(|end| end <= all);
        ensure!(
            within(f.left, f.width, self.width) && within(f.top, f.height, self.height),
            InvalidInput,
            "{}×{} pixels from ({}, {}) on are not within {}×{}",
            f.width,
            f.height,
            f.left,
            f.top,
            self.width,
            self.height
        );
        Ok(())
    }
}

/// Makes `out`, elements of type `dtype`, of a picture of RGBA bytes, whose transparent pixels are changed. Integers are rounded, half to
/// even, and saturated.
pub(crate) fn prepare_image(
    pixels: &mut [u8],
    width: usize,
    height: usize,
    recipe: &Recipe,
    dtype: DType,
    out: &mut [u8],
) -> Result<()> {
    let len = width.checked_mul(height).and_then(|n| n.checked_mul(PIXEL));
    ensure!(
        len == Some(pixels.len()) && width > 0 && height > 0,
        InvalidInput,
        "{} bytes are no picture of {width}×{height} pixels",
        pixels.len()
    );
    recipe.check(width, height)?;
    ensure!(
        matches!(dtype, DType::F32 | DType::F16 | DType::U8 | DType::I8),
        InvalidInput,
        "pictures become float32, float16, uint8 or int8, not {dtype}; give a tensor"
    );
    let size = recipe.elements().and_then(|n| n.checked_mul(dtype.size()));
    ensure!(
        size == Some(out.len()),
        InvalidInput,
        "a picture of {}×{} does not fill {} bytes",
        recipe.width,
        recipe.height,
        out.len()
    );

    flatten(pixels, recipe.background);
    let Recipe { window, frame, .. } = *recipe;
    let columns = Taps::new(window.left, window.width, width, frame.width);
    let rows = Taps::new(window.top, window.height, height, frame.height);
    let used = columns.span();
    let mut mixed = vec![0f32; used.len() * PIXEL];
    let mut line = vec![[0f32; 3]; recipe.width];
    for y in 0..recipe.height {
        line.fill(recipe.background.map(f32::from));
        if let Some(row) = y.checked_sub(frame.top).filter(|&row| row < frame.height) {
            let (first, weights) = rows.of(row);
            mix_lines(&pixels[first * width * PIXEL..], width * PIXEL, used.start * PIXEL, weights, &mut mixed);
            mix_pixels(&mixed, used.start, &columns, &mut line[frame.left..frame.left + frame.width]);
        }
        emit(&line, y, recipe, dtype, out);
    }
    Ok(())
}

/// Lays the picture over a colour, as 8 bits, rounded to nearest.
fn flatten(pixels: &mut [u8], background: [u8; 3]) {
    for pixel in pixels.as_chunks_mut::<PIXEL>().0 {
        let alpha = u32::from(pixel[3]);
        if alpha == 255 {
            continue;
        }
        for (color, behind) in pixel.iter_mut().zip(background) {
            *color = ((u32::from(*color) * alpha + u32::from(behind) * (255 - alpha) + 127) / 255) as u8;
        }
    }
}

/// The input positions along an axis that each output position is a mean of.
struct Taps {
    /// First input and number of weights of each output.
    runs: Vec<(usize, usize)>,
    weights: Vec<f32>,
    /// Room for the weights of each output.
    most: usize,
}

impl Taps {
    /// Of `count` outputs over `len` of `available` inputs, from `start` on.
    fn new(start: f64, len: f64, available: usize, count: usize) -> Taps {
        let step = len / count as f64;
        let reach = step.max(1.0);
        let most = (2.0 * reach) as usize + 2;
        let mut taps = Taps { runs: Vec::with_capacity(count), weights: vec![0.0; count * most], most };
        for (i, room) in taps.weights.chunks_exact_mut(most).enumerate() {
            let center = start + (i as f64 + 0.5) * step;
            let weight = |j: usize| (1.0 - ((j as f64 + 0.5 - center) / reach).abs()).max(0.0);
            // Conversions saturate, so what is left of the picture is 0.
            let mut first = ((center - reach + 0.5) as usize).min(available - 1);
            let mut end = ((center + reach + 0.5) as usize).clamp(first + 1, available).min(first + most);
            while first + 1 < end && weight(first) == 0.0 {
                first += 1;
            }
            while first + 1 < end && weight(end - 1) == 0.0 {
                end -= 1;
            }
            let sum: f64 = (first..end).map(weight).sum();
            for (slot, j) in room.iter_mut().zip(first..end) {
                *slot = (weight(j) / sum) as f32;
            }
            taps.runs.push((first, end - first));
        }
        taps
    }

    /// First input and weights of an output.
    fn of(&self, i: usize) -> (usize, &[f32]) {
        let (first, count) = self.runs[i];
        (first, &self.weights[i * self.most..][..count])
    }

    /// All inputs that are used.
    fn span(&self) -> core::ops::Range<usize> {
        let first = self.runs.iter().map(|r| r.0).min().unwrap_or(0);
        first..self.runs.iter().map(|r| r.0 + r.1).max().unwrap_or(first)
    }
}

/// The weighted sum of lines that are `pitch` bytes apart, from their byte `start` on.
fn mix_lines(lines: &[u8], pitch: usize, start: usize, weights: &[f32], out: &mut [f32]) {
    let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
    let tail = start + blocks.len() * BLOCK;
    for (b, block) in blocks.iter_mut().enumerate() {
        *block = mix_block(lines, pitch, start + b * BLOCK, weights);
    }
    for (p, pixel) in rest.as_chunks_mut::<PIXEL>().0.iter_mut().enumerate() {
        *pixel = mix_block(lines, pitch, tail + p * PIXEL, weights);
    }
}

#[inline(always)]
fn mix_block<const N: usize>(lines: &[u8], pitch: usize, at: usize, weights: &[f32]) -> [f32; N] {
    let mut sum = [0f32; N];
    for (k, &weight) in weights.iter().enumerate() {
        if let Some(bytes) = lines[k * pitch + at..].first_chunk::<N>() {
            for (sum, &byte) in sum.iter_mut().zip(bytes) {
                *sum += weight * f32::from(byte);
            }
        }
    }
    sum
}

/// The weighted sums of a line's pixels; the line begins with pixel `start`.
fn mix_pixels(line: &[f32], start: usize, taps: &Taps, out: &mut [[f32; 3]]) {
    let (line, _) = line.as_chunks::<PIXEL>();
    for (i, out) in out.iter_mut().enumerate() {
        let (first, weights) = taps.of(i);
        let mut sum = [0f32; PIXEL];
        for (pixel, &weight) in line[first - start..].iter().zip(weights) {
            for (sum, value) in sum.iter_mut().zip(pixel) {
                *sum += weight * value;
            }
        }
        *out = [sum[0], sum[1], sum[2]];
    }
}

/// Writes line `y` of the result, as channels of its type.
fn emit(line: &[[f32; 3]], y: usize, recipe: &Recipe, dtype: DType, out: &mut [u8]) {
    let channels = recipe.colors.count();
    let (near, far) = if recipe.interleaved { (channels, 1) } else { (1, recipe.width * recipe.height) };
    for channel in 0..channels {
        let (scale, offset) = (recipe.scale[channel], recipe.offset[channel]);
        let start = channel * far + y * recipe.width * near;
        let values = line.iter().map(|&[r, g, b]| {
            let color = match recipe.colors {
                Colors::Rgb => [r, g, b][channel],
                Colors::Bgr => [b, g, r][channel],
                Colors::Gray => r * LUMA[0] + g * LUMA[1] + b * LUMA[2],
            };
            color * scale + offset
        });
        // Conversions saturate; NaN, which an absurd scale may give, is 0.
        match dtype {
            DType::F32 => write(values.map(f32::to_le_bytes), start, near, out),
            DType::F16 => write(values.map(|v| f32_to_f16(v).to_le_bytes()), start, near, out),
            DType::I8 => write(values.map(|v| (v.round_ties_even() as i8).to_le_bytes()), start, near, out),
            _ => write(values.map(|v| (v.round_ties_even() as u8).to_le_bytes()), start, near, out),
        }
    }
}

/// Writes elements of N bytes, `near` apart, from element `start` on.
#[inline(always)]
fn write<const N: usize>(values: impl Iterator<Item = [u8; N]>, start: usize, near: usize, out: &mut [u8]) {
    let (out, _) = out.as_chunks_mut::<N>();
    for (slot, value) in out[start..].iter_mut().step_by(near).zip(values) {
        *slot = value;
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "image_tests.rs"]
mod tests;
