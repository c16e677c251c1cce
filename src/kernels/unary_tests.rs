use proptest::prelude::*;

use super::*;
use crate::{
    Tensor,
    graph::{Op, Quant},
    kernels::testing::{Arg, Out, byte_noise, real_noise, run_op, stored},
};

/// All functions from numbers to numbers.
const NUMERIC: [Unary; 37] = [
    Unary::Identity,
    Unary::Clamp { lo: -0.5, hi: 2.0 },
    Unary::Neg,
    Unary::Abs,
    Unary::Sign,
    Unary::Exp,
    Unary::Log,
    Unary::Sqrt,
    Unary::Reciprocal,
    Unary::Floor,
    Unary::Ceil,
    Unary::Round,
    Unary::Sin,
    Unary::Cos,
    Unary::Tan,
    Unary::Asin,
    Unary::Acos,
    Unary::Atan,
    Unary::Sinh,
    Unary::Cosh,
    Unary::Asinh,
    Unary::Acosh,
    Unary::Atanh,
    Unary::Tanh,
    Unary::Sigmoid,
    Unary::Erf,
    Unary::Gelu,
    Unary::GeluTanh,
    Unary::Silu,
    Unary::HardSwish,
    Unary::HardSigmoid { alpha: 0.3, beta: 0.4 },
    Unary::LeakyRelu { alpha: 0.1 },
    Unary::Elu { alpha: 1.2 },
    Unary::Selu { alpha: 1.67, gamma: 1.05 },
    Unary::Softplus,
    Unary::Softsign,
    Unary::Mish,
];

#[test]
fn floats_agree_with_the_definition() {
    let x = real_noise(&[20_011], 6.0, 1);
    for op in NUMERIC {
        let y = run_op(Op::Unary(op), &[Arg::new(x.clone())], &[Out::new(DType::F32, x.shape())]).unwrap();
        for (x, y) in x.as_slice::<f32>().unwrap().iter().zip(y[0].as_slice::<f32>().unwrap()) {
            let expected = eval(op, *x);
            let close = (y - expected).abs() <= 4e-7 * expected.abs().max(1.0);
            assert!(close || (y.is_nan() && expected.is_nan()), "{op:?}({x}) = {y}, not {expected}");
        }
    }
}

#[test]
fn special_values() {
    let x = Tensor::from_slice(&[6], &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 2.5]).unwrap();
    for op in NUMERIC {
        let y = run_op(Op::Unary(op), &[Arg::new(x.clone())], &[Out::new(DType::F32, &[6])]).unwrap();
        assert!(y[0].as_slice::<f32>().unwrap()[0].is_nan(), "{op:?} of NaN");
    }
    let run = |op, dtype| run_op(Op::Unary(op), &[Arg::new(x.clone())], &[Out::new(dtype, &[6])]).unwrap().remove(0);
    assert_eq!(run(Unary::IsNan, DType::Bool).bytes(), [1, 0, 0, 0, 0, 0]);
    assert_eq!(run(Unary::IsInf, DType::Bool).bytes(), [0, 1, 1, 0, 0, 0]);
    assert_eq!(run(Unary::Round, DType::F32).as_slice::<f32>().unwrap()[5], 2.0);
    assert_eq!(run(Unary::Sign, DType::F32).as_slice::<f32>().unwrap()[1..], [1.0, -1.0, 0.0, 0.0, 1.0]);
    assert_eq!(run(Unary::Sigmoid, DType::F32).as_slice::<f32>().unwrap()[1..3], [1.0, 0.0]);
}

#[test]
fn integers_and_bools() {
    let x = Tensor::from_slice(&[4], &[i32::MIN, -5, 0, 9]).unwrap();
    let run = |op| run_op(Op::Unary(op), &[Arg::new(x.clone())], &[Out::new(DType::I32, &[4])]).unwrap().remove(0);
    assert_eq!(run(Unary::Neg).as_slice::<i32>().unwrap(), [i32::MIN, 5, 0, -9]);
    assert_eq!(run(Unary::Abs).as_slice::<i32>().unwrap(), [i32::MIN, 5, 0, 9]);
    assert_eq!(run(Unary::Sign).as_slice::<i32>().unwrap(), [-1, -1, 0, 1]);
    assert_eq!(run(Unary::Clamp { lo: 0.0, hi: f32::INFINITY }).as_slice::<i32>().unwrap(), [0, 0, 0, 9]);
    assert_eq!(run(Unary::Identity).as_slice::<i32>().unwrap(), x.as_slice::<i32>().unwrap());
    let b = Tensor::from_bytes(DType::Bool, &[2], &[0, 1]).unwrap();
    let not = run_op(Op::Unary(Unary::Not), &[Arg::new(b)], &[Out::new(DType::Bool, &[2])]).unwrap();
    assert_eq!(not[0].bytes(), [1, 0]);
    assert!(run_op(Op::Unary(Unary::Exp), &[Arg::new(x.clone())], &[Out::new(DType::I32, &[4])]).is_err());
}

proptest! {
    #[test]
    fn quantized_is_dequantize_apply_quantize(
        op in prop::sample::select(NUMERIC.to_vec()),
        scales in (0.001f32..0.1, 0.001f32..0.1),
        zeros in (0i32..256, 0i32..256),
        signed in any::<[bool; 2]>(),
        len in 0usize..600,
        seed: u64,
    ) {
        let dtypes = signed.map(|s| if s { DType::I8 } else { DType::U8 });
        let zero = |z: i32, signed: bool| if signed { z - 128 } else { z };
        let (qx, qy) = ((scales.0, zero(zeros.0, signed[0])), (scales.1, zero(zeros.1, signed[1])));
        let x = byte_noise(dtypes[0], &[len], seed);
        let arg = || Arg::new(x.clone()).quantized(Quant::per_tensor(qx.0, qx.1));
        let y = run_op(Op::Unary(op), &[arg()], &[Out::new(dtypes[1], &[len]).quantized(Quant::per_tensor(qy.0, qy.1))]).unwrap();
        let reals = run_op(Op::Unary(op), &[arg()], &[Out::new(DType::F32, &[len])]).unwrap();
        let (min, max) = if signed[1] { (-128.0, 127.0) } else { (0.0, 255.0) };
        for ((x, y), real) in stored(&x).iter().zip(stored(&y[0])).zip(reals[0].as_slice::<f32>().unwrap()) {
            let expected = eval(op, (x - qx.1) as f32 * qx.0);
            prop_assert!(expected == *real || expected.is_nan());
            let rounded = ((expected / qy.0).round_ties_even() + qy.1 as f32).clamp(min, max);
            prop_assert_eq!(y, if rounded.is_nan() { min as i32 } else { rounded as i32 });
        }
    }
}

/// Numbers of a format with 3 bits of mantissa and exponents from −6, up to 448: those of float8 e4m3fn.
#[test]
fn rounds_to_the_nearest_number_of_a_format() {
    let format = FloatFormat { mantissa: 3, lowest: -6, largest: 448.0, overflow: f32::NAN, infinity: f32::INFINITY };
    let numbers: Vec<f32> = (0..127u32)
        .map(|bits| {
            let (exponent, mantissa) = ((bits >> 3) as i32, (bits & 7) as f32);
            if exponent == 0 { mantissa * 2f32.powi(-9) } else { (8.0 + mantissa) * 2f32.powi(exponent - 10) }
        })
        .collect();
    for (i, pair) in numbers.windows(2).enumerate() {
        let [a, b] = pair else { unreachable!() };
        let even = if i % 2 == 0 { *a } else { *b };
        let middle = (a + b) / 2.0;
        for (x, expected) in [(*a, *a), (middle, even), (middle * 0.999, *a), (middle * 1.001, *b)] {
            assert_eq!(eval(Unary::RoundTo(format), x), expected, "{x}");
            assert_eq!(eval(Unary::RoundTo(format), -x), -expected, "{x}");
        }
    }
    assert_eq!(eval(Unary::RoundTo(format), 463.0), 448.0);
    assert!(eval(Unary::RoundTo(format), 470.0).is_nan());
    assert_eq!(eval(Unary::RoundTo(format), f32::NEG_INFINITY), f32::NEG_INFINITY);
    assert_eq!(eval(Unary::RoundTo(format), 1e-30), 0.0);
}
