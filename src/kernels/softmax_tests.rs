use proptest::prelude::*;

use crate::{
    DType, Tensor,
    graph::{Op, Quant},
    kernels::testing::{Arg, Out, byte_noise, real_noise, run_op, stored},
};

/// Softmax in double precision of `[outer, size, inner]` along the middle.
fn reference(x: &[f32], [outer, size, inner]: [usize; 3], log: bool) -> Vec<f64> {
    let mut y = vec![0f64; x.len()];
    for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
        let at = |k: usize| (o * size + k) * inner + i;
        let top = (0..size).map(|k| x[at(k)]).fold(f32::NEG_INFINITY, f32::max);
        let below = |k: usize| f64::from(x[at(k)]) - f64::from(top);
        let sum: f64 = (0..size).map(|k| below(k).exp()).sum();
        for k in 0..size {
            y[at(k)] = if log { below(k) - sum.ln() } else { below(k).exp() / sum };
        }
    }
    y
}

fn blocks() -> impl Strategy<Value = [usize; 3]> {
    let inner = prop_oneof![3 => Just(1usize), 2 => 0usize..4, 1 => 15usize..40];
    (0usize..4, prop_oneof![0usize..20, 60usize..130], inner).prop_map(|(o, s, i)| [o, s, i])
}

proptest! {
    #[test]
    fn floats(shape in blocks(), log: bool, seed: u64) {
        let x = real_noise(&shape, 8.0, seed);
        let y = run_op(Op::Softmax { axis: 1, log }, &[Arg::new(x.clone())], &[Out::new(DType::F32, &shape)]).unwrap();
        for (y, expected) in y[0].as_slice::<f32>().unwrap().iter().zip(reference(x.as_slice().unwrap(), shape, log)) {
            let tolerance = if log { 2e-6 * expected.abs().max(1.0) } else { 2e-6 * expected + 1e-9 };
            prop_assert!((f64::from(*y) - expected).abs() <= tolerance, "{} is not {}", y, expected);
        }
    }

    #[test]
    fn quantized(shape in blocks(), log: bool, signed in any::<[bool; 2]>(), scale in 0.001f32..0.2, zero in 0i32..256, seed: u64) {
        let dtypes = signed.map(|s| if s { DType::I8 } else { DType::U8 });
        let zeros = signed.map(|s| if s { zero - 128 } else { zero });
        let sy = if log { 0.05 } else { 1.0 / 256.0 };
        let x = byte_noise(dtypes[0], &shape, seed);
        let arg = Arg::new(x.clone()).quantized(Quant::per_tensor(scale, zeros[0]));
        let out = Out::new(dtypes[1], &shape).quantized(Quant::per_tensor(sy, zeros[1]));
        let y = run_op(Op::Softmax { axis: 1, log }, &[arg], &[out]).unwrap();
        let reals: Vec<f32> = stored(&x).iter().map(|q| (q - zeros[0]) as f32 * scale).collect();
        let (min, max) = if signed[1] { (-128.0, 127.0) } else { (0.0, 255.0) };
        for (y, real) in stored(&y[0]).iter().zip(reference(&reals, shape, log)) {
            let exact = (real / f64::from(sy) + f64::from(zeros[1])).clamp(min, max);
            prop_assert!((f64::from(*y) - exact).abs() <= 0.5 + 1e-3, "{} is not {}", y, exact);
        }
    }
}

#[test]
fn large_numbers_do_not_overflow() {
    let x = Tensor::from_slice(&[1, 4], &[3e38f32, -3e38, 3e38, f32::NEG_INFINITY]).unwrap();
    let y = run_op(Op::Softmax { axis: 1, log: false }, &[Arg::new(x)], &[Out::new(DType::F32, &[1, 4])]).unwrap();
    assert_eq!(y[0].as_slice::<f32>().unwrap(), [0.5, 0.0, 0.5, 0.0]);
}
