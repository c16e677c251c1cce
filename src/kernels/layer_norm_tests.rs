use proptest::prelude::*;

use crate::{
    DType, Tensor,
    graph::Op,
    kernels::testing::{Arg, Out, real_noise, run_op},
};

proptest! {
    #[test]
    fn by_definition(rows in 0usize..4, size in prop_oneof![1usize..40, Just(384)], offset in -50f32..50.0, bias: bool, seed: u64) {
        let noise: Vec<f32> = real_noise(&[rows * size], 3.0, seed).as_slice::<f32>().unwrap().iter().map(|v| v + offset).collect();
        let x = Tensor::from_slice(&[rows, size], &noise).unwrap();
        let (scale, shift) = (real_noise(&[size], 2.0, seed + 1), real_noise(&[size], 2.0, seed + 2));
        let mut args = vec![Arg::new(x.clone()), Arg::constant(scale.clone())];
        if bias {
            args.push(Arg::constant(shift.clone()));
        }
        let epsilon = 1e-5;
        let y = run_op(Op::LayerNorm { axis: 1, epsilon, bias }, &args, &[Out::new(DType::F32, &[rows, size])]).unwrap();
        let rows = noise.chunks_exact(size).zip(y[0].as_slice::<f32>().unwrap().chunks_exact(size));
        for (x, y) in rows {
            let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / size as f64;
            let variance = x.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / size as f64;
            for i in 0..size {
                let normal = (f64::from(x[i]) - mean) / (variance + f64::from(epsilon)).sqrt();
                let shift = if bias { f64::from(shift.as_slice::<f32>().unwrap()[i]) } else { 0.0 };
                let expected = normal * f64::from(scale.as_slice::<f32>().unwrap()[i]) + shift;
                // A mean far from zero costs digits of x − mean, which a small deviation then magnifies.
                let lost = 4e-6 + 1e-6 * f64::from(offset.abs()) / (variance + f64::from(epsilon)).sqrt();
                prop_assert!((f64::from(y[i]) - expected).abs() <= lost * 4.0, "{} is not {}", y[i], expected);
            }
        }
    }
}

#[test]
fn a_scale_of_another_size_is_an_error() {
    let args = [Arg::new(real_noise(&[2, 6], 1.0, 1)), Arg::new(real_noise(&[5], 1.0, 1))];
    let op = Op::LayerNorm { axis: 1, epsilon: 0.0, bias: false };
    let error = run_op(op, &args, &[Out::new(DType::F32, &[2, 6])]).unwrap_err();
    assert_eq!(error.to_string(), "scale [5] does not have one element for each of the normalised [6]");
}
