use proptest::prelude::*;

use super::*;
use crate::{
    Tensor,
    graph::{Op, Quant},
    kernels::testing::{Arg, Out, byte_noise, real_noise, run_op, stored},
};

/// For every output element the input elements under its window, and the number of taps that are not beyond the padding.
fn windows(w: &Window, shape: &[usize], out: &[usize]) -> Vec<(Vec<usize>, usize)> {
    let mut all = Vec::new();
    for index in crate::kernels::testing::indices(out) {
        let (mut taps, mut padded) = (Vec::new(), 0);
        for (ky, kx) in (0..w.kernel[0]).flat_map(|ky| (0..w.kernel[1]).map(move |kx| (ky, kx))) {
            let at = |axis: usize, k: usize| {
                (index[axis + 1] * w.strides[axis] + k * w.dilations[axis]) as i64 - w.pads[axis][0] as i64
            };
            let inside = |axis: usize, i: i64| (0..shape[axis + 1] as i64).contains(&i);
            let (y, x) = (at(0, ky), at(1, kx));
            if inside(0, y) && inside(1, x) {
                taps.push(((index[0] * shape[1] + y as usize) * shape[2] + x as usize) * shape[3] + index[3]);
            }
            if y < (shape[1] + w.pads[0][1]) as i64 && x < (shape[2] + w.pads[1][1]) as i64 {
                padded += 1;
            }
        }
        all.push((taps, padded));
    }
    all
}

fn output_size(w: &Window, axis: usize, size: usize) -> usize {
    let room = (size + w.pads[axis][0] + w.pads[axis][1]).saturating_sub((w.kernel[axis] - 1) * w.dilations[axis] + 1);
    let steps = if w.ceil { room.div_ceil(w.strides[axis]) } else { room / w.strides[axis] };
    steps + 1
}

fn cases() -> impl Strategy<Value = (Window, [usize; 4])> {
    let pair = |r: core::ops::Range<usize>| (r.clone(), r).prop_map(|(a, b)| [a, b]);
    let pads = (pair(0..2), pair(0..2)).prop_map(|(a, b)| [a, b]);
    let channels = prop_oneof![1usize..5, 15usize..40];
    (pair(1..4), pair(1..4), pair(1..3), pads, any::<bool>(), pair(5..12), channels, 0usize..3).prop_map(
        |(kernel, strides, dilations, pads, ceil, [h, w], c, n)| {
            (Window { kernel, strides, dilations, pads, ceil }, [n, h, w, c])
        },
    )
}

fn kinds() -> impl Strategy<Value = PoolKind> {
    prop_oneof![Just(PoolKind::Max), any::<bool>().prop_map(|count_include_pad| PoolKind::Average { count_include_pad })]
}

fn divisor_of(kind: PoolKind, taps: usize, padded: usize) -> usize {
    if kind == (PoolKind::Average { count_include_pad: true }) { padded } else { taps }.max(1)
}

proptest! {
    #[test]
    fn floats((window, shape) in cases(), kind in kinds(), seed: u64) {
        let out = [shape[0], output_size(&window, 0, shape[1]), output_size(&window, 1, shape[2]), shape[3]];
        let x = real_noise(&shape, 5.0, seed);
        let data = x.as_slice::<f32>().unwrap();
        let op = Op::Pool(Pool { kind, window: window.clone() });
        let y = run_op(op, &[Arg::new(x.clone())], &[Out::new(DType::F32, &out)]).unwrap();
        for (y, (taps, padded)) in y[0].as_slice::<f32>().unwrap().iter().zip(windows(&window, &shape, &out)) {
            let values = taps.iter().map(|&t| data[t]);
            let expected = match kind {
                PoolKind::Max => values.fold(f32::NEG_INFINITY, f32::max),
                _ => values.sum::<f32>() / divisor_of(kind, taps.len(), padded) as f32,
            };
            prop_assert_eq!(*y, expected);
        }
    }

    #[test]
    fn quantized(
        (window, shape) in cases(), kind in kinds(), signed in any::<[bool; 2]>(),
        scales in (0.01f32..0.1, 0.01f32..0.1), same: bool, zeros in (0i32..256, 0i32..256), seed: u64,
    ) {
        let signed = if same { [signed[0]; 2] } else { signed };
        let dtypes = signed.map(|s| if s { DType::I8 } else { DType::U8 });
        let zero = |z: i32, signed: bool| if signed { z - 128 } else { z };
        let qx = (scales.0, zero(zeros.0, signed[0]));
        let qy = if same { qx } else { (scales.1, zero(zeros.1, signed[1])) };
        let out = [shape[0], output_size(&window, 0, shape[1]), output_size(&window, 1, shape[2]), shape[3]];
        let x = byte_noise(dtypes[0], &shape, seed);
        let data = stored(&x);
        let op = Op::Pool(Pool { kind, window: window.clone() });
        let arg = Arg::new(x).quantized(Quant::per_tensor(qx.0, qx.1));
        let y = run_op(op, &[arg], &[Out::new(dtypes[1], &out).quantized(Quant::per_tensor(qy.0, qy.1))]).unwrap();
        let (min, max) = if signed[1] { (-128.0, 127.0) } else { (0.0, 255.0) };
        for (y, (taps, padded)) in stored(&y[0]).iter().zip(windows(&window, &shape, &out)) {
            let values = taps.iter().map(|&t| data[t]);
            let lowest = if signed[0] { -128 } else { 0 };
            let scaled = match kind {
                PoolKind::Max => (values.max().unwrap_or(lowest) - qx.1) as f32 * qx.0 / qy.0,
                _ => {
                    let sum: i32 = values.map(|v| v - qx.1).sum();
                    sum as f32 * (qx.0 / (qy.0 * divisor_of(kind, taps.len(), padded) as f32))
                }
            };
            prop_assert_eq!(*y, (scaled.round_ties_even() + qy.1 as f32).clamp(min, max) as i32);
        }
    }
}

#[test]
fn a_stride_of_zero_is_an_error() {
    let window = Window { kernel: [2, 2], strides: [1, 0], dilations: [1, 1], pads: [[0, 0], [0, 0]], ceil: false };
    let op = Op::Pool(Pool { kind: PoolKind::Max, window });
    let x = Arg::new(Tensor::zeros(DType::F32, &[1, 4, 4, 1]).unwrap());
    assert!(run_op(op, &[x], &[Out::new(DType::F32, &[1, 3, 3, 1])]).unwrap_err().to_string().contains("positive"));
}
