//! Running sums and products.

use alloc::boxed::Box;

use super::{Io, Kernel, Prepare};
use crate::{
    error::{Result, ensure},
    tensor::{DType, Element},
};

/// Prepares [`Op::Cumulate`](crate::graph::Op::Cumulate).
pub(super) fn prepare(axis: usize, product: bool, order: Order, p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (x, y) = (&p.inputs[0], &p.outputs[0]);
    ensure!(axis < x.shape.len() && x.shape == y.shape, InvalidModel, "axis {axis} is not one of {:?}", x.shape);
    if x.dtype != y.dtype || x.quant.is_some() || y.quant.is_some() {
        return Err(p.unsupported());
    }
    let (size, inner) = (x.shape[axis], x.shape[axis + 1..].iter().product());
    macro_rules! kernel {
        ($one:expr, $add:expr, $mul:expr) => {
            Box::new(if product {
                Cumulate { size, inner, order, start: $one, f: $mul }
            } else {
                Cumulate { size, inner, order, start: Default::default(), f: $add }
            })
        };
    }
    Ok(match x.dtype {
        DType::F32 => kernel!(1f32, |a, b| a + b, |a, b| a * b),
        DType::F64 => kernel!(1f64, |a, b| a + b, |a, b| a * b),
        DType::I32 => kernel!(1i32, i32::wrapping_add, i32::wrapping_mul),
        DType::I64 => kernel!(1i64, i64::wrapping_add, i64::wrapping_mul),
        _ => return Err(p.unsupported()),
    })
}

/// Which way, and whether an entry is part of its own result.
#[derive(Clone, Copy)]
pub(super) struct Order {
    pub exclusive: bool,
    pub reverse: bool,
}

struct Cumulate<T> {
    size: usize,
    inner: usize,
    order: Order,
    start: T,
    f: fn(T, T) -> T,
}

impl<T: Element + Send> Kernel for Cumulate<T> {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let (x, y) = (io.input::<T>(0), io.output::<T>(0));
        let (size, inner) = (self.size, self.inner);
        if x.is_empty() {
            return Ok(());
        }
        for (x, y) in x.chunks_exact(size * inner).zip(y.chunks_exact_mut(size * inner)) {
            for step in 0..size {
                let row = |step: usize| if self.order.reverse { size - 1 - step } else { step } * inner;
                for i in 0..inner {
                    let before = if step == 0 { self.start } else { y[row(step - 1) + i] };
                    y[row(step) + i] = match (self.order.exclusive, step) {
                        (true, 0) => before,
                        (true, _) => (self.f)(before, x[row(step - 1) + i]),
                        (false, _) => (self.f)(before, x[row(step) + i]),
                    };
                }
            }
        }
        Ok(())
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use proptest::prelude::*;

    use crate::{
        Tensor,
        graph::Op,
        kernels::testing::{Arg, Out, byte_noise, run_op},
        tensor::DType,
    };

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            outer in 0usize..3, size in 1usize..9, inner in 1usize..4, product: bool, exclusive: bool, reverse: bool, seed: u64,
        ) {
            let shape = [outer, size, inner];
            let data: Vec<i64> = byte_noise(DType::I8, &shape, seed).bytes().iter().map(|b| i64::from(*b as i8 >> 5)).collect();
            let x = Tensor::from_slice(&shape, &data).unwrap();
            let op = Op::Cumulate { axis: 1, product, exclusive, reverse };
            let y = run_op(op.clone(), &[Arg::new(x)], &[Out::new(DType::I64, &shape)]).unwrap();
            let real: Vec<f32> = data.iter().map(|&v| v as f32).collect();
            let x = Tensor::from_slice(&shape, &real).unwrap();
            let z = run_op(op, &[Arg::new(x)], &[Out::new(DType::F32, &shape)]).unwrap();
            for (at, (&y, &z)) in y[0].as_slice::<i64>().unwrap().iter().zip(z[0].as_slice::<f32>().unwrap()).enumerate() {
                let (o, t, i) = (at / (size * inner), at / inner % size, at % inner);
                let all = (0..size).filter(|&s| if reverse { s > t || (s == t && !exclusive) } else { s < t || (s == t && !exclusive) });
                let parts = all.map(|s| data[(o * size + s) * inner + i]);
                let expected: i64 = if product { parts.product() } else { parts.sum() };
                // Products of eight numbers up to 4 are exact in f32.
                prop_assert_eq!((y, z), (expected, expected as f32));
            }
        }
    }
}
