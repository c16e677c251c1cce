use proptest::prelude::*;

use crate::{
    DType, Tensor,
    graph::{Op, Quant},
    kernels::testing::{Arg, Out, byte_noise, real_noise, run_op},
};

proptest! {
    #[test]
    fn joins_along_any_axis(outer in 0usize..4, sizes in prop::collection::vec(0usize..5, 1..5), inner in 0usize..6, seed: u64) {
        let parts: Vec<Tensor> = sizes.iter().zip(seed..).map(|(&s, seed)| real_noise(&[outer, s, inner], 1.0, seed)).collect();
        let args: Vec<Arg> = parts.iter().cloned().map(Arg::new).collect();
        let total = sizes.iter().sum();
        let y = run_op(Op::Concat { axis: 1 }, &args, &[Out::new(DType::F32, &[outer, total, inner])]).unwrap();
        let mut expected = Vec::new();
        for o in 0..outer {
            for (part, size) in parts.iter().zip(&sizes) {
                expected.extend_from_slice(&part.as_slice::<f32>().unwrap()[o * size * inner..(o + 1) * size * inner]);
            }
        }
        prop_assert_eq!(y[0].as_slice::<f32>().unwrap(), &expected[..]);
    }
}

#[test]
fn quantized_inputs_are_rescaled() {
    let (same, other) = (Quant::per_tensor(0.5, 3), Quant::per_tensor(0.25, -8));
    let a = Tensor::from_slice(&[1, 2], &[5u8, 200]).unwrap();
    let b = byte_noise(DType::I8, &[1, 40], 3);
    let args = [Arg::new(a).quantized(same.clone()), Arg::new(b.clone()).quantized(other)];
    let y = run_op(Op::Concat { axis: 1 }, &args, &[Out::new(DType::U8, &[1, 42]).quantized(same)]).unwrap();
    let expected = b.bytes().iter().map(|v| {
        let real = (f32::from(*v as i8) + 8.0) * 0.25;
        ((real / 0.5).round_ties_even() + 3.0).clamp(0.0, 255.0) as u8
    });
    assert_eq!(y[0].bytes(), [5, 200].into_iter().chain(expected).collect::<Vec<u8>>());
}
