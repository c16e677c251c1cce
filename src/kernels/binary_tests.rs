use proptest::prelude::*;

use super::*;
use crate::{
    Result, Tensor,
    graph::{Op, Quant},
    kernels::testing::{Arg, Out, byte_noise, indices, position, real_noise, run_op, stored},
};

fn op(op: BinaryOp) -> Op {
    Op::Binary(Binary { op, activation: Activation::None })
}

/// Two shapes and what they broadcast to.
fn shapes() -> impl Strategy<Value = (Vec<usize>, Vec<usize>, Vec<usize>)> {
    let size = prop_oneof![8 => 1usize..5, 1 => Just(0), 1 => 60usize..70, 1 => Just(300)];
    let axis = (size, 0..6usize);
    (prop::collection::vec(axis, 0..4), 0..4usize, any::<bool>()).prop_map(|(axes, drop, swap)| {
        let mut out: Vec<usize> = axes.iter().map(|a| a.0).collect();
        while out.iter().product::<usize>() > 100_000 {
            out.pop();
        }
        let side = |one: usize| out.iter().zip(&axes).map(|(&s, a)| if a.1 == one { 1 } else { s }).collect::<Vec<_>>();
        let (mut a, mut b) = (side(0), side(1));
        // Where both are 1, so is the result.
        let out: Vec<usize> = out.iter().zip(a.iter().zip(&b)).map(|(_, (&a, &b))| if a == 1 { b } else { a }).collect();
        a = a.iter().zip(&out).map(|(&a, &o)| if a == 1 { 1 } else { o }).collect();
        let lead = b.iter().take_while(|s| **s == 1).count().min(drop);
        b.drain(..lead);
        if swap { (b, a, out) } else { (a, b, out) }
    })
}

fn check<T: Element + PartialEq + core::fmt::Debug, R: Element + PartialEq + core::fmt::Debug>(
    node: Op,
    (a, b): (&Tensor, &Tensor),
    (shape, dtype): (&[usize], DType),
    f: impl Fn(T, T) -> R,
) -> Result<(), TestCaseError> {
    let result = run_op(node, &[Arg::new(a.clone()), Arg::new(b.clone())], &[Out::new(dtype, shape)]).unwrap();
    let (x, y) = (a.as_slice::<T>().unwrap(), b.as_slice::<T>().unwrap());
    let expected: Vec<R> = indices(shape).iter().map(|i| f(x[position(a.shape(), i)], y[position(b.shape(), i)])).collect();
    prop_assert_eq!(result[0].as_slice::<R>().unwrap(), &expected[..]);
    Ok(())
}

proptest! {
    #[test]
    fn f32_broadcasts((sa, sb, out) in shapes(), seed: u64) {
        let (a, b) = (real_noise(&sa, 3.0, seed), real_noise(&sb, 3.0, seed + 1));
        check::<f32, f32>(op(BinaryOp::Sub), (&a, &b), (&out, DType::F32), |a, b| a - b)?;
        check::<f32, u8>(op(BinaryOp::Less), (&a, &b), (&out, DType::Bool), |a, b| u8::from(a < b))?;
        let relu = Op::Binary(Binary { op: BinaryOp::Div, activation: Activation::Clamp { lo: -0.5, hi: 0.25 } });
        check::<f32, f32>(relu, (&a, &b), (&out, DType::F32), |a, b| (a / b).clamp(-0.5, 0.25))?;
    }

    #[test]
    fn integers_broadcast((sa, sb, out) in shapes(), seed: u64) {
        let [a, b] = [(&sa, seed), (&sb, seed + 1)].map(|(s, seed)| {
            let data: Vec<i64> = byte_noise(DType::I8, s, seed).bytes().iter().map(|b| i64::from(*b as i8) >> 4).collect();
            Tensor::from_slice(s, &data).unwrap()
        });
        let floor_mod = |a: i64, b: i64| if b == 0 { 0 } else { (a as f64 - b as f64 * (a as f64 / b as f64).floor()) as i64 };
        check::<i64, i64>(op(BinaryOp::Mod), (&a, &b), (&out, DType::I64), floor_mod)?;
        check::<i64, i64>(op(BinaryOp::Div), (&a, &b), (&out, DType::I64), |a, b| if b == 0 { 0 } else { a / b })?;
        check::<i64, i64>(op(BinaryOp::BitXor), (&a, &b), (&out, DType::I64), |a, b| (a | b) & !(a & b))?;
        check::<i64, i64>(op(BinaryOp::ShiftRight), (&a, &b), (&out, DType::I64), |a, b| {
            (0..if b < 0 { 64 } else { b }).fold(a, |a, _| a.div_euclid(2))
        })?;
        check::<i64, i64>(op(BinaryOp::ShiftLeft), (&a, &b), (&out, DType::I64), |a, b| {
            (0..if b < 0 { 64 } else { b }).fold(a, |a, _| a.wrapping_mul(2))
        })?;
        check::<i64, u8>(op(BinaryOp::GreaterOrEqual), (&a, &b), (&out, DType::Bool), |a, b| u8::from(a >= b))?;
    }

    #[test]
    fn quantized_follows_the_formula(
        (sa, sb, out) in shapes(),
        kind in prop::sample::select(vec![BinaryOp::Add, BinaryOp::QLinearAdd, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Div, BinaryOp::Max, BinaryOp::Pow]),
        scales in (0.001f32..0.1, 0.001f32..0.1, 0.001f32..0.2),
        zeros in (0i32..256, 0i32..256, 0i32..256),
        signed in any::<[bool; 3]>(),
        constant: bool,
        relu: bool,
        seed: u64,
    ) {
        let dtypes = signed.map(|s| if s { DType::I8 } else { DType::U8 });
        let zero = |z: i32, signed: bool| if signed { z - 128 } else { z };
        let q = [
            (scales.0, zero(zeros.0, signed[0])),
            (scales.1, zero(zeros.1, signed[1])),
            (scales.2, zero(zeros.2, signed[2])),
        ];
        let (a, b) = (byte_noise(dtypes[0], &sa, seed), byte_noise(dtypes[1], &sb, seed + 1));
        let activation = if relu { Activation::Relu } else { Activation::None };
        let second = if constant { Arg::constant(b.clone()) } else { Arg::new(b.clone()) };
        let result = run_op(
            Op::Binary(Binary { op: kind, activation }),
            &[Arg::new(a.clone()).quantized(Quant::per_tensor(q[0].0, q[0].1)), second.quantized(Quant::per_tensor(q[1].0, q[1].1))],
            &[Out::new(dtypes[2], &out).quantized(Quant::per_tensor(q[2].0, q[2].1))],
        ).unwrap();
        let (x, y) = (stored(&a), stored(&b));
        let (min, max) = if signed[2] { (-128.0, 127.0) } else { (0.0, 255.0) };
        let expected: Vec<i32> = indices(&out).iter().map(|i| {
            let real_a = (x[position(&sa, i)] - q[0].1) as f32 * q[0].0;
            let real_b = (y[position(&sb, i)] - q[1].1) as f32 * q[1].0;
            let real = match kind {
                BinaryOp::Add | BinaryOp::QLinearAdd => real_a + real_b,
                BinaryOp::Sub => real_a - real_b,
                BinaryOp::Mul => real_a * real_b,
                BinaryOp::Div => real_a / real_b,
                BinaryOp::Max => real_a.max(real_b),
                _ => f64::from(real_a).powf(f64::from(real_b)) as f32,
            };
            let lo = if relu { q[2].1 as f32 } else { min };
            if real.is_nan() { return lo as i32 }
            ((real / q[2].0).round_ties_even() + q[2].1 as f32).clamp(lo, max) as i32
        }).collect();
        // Its terms are rounded otherwise, which shows at ties.
        let slack = i32::from(kind == BinaryOp::QLinearAdd);
        let result = stored(&result[0]);
        prop_assert!(result.iter().zip(&expected).all(|(r, e)| (r - e).abs() <= slack), "{result:?} instead of {expected:?}");
    }
}

#[test]
fn special_values() -> Result<()> {
    let pair = |a: &[i32], b: &[i32]| [a, b].map(|v| Arg::new(Tensor::from_slice(&[v.len()], v).unwrap()));
    let run = |kind, a: &[i32], b: &[i32]| -> Result<Vec<i32>> {
        let y = run_op(op(kind), &pair(a, b), &[Out::new(DType::I32, &[a.len()])])?;
        Ok(y[0].as_slice::<i32>()?.to_vec())
    };
    assert_eq!(run(BinaryOp::Div, &[7, -7, i32::MIN, 1], &[2, 2, -1, 0])?, [3, -3, i32::MIN, 0]);
    assert_eq!(run(BinaryOp::Mod, &[-7, 7, -8, i32::MIN], &[3, -3, 4, -1])?, [2, -2, 0, 0]);
    assert_eq!(run(BinaryOp::Rem, &[-7, 7, 5], &[3, -3, 0])?, [-1, 1, 0]);
    assert_eq!(run(BinaryOp::Pow, &[-2, 2, -1, 1, -1], &[3, -1, -3, -9, -2])?, [-8, 0, -1, 1, 1]);
    let nan = [[1.0, f32::NAN], [f32::NAN, 1.0]].map(|v| Arg::new(Tensor::from_slice(&[2], &v).unwrap()));
    for kind in [BinaryOp::Min, BinaryOp::Max] {
        let y = run_op(op(kind), &nan, &[Out::new(DType::F32, &[2])])?;
        assert!(y[0].as_slice::<f32>()?.iter().all(|v| v.is_nan()));
    }
    let squares = run_op(
        op(BinaryOp::Pow),
        &[Arg::new(Tensor::from_slice(&[2], &[-3f32, 1.5])?), Arg::constant(Tensor::scalar(2f32))],
        &[Out::new(DType::F32, &[2])],
    )?;
    assert_eq!(squares[0].as_slice::<f32>()?, [9.0, 2.25]);
    let bools = [[0u8, 0, 1, 1], [0, 1, 0, 1]].map(|v| Arg::new(Tensor::from_bytes(DType::Bool, &[4], &v).unwrap()));
    for (kind, expected) in [(BinaryOp::And, [0, 0, 0, 1]), (BinaryOp::Or, [0, 1, 1, 1]), (BinaryOp::Xor, [0, 1, 1, 0])] {
        assert_eq!(run_op(op(kind), &bools, &[Out::new(DType::Bool, &[4])])?[0].bytes(), expected);
    }
    Ok(())
}

#[test]
fn what_no_kernel_takes_is_named() {
    let args = [Arg::new(Tensor::scalar(1f64)), Arg::new(Tensor::scalar(1f32))];
    let error = run_op(op(BinaryOp::Add), &args, &[Out::new(DType::F64, &[])]).unwrap_err();
    assert_eq!(error.to_string(), "Add has no kernel for float64 scalar, float32 scalar → float64 scalar");
}
