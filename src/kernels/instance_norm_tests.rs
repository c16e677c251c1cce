use proptest::prelude::*;

use crate::{
    graph::{
        Op,
        ops::{Activation, InstanceNorm},
    },
    kernels::testing::{Arg, Out, real_noise, run_op},
    tensor::{DType, Tensor},
};

/// The definition, in double precision.
fn reference(x: &[f32], [batch, positions, channels]: [usize; 3], scale: &[f32], bias: &[f32], op: &InstanceNorm) -> Vec<f64> {
    let mut y = vec![0f64; x.len()];
    let (lo, hi) = op.activation.bounds();
    for (n, c) in (0..batch).flat_map(|n| (0..channels).map(move |c| (n, c))) {
        let at = |p: usize| (n * positions + p) * channels + c;
        let count = positions as f64;
        let mean = (0..positions).map(|p| f64::from(x[at(p)])).sum::<f64>() / count;
        let variance = (0..positions).map(|p| (f64::from(x[at(p)]) - mean).powi(2)).sum::<f64>() / count;
        for p in 0..positions {
            let normal = (f64::from(x[at(p)]) - mean) / (variance + f64::from(op.epsilon)).sqrt();
            y[at(p)] = (normal * f64::from(scale[c]) + f64::from(bias[c])).clamp(lo.into(), hi.into());
        }
    }
    y
}

fn run(shape: &[usize], op: &InstanceNorm, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor {
    let args = [Arg::new(x), Arg::constant(scale), Arg::constant(bias)];
    run_op(Op::InstanceNorm(op.clone()), &args, &[Out::new(DType::F32, shape)]).unwrap().remove(0)
}

proptest! {
    #[test]
    fn agrees_with_the_definition(
        batch in 1..3usize,
        positions in prop_oneof![1..9usize, 250..520usize],
        channels in 1..40usize,
        relu: bool,
        seed: u64,
    ) {
        let op = InstanceNorm { epsilon: 1e-3, activation: if relu { Activation::Relu } else { Activation::None } };
        let shape = [batch, positions, channels];
        let x = real_noise(&shape, 3.0, seed);
        let (scale, bias) = (real_noise(&[channels], 2.0, seed ^ 1), real_noise(&[channels], 2.0, seed ^ 2));
        let y = run(&shape, &op, x.clone(), scale.clone(), bias.clone());
        let [x, scale, bias, y] = [&x, &scale, &bias, &y].map(|t| t.as_slice::<f32>().unwrap());
        for (y, expected) in y.iter().zip(reference(x, shape, scale, bias, &op)) {
            // Sums of 256 and fewer terms: less than 2⁻²⁴ · 20 of the mean's and the deviation's size, a few times, at 32 deviations.
            prop_assert!((f64::from(*y) - expected).abs() < 2e-4, "{} is not {}", y, expected);
        }
    }
}

#[test]
fn spatial_axes_count_together() {
    let op = InstanceNorm { epsilon: 1e-5, activation: Activation::None };
    let (x, scale, bias) = (real_noise(&[2, 4, 3, 5], 1.0, 1), real_noise(&[5], 1.0, 2), real_noise(&[5], 1.0, 3));
    let flat = x.clone().reshaped(&[2, 12, 5]).unwrap();
    let y = run(&[2, 4, 3, 5], &op, x, scale.clone(), bias.clone());
    assert_eq!(y.bytes(), run(&[2, 12, 5], &op, flat, scale, bias).bytes());
}

#[test]
fn no_positions_give_nothing() {
    let op = InstanceNorm { epsilon: 1e-5, activation: Activation::None };
    let parameter = Tensor::zeros(DType::F32, &[3]).unwrap();
    let x = Tensor::zeros(DType::F32, &[1, 0, 3]).unwrap();
    assert!(run(&[1, 0, 3], &op, x, parameter.clone(), parameter).bytes().is_empty());
}
