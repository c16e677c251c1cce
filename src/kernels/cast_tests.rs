use proptest::prelude::*;

use super::*;
use crate::{
    Tensor,
    graph::Op,
    kernels::testing::{Arg, Out, run_op},
};

fn cast(x: Tensor, to: DType) -> Tensor {
    let shape = x.shape().to_vec();
    run_op(Op::Cast, &[Arg::new(x)], &[Out::new(to, &shape)]).unwrap().remove(0)
}

/// Casts `values` and compares with Rust's conversion, which saturates from floats and wraps between integers.
macro_rules! compare {
    ($values:expr, $from:ty => $($to:ty),*) => { $(
        let x = Tensor::from_slice(&[$values.len()], &$values).unwrap();
        let y = cast(x, <$to as Element>::DTYPE);
        let expected: Vec<$to> = $values.iter().map(|v| *v as $to).collect();
        assert_eq!(y.as_slice::<$to>().unwrap(), expected, "{} to {}", stringify!($from), stringify!($to));
    )* };
}

macro_rules! compare_all {
    ($values:expr, $from:ty) => {
        compare!($values, $from => f32, f64, i8, u8, i16, u16, i32, u32, i64, u64);
        let x = Tensor::from_slice(&[$values.len()], &$values).unwrap();
        let bools: Vec<u8> = $values.iter().map(|v| u8::from(*v != 0 as $from)).collect();
        assert_eq!(cast(x, DType::Bool).bytes(), bools);
    };
}

#[test]
fn every_pair() {
    let reals = [0.0f32, -0.0, 0.5, -0.9, 1.9, -1.9, 127.6, 128.0, 255.9, 256.0, -128.9, 3e9, -3e9, 1e19, -1e19, f32::INFINITY];
    // More than one chunk, and not a multiple of it.
    let many: Vec<f32> = reals.iter().cycle().take(601).copied().collect();
    compare_all!(many, f32);
    compare_all!(reals.map(f64::from), f64);
    let ints: Vec<i64> = [0, 1, -1, 127, 128, 255, 256, -128, 32767, -32769, 1 << 31, (1 << 53) + 1, i64::MIN, i64::MAX].to_vec();
    compare_all!(ints, i64);
    compare_all!(ints.iter().map(|v| *v as i32).collect::<Vec<_>>(), i32);
    compare_all!(ints.iter().map(|v| *v as u32).collect::<Vec<_>>(), u32);
    compare_all!(ints.iter().map(|v| *v as i16).collect::<Vec<_>>(), i16);
    compare_all!(ints.iter().map(|v| *v as u16).collect::<Vec<_>>(), u16);
    compare_all!(ints.iter().map(|v| *v as i8).collect::<Vec<_>>(), i8);
    compare_all!(ints.iter().map(|v| *v as u8).collect::<Vec<_>>(), u8);
    compare_all!(ints.iter().map(|v| *v as u64).collect::<Vec<_>>(), u64);
}

#[test]
fn nan_and_bool() {
    let nan = Tensor::from_slice(&[2], &[f32::NAN, 1e-30]).unwrap();
    assert_eq!(cast(nan.clone(), DType::Bool).bytes(), [1, 1]);
    assert_eq!(cast(nan, DType::I32).as_slice::<i32>().unwrap(), [0, 0]);
    let bools = Tensor::from_bytes(DType::Bool, &[3], &[0, 1, 1]).unwrap();
    assert_eq!(cast(bools.clone(), DType::F32).as_slice::<f32>().unwrap(), [0.0, 1.0, 1.0]);
    assert_eq!(cast(bools, DType::I64).as_slice::<i64>().unwrap(), [0, 1, 1]);
}

#[test]
fn every_half_precision_number_survives() {
    for bits in 0..=u16::MAX {
        let wide = f16_to_f32(bits);
        let nan = bits & 0x7C00 == 0x7C00 && bits & 0x3FF != 0;
        assert_eq!(wide.is_nan(), nan);
        if !nan {
            assert_eq!(f32_to_f16(wide), bits, "{wide}");
        }
    }
    assert_eq!([f16_to_f32(0x3C00), f16_to_f32(0xC500), f16_to_f32(1)], [1.0, -5.0, 2f32.powi(-24)]);
    assert_eq!(
        [f32_to_f16(65519.0), f32_to_f16(65520.0), f32_to_f16(2f32.powi(-25)), f32_to_f16(f32::NAN)],
        [0x7BFF, 0x7C00, 0, 0x7E00]
    );
    let halves = Tensor::from_bytes(DType::F16, &[2], &[0x00, 0x3C, 0x00, 0xC5]).unwrap();
    assert_eq!(cast(halves.clone(), DType::F32).as_slice::<f32>().unwrap(), [1.0, -5.0]);
    assert_eq!(cast(cast(halves.clone(), DType::I8), DType::F16).bytes(), halves.bytes());
}

proptest! {
    #[test]
    fn half_precision_rounds_to_the_nearest(x in prop_oneof![-7e4f32..7e4, -1e-4f32..1e-4]) {
        let bits = f32_to_f16(x);
        let error = |bits: u16| (f64::from(f16_to_f32(bits)) - f64::from(x)).abs();
        for other in [bits.wrapping_sub(1), bits.wrapping_add(1)] {
            if f16_to_f32(other).is_finite() && f16_to_f32(bits).is_finite() {
                let tie_to_even = error(bits) == error(other) && bits.is_multiple_of(2);
                prop_assert!(error(bits) < error(other) || tie_to_even, "{} to {:x}", x, bits);
            }
        }
    }
}
