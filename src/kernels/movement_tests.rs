use proptest::prelude::*;

use super::*;
use crate::{
    Tensor,
    graph::{Op, Quant},
    kernels::testing::{Arg, Out, byte_noise, indices, position, run_op},
};

fn shape(rank: core::ops::Range<usize>) -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![10 => 1usize..6, 1 => Just(0), 3 => 7usize..20, 1 => 30usize..70];
    prop::collection::vec(size, rank).prop_map(|mut s| {
        while s.iter().product::<usize>() > 30_000 {
            s.iter_mut().for_each(|d| *d = d.div_ceil(2));
        }
        s
    })
}

/// One type of each size.
fn dtype() -> impl Strategy<Value = DType> {
    prop::sample::select(vec![DType::U8, DType::F16, DType::F32, DType::I64])
}

fn random(dtype: DType, shape: &[usize], seed: u64) -> Tensor {
    let bytes = byte_noise(DType::U8, &[shape.iter().product::<usize>() * dtype.size()], seed);
    Tensor::from_bytes(dtype, shape, bytes.bytes()).unwrap()
}

fn run(op: Op, x: &Tensor, shape: &[usize]) -> Tensor {
    run_op(op, &[Arg::new(x.clone())], &[Out::new(x.dtype(), shape)]).unwrap().remove(0)
}

/// The tensor whose element at each index of `shape` is the one of `x` at `source(index)`, or zero.
fn gathered(x: &Tensor, shape: &[usize], source: impl Fn(&[usize]) -> Option<Vec<usize>>) -> Vec<u8> {
    let size = x.dtype().size();
    let element = |index: &Vec<usize>| match source(index) {
        Some(at) => x.bytes()[position(x.shape(), &at) * size..][..size].to_vec(),
        None => vec![0; size],
    };
    indices(shape).iter().flat_map(element).collect()
}

proptest! {
    #[test]
    fn transposes((shape, perm) in shape(0..5).prop_flat_map(|s| {
        let axes: Vec<usize> = (0..s.len()).collect();
        (Just(s), Just(axes).prop_shuffle())
    }), dtype in dtype(), seed: u64) {
        let x = random(dtype, &shape, seed);
        let target: Vec<usize> = perm.iter().map(|&a| shape[a]).collect();
        let y = run(Op::Transpose { perm: perm.clone() }, &x, &target);
        let expected = gathered(&x, &target, |index| {
            let mut source = vec![0; index.len()];
            for (i, &a) in perm.iter().enumerate() {
                source[a] = index[i];
            }
            Some(source)
        });
        prop_assert_eq!(y.bytes(), expected);
    }

    #[test]
    fn expands(target in shape(0..5), ones in any::<[bool; 5]>(), lead in 0usize..3, dtype in dtype(), seed: u64) {
        let mut shape: Vec<usize> = target.iter().zip(ones).map(|(&s, one)| if one { 1 } else { s }).collect();
        let lead = shape.iter().take_while(|s| **s == 1).count().min(lead);
        shape.drain(..lead);
        let x = random(dtype, &shape, seed);
        let y = run(Op::Expand, &x, &target);
        prop_assert_eq!(y.bytes(), gathered(&x, &target, |index| Some(index[lead..].to_vec())));
    }

    #[test]
    fn slices(shape in shape(1..5), axis in 0usize..4, range in (0usize..70, 0usize..70), step in -4i64..5, dtype in dtype(), seed: u64) {
        let axis = axis % shape.len();
        let x = random(dtype, &shape, seed);
        let step = if step == 0 { 1 } else { step };
        let start = range.0.min(shape[axis].saturating_sub(1));
        let room = if shape[axis] == 0 { 0 } else if step > 0 { (shape[axis] - 1 - start) / step as usize + 1 } else { start / step.unsigned_abs() as usize + 1 };
        let mut target = shape.clone();
        target[axis] = range.1.min(room);
        let y = run(Op::Slice { axis, start: Dim::fixed(start), step }, &x, &target);
        let expected = gathered(&x, &target, |index| {
            let mut source = index.to_vec();
            source[axis] = (start as i64 + index[axis] as i64 * step) as usize;
            Some(source)
        });
        prop_assert_eq!(y.bytes(), expected);
    }

    #[test]
    fn pads(shape in shape(1..4), pads in prop::collection::vec((-3i64..4, -3i64..4), 4), dtype in dtype(), seed: u64) {
        let x = random(dtype, &shape, seed);
        let pads: Vec<(i64, i64)> = shape.iter().zip(pads).map(|(&s, (b, a))| if s as i64 + b.min(0) + a.min(0) < 0 { (0, 0) } else { (b, a) }).collect();
        let target: Vec<usize> = shape.iter().zip(&pads).map(|(&s, (b, a))| (s as i64 + b + a) as usize).collect();
        let dims = pads.iter().map(|(b, a)| (Dim::constant(*b), Dim::constant(*a))).collect();
        let y = run(Op::Pad { pads: dims, value: 0.0 }, &x, &target);
        let expected = gathered(&x, &target, |index| {
            index.iter().zip(&pads).zip(&shape).map(|((&i, (before, _)), &s)| {
                usize::try_from(i as i64 - before).ok().filter(|i| *i < s)
            }).collect()
        });
        prop_assert_eq!(y.bytes(), expected);
    }
}

#[test]
fn padding_is_the_real_value() {
    let pad = |value| Op::Pad { pads: vec![(Dim::fixed(1), Dim::fixed(0))], value };
    let x = Tensor::from_slice(&[1], &[7u8]).unwrap();
    let quant = Quant::per_tensor(0.5, 10);
    let y = run_op(pad(3.0), &[Arg::new(x).quantized(quant.clone())], &[Out::new(DType::U8, &[2]).quantized(quant)]).unwrap();
    assert_eq!(y[0].bytes(), [16, 7]);
    let i = run(pad(-2.0), &Tensor::from_slice(&[1], &[7i64]).unwrap(), &[2]);
    assert_eq!(i.as_slice::<i64>().unwrap(), [-2, 7]);
    let f = run(pad(-1.5), &Tensor::from_slice(&[1], &[7f32]).unwrap(), &[2]);
    assert_eq!(f.as_slice::<f32>().unwrap(), [-1.5, 7.0]);
    let h = run(pad(-1.5), &Tensor::from_bytes(DType::F16, &[1], &[0, 0]).unwrap(), &[2]);
    assert_eq!(h.bytes(), [0x00, 0xBE, 0, 0]);
}

#[test]
fn a_slice_beyond_the_end_is_an_error() {
    let x = Arg::new(Tensor::from_slice(&[3], &[1f32, 2.0, 3.0]).unwrap());
    let error = run_op(Op::Slice { axis: 0, start: Dim::fixed(1), step: 2 }, &[x], &[Out::new(DType::F32, &[2])]).unwrap_err();
    assert_eq!(error.to_string(), "2 elements from 1 with step 2 reach outside axis 0 of size 3");
}
