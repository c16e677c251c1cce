//! The largest or smallest entries along an axis.
//!
//! Whatever the element type, entries become integers of the same order, so that one sort serves all.

use alloc::boxed::Box;

use super::{Io, Kernel, Prepare};
use crate::{
    error::{Result, ensure},
    tensor::DType,
};

/// Prepares [`Op::TopK`](crate::graph::Op::TopK).
pub(super) fn prepare(axis: usize, largest: bool, p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (x, values, indices) = (&p.inputs[0], &p.outputs[0], &p.outputs[1]);
    ensure!(axis < x.shape.len() && values.shape.len() == x.shape.len(), InvalidModel, "axis {axis} is not one of {:?}", x.shape);
    let (size, count) = (x.shape[axis], values.shape[axis]);
    let mut expected = x.shape.clone();
    expected[axis] = count;
    ensure!(
        expected == values.shape && values.shape == indices.shape && count <= size,
        InvalidModel,
        "the {count} largest of {:?} along axis {axis} are not {:?}",
        x.shape,
        values.shape
    );
    if !x.stores_like(values) || indices.dtype != DType::I64 || matches!(x.dtype, DType::F16 | DType::String) {
        return Err(p.unsupported());
    }
    let inner = x.shape[axis + 1..].iter().product();
    let outer = x.shape[..axis].iter().product();
    Ok(Box::new(TopK { dtype: x.dtype, outer, size, inner, count, largest }))
}

struct TopK {
    dtype: DType,
    outer: usize,
    size: usize,
    inner: usize,
    count: usize,
    largest: bool,
}

/// A number in the order of the floats whose bits these are; zeros are equal, NaN is the largest.
fn order32(bits: u32) -> i64 {
    let value = f32::from_bits(bits);
    if value.is_nan() {
        return i64::MAX;
    }
    let magnitude = i64::from(bits & 0x7FFF_FFFF);
    if value < 0.0 { -magnitude } else { magnitude }
}

fn order64(bits: u64) -> i64 {
    let value = f64::from_bits(bits);
    if value.is_nan() {
        return i64::MAX;
    }
    let magnitude = (bits & (u64::MAX >> 1)) as i64;
    if value < 0.0 { -magnitude } else { magnitude }
}

impl TopK {
    fn key(&self, io: &Io<'_>, at: usize) -> i64 {
        let key = match self.dtype {
            DType::F32 => order32(io.input::<u32>(0)[at]),
            DType::F64 => order64(io.input::<u64>(0)[at]),
            DType::I8 => io.input::<i8>(0)[at].into(),
            DType::I16 => io.input::<i16>(0)[at].into(),
            DType::U16 => io.input::<u16>(0)[at].into(),
            DType::I32 => io.input::<i32>(0)[at].into(),
            DType::U32 => io.input::<u32>(0)[at].into(),
            DType::I64 => io.input::<i64>(0)[at],
            DType::U64 => io.input::<i64>(0)[at] ^ i64::MIN,
            _ => io.input::<u8>(0)[at].into(),
        };
        if self.largest { !key } else { key }
    }
}

/// Moves the least of all entries to `least`, which holds some: a heap with the greatest of them first (Williams, 1964).
fn keep_least(least: &mut [[i64; 2]], others: &[[i64; 2]]) {
    for first in (0..least.len() / 2).rev() {
        sift_down(least, first);
    }
    for other in others {
        if *other < least[0] {
            least[0] = *other;
            sift_down(least, 0);
        }
    }
}

fn sift_down(heap: &mut [[i64; 2]], mut at: usize) {
    while let Some(mut child) = Some(2 * at + 1).filter(|child| *child < heap.len()) {
        if heap.get(child + 1).is_some_and(|next| *next > heap[child]) {
            child += 1;
        }
        if heap[child] <= heap[at] {
            return;
        }
        heap.swap(at, child);
        at = child;
    }
}

impl Kernel for TopK {
    fn scratch(&self) -> usize {
        self.size * size_of::<[i64; 2]>()
    }

    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let bytes = self.dtype.size();
        for lane in 0..self.outer * self.inner {
            let (outer, inner) = (lane / self.inner, lane % self.inner);
            let start = outer * self.size * self.inner + inner;
            for i in 0..self.size {
                let entry = [self.key(io, start + i * self.inner), i as i64];
                let (_, scratch) = io.output_and_scratch::<u8>(0);
                bytemuck::cast_slice_mut::<u8, [i64; 2]>(scratch)[i] = entry;
            }
            let (_, scratch) = io.output_and_scratch::<u8>(0);
            let entries = &mut bytemuck::cast_slice_mut::<u8, [i64; 2]>(scratch)[..self.size];
            let (least, others) = entries.split_at_mut(self.count);
            keep_least(least, others);
            least.sort_unstable();
            let x = io.input::<u8>(0);
            for i in 0..self.count {
                let (values, scratch) = io.output_and_scratch::<u8>(0);
                let index = bytemuck::cast_slice::<u8, [i64; 2]>(scratch)[i][1];
                let to = (outer * self.count + i) * self.inner + inner;
                let from = start + index as usize * self.inner;
                values[to * bytes..][..bytes].copy_from_slice(&x[from * bytes..][..bytes]);
                io.output::<i64>(1)[to] = index;
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

    fn top(x: Tensor, axis: usize, k: usize, largest: bool) -> (Tensor, Vec<i64>) {
        let mut shape = x.shape().to_vec();
        shape[axis] = k;
        let outs = [Out::new(x.dtype(), &shape), Out::new(DType::I64, &shape)];
        let mut y = run_op(Op::TopK { axis, largest }, &[Arg::new(x)], &outs).unwrap();
        let indices = y[1].as_slice::<i64>().unwrap().to_vec();
        (y.remove(0), indices)
    }

    proptest! {
        #[test]
        fn agrees_with_a_sort(outer in 1usize..3, size in 1usize..40, inner in 1usize..3, part in 0usize..40, largest: bool, seed: u64) {
            let k = part.min(size);
            // Few values, so that there are ties.
            let data: Vec<f32> = byte_noise(DType::I8, &[outer * size * inner], seed).bytes().iter().map(|b| f32::from(*b as i8 >> 4)).collect();
            let (values, indices) = top(Tensor::from_slice(&[outer, size, inner], &data).unwrap(), 1, k, largest);
            for o in 0..outer {
                for i in 0..inner {
                    let at = |j: usize| data[(o * size + j) * inner + i];
                    let mut order: Vec<usize> = (0..size).collect();
                    order.sort_by(|&a, &b| if largest { at(b).total_cmp(&at(a)) } else { at(a).total_cmp(&at(b)) });
                    for (rank, &j) in order[..k].iter().enumerate() {
                        let place = (o * k + rank) * inner + i;
                        prop_assert_eq!((values.as_slice::<f32>().unwrap()[place], indices[place]), (at(j), j as i64));
                    }
                }
            }
        }
    }

    #[test]
    fn special_numbers_and_other_types() {
        let x = Tensor::from_slice(&[5], &[f32::NEG_INFINITY, f32::NAN, -0.0, 0.0, 2.0]).unwrap();
        assert_eq!(top(x.clone(), 0, 5, true).1, [1, 4, 2, 3, 0]);
        assert_eq!(top(x, 0, 5, false).1, [0, 2, 3, 4, 1]);
        assert_eq!(top(Tensor::from_slice(&[3], &[1u64, u64::MAX, 7]).unwrap(), 0, 2, true).1, [1, 2]);
        assert_eq!(top(Tensor::from_slice(&[3], &[1.5f64, -2.0, f64::NAN]).unwrap(), 0, 2, false).1, [1, 0]);
        let (values, indices) = top(Tensor::from_slice(&[3], &[-3i8, 5, -7]).unwrap(), 0, 1, true);
        assert_eq!((values.as_slice::<i8>().unwrap(), indices.as_slice()), (&[5i8][..], &[1i64][..]));
    }
}
