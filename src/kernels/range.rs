//! Evenly spaced numbers.

use alloc::boxed::Box;
use core::marker::PhantomData;

use super::{Io, Kernel, Prepare};
use crate::{
    error::{Result, ensure},
    tensor::{DType, Element},
};

/// Prepares [`Op::Range`](crate::graph::Op::Range).
pub(super) fn prepare(p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (start, step, y) = (&p.inputs[0], &p.inputs[1], &p.outputs[0]);
    ensure!(start.len() == 1 && step.len() == 1, InvalidModel, "start and step are not scalar");
    if start.dtype != y.dtype || step.dtype != y.dtype {
        return Err(p.unsupported());
    }
    Ok(match y.dtype {
        DType::I64 => Box::new(Range::<i64>(PhantomData)),
        DType::I32 => Box::new(Range::<i32>(PhantomData)),
        DType::F32 => Box::new(Range::<f32>(PhantomData)),
        _ => return Err(p.unsupported()),
    })
}

struct Range<T>(PhantomData<T>);

trait Number: Element + Send {
    fn nth(self, step: Self, i: usize) -> Self;
}

impl Number for i64 {
    fn nth(self, step: i64, i: usize) -> i64 {
        self.wrapping_add(step.wrapping_mul(i as i64))
    }
}

impl Number for i32 {
    fn nth(self, step: i32, i: usize) -> i32 {
        self.wrapping_add(step.wrapping_mul(i as i32))
    }
}

impl Number for f32 {
    fn nth(self, step: f32, i: usize) -> f32 {
        self + step * i as f32
    }
}

impl<T: Number> Kernel for Range<T> {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let (start, step) = (io.input::<T>(0)[0], io.input::<T>(1)[0]);
        for (i, y) in io.output::<T>(0).iter_mut().enumerate() {
            *y = start.nth(step, i);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        graph::Op,
        kernels::testing::{Arg, Out, run_op},
        tensor::{DType, Tensor},
    };

    #[test]
    fn counts() {
        let args = [Arg::new(Tensor::scalar(5i64)), Arg::new(Tensor::scalar(-2i64))];
        let y = run_op(Op::Range, &args, &[Out::new(DType::I64, &[4])]).unwrap();
        assert_eq!(y[0].as_slice::<i64>().unwrap(), [5, 3, 1, -1]);
        let args = [Arg::new(Tensor::scalar(0.5f32)), Arg::new(Tensor::scalar(0.25f32))];
        let y = run_op(Op::Range, &args, &[Out::new(DType::F32, &[3])]).unwrap();
        assert_eq!(y[0].as_slice::<f32>().unwrap(), [0.5, 0.75, 1.0]);
    }
}
