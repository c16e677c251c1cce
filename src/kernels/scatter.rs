//! Writing rows at computed places.

use alloc::boxed::Box;

use super::{Io, Kernel, Prepare};
use crate::{
    error::{Result, bail},
    graph::ops::Combine,
    tensor::{DType, Element},
};

/// Prepares [`Op::Scatter`](crate::graph::Op::Scatter).
pub(super) fn prepare(combine: Combine, p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (data, indices, updates, y) = (&p.inputs[0], &p.inputs[1], &p.inputs[2], &p.outputs[0]);
    let plain = data.stores_like(y) && updates.stores_like(y) && data.dtype.size() > 0;
    let (Some(&rows), true) = (data.shape.first(), plain) else { return Err(p.unsupported()) };
    let row: usize = data.shape[1..].iter().product();
    // An i32 is as good an index as an i64; which one is asked once per row.
    let wide = match indices.dtype {
        DType::I64 => true,
        DType::I32 => false,
        _ => return Err(p.unsupported()),
    };
    let count = indices.len();
    let places = Places { rows, count, wide };
    Ok(match (combine, data.dtype) {
        (Combine::Set, dtype) => Box::new(Scatter { places, row: row * dtype.size(), f: |_, b: u8| b }),
        (_, DType::F32) => Box::new(Scatter { places, row, f: float(combine) }),
        (_, DType::I32) => Box::new(Scatter { places, row, f: int32(combine) }),
        (_, DType::I64) => Box::new(Scatter { places, row, f: int64(combine) }),
        _ => return Err(p.unsupported()),
    })
}

fn float(combine: Combine) -> fn(f32, f32) -> f32 {
    match combine {
        Combine::Set => |_, b| b,
        Combine::Add => |a, b| a + b,
        Combine::Mul => |a, b| a * b,
        // NaN in either operand gives NaN.
        Combine::Min => |a, b| if a < b || a.is_nan() { a } else { b },
        Combine::Max => |a, b| if a > b || a.is_nan() { a } else { b },
    }
}

/// Integers wrap.
macro_rules! integer {
    ($name:ident, $t:ty) => {
        fn $name(combine: Combine) -> fn($t, $t) -> $t {
            match combine {
                Combine::Set => |_, b| b,
                Combine::Add => <$t>::wrapping_add,
                Combine::Mul => <$t>::wrapping_mul,
                Combine::Min => |a, b| a.min(b),
                Combine::Max => |a, b| a.max(b),
            }
        }
    };
}
integer!(int32, i32);
integer!(int64, i64);

/// Where rows go.
struct Places {
    rows: usize,
    count: usize,
    wide: bool,
}

impl Places {
    fn at(&self, io: &Io<'_>, i: usize) -> Result<usize> {
        let index = if self.wide { io.input::<i64>(1)[i] } else { i64::from(io.input::<i32>(1)[i]) };
        match usize::try_from(index) {
            Ok(at) if at < self.rows => Ok(at),
            _ => bail!(InvalidInput, "index {index} is out of range for {} rows", self.rows),
        }
    }
}

struct Scatter<T> {
    places: Places,
    /// Elements of a row.
    row: usize,
    f: fn(T, T) -> T,
}

impl<T: Element> Kernel for Scatter<T> {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let (data, updates) = (io.input::<T>(0), io.input::<T>(2));
        io.output::<T>(0).copy_from_slice(data);
        for i in 0..self.places.count {
            let at = self.places.at(io, i)? * self.row;
            let update = &updates[i * self.row..][..self.row];
            for (y, update) in io.output::<T>(0)[at..at + self.row].iter_mut().zip(update) {
                *y = (self.f)(*y, *update);
            }
        }
        Ok(())
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        ErrorKind, Tensor,
        graph::Op,
        kernels::testing::{Arg, Out, noise, real_noise, run_op},
    };

    proptest! {
        #[test]
        fn rows_are_combined_in_order(rows in 1usize..6, row in 0usize..4, count in 0usize..12, wide: bool, seed: u64) {
            let (data, updates) = (real_noise(&[rows, row], 2.0, seed), real_noise(&[count, row], 2.0, seed + 1));
            let mut next = noise(seed);
            let places: Vec<usize> = (0..count).map(|_| next() as usize % rows).collect();
            let narrow: Vec<i32> = places.iter().map(|&p| p as i32).collect();
            let long: Vec<i64> = places.iter().map(|&p| p as i64).collect();
            let indices = if wide { Tensor::from_slice(&[count], &long) } else { Tensor::from_slice(&[count], &narrow) }.unwrap();
            for (combine, f) in [
                (Combine::Set, (|_, b| b) as fn(f32, f32) -> f32),
                (Combine::Add, |a, b| a + b),
                (Combine::Mul, |a, b| a * b),
                (Combine::Min, f32::min),
                (Combine::Max, f32::max),
            ] {
                let args = [Arg::new(data.clone()), Arg::new(indices.clone()), Arg::new(updates.clone())];
                let y = run_op(Op::Scatter { combine }, &args, &[Out::new(DType::F32, &[rows, row])]).unwrap();
                let mut expected = data.as_slice::<f32>().unwrap().to_vec();
                for (i, &at) in places.iter().enumerate() {
                    for j in 0..row {
                        expected[at * row + j] = f(expected[at * row + j], updates.as_slice::<f32>().unwrap()[i * row + j]);
                    }
                }
                prop_assert_eq!(y[0].as_slice::<f32>().unwrap(), &expected[..]);
            }
        }
    }

    #[test]
    fn integers_and_bytes() {
        let indices = Tensor::from_slice(&[3], &[2i64, 0, 2]).unwrap();
        let run = |combine, data: Tensor, updates: Tensor| {
            let out = Out::new(data.dtype(), data.shape());
            run_op(Op::Scatter { combine }, &[Arg::new(data), Arg::new(indices.clone()), Arg::new(updates)], &[out])
                .unwrap()
                .remove(0)
        };
        let y =
            run(Combine::Add, Tensor::from_slice(&[3], &[1i64, 2, 3]).unwrap(), Tensor::from_slice(&[3], &[9i64, 8, 7]).unwrap());
        assert_eq!(y.as_slice::<i64>().unwrap(), [9, 2, 19]);
        let y =
            run(Combine::Set, Tensor::from_slice(&[3], &[1u16, 2, 3]).unwrap(), Tensor::from_slice(&[3], &[9u16, 8, 7]).unwrap());
        assert_eq!(y.as_slice::<u16>().unwrap(), [8, 2, 7]);
    }

    #[test]
    fn a_row_that_is_not_there_is_an_error() {
        for index in [3i64, -1, i64::MAX] {
            let args =
                [Tensor::zeros(DType::F32, &[3, 2]).unwrap(), Tensor::scalar(index), Tensor::zeros(DType::F32, &[2]).unwrap()];
            let out = [Out::new(DType::F32, &[3, 2])];
            let error = run_op(Op::Scatter { combine: Combine::Set }, &args.map(Arg::new), &out).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert_eq!(error.to_string(), format!("index {index} is out of range for 3 rows"));
        }
    }
}
