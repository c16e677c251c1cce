use proptest::prelude::*;

use super::*;
use crate::{
    Tensor,
    graph::{Op, Quant},
    kernels::testing::{Arg, Out, byte_noise, indices, position, real_noise, run_op, stored},
};

const ALL: [ReduceOp; 10] = [
    ReduceOp::Sum,
    ReduceOp::Mean,
    ReduceOp::Min,
    ReduceOp::Max,
    ReduceOp::Prod,
    ReduceOp::SumSquare,
    ReduceOp::L1,
    ReduceOp::L2,
    ReduceOp::LogSum,
    ReduceOp::LogSumExp,
];

fn shapes() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    let axis = (prop_oneof![8 => 1usize..6, 2 => 15usize..40], any::<bool>());
    prop::collection::vec(axis, 0..5).prop_map(|axes| {
        let reduced = (0..axes.len()).filter(|&i| axes[i].1).collect();
        (axes.iter().map(|a| a.0).collect(), reduced)
    })
}

/// The elements that make each result, and the result's shape with reduced axes kept.
fn groups(shape: &[usize], axes: &[usize], x: &[f64]) -> (Vec<Vec<f64>>, Vec<usize>) {
    let kept: Vec<usize> = shape.iter().enumerate().map(|(i, &s)| if axes.contains(&i) { 1 } else { s }).collect();
    let mut all = vec![Vec::new(); kept.iter().product()];
    for (index, x) in indices(shape).iter().zip(x) {
        all[position(&kept, index)].push(*x);
    }
    (all, kept)
}

fn reference(op: ReduceOp, x: &[f64]) -> f64 {
    let sum = |f: fn(f64) -> f64| x.iter().map(|v| f(*v)).sum::<f64>();
    match op {
        ReduceOp::Sum => sum(|v| v),
        ReduceOp::Mean => sum(|v| v) / x.len() as f64,
        ReduceOp::Min => x.iter().copied().fold(f64::INFINITY, f64::min),
        ReduceOp::Max => x.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        ReduceOp::Prod => x.iter().product(),
        ReduceOp::SumSquare => sum(|v| v * v),
        ReduceOp::L1 => sum(f64::abs),
        ReduceOp::L2 => sum(|v| v * v).sqrt(),
        ReduceOp::LogSum => sum(|v| v).ln(),
        ReduceOp::LogSumExp => sum(f64::exp).ln(),
        ReduceOp::ArgMax => x.iter().enumerate().fold(0, |best, (i, v)| if *v > x[best] { i } else { best }) as f64,
        ReduceOp::ArgMin => x.iter().enumerate().fold(0, |best, (i, v)| if *v < x[best] { i } else { best }) as f64,
    }
}

fn reduce(op: ReduceOp, axes: &[usize]) -> Op {
    Op::Reduce { op, axes: axes.to_vec(), keep_dims: true }
}

proptest! {
    #[test]
    fn floats((shape, axes) in shapes(), op in prop::sample::select(ALL.to_vec()), seed: u64) {
        // Positive and near 1, so that products and logarithms stay in range.
        let data: Vec<f32> = real_noise(&shape, 0.2, seed).as_slice::<f32>().unwrap().iter().map(|v| v + 1.0).collect();
        let x = Tensor::from_slice(&shape, &data).unwrap();
        let (groups, kept) = groups(&shape, &axes, &data.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
        let y = run_op(reduce(op, &axes), &[Arg::new(x)], &[Out::new(DType::F32, &kept)]).unwrap();
        for (y, group) in y[0].as_slice::<f32>().unwrap().iter().zip(&groups) {
            let expected = reference(op, group);
            let tolerance = (expected.abs() + 1.0) * 1e-7 * (4.0 + group.len() as f64);
            prop_assert!((f64::from(*y) - expected).abs() <= tolerance || f64::from(*y) == expected as f32 as f64, "{} is not {}", y, expected);
        }
    }

    #[test]
    fn integers(
        (shape, axes) in shapes(),
        op in prop::sample::select(vec![ReduceOp::Sum, ReduceOp::Mean, ReduceOp::Min, ReduceOp::Max, ReduceOp::SumSquare, ReduceOp::L1]),
        seed: u64,
    ) {
        let data: Vec<i64> = byte_noise(DType::I8, &shape, seed).bytes().iter().map(|b| i64::from(*b as i8)).collect();
        let (groups, kept) = groups(&shape, &axes, &data.iter().map(|v| *v as f64).collect::<Vec<_>>());
        let expected: Vec<i64> = groups.iter().map(|g| reference(op, g) as i64).collect();
        let wide = Tensor::from_slice(&shape, &data).unwrap();
        let y = run_op(reduce(op, &axes), &[Arg::new(wide)], &[Out::new(DType::I64, &kept)]).unwrap();
        prop_assert_eq!(y[0].as_slice::<i64>().unwrap(), &expected[..]);
        let narrow = Tensor::from_slice(&shape, &data.iter().map(|v| *v as i32).collect::<Vec<_>>()).unwrap();
        let y = run_op(reduce(op, &axes), &[Arg::new(narrow)], &[Out::new(DType::I32, &kept)]).unwrap();
        prop_assert_eq!(y[0].as_slice::<i32>().unwrap(), &expected.iter().map(|v| *v as i32).collect::<Vec<_>>()[..]);
    }

    #[test]
    fn quantized(
        (shape, axes) in shapes(),
        op in prop::sample::select(vec![ReduceOp::Sum, ReduceOp::Mean, ReduceOp::Min, ReduceOp::Max]),
        signed in any::<[bool; 2]>(), scales in (0.01f32..0.1, 0.01f32..0.1), zeros in (0i32..256, 0i32..256), seed: u64,
    ) {
        let dtypes = signed.map(|s| if s { DType::I8 } else { DType::U8 });
        let zero = |z: i32, signed: bool| if signed { z - 128 } else { z };
        let (qx, qy) = ((scales.0, zero(zeros.0, signed[0])), (scales.1, zero(zeros.1, signed[1])));
        let x = byte_noise(dtypes[0], &shape, seed);
        let (groups, kept) = groups(&shape, &axes, &stored(&x).iter().map(|v| f64::from(v - qx.1)).collect::<Vec<_>>());
        let arg = Arg::new(x).quantized(Quant::per_tensor(qx.0, qx.1));
        let out = Out::new(dtypes[1], &kept).quantized(Quant::per_tensor(qy.0, qy.1));
        let y = run_op(reduce(op, &axes), &[arg], &[out]).unwrap();
        let (min, max) = if signed[1] { (-128.0, 127.0) } else { (0.0, 255.0) };
        for (y, group) in stored(&y[0]).iter().zip(&groups) {
            let scaled = match op {
                ReduceOp::Sum => reference(ReduceOp::Sum, group) as f32 * (qx.0 / qy.0),
                ReduceOp::Mean => reference(ReduceOp::Sum, group) as f32 * (qx.0 / (qy.0 * group.len() as f32)),
                op => reference(op, group) as f32 * qx.0 / qy.0,
            };
            prop_assert_eq!(*y, (scaled.round_ties_even() + qy.1 as f32).clamp(min, max) as i32);
        }
    }

    #[test]
    fn positions(shape in prop::collection::vec(prop_oneof![1usize..6, 9usize..30], 1..4), axis in 0usize..3, largest: bool, seed: u64) {
        let axis = axis % shape.len();
        let op = if largest { ReduceOp::ArgMax } else { ReduceOp::ArgMin };
        // Few different values, so that there are ties.
        let bytes: Vec<u8> = byte_noise(DType::U8, &shape, seed).bytes().iter().map(|b| b % 7).collect();
        let (groups, kept) = groups(&shape, &[axis], &bytes.iter().map(|b| f64::from(*b)).collect::<Vec<_>>());
        let expected: Vec<i64> = groups.iter().map(|g| reference(op, g) as i64).collect();
        let reals: Vec<f32> = bytes.iter().map(|b| f32::from(*b)).collect();
        for x in [Tensor::from_slice(&shape, &bytes).unwrap(), Tensor::from_slice(&shape, &reals).unwrap()] {
            let y = run_op(reduce(op, &[axis]), &[Arg::new(x)], &[Out::new(DType::I64, &kept)]).unwrap();
            prop_assert_eq!(y[0].as_slice::<i64>().unwrap(), &expected[..]);
        }
    }
}

#[test]
fn nothing_to_reduce() {
    let empty = || Arg::new(Tensor::zeros(DType::F32, &[2, 0]).unwrap());
    let run = |op| run_op(reduce(op, &[1]), &[empty()], &[Out::new(DType::F32, &[2, 1])]).unwrap().remove(0);
    assert_eq!(run(ReduceOp::Sum).as_slice::<f32>().unwrap(), [0.0, 0.0]);
    assert_eq!(run(ReduceOp::Prod).as_slice::<f32>().unwrap(), [1.0, 1.0]);
    assert_eq!(run(ReduceOp::Max).as_slice::<f32>().unwrap(), [f32::NEG_INFINITY; 2]);
    assert_eq!(run(ReduceOp::LogSumExp).as_slice::<f32>().unwrap(), [f32::NEG_INFINITY; 2]);
    let error = run_op(reduce(ReduceOp::ArgMax, &[1]), &[empty()], &[Out::new(DType::I64, &[2, 1])]).unwrap_err();
    assert_eq!(error.to_string(), "axis 1 of [2, 0] is empty, so there is no ArgMax");
    let x = Tensor::from_slice(&[3], &[1000f32, 1000.0, f32::NEG_INFINITY]).unwrap();
    let y = run_op(reduce(ReduceOp::LogSumExp, &[0]), &[Arg::new(x)], &[Out::new(DType::F32, &[1])]).unwrap();
    assert!((y[0].as_slice::<f32>().unwrap()[0] - 1000.6931).abs() < 1e-3);
}
