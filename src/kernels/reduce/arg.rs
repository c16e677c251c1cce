//! Index of the first maximum or minimum along one axis.

use alloc::boxed::Box;
use core::{hint::black_box, marker::PhantomData};

use crate::{
    error::{Result, ensure},
    graph::ops::ReduceOp,
    kernels::{Io, Kernel, Prepare},
    tensor::{DType, Element},
};

/// Neighbouring results that are searched side by side.
const LANES: usize = 8;

pub(super) fn prepare(op: ReduceOp, axes: &[usize], p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (x, y) = (&p.inputs[0], &p.outputs[0]);
    let &[axis] = axes else { return Err(p.unsupported()) };
    if y.dtype != DType::I64 {
        return Err(p.unsupported());
    }
    let size = x.shape[axis];
    ensure!(size > 0 || y.is_empty(), InvalidInput, "axis {axis} of {:?} is empty, so there is no {}", x.shape, p.node.op.name());
    let inner = x.shape[axis + 1..].iter().product();
    let largest = op == ReduceOp::ArgMax;
    Ok(match x.dtype {
        DType::F32 => search::<f32>(size, inner, largest),
        DType::I32 => search::<i32>(size, inner, largest),
        DType::I64 => search::<i64>(size, inner, largest),
        // Quantization keeps the order.
        DType::U8 => search::<u8>(size, inner, largest),
        DType::I8 => search::<i8>(size, inner, largest),
        _ => return Err(p.unsupported()),
    })
}

fn search<T: Element + PartialOrd>(size: usize, inner: usize, largest: bool) -> Box<dyn Kernel> {
    Box::new(Search { size, inner, largest, element: PhantomData::<fn(T)> })
}

struct Search<T> {
    size: usize,
    inner: usize,
    largest: bool,
    element: PhantomData<fn(T)>,
}

impl<T: Element + PartialOrd> Kernel for Search<T> {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let (x, y) = (io.input::<T>(0), io.output::<i64>(0));
        if x.is_empty() {
            return Ok(());
        }
        for (x, y) in x.chunks_exact(self.size * self.inner).zip(y.chunks_exact_mut(self.inner)) {
            for (first, y) in (0..self.inner).step_by(LANES).zip(y.chunks_mut(LANES)) {
                let mut best = [T::zeroed(); LANES];
                best[..y.len()].copy_from_slice(&x[first..first + y.len()]);
                let mut index = [0i64; LANES];
                // One loop for both, and the compiler is not to make two of it: there is one for each type.
                let (largest, smallest) = (black_box(self.largest), black_box(!self.largest));
                for (i, row) in x.chunks_exact(self.inner).enumerate().skip(1) {
                    for ((best, index), x) in best.iter_mut().zip(&mut index).zip(&row[first..first + y.len()]) {
                        let take = (largest & (*x > *best)) | (smallest & (*x < *best));
                        *best = if take { *x } else { *best };
                        *index = if take { i as i64 } else { *index };
                    }
                }
                y.copy_from_slice(&index[..y.len()]);
            }
        }
        Ok(())
    }
}
