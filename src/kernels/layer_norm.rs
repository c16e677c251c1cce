//! Layer normalisation over trailing axes.

use alloc::boxed::Box;

use super::{Io, Kernel, Prepare};
use crate::{
    error::{Result, ensure},
    tensor::DType,
};

/// Partial sums, so that additions need not wait for each other. Eight, joined by halves, and a division by the deviation: ONNX
/// Runtime's arithmetic on x86, bit for bit. Dynamic quantization behind a last bit of difference turns it into a whole step now and then.
const LANES: usize = 8;

/// Elements that are worth a tile of their own.
const ELEMENTS: usize = 8192;

/// Prepares [`Op::LayerNorm`](crate::graph::Op::LayerNorm).
pub(super) fn prepare(axis: usize, epsilon: f32, bias: bool, p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (x, y) = (&p.inputs[0], &p.outputs[0]);
    ensure!(axis <= x.shape.len() && x.shape == y.shape, InvalidModel, "axis {axis} of {:?} gives {:?}", x.shape, y.shape);
    if p.inputs.iter().chain(&p.outputs).any(|o| o.dtype != DType::F32 || o.quant.is_some()) {
        return Err(p.unsupported());
    }
    let size = x.shape[axis..].iter().product::<usize>();
    for (what, operand) in ["scale", "bias"].iter().zip(&p.inputs[1..]) {
        ensure!(
            operand.len() == size,
            InvalidModel,
            "{what} {:?} does not have one element for each of the normalised {:?}",
            operand.shape,
            &x.shape[axis..]
        );
    }
    Ok(Box::new(LayerNorm { size, epsilon, bias }))
}

struct LayerNorm {
    size: usize,
    epsilon: f32,
    bias: bool,
}

impl Kernel for LayerNorm {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let len = io.input::<f32>(0).len();
        if self.size == 0 || len == 0 {
            return Ok(());
        }
        io.each_part(len / self.size, ELEMENTS.div_ceil(self.size), 1, &|io| self.rows(io));
        Ok(())
    }
}

impl LayerNorm {
    fn rows(&self, io: &mut Io<'_>) {
        let (x, scale) = (io.input::<f32>(0), io.input::<f32>(1));
        let bias = if self.bias { Some(io.input::<f32>(2)) } else { None };
        let y = io.output::<f32>(0);
        for (x, y) in x.chunks_exact(self.size).zip(y.chunks_exact_mut(self.size)) {
            let mean = sum(x, |x| x) / self.size as f32;
            let variance = sum(x, |x| (x - mean) * (x - mean)) / self.size as f32;
            let deviation = (variance + self.epsilon).sqrt();
            match bias {
                Some(bias) => {
                    for (((y, x), scale), bias) in y.iter_mut().zip(x).zip(scale).zip(bias) {
                        *y = (x - mean) / deviation * scale + bias;
                    }
                }
                None => {
                    for ((y, x), scale) in y.iter_mut().zip(x).zip(scale) {
                        *y = (x - mean) / deviation * scale;
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().map(|x| f(*x)).sum();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += f(*x);
        }
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    (((a + e) + (c + g)) + ((b + f) + (d + h))) + rest
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "layer_norm_tests.rs"]
mod tests;
