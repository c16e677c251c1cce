//! Matrix products against the definition.

use crate::{
    graph::{
        Op, Quant,
        ops::{Activation, MatMul},
    },
    kernels::{
        requant::requantize,
        testing::{Arg, Out, run_op},
    },
    tensor::{DType, Tensor},
};

#[derive(Debug, Clone)]
struct Case {
    a_batch: Vec<usize>,
    b_batch: Vec<usize>,
    out_batch: Vec<usize>,
    m: usize,
    n: usize,
    k: usize,
    transpose_b: bool,
    unsigned: bool,
    constant: bool,
    per_channel: bool,
    a_zero: u8,
    /// Within the type of b.
    b_zero: i32,
    seed: u32,
}

fn bytes(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if state >> 29 == 0 { [0, 127, 128, 255][(state >> 20 & 3) as usize] } else { (state >> 20) as u8 }
    };
    (0..count).map(|_| next()).collect()
}

/// The index in `shape` of the element that `index` of the broadcast shape `out` reads.
fn broadcast_index(index: usize, out: &[usize], shape: &[usize]) -> usize {
    let (mut rest, mut at, mut stride) = (index, 0, 1);
    for i in (0..out.len()).rev() {
        let coordinate = rest % out[i];
        rest /= out[i];
        if let Some(d) = (i + shape.len()).checked_sub(out.len()).map(|i| shape[i]) {
            at += if d == 1 { 0 } else { coordinate * stride };
            stride *= d;
        }
    }
    at
}

impl Case {
    fn new(m: usize, n: usize, k: usize) -> Case {
        Case {
            a_batch: vec![],
            b_batch: vec![],
            out_batch: vec![],
            m,
            n,
            k,
            transpose_b: false,
            unsigned: false,
            constant: true,
            per_channel: false,
            a_zero: 119,
            b_zero: 0,
            seed: 3,
        }
    }

    fn shape(batch: &[usize], rows: usize, columns: usize) -> Vec<usize> {
        batch.iter().copied().chain([rows, columns]).collect()
    }

    fn check(&self) {
        let Case { m, n, k, .. } = *self;
        let count = |batch: &[usize]| batch.iter().product::<usize>();
        let a = bytes(count(&self.a_batch) * m * k, self.seed);
        let b = bytes(count(&self.b_batch) * n * k, self.seed ^ 77);
        let mut acc = Vec::new();
        for batch in 0..count(&self.out_batch) {
            let (ia, ib) =
                (broadcast_index(batch, &self.out_batch, &self.a_batch), broadcast_index(batch, &self.out_batch, &self.b_batch));
            for (i, j) in (0..m * n).map(|i| (i / n, i % n)) {
                let mut sum = 0;
                for d in 0..k {
                    let at = if self.transpose_b { j * k + d } else { d * n + j };
                    let w = b[ib * n * k + at];
                    let w = if self.unsigned { i32::from(w) } else { i32::from(w as i8) };
                    sum += (i32::from(a[(ia * m + i) * k + d]) - i32::from(self.a_zero)) * (w - self.b_zero);
                }
                acc.push(sum);
            }
        }
        let axis = self.b_batch.len() + usize::from(!self.transpose_b);
        let entries = if self.per_channel { n } else { 1 };
        let b_quant = Quant {
            scale: (0..entries).map(|i| 0.004 + i as f32 * 0.0003).collect(),
            zero_point: vec![self.b_zero; entries],
            axis: self.per_channel.then_some(axis),
        };
        let sb = |j: usize| b_quant.scale[j % entries];
        let (sa, sy, zy) = (0.013f32, 0.21f32, 111);
        let out_shape = Case::shape(&self.out_batch, m, n);
        let b_shape = if self.transpose_b { Case::shape(&self.b_batch, n, k) } else { Case::shape(&self.b_batch, k, n) };
        let a_arg = || Arg::new(Tensor::from_bytes(DType::U8, &Case::shape(&self.a_batch, m, k), &a).unwrap());
        let b_arg = || {
            let dtype = if self.unsigned { DType::U8 } else { DType::I8 };
            let tensor = Tensor::from_bytes(dtype, &b_shape, &b).unwrap();
            Arg { tensor, quant: Some(b_quant.clone()), constant: self.constant }
        };
        let op =
            |bias, dynamic| Op::MatMul(MatMul { transpose_b: self.transpose_b, bias, dynamic, activation: Activation::None });
        let a_quant = Quant::per_tensor(sa, self.a_zero.into());

        let bias: Vec<i32> = bytes(n, 9).iter().map(|&b| i32::from(b) * 50 - 5000).collect();
        let args = [a_arg().quantized(a_quant.clone()), b_arg(), Arg::constant(Tensor::from_slice(&[n], &bias).unwrap())];
        let out = Out::new(DType::U8, &out_shape).quantized(Quant::per_tensor(sy, zy));
        let quantized = run_op(op(true, false), &args, &[out]).unwrap().remove(0);
        let expected: Vec<u8> =
            acc.iter().enumerate().map(|(i, v)| requantize(v + bias[i % n], sa * sb(i % n) / sy, zy, 0, 255)).collect();
        assert_eq!(quantized.bytes(), expected, "uint8 {self:?}");

        let args = [a_arg().quantized(a_quant), b_arg()];
        let raw = run_op(op(false, false), &args, &[Out::new(DType::I32, &out_shape)]).unwrap().remove(0);
        assert_eq!(raw.as_slice::<i32>().unwrap(), acc, "int32 {self:?}");

        let bias: Vec<f32> = (0..n).map(|j| j as f32 * 0.7 - 2.0).collect();
        let args = [
            a_arg(),
            b_arg(),
            Arg::constant(Tensor::from_slice(&[n], &bias).unwrap()),
            Arg::new(Tensor::scalar(sa)),
            Arg::new(Tensor::scalar(self.a_zero)),
        ];
        let real = run_op(op(true, true), &args, &[Out::new(DType::F32, &out_shape)]).unwrap().remove(0);
        let expected: Vec<f32> = acc.iter().enumerate().map(|(i, v)| *v as f32 * (sa * sb(i % n)) + bias[i % n]).collect();
        assert_eq!(real.as_slice::<f32>().unwrap(), expected, "dynamic {self:?}");
    }
}

#[cfg_attr(not(target_arch = "wasm32"), test)]
#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
fn as_by_definition() {
    let batched = |a: &[usize], b: &[usize], out: &[usize]| Case {
        a_batch: a.to_vec(),
        b_batch: b.to_vec(),
        out_batch: out.to_vec(),
        ..Case::new(5, 12, 8)
    };
    let cases = [
        Case::new(1, 100, 64),
        Case { per_channel: true, ..Case::new(33, 41, 30) },
        Case { transpose_b: true, per_channel: true, b_zero: 5, ..Case::new(7, 9, 16) },
        Case { unsigned: true, b_zero: 128, ..Case::new(8, 16, 20) },
        Case { unsigned: true, b_zero: 77, transpose_b: true, ..Case::new(3, 16, 21) },
        Case { constant: false, unsigned: true, b_zero: 130, ..Case::new(9, 14, 64) },
        batched(&[2, 3], &[], &[2, 3]),
        batched(&[3], &[3], &[3]),
        Case { constant: false, transpose_b: true, ..batched(&[2, 3], &[2, 3], &[2, 3]) },
        Case { constant: false, unsigned: true, ..batched(&[2, 1], &[3], &[2, 3]) },
        Case { per_channel: true, ..batched(&[1], &[4, 2], &[4, 2]) },
        batched(&[2], &[1, 1], &[1, 2]),
        Case::new(4, 5, 0),
    ];
    cases.iter().for_each(Case::check);
}

#[cfg_attr(not(target_arch = "wasm32"), test)]
#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
fn misfits_are_sentences() {
    let u8s = |shape: &[usize]| Arg::new(Tensor::zeros(DType::U8, shape).unwrap());
    let i8s = |shape: &[usize]| Arg::constant(Tensor::zeros(DType::I8, shape).unwrap());
    let op = Op::MatMul(MatMul { transpose_b: true, bias: false, dynamic: false, activation: Activation::None });
    let error = run_op(op.clone(), &[u8s(&[2, 3]), i8s(&[3, 4])], &[Out::new(DType::I32, &[2, 4])]).unwrap_err();
    assert_eq!(error.to_string(), "2×3 · 3×4 (transposed) does not give 2×4");
    let error = run_op(op, &[u8s(&[3]), i8s(&[3, 4])], &[Out::new(DType::I32, &[4])]).unwrap_err();
    assert_eq!(error.to_string(), "operands 3 and 3×4 of a quantized matrix product need at least 2 dimensions");
}

#[cfg(not(target_arch = "wasm32"))]
mod random {
    use proptest::prelude::*;

    use super::*;

    fn case() -> impl Strategy<Value = Case> {
        let batch = prop::collection::vec((1..4usize, any::<bool>(), any::<bool>()), 0..3);
        (batch, 1..14usize, 1..40usize, 1..70usize, any::<[bool; 4]>(), any::<(u8, u8, u32)>()).prop_map(
            |(batch, m, n, k, [transpose_b, unsigned, constant, per_channel], (a_zero, zero, seed))| Case {
                a_batch: batch.iter().map(|&(d, one, _)| if one { 1 } else { d }).collect(),
                b_batch: batch.iter().map(|&(d, one, other)| if other && !one { 1 } else { d }).collect(),
                out_batch: batch.iter().map(|&(d, ..)| d).collect(),
                transpose_b,
                unsigned,
                constant,
                per_channel,
                a_zero,
                b_zero: if seed % 2 == 0 {
                    if unsigned { 128 } else { 0 }
                } else if unsigned {
                    zero.into()
                } else {
                    (zero as i8).into()
                },
                seed,
                ..Case::new(m, n, k)
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
