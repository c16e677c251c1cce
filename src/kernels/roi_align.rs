//! Pooling of boxes that lie between pixels.

use alloc::boxed::Box;

use super::{Io, Kernel, Prepare};
use crate::{
    error::{Result, bail, ensure},
    graph::ops::RoiAlign,
    tensor::DType,
};

/// Prepares [`Op::RoiAlign`](crate::graph::Op::RoiAlign).
pub(super) fn prepare(op: RoiAlign, p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (x, boxes, images, y) = (&p.inputs[0], &p.inputs[1], &p.inputs[2], &p.outputs[0]);
    let (&[batch, h, w, channels], &[count, oh, ow, _]) = (x.shape.as_slice(), y.shape.as_slice()) else {
        return Err(p.unsupported());
    };
    if [x.dtype, boxes.dtype, y.dtype] != [DType::F32; 3] || images.dtype != DType::I64 {
        return Err(p.unsupported());
    }
    ensure!(op.samples <= MAX_SAMPLES, InvalidModel, "has {} samples per cell, the limit is {MAX_SAMPLES}", op.samples);
    ensure!(
        boxes.shape == [count, 4] && images.shape == [count] && y.shape[3] == channels,
        InvalidModel,
        "boxes {:?} do not give {:?}",
        boxes.shape,
        y.shape
    );
    Ok(Box::new(Align { op, batch, size: [h, w], channels, out: [oh, ow] }))
}

/// Samples per cell and axis that a model may ask for.
const MAX_SAMPLES: usize = 256;

struct Align {
    op: RoiAlign,
    batch: usize,
    size: [usize; 2],
    channels: usize,
    out: [usize; 2],
}

/// The samples of a cell along one axis.
struct Line {
    start: f32,
    step: f32,
    count: usize,
}

/// Two pixels and their weights.
type Between = [(usize, f32); 2];

impl Line {
    /// Calls `f` with each sample that lies in the image. Those before it are passed over at once, and samples whose number follows from
    /// the size of a cell lie half a pixel apart or more, so that a box may be as large as it likes.
    fn each(&self, size: usize, mut f: impl FnMut(Between)) {
        if size == 0 {
            return;
        }
        let first = if self.step > 0.0 { ((-1.0 - self.start) / self.step - 1.0).max(0.0) as usize } else { 0 };
        for i in (first..self.count).take(MAX_SAMPLES.max(2 * size + 8)) {
            let at = self.start + (i as f32 + 0.5) * self.step;
            if self.step > 0.0 && at > size as f32 || at.is_nan() {
                break;
            }
            if at < -1.0 || at > size as f32 {
                continue;
            }
            let at = at.max(0.0);
            let low = at as usize;
            f(if low + 1 >= size {
                [(size - 1, 1.0), (size - 1, 0.0)]
            } else {
                [(low, 1.0 - at.fract()), (low + 1, at.fract())]
            });
        }
    }
}

impl Align {
    /// The samples of cell `cell` of a box from `lo` to `hi`.
    fn line(&self, lo: f32, hi: f32, cells: usize, cell: usize) -> Line {
        let shift = if self.op.half_pixel { 0.5 } else { 0.0 };
        let (start, end) = (lo * self.op.scale - shift, hi * self.op.scale - shift);
        let length = if self.op.half_pixel { end - start } else { (end - start).max(1.0) };
        let width = length / cells as f32;
        let count = if self.op.samples > 0 { self.op.samples } else { width.ceil() as usize };
        Line { start: start + cell as f32 * width, step: width / count as f32, count }
    }
}

impl Kernel for Align {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let (x, boxes, images) = (io.input::<f32>(0), io.input::<f32>(1), io.input::<i64>(2));
        let y = io.output::<f32>(0);
        let (channels, [h, w]) = (self.channels, self.size);
        let cells = self.out[0] * self.out[1] * channels;
        if cells == 0 {
            return Ok(());
        }
        for ((area, &image), y) in boxes.chunks_exact(4).zip(images).zip(y.chunks_exact_mut(cells)) {
            let Some(image) = usize::try_from(image).ok().filter(|i| *i < self.batch) else {
                bail!(InvalidInput, "a box is in image {image}, there are {}", self.batch);
            };
            let x = &x[image * h * w * channels..][..h * w * channels];
            for (cell, y) in y.chunks_exact_mut(channels).enumerate() {
                let rows = self.line(area[1], area[3], self.out[0], cell / self.out[1]);
                let columns = self.line(area[0], area[2], self.out[1], cell % self.out[1]);
                let count = (rows.count as f32 * columns.count as f32).max(1.0);
                y.fill(if self.op.max { f32::NEG_INFINITY } else { 0.0 });
                let mut any = false;
                rows.each(h, |row| {
                    columns.each(w, |column| {
                        any = true;
                        self.add(x, row, column, y);
                    });
                });
                if !any {
                    y.fill(0.0);
                } else if !self.op.max {
                    y.iter_mut().for_each(|y| *y /= count);
                }
            }
        }
        Ok(())
    }
}

impl Align {
    /// Adds a sample of every channel; of the largest, its largest weighted pixel, as ONNX Runtime has it.
    fn add(&self, x: &[f32], rows: Between, columns: Between, y: &mut [f32]) {
        for (row, a) in rows {
            for (column, b) in columns {
                let at = (row * self.size[1] + column) * self.channels;
                for (y, x) in y.iter_mut().zip(&x[at..at + self.channels]) {
                    let part = a * b * x;
                    *y = if !self.op.max {
                        *y + part
                    } else if part > *y {
                        part
                    } else {
                        *y
                    };
                }
            }
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Tensor,
        graph::Op,
        kernels::testing::{Arg, Out, real_noise, run_op},
    };

    fn run(op: RoiAlign, x: &Tensor, boxes: &[f32], images: &[i64], out: [usize; 2]) -> Result<Vec<f32>> {
        let n = images.len();
        let args = [x.clone(), Tensor::from_slice(&[n, 4], boxes)?, Tensor::from_slice(&[n], images)?].map(Arg::new);
        let shape = [n, out[0], out[1], x.shape()[3]];
        Ok(run_op(Op::RoiAlign(op), &args, &[Out::new(DType::F32, &shape)])?[0].as_slice::<f32>()?.to_vec())
    }

    /// One channel of one cell, sample by sample.
    fn reference(op: RoiAlign, plane: &[f32], [h, w]: [usize; 2], area: [f32; 4], out: [usize; 2], cell: [usize; 2]) -> f32 {
        let shift = if op.half_pixel { 0.5 } else { 0.0 };
        let edges = area.map(|v| v * op.scale - shift);
        let least = if op.half_pixel { f32::NEG_INFINITY } else { 1.0 };
        let size = [(edges[3] - edges[1]).max(least) / out[0] as f32, (edges[2] - edges[0]).max(least) / out[1] as f32];
        let count = size.map(|s| if op.samples > 0 { op.samples } else { s.ceil().max(0.0) as usize });
        let mut samples = Vec::new();
        for i in 0..count[0] {
            for j in 0..count[1] {
                let y = edges[1] + cell[0] as f32 * size[0] + (i as f32 + 0.5) * size[0] / count[0] as f32;
                let x = edges[0] + cell[1] as f32 * size[1] + (j as f32 + 0.5) * size[1] / count[1] as f32;
                if y < -1.0 || y > h as f32 || x < -1.0 || x > w as f32 {
                    samples.push(vec![0.0]);
                    continue;
                }
                let (y, x) = (y.max(0.0).min(h as f32 - 1.0), x.max(0.0).min(w as f32 - 1.0));
                let (r, c) = (y as usize, x as usize);
                let (r1, c1) = ((r + 1).min(h - 1), (c + 1).min(w - 1));
                let (a, b) = (y.fract(), x.fract());
                let at = |r: usize, c: usize, weight: f32| weight * plane[r * w + c];
                samples.push(vec![
                    at(r, c, (1.0 - a) * (1.0 - b)),
                    at(r, c1, (1.0 - a) * b),
                    at(r1, c, a * (1.0 - b)),
                    at(r1, c1, a * b),
                ]);
            }
        }
        if op.max {
            return samples.concat().into_iter().reduce(f32::max).unwrap_or(0.0);
        }
        samples.concat().iter().sum::<f32>() / (samples.len().max(1)) as f32
    }

    proptest! {
        #[test]
        fn means_agree_with_the_definition(
            h in 1usize..7, w in 1usize..7, oh in 1usize..4, ow in 1usize..4, samples in 0usize..4, half_pixel: bool, seed: u64,
        ) {
            let op = RoiAlign { max: false, samples, scale: 0.5, half_pixel };
            let x = real_noise(&[2, h, w, 3], 1.0, seed);
            let corners = real_noise(&[2, 4], 9.0, seed + 1);
            let boxes = corners.as_slice::<f32>().unwrap();
            let y = run(op, &x, boxes, &[1, 0], [oh, ow]).unwrap();
            for (at, &y) in y.iter().enumerate() {
                let (r, cell, c) = (at / (oh * ow * 3), at / 3 % (oh * ow), at % 3);
                let image = &x.as_slice::<f32>().unwrap()[(1 - r) * h * w * 3..];
                let plane: Vec<f32> = (0..h * w).map(|i| image[i * 3 + c]).collect();
                let area: [f32; 4] = boxes[r * 4..][..4].try_into().unwrap();
                let expected = reference(op, &plane, [h, w], area, [oh, ow], [cell / ow, cell % ow]);
                // Some hundred roundings of numbers below 1.
                prop_assert!((y - expected).abs() < 1e-4, "{y} is not {expected}");
            }
        }
    }

    #[test]
    fn the_largest_weighted_pixel() {
        let op = RoiAlign { max: true, samples: 1, scale: 1.0, half_pixel: false };
        let x = Tensor::from_slice(&[1, 2, 2, 1], &[1f32, 2.0, 3.0, 4.0]).unwrap();
        // The only sample is in the middle, where each pixel weighs a quarter.
        assert_eq!(run(op, &x, &[0.0, 0.0, 1.0, 1.0], &[0], [1, 1]).unwrap(), [1.0]);
    }

    #[test]
    fn boxes_of_any_size_end() {
        let x = Tensor::from_slice(&[1, 2, 2, 1], &[1f32; 4]).unwrap();
        for half_pixel in [false, true] {
            let op = RoiAlign { max: false, samples: 0, scale: 1.0, half_pixel };
            for area in
                [[-1e30, -1e30, 1e30, 1e30], [0.0, 0.0, 1e9, 1e9], [f32::NAN; 4], [f32::NEG_INFINITY, 0.0, f32::INFINITY, 1.0]]
            {
                assert_eq!(run(op, &x, &area, &[0], [1, 1]).unwrap().len(), 1);
            }
        }
        let none = Tensor::zeros(DType::F32, &[1, 0, 2, 1]).unwrap();
        let op = RoiAlign { max: true, samples: 2, scale: 1.0, half_pixel: false };
        assert_eq!(run(op, &none, &[-1.0, -1.0, 1.0, 1.0], &[0], [1, 1]).unwrap(), [0.0]);
        let error = run(RoiAlign { max: false, samples: 0, scale: 1.0, half_pixel: true }, &x, &[0.0; 4], &[1], [1, 1]);
        assert_eq!(error.unwrap_err().to_string(), "a box is in image 1, there are 1");
    }
}
