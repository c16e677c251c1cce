use proptest::prelude::*;

use super::*;
use crate::{
    DType, Tensor,
    graph::Op,
    kernels::testing::{Arg, Out, real_noise, run_op},
};

fn sample(op: GridSample, x: &Tensor, positions: &Tensor) -> Vec<f32> {
    let mut shape = positions.shape().to_vec();
    *shape.last_mut().unwrap() = *x.shape().last().unwrap();
    let args = [Arg::new(x.clone()), Arg::new(positions.clone())];
    run_op(Op::GridSample(op), &args, &[Out::new(DType::F32, &shape)]).unwrap()[0].as_slice::<f32>().unwrap().to_vec()
}

/// Pixel `index` of a line of `size`, by walking: a reflected index turns at the ends until it is inside.
fn walk(index: i64, size: i64, op: GridSample) -> Option<i64> {
    match op.outside {
        Outside::Zeros => (0..size).contains(&index).then_some(index),
        Outside::Border => Some(index.clamp(0, size - 1)),
        Outside::Reflection => {
            let mut at = index;
            while !(0..size).contains(&at) {
                // About the centre of the last pixel, or its edge.
                let (low, high) = if op.align_corners { (0, 2 * (size - 1)) } else { (-1, 2 * size - 1) };
                at = if size == 1 {
                    0
                } else if at < 0 {
                    low - at
                } else {
                    high - at
                };
            }
            Some(at)
        }
    }
}

/// One number of a plane at `(row, column)`.
fn reference(op: GridSample, x: &[f32], [h, w]: [i64; 2], [row, column]: [f32; 2]) -> f32 {
    let inside = |v: f32, size: i64| {
        let (lo, hi) = if op.align_corners { (0.0, size as f32 - 1.0) } else { (-0.5, size as f32 - 0.5) };
        match op.outside {
            Outside::Border if v < lo || v > hi => v.clamp(0.0, size as f32 - 1.0),
            Outside::Reflection => {
                let mut v = v;
                while (v < lo || v > hi) && hi > lo {
                    v = if v < lo { 2.0 * lo - v } else { 2.0 * hi - v };
                }
                if hi > lo { v } else { lo }
            }
            _ => v,
        }
    };
    let weights = |v: f32| -> Vec<(i64, f32)> {
        let (base, t) = (v.floor() as i64, v - v.floor());
        match op.interpolation {
            Interpolation::Nearest => vec![(v.round_ties_even() as i64, 1.0)],
            Interpolation::Linear => vec![(base, 1.0 - t), (base + 1, t)],
            Interpolation::Cubic => (-1..3).map(|i| (base + i, keys((i as f32 - t).abs()))).collect(),
        }
    };
    let round = |v: f32| if op.interpolation == Interpolation::Nearest { v.round_ties_even() } else { v };
    let mut sum = 0.0;
    for (i, wi) in weights(inside(round(row), h)) {
        for (j, wj) in weights(inside(round(column), w)) {
            if let (Some(i), Some(j)) = (walk(i, h, op), walk(j, w, op)) {
                sum += wi * wj * x[(i * w + j) as usize];
            }
        }
    }
    sum
}

/// The cubic convolution kernel of R. Keys with a = −0.75.
fn keys(d: f32) -> f32 {
    let a = -0.75;
    match d {
        d if d <= 1.0 => (a + 2.0) * d.powi(3) - (a + 3.0) * d.powi(2) + 1.0,
        d if d < 2.0 => a * d.powi(3) - 5.0 * a * d.powi(2) + 8.0 * a * d - 4.0 * a,
        _ => 0.0,
    }
}

proptest! {
    #[test]
    fn planes_agree_with_the_definition(
        h in 1usize..5, w in 1usize..5, c in 1usize..4, count in 1usize..6, align_corners: bool, seed: u64,
        interpolation in prop::sample::select(vec![Interpolation::Nearest, Interpolation::Linear, Interpolation::Cubic]),
        outside in prop::sample::select(vec![Outside::Zeros, Outside::Border, Outside::Reflection]),
    ) {
        let op = GridSample { interpolation, outside, align_corners };
        let (x, positions) = (real_noise(&[2, h, w, c], 1.0, seed), real_noise(&[2, count, 2], 9.0, seed + 1));
        let y = sample(op, &x, &positions);
        let (pixels, places) = (x.as_slice::<f32>().unwrap(), positions.as_slice::<f32>().unwrap());
        for (i, &y) in y.iter().enumerate() {
            let (n, channel) = (i / c / count, i % c);
            let plane: Vec<f32> = (0..h * w).map(|at| pixels[(n * h * w + at) * c + channel]).collect();
            let place = [places[i / c * 2 + 1], places[i / c * 2]];
            // Reflected positions differ by roundings of a position below 10, which cubic slopes below 2 multiply.
            let expected = reference(op, &plane, [h as i64, w as i64], place);
            prop_assert!((y - expected).abs() < 1e-4, "{y} is not {expected} at {place:?}");
        }
    }
}

#[test]
fn volumes_and_lines() {
    let op = GridSample { interpolation: Interpolation::Linear, outside: Outside::Zeros, align_corners: true };
    let x = Tensor::from_slice(&[1, 2, 2, 2, 1], &[0f32, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]).unwrap();
    let positions = Tensor::from_slice(&[1, 2, 3], &[0.5f32, 0.5, 0.5, 1.0, 0.0, 0.25]).unwrap();
    assert_eq!(sample(op, &x, &positions), [3.5, 2.0]);
    let line = Tensor::from_slice(&[1, 3, 1], &[0f32, 2.0, 4.0]).unwrap();
    let positions = Tensor::from_slice(&[1, 3, 1], &[1.5f32, 2.5, -3.0]).unwrap();
    assert_eq!(sample(op, &line, &positions), [3.0, 2.0, 0.0]);
}

#[test]
fn positions_far_away_do_no_harm() {
    let x = Tensor::from_slice(&[1, 2, 1, 1], &[1f32, 2.0]).unwrap();
    let far = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e30, -1e30, 3e9];
    let positions = Tensor::from_slice(&[1, 3, 2], &far).unwrap();
    for interpolation in [Interpolation::Nearest, Interpolation::Linear, Interpolation::Cubic] {
        for outside in [Outside::Zeros, Outside::Border, Outside::Reflection] {
            let op = GridSample { interpolation, outside, align_corners: false };
            assert_eq!(sample(op, &x, &positions).len(), 3);
            let none = Tensor::zeros(DType::F32, &[1, 0, 1, 1]).unwrap();
            assert_eq!(sample(op, &none, &positions), [0.0; 3]);
        }
    }
}
