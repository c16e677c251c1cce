//! Attention against the operators that it joins, to the bit, and against the definition.

use proptest::prelude::*;

use crate::{
    graph::{
        Op,
        ops::{Activation, Attention, Binary, BinaryOp, MatMul},
    },
    kernels::testing::{Arg, Out, real_noise, run_op},
    tensor::{DType, Tensor},
};

fn run(op: Op, args: &[&Tensor], shape: &[usize]) -> Tensor {
    let args: Vec<Arg> = args.iter().map(|t| Arg::new((*t).clone())).collect();
    run_op(op, &args, &[Out::new(DType::F32, shape)]).unwrap().remove(0)
}

fn binary(op: BinaryOp) -> Op {
    Op::Binary(Binary { op, activation: Activation::None })
}

/// Heads of `x` `[B,S,W]`, from column `first` on, as `[B,H,S,D]`.
fn heads(x: &Tensor, first: usize, heads: usize, depth: usize) -> Tensor {
    let &[batch, rows, width] = x.shape() else { panic!() };
    let data = x.as_slice::<f32>().unwrap();
    let at = |b: usize, h: usize, s: usize, d: usize| data[(b * rows + s) * width + first + h * depth + d];
    let mut out = Vec::new();
    for b in 0..batch {
        for h in 0..heads {
            for s in 0..rows {
                out.extend((0..depth).map(|d| at(b, h, s, d)));
            }
        }
    }
    Tensor::from_slice(&[batch, heads, rows, depth], &out).unwrap()
}

/// The result of one operator after the other, `[B,H,M,E]`.
fn step_by_step(op: &Attention, q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Tensor {
    let &[batch, heads, rows, _] = q.shape() else { panic!() };
    let (keys, width) = (k.shape()[2], v.shape()[3]);
    let scores = [batch, heads, rows, keys];
    let product = |transpose_b| Op::MatMul(MatMul { transpose_b, bias: false, dynamic: false, activation: Activation::None });
    let mut s = run(product(true), &[q, k], &scores);
    let scaling = if op.divide { BinaryOp::Div } else { BinaryOp::Mul };
    s = run(binary(scaling), &[&s, &Tensor::scalar(op.scale)], &scores);
    if let Some(mask) = mask {
        s = run(binary(BinaryOp::Add), &[&s, mask], &scores);
    }
    let p = run(Op::Softmax { axis: 3, log: false }, &[&s], &scores);
    run(product(false), &[&p, v], &[batch, heads, rows, width])
}

fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn gives_the_bytes_of_one_operator_after_the_other(
        [batch, count] in [1..3usize, 1..4usize],
        [rows, keys] in [prop_oneof![1..12usize, 45..100usize], prop_oneof![1..12usize, 30..70usize]],
        [depth, width] in [1..20usize, 1..40usize],
        spare in [0..9usize, 0..9usize, 0..9usize],
        (divide, scale) in (any::<bool>(), prop_oneof![Just(1f32), 0.1f32..4.0]),
        mask_shape in 0..5usize,
        seed: u64,
    ) {
        let mask_shape: Option<Vec<usize>> = match mask_shape {
            0 => None,
            1 => Some(vec![keys]),
            2 => Some(vec![rows, keys]),
            3 => Some(vec![batch, 1, 1, keys]),
            _ => Some(vec![batch, count, rows, keys]),
        };
        let op = Attention { heads: count, depth, columns: spare, scale, divide, mask: mask_shape.is_some() };
        let row = |i: usize, width: usize| spare[i] * 2 + count * width;
        let q = real_noise(&[batch, rows, row(0, depth)], 2.0, seed);
        let k = real_noise(&[batch, keys, row(1, depth)], 2.0, seed ^ 1);
        let v = real_noise(&[batch, keys, row(2, width)], 2.0, seed ^ 2);
        let mask = mask_shape.map(|shape| real_noise(&shape, 3.0, seed ^ 3));
        let mut args = vec![&q, &k, &v];
        args.extend(&mask);
        let got = run(Op::Attention(op.clone()), &args, &[batch, rows, count * width]);
        let [hq, hk, hv] = [(&q, 0, depth), (&k, 1, depth), (&v, 2, width)].map(|(x, i, d)| heads(x, spare[i], count, d));
        let expected = step_by_step(&op, &hq, &hk, &hv, mask.as_ref());
        let got = heads(&got, 0, count, width);
        prop_assert!(same(got.as_slice().unwrap(), expected.as_slice().unwrap()));

        // The heads in front of the positions.
        let op = Attention { heads: 1, columns: [0; 3], ..op };
        let mask = mask.map(|m| {
            let mut shape = m.shape().to_vec();
            if shape.len() > 2 {
                shape.insert(2, 1);
            }
            m.reshaped(&shape).unwrap()
        });
        let mut args = vec![&hq, &hk, &hv];
        args.extend(&mask);
        let got = run(Op::Attention(op), &args, &[batch, count, rows, width]);
        prop_assert!(same(got.as_slice().unwrap(), expected.as_slice().unwrap()));
    }
}

#[test]
fn broadcasts_keys_over_heads() {
    let op = Attention { heads: 1, depth: 8, columns: [0; 3], scale: 0.5, divide: false, mask: false };
    let [q, k, v] = [[3, 5, 8], [1, 7, 8], [1, 7, 4]].map(|shape| real_noise(&shape, 1.0, 5));
    let got = run(Op::Attention(op.clone()), &[&q, &k, &v], &[3, 5, 4]);
    for head in 0..3 {
        let data = &q.as_slice::<f32>().unwrap()[head * 40..][..40];
        let one = Tensor::from_slice(&[1, 5, 8], data).unwrap();
        let one = run(Op::Attention(op.clone()), &[&one, &k, &v], &[1, 5, 4]);
        assert_eq!(one.as_slice::<f32>().unwrap(), &got.as_slice::<f32>().unwrap()[head * 20..][..20]);
    }
}

#[test]
fn is_what_the_definition_says() {
    let op = Attention { heads: 2, depth: 16, columns: [0; 3], scale: 4.0, divide: true, mask: true };
    let [q, k] = [1, 2].map(|seed| real_noise(&[1, 60, 32], 2.0, seed));
    let (v, mask) = (real_noise(&[1, 60, 32], 2.0, 3), real_noise(&[60, 60], 2.0, 4));
    let got = run(Op::Attention(op), &[&q, &k, &v, &mask], &[1, 60, 32]);
    let [q, k, v, mask, got] = [&q, &k, &v, &mask, &got].map(|t| t.as_slice::<f32>().unwrap());
    for (row, column) in (0..60).flat_map(|r| (0..32).map(move |c| (r, c))) {
        let head = column / 16 * 16;
        let score = |key: usize| {
            let dot: f64 = (0..16).map(|d| f64::from(q[row * 32 + head + d]) * f64::from(k[key * 32 + head + d])).sum();
            (dot / 4.0 + f64::from(mask[row * 60 + key])).exp()
        };
        let total: f64 = (0..60).map(score).sum();
        let expected: f64 = (0..60).map(|key| score(key) / total * f64::from(v[key * 32 + column])).sum();
        // Scores below 20 in magnitude with an error of 2⁻²⁴ per operation, some 20 of them, change weights by less than 3e-5.
        assert!((f64::from(got[row * 32 + column]) - expected).abs() < 6e-5, "{} is not {expected}", got[row * 32 + column]);
    }
}

#[test]
fn nothing_in_gives_nothing_or_zeros() {
    let op = Attention { heads: 2, depth: 3, columns: [0; 3], scale: 1.0, divide: false, mask: false };
    let empty = |rows: usize| Tensor::zeros(DType::F32, &[1, rows, 6]).unwrap();
    assert!(run(Op::Attention(op.clone()), &[&empty(0), &empty(4), &empty(4)], &[1, 0, 6]).bytes().is_empty());
    let zeros = run(Op::Attention(op), &[&empty(2), &empty(0), &empty(0)], &[1, 2, 6]);
    assert_eq!(zeros.as_slice::<f32>().unwrap(), [0.0; 12]);
}
