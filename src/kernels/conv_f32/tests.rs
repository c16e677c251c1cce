//! Convolutions of all kinds, depthwise ones included, against the definition.

use proptest::prelude::*;

use crate::{
    graph::{
        Op,
        ops::{Activation, Conv, Window},
    },
    kernels::testing::{Arg, Out, run_op},
    tensor::{DType, Tensor},
};

#[derive(Debug, Clone)]
struct Case {
    batch: usize,
    input: [usize; 2],
    group_channels: usize,
    group_outputs: usize,
    conv: Conv,
    constant: bool,
    seed: u32,
}

/// Numbers between −1 and 1.
pub(crate) fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2) | 1;
    let next = |_| {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..n).map(next).collect()
}

impl Case {
    fn output(&self) -> Option<[usize; 2]> {
        let w = &self.conv.window;
        let size = |a: usize| {
            let span = (w.kernel[a] - 1) * w.dilations[a] + 1;
            Some((self.input[a] + w.pads[a][0] + w.pads[a][1]).checked_sub(span)? / w.strides[a] + 1)
        };
        Some([size(0)?, size(1)?])
    }

    fn check(&self) {
        let [h, w] = self.input;
        let [oh, ow] = self.output().unwrap();
        let Conv { window, groups, .. } = &self.conv;
        let [kh, kw] = window.kernel;
        let (channels, outputs, cg) = (self.group_channels * groups, self.group_outputs * groups, self.group_channels);
        let x = numbers(self.batch * h * w * channels, self.seed);
        let weight = numbers(outputs * kh * kw * cg, self.seed + 1);
        let bias = numbers(outputs, self.seed + 2);
        let tensor = |shape: &[usize], data: &[f32]| Tensor::from_slice(shape, data).unwrap();
        let other = |t| if self.constant { Arg::constant(t) } else { Arg::new(t) };
        let mut args = vec![Arg::new(tensor(&[self.batch, h, w, channels], &x)), other(tensor(&[outputs, kh, kw, cg], &weight))];
        if self.conv.bias {
            args.push(other(tensor(&[outputs], &bias)));
        }
        let out = Out::new(DType::F32, &[self.batch, oh, ow, outputs]);
        let y = run_op(Op::Conv(self.conv.clone()), &args, &[out]).unwrap();
        let y = y[0].as_slice::<f32>().unwrap();
        let (lo, hi) = self.conv.activation.bounds();
        for (i, &value) in y.iter().enumerate() {
            let (o, ox, oy, n) = (i % outputs, i / outputs % ow, i / outputs / ow % oh, i / outputs / ow / oh);
            let start = if self.conv.bias { f64::from(bias[o]) } else { 0.0 };
            let (mut sum, mut magnitude) = (start, start.abs());
            for (ky, kx, c) in (0..kh * kw * cg).map(|i| (i / cg / kw, i / cg % kw, i % cg)) {
                let iy = (oy * window.strides[0] + ky * window.dilations[0]).wrapping_sub(window.pads[0][0]);
                let ix = (ox * window.strides[1] + kx * window.dilations[1]).wrapping_sub(window.pads[1][0]);
                if iy < h && ix < w {
                    let c_in = o / self.group_outputs * cg + c;
                    let p = f64::from(x[((n * h + iy) * w + ix) * channels + c_in])
                        * f64::from(weight[((o * kh + ky) * kw + kx) * cg + c]);
                    sum += p;
                    magnitude += p.abs();
                }
            }
            let exact = sum.clamp(f64::from(lo), f64::from(hi));
            let bound = (kh * kw * cg + 2) as f64 * f64::from(f32::EPSILON) * magnitude;
            let error = (f64::from(value) - exact).abs();
            assert!(error <= bound, "{value} instead of {exact} at n={n} y={oy} x={ox} o={o}: {self:?}");
        }
    }
}

fn window(kernel: [usize; 2], strides: [usize; 2], pads: [[usize; 2]; 2]) -> Window {
    Window { kernel, strides, dilations: [1, 1], pads, ceil: false }
}

fn case(input: [usize; 2], groups: usize, cg: usize, og: usize, window: Window) -> Case {
    let conv = Conv { window, groups, bias: true, dynamic: false, activation: Activation::Relu };
    Case { batch: 1, input, group_channels: cg, group_outputs: og, conv, constant: true, seed: 7 }
}

#[test]
fn usual_layers() {
    case([9, 10], 1, 16, 24, window([1, 1], [1, 1], [[0; 2]; 2])).check();
    case([15, 14], 1, 16, 20, window([3, 3], [1, 1], [[1; 2]; 2])).check();
    case([17, 16], 1, 3, 32, window([7, 7], [2, 2], [[3; 2]; 2])).check();
    case([15, 16], 1, 8, 8, window([1, 1], [2, 2], [[0; 2]; 2])).check();
    case([1, 50], 1, 12, 16, window([1, 5], [1, 1], [[0; 2], [2, 2]])).check();
    case([8, 8], 4, 8, 4, window([3, 3], [1, 1], [[1; 2]; 2])).check();
    case([6, 6], 4, 8, 8, window([1, 1], [1, 1], [[0; 2]; 2])).check();
    case([3, 3], 1, 1024, 9, window([2, 2], [1, 1], [[0, 1]; 2])).check();
}

#[test]
fn depthwise_layers() {
    for channels in [2, 4, 7, 12, 16, 33, 64] {
        for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (2, 1)] {
            case([12, 13], channels, 1, 1, window([kernel; 2], [stride; 2], [[kernel / 2; 2]; 2])).check();
        }
    }
    case([5, 5], 16, 1, 2, window([3, 3], [1, 1], [[1; 2]; 2])).check();
    case([2, 2], 16, 1, 1, window([5, 5], [1, 1], [[2; 2]; 2])).check();
}

proptest! {
    #[test]
    fn random_layers(
        (batch, input, kernel) in (1..3usize, [1..12usize, 1..12usize], [1..6usize, 1..6usize]),
        strides in [1..4usize, 1..4usize],
        dilations in [1..3usize, 1..3usize],
        pads in [[0..4usize, 0..4usize], [0..4usize, 0..4usize]],
        (groups, cg, og) in prop_oneof![
            (Just(1usize), 1..20usize, 1..40usize),
            (1..5usize, 1..9usize, 1..9usize),
            (1..70usize, Just(1usize), Just(1usize)),
        ],
        (bias, constant, seed) in (any::<bool>(), any::<bool>(), 0..1000u32),
        activation in prop_oneof![
            Just(Activation::None),
            Just(Activation::Relu),
            Just(Activation::Clamp { lo: -0.5, hi: 1.5 }),
        ],
    ) {
        let window = Window { kernel, strides, dilations, pads, ceil: false };
        let conv = Conv { window, groups, bias, dynamic: false, activation };
        let case = Case { batch, input, group_channels: cg, group_outputs: og, conv, constant, seed };
        if case.output().is_some() {
            case.check();
        }
    }
}
