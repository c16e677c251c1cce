use proptest::prelude::*;

use super::*;
use crate::{
    Tensor,
    graph::Op,
    kernels::testing::{Arg, Out, byte_noise, noise, real_noise, run_op, stored},
};

/// A shape and a quantization of it, per tensor or along one axis.
fn cases() -> impl Strategy<Value = (Vec<usize>, Quant, DType)> {
    let size = prop_oneof![8 => 1usize..6, 1 => Just(0), 2 => 30usize..70];
    (prop::collection::vec(size, 1..4), prop::option::of(0usize..3), any::<bool>(), any::<u64>()).prop_map(
        |(shape, axis, signed, seed)| {
            let axis = axis.map(|a| a % shape.len()).filter(|a| shape[*a] > 0);
            let mut next = noise(seed);
            let entries = axis.map_or(1, |a| shape[a]);
            let scale = (0..entries).map(|_| 0.01 + (next() % 1000) as f32 * 1e-4).collect();
            let zero_point = (0..entries).map(|_| (next() % 256) as i32 - if signed { 128 } else { 0 }).collect();
            (shape, Quant { scale, zero_point, axis }, if signed { DType::I8 } else { DType::U8 })
        },
    )
}

/// Scale and zero point of the element at `flat`.
fn entry(quant: &Quant, shape: &[usize], flat: usize) -> (f32, i32) {
    let i = quant.axis.map_or(0, |a| flat / shape[a + 1..].iter().product::<usize>() % shape[a]);
    (quant.scale[i], quant.zero_point[i])
}

proptest! {
    #[test]
    fn quantizes((shape, quant, dtype) in cases(), seed: u64) {
        let x = real_noise(&shape, 12.0, seed);
        let y = run_op(Op::Quantize, &[Arg::new(x.clone())], &[Out::new(dtype, &shape).quantized(quant.clone())]).unwrap();
        let (min, max) = if dtype == DType::I8 { (-128.0, 127.0) } else { (0.0, 255.0) };
        for (i, (x, y)) in x.as_slice::<f32>().unwrap().iter().zip(stored(&y[0])).enumerate() {
            let (scale, zero) = entry(&quant, &shape, i);
            prop_assert_eq!(y, ((x / scale).round_ties_even() + zero as f32).clamp(min, max) as i32);
        }
    }

    #[test]
    fn dequantizes((shape, quant, dtype) in cases(), seed: u64) {
        let x = byte_noise(dtype, &shape, seed);
        let y = run_op(Op::Dequantize, &[Arg::new(x.clone()).quantized(quant.clone())], &[Out::new(DType::F32, &shape)]).unwrap();
        for (i, (x, y)) in stored(&x).iter().zip(y[0].as_slice::<f32>().unwrap()).enumerate() {
            let (scale, zero) = entry(&quant, &shape, i);
            prop_assert_eq!(*y, (x - zero) as f32 * scale);
        }
    }

    #[test]
    fn finds_its_own_range(len in 0usize..100, low in -9f32..9.0, width in 0f32..9.0, seed: u64) {
        let data: Vec<f32> = real_noise(&[len], width, seed).as_slice::<f32>().unwrap().iter().map(|v| v + low).collect();
        let x = Tensor::from_slice(&[len], &data).unwrap();
        let outs = [Out::new(DType::U8, &[len]), Out::new(DType::F32, &[]), Out::new(DType::U8, &[])];
        let y = run_op(Op::DynamicQuantize, &[Arg::new(x)], &outs).unwrap();
        let (min, max) = data.iter().fold((0f32, 0f32), |(lo, hi), v| (lo.min(*v), hi.max(*v)));
        let scale = if min == max { 1.0 } else { (max - min) / 255.0 };
        let zero = (0.0 - min / scale).clamp(0.0, 255.0).round_ties_even();
        prop_assert_eq!(y[1].as_slice::<f32>().unwrap(), &[scale]);
        prop_assert_eq!(y[2].bytes(), &[zero as u8]);
        let expected: Vec<u8> = data.iter().map(|v| ((v / scale).round_ties_even() + zero).clamp(0.0, 255.0) as u8).collect();
        prop_assert_eq!(y[0].bytes(), expected);
    }
}

#[test]
fn wider_integers() {
    let quant = Quant { scale: vec![0.5, 2.0], zero_point: vec![0, 0], axis: Some(0) };
    let x = Tensor::from_slice(&[2, 2], &[3i32, -1, 7, i32::MIN]).unwrap();
    let y = run_op(Op::Dequantize, &[Arg::new(x).quantized(quant)], &[Out::new(DType::F32, &[2, 2])]).unwrap();
    assert_eq!(y[0].as_slice::<f32>().unwrap(), [1.5, -0.5, 14.0, -4_294_967_296.0]);
    let quant = Quant::per_tensor(0.5, -7);
    let x = Tensor::from_slice(&[4], &[0.75f32, -1e9, 1e9, 16.0]).unwrap();
    let y = run_op(Op::Quantize, &[Arg::new(x)], &[Out::new(DType::I16, &[4]).quantized(quant.clone())]).unwrap();
    assert_eq!(y[0].as_slice::<i16>().unwrap(), [-5, -32768, 32767, 25]);
    let back = run_op(Op::Dequantize, &[Arg::new(y[0].clone()).quantized(quant)], &[Out::new(DType::F32, &[4])]).unwrap();
    assert_eq!(back[0].as_slice::<f32>().unwrap()[3], 16.0);
}

#[test]
fn infinities_and_nan_saturate() {
    let x = Tensor::from_slice(&[3], &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]).unwrap();
    let out = Out::new(DType::U8, &[3]).quantized(Quant::per_tensor(0.1, 100));
    assert_eq!(run_op(Op::Quantize, &[Arg::new(x.clone())], &[out]).unwrap()[0].bytes(), [0, 255, 0]);
    let outs = [Out::new(DType::U8, &[3]), Out::new(DType::F32, &[]), Out::new(DType::U8, &[])];
    run_op(Op::DynamicQuantize, &[Arg::new(x)], &outs).unwrap();
}
