//! Convolutions against the definition, one output at a time.

use crate::{
    error::Result,
    graph::{
        Op, Quant,
        ops::{Activation, Conv, Window},
    },
    kernels::{
        requant::requantize,
        testing::{Arg, Out, run_op},
    },
    tensor::{DType, Tensor},
};

/// A convolution and its operands.
#[derive(Debug, Clone)]
struct Case {
    x: [usize; 4],
    out_channels: usize,
    groups: usize,
    window: Window,
    x_zero: u8,
    /// One per output channel.
    w_zero: Vec<i32>,
    activation: Activation,
    bias: bool,
    seed: u32,
    extreme: bool,
}

fn window(kernel: [usize; 2], strides: [usize; 2], dilations: [usize; 2], pads: [[usize; 2]; 2]) -> Window {
    Window { kernel, strides, dilations, pads, ceil: false }
}

impl Case {
    fn new(x: [usize; 4], out_channels: usize, groups: usize, window: Window) -> Case {
        Case {
            x,
            out_channels,
            groups,
            window,
            x_zero: 131,
            w_zero: vec![0],
            activation: Activation::None,
            bias: true,
            seed: 1,
            extreme: false,
        }
    }

    fn weight_shape(&self) -> [usize; 4] {
        [self.out_channels, self.window.kernel[0], self.window.kernel[1], self.x[3] / self.groups]
    }

    fn output_shape(&self) -> Option<[usize; 4]> {
        let size = |a: usize| {
            let reach = (self.window.kernel[a] - 1) * self.window.dilations[a] + 1;
            let padded = self.x[1 + a] + self.window.pads[a][0] + self.window.pads[a][1];
            Some(padded.checked_sub(reach)? / self.window.strides[a] + 1)
        };
        Some([self.x[0], size(0)?, size(1)?, self.out_channels])
    }

    fn bytes(&self, count: usize, salt: u32) -> Vec<u8> {
        let mut state = self.seed ^ salt;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if self.extreme { [0, 127, 128, 255][(state >> 30) as usize] } else { (state >> 20) as u8 }
        };
        (0..count).map(|_| next()).collect()
    }

    fn weight_quant(&self) -> Quant {
        let scale = (0..self.w_zero.len()).map(|i| 0.003 + i as f32 * 0.0007).collect();
        Quant { scale, zero_point: self.w_zero.clone(), axis: (self.w_zero.len() > 1).then_some(0) }
    }

    /// Accumulators with zero points subtracted, without bias.
    fn accumulators(&self, x: &[u8], w: &[u8], unsigned: bool) -> Vec<i32> {
        let [n, h, width, c] = self.x;
        let [o, kh, kw, cg] = self.weight_shape();
        let [_, oh, ow, _] = self.output_shape().unwrap();
        let Window { strides, dilations, pads, .. } = &self.window;
        let mut out = Vec::new();
        for (b, oy, ox, oc) in (0..n * oh * ow * o).map(|i| (i / o / ow / oh, i / o / ow % oh, i / o % ow, i % o)) {
            let mut acc = 0;
            for (ky, kx, ci) in (0..kh * kw * cg).map(|i| (i / cg / kw, i / cg % kw, i % cg)) {
                let iy = (oy * strides[0] + ky * dilations[0]).wrapping_sub(pads[0][0]);
                let ix = (ox * strides[1] + kx * dilations[1]).wrapping_sub(pads[1][0]);
                if iy < h && ix < width {
                    let xv = x[((b * h + iy) * width + ix) * c + oc / (o / self.groups) * cg + ci];
                    let wv = w[((oc * kh + ky) * kw + kx) * cg + ci];
                    let wv = if unsigned { i32::from(wv) } else { i32::from(wv as i8) };
                    acc += (i32::from(xv) - i32::from(self.x_zero)) * (wv - self.w_zero[oc % self.w_zero.len()]);
                }
            }
            out.push(acc);
        }
        out
    }

    fn check(&self) {
        let shape = self.output_shape().unwrap();
        let [o, kh, kw, cg] = self.weight_shape();
        let x = self.bytes(self.x.iter().product(), 11);
        let w = self.bytes(o * kh * kw * cg, 23);
        let acc = self.accumulators(&x, &w, false);
        let bias: Vec<i32> = self.bytes(o, 5).iter().map(|&b| (i32::from(b) - 128) * 100).collect();
        let (sx, sy, zy) = (0.02f32, 0.11f32, 97u8);
        let wq = self.weight_quant();
        let sw = |c: usize| wq.scale[c % wq.scale.len()];
        let add = |i: usize| if self.bias { bias[i % o] } else { 0 };
        let (lo, hi) = self.activation.bounds();
        let tensor = |shape: &[usize], b: &[u8], d| Tensor::from_bytes(d, shape, b).unwrap();
        let x_arg = || Arg::new(tensor(&self.x, &x, DType::U8));
        let w_arg = || Arg::constant(tensor(&self.weight_shape(), &w, DType::I8)).quantized(wq.clone());
        let b_arg = || Arg::constant(Tensor::from_slice(&[o], &bias).unwrap());
        let op = |dynamic, activation| {
            Op::Conv(Conv { window: self.window.clone(), groups: self.groups, bias: self.bias, dynamic, activation })
        };
        let run = |out: Out, activation| {
            let mut args = vec![x_arg().quantized(Quant::per_tensor(sx, self.x_zero.into())), w_arg()];
            args.extend(self.bias.then(b_arg));
            run_op(op(false, activation), &args, &[out]).unwrap().remove(0)
        };

        let bound = |real: f32| ((real / sy).round_ties_even() + f32::from(zy)).clamp(0.0, 255.0) as u8;
        let quantized = run(Out::new(DType::U8, &shape).quantized(Quant::per_tensor(sy, zy.into())), self.activation);
        let expected: Vec<u8> = (acc.iter().enumerate())
            .map(|(i, a)| requantize(a + add(i), sx * sw(i % o) / sy, zy.into(), bound(lo), bound(hi)))
            .collect();
        assert_eq!(quantized.bytes(), expected, "uint8 {self:?}");

        let real = run(Out::new(DType::F32, &shape), self.activation);
        let expected: Vec<f32> =
            acc.iter().enumerate().map(|(i, a)| ((a + add(i)) as f32 * (sx * sw(i % o))).clamp(lo, hi)).collect();
        assert_eq!(real.as_slice::<f32>().unwrap(), expected, "float32 {self:?}");

        let raw = run(Out::new(DType::I32, &shape), Activation::None);
        let expected: Vec<i32> = acc.iter().enumerate().map(|(i, a)| a + add(i)).collect();
        assert_eq!(raw.as_slice::<i32>().unwrap(), expected, "int32 {self:?}");

        let real_bias: Vec<f32> = bias.iter().map(|b| *b as f32 * 0.01).collect();
        let mut args = vec![x_arg(), w_arg()];
        args.extend(self.bias.then(|| Arg::constant(Tensor::from_slice(&[o], &real_bias).unwrap())));
        args.extend([Arg::new(Tensor::scalar(sx)), Arg::new(Tensor::scalar(self.x_zero))]);
        let real = run_op(op(true, self.activation), &args, &[Out::new(DType::F32, &shape)]).unwrap().remove(0);
        let expected: Vec<f32> = (acc.iter().enumerate())
            .map(|(i, a)| (*a as f32 * (sx * sw(i % o)) + if self.bias { real_bias[i % o] } else { 0.0 }).clamp(lo, hi))
            .collect();
        assert_eq!(real.as_slice::<f32>().unwrap(), expected, "dynamic {self:?}");
    }
}

pub(crate) fn fixed_cases() {
    let same = [[1, 1], [1, 1]];
    let none = [[0, 0], [0, 0]];
    let relu6 = Activation::Clamp { lo: 0.0, hi: 6.0 };
    let cases = [
        Case::new([1, 5, 7, 8], 24, 1, window([1, 1], [1, 1], [1, 1], none)),
        Case { activation: Activation::Relu, ..Case::new([2, 14, 14, 16], 11, 1, window([1, 1], [1, 1], [1, 1], none)) },
        Case { extreme: true, ..Case::new([1, 9, 9, 3], 10, 1, window([3, 3], [2, 2], [1, 1], same)) },
        Case { activation: relu6, ..Case::new([1, 9, 9, 12], 16, 1, window([3, 3], [1, 1], [2, 2], [[2, 2], [2, 2]])) },
        Case { w_zero: vec![-7], ..Case::new([1, 6, 6, 8], 20, 1, window([3, 3], [1, 1], [1, 1], same)) },
        Case { w_zero: vec![3, 0, -128, 127], ..Case::new([1, 6, 6, 8], 4, 2, window([3, 2], [1, 1], [1, 1], same)) },
        Case { bias: false, ..Case::new([1, 6, 6, 12], 24, 3, window([1, 1], [2, 2], [1, 1], none)) },
        // Depthwise.
        Case::new([2, 9, 11, 16], 16, 16, window([3, 3], [1, 1], [1, 1], same)),
        Case { extreme: true, ..Case::new([1, 8, 8, 37], 37, 37, window([3, 3], [1, 1], [1, 1], same)) },
        Case { activation: relu6, ..Case::new([1, 9, 9, 24], 24, 24, window([3, 3], [2, 2], [1, 1], [[0, 1], [0, 1]])) },
        Case::new([1, 9, 12, 20], 20, 20, window([5, 5], [1, 1], [1, 1], [[2, 2], [2, 2]])),
        Case::new([1, 9, 12, 6], 6, 6, window([5, 3], [2, 1], [1, 2], [[2, 2], [1, 1]])),
        Case::new([1, 4, 3, 3], 3, 3, window([3, 3], [1, 1], [1, 1], same)),
        Case::new([1, 4, 1, 32], 32, 32, window([3, 1], [1, 1], [1, 1], [[1, 1], [0, 0]])),
        Case { w_zero: vec![9], ..Case::new([1, 7, 7, 16], 16, 16, window([3, 3], [1, 1], [1, 1], same)) },
        Case { w_zero: vec![-128], extreme: true, ..Case::new([1, 7, 7, 16], 16, 16, window([3, 3], [2, 2], [1, 1], same)) },
        // A channel multiplier.
        Case::new([1, 5, 5, 4], 8, 4, window([3, 3], [1, 1], [1, 1], same)),
    ];
    cases.iter().for_each(Case::check);
}

#[cfg_attr(not(target_arch = "wasm32"), test)]
#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
fn as_by_definition() {
    fixed_cases();
}

#[cfg_attr(not(target_arch = "wasm32"), test)]
#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
fn unsigned_weights() {
    let case = Case { w_zero: vec![140], ..Case::new([1, 5, 5, 8], 12, 1, window([3, 3], [1, 1], [1, 1], [[1, 1], [1, 1]])) };
    let (x, w) = (case.bytes(200, 11), case.bytes(12 * 72, 23));
    let tensor = |shape: &[usize], b: &[u8]| Tensor::from_bytes(DType::U8, shape, b).unwrap();
    let args = [
        Arg::new(tensor(&case.x, &x)).quantized(Quant::per_tensor(1.0, case.x_zero.into())),
        Arg::constant(tensor(&case.weight_shape(), &w)).quantized(case.weight_quant()),
    ];
    let op = Conv { window: case.window.clone(), groups: 1, bias: false, dynamic: false, activation: Activation::None };
    let out = run_op(Op::Conv(op), &args, &[Out::new(DType::I32, &[1, 5, 5, 12])]).unwrap().remove(0);
    assert_eq!(out.as_slice::<i32>().unwrap(), case.accumulators(&x, &w, true));
}

/// Multipliers so large that products leave the range in which vectors round exactly.
#[cfg_attr(not(target_arch = "wasm32"), test)]
#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
fn extreme_scales() {
    for groups in [1, 16] {
        let case = Case::new([1, 4, 4, 16], 16, groups, window([1, 1], [1, 1], [1, 1], [[0, 0], [0, 0]]));
        let (x, w) = (case.bytes(256, 11), case.bytes(256 / groups, 23));
        let acc = case.accumulators(&x, &w, false);
        for (scale, output) in [(1e5, 1e-4), (1e-20, 1e10), (3e30, 1e3)] {
            let args = [
                Arg::new(Tensor::from_bytes(DType::U8, &case.x, &x).unwrap())
                    .quantized(Quant::per_tensor(scale, case.x_zero.into())),
                Arg::constant(Tensor::from_bytes(DType::I8, &case.weight_shape(), &w).unwrap())
                    .quantized(Quant::per_tensor(2.0, 0)),
            ];
            let op = Conv { window: case.window.clone(), groups, bias: false, dynamic: false, activation: Activation::None };
            let out = Out::new(DType::U8, &[1, 4, 4, 16]).quantized(Quant::per_tensor(output, 128));
            let out = run_op(Op::Conv(op), &args, &[out]).unwrap().remove(0);
            let expected: Vec<u8> = acc.iter().map(|a| requantize(*a, scale * 2.0 / output, 128, 0, 255)).collect();
            assert_eq!(out.bytes(), expected);
        }
    }
}

fn error_of(x: Arg, w: Arg, conv: Conv, out: Out) -> String {
    let result: Result<Vec<Tensor>> = run_op(Op::Conv(conv), &[x, w], &[out]);
    result.unwrap_err().to_string()
}

#[cfg_attr(not(target_arch = "wasm32"), test)]
#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
fn errors_are_sentences() {
    let conv = Conv {
        window: window([1, 1], [1, 1], [1, 1], [[0, 0], [0, 0]]),
        groups: 1,
        bias: false,
        dynamic: false,
        activation: Activation::None,
    };
    let x = || Arg::new(Tensor::zeros(DType::U8, &[1, 2, 2, 4]).unwrap()).quantized(Quant::per_tensor(1.0, 0));
    let w = Tensor::zeros(DType::I8, &[4, 1, 1, 4]).unwrap();
    assert_eq!(
        error_of(x(), Arg::new(w.clone()), conv.clone(), Out::new(DType::I32, &[1, 2, 2, 4])),
        "the weight of a quantized convolution must be a constant"
    );
    let three = Quant { scale: vec![1.0; 3], zero_point: vec![0; 3], axis: Some(0) };
    assert_eq!(
        error_of(x(), Arg::constant(w.clone()).quantized(three), conv.clone(), Out::new(DType::I32, &[1, 2, 2, 4])),
        "a weight needs one scale, or one for each of its 4 output channels (axis 0); it has 3, of axis 0"
    );
    assert_eq!(
        error_of(x(), Arg::constant(w), conv, Out::new(DType::I8, &[1, 2, 2, 4])),
        "a quantized product gives quantized uint8, float32 or int32, not int8"
    );
}

#[cfg(not(target_arch = "wasm32"))]
mod random {
    use proptest::prelude::*;

    use super::*;

    fn case() -> impl Strategy<Value = Case> {
        let shape = (1..3usize, 1..9usize, 1..12usize);
        let kernel = ((1..5usize, 1..5usize), (1..3usize, 1..3usize), (1..3usize, 1..3usize), prop::array::uniform4(0..3usize));
        let channels = (1..5usize, 1..9usize, 1..9usize, any::<bool>(), 1..40usize);
        (shape, kernel, channels, any::<(u8, u32, bool, bool)>(), prop::option::of(-128..128i32)).prop_filter_map(
            "the window fits",
            |((n, h, w), (k, s, d, p), (groups, cg, og, depthwise, c), (x_zero, seed, extreme, bias), zero)| {
                let window = window([k.0, k.1], [s.0, s.1], [d.0, d.1], [[p[0], p[1]], [p[2], p[3]]]);
                let (channels, out_channels, groups) = if depthwise { (c, c, c) } else { (groups * cg, groups * og, groups) };
                let activation = if seed % 2 == 0 { Activation::None } else { Activation::Relu };
                let w_zero = vec![zero.unwrap_or(0)];
                let case = Case {
                    x_zero,
                    seed,
                    extreme,
                    bias,
                    activation,
                    w_zero,
                    ..Case::new([n, h, w, channels], out_channels, groups, window)
                };
                case.output_shape().map(|_| case)
            },
        )
    }

    proptest! {
        #[test]
        fn as_by_definition(case in case()) {
            case.check();
        }
    }
}
