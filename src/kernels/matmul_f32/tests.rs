//! Products against the definition.

use proptest::prelude::*;

use crate::{
    graph::{
        Op,
        ops::{Activation, MatMul},
    },
    kernels::testing::{Arg, Out, run_op},
    tensor::{DType, Tensor},
};

/// Small integers, of which every sum here is exact.
fn integers(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729) % 17) as f32 - 8.0).collect()
}

fn check(a_lead: &[usize], b_lead: &[usize], lead: &[usize], [m, k, n]: [usize; 3], mm: &MatMul, constant: bool) {
    let shape = |lead: &[usize], last: [usize; 2]| [lead, &last].concat();
    let a_shape = shape(a_lead, [m, k]);
    let b_shape = shape(b_lead, if mm.transpose_b { [n, k] } else { [k, n] });
    let out_shape = shape(lead, [m, n]);
    let (a, b) = (integers(a_shape.iter().product(), 1), integers(b_shape.iter().product(), 2));
    let bias = integers(n, 3);
    let other = |t| if constant { Arg::constant(t) } else { Arg::new(t) };
    let mut args = vec![Arg::new(Tensor::from_slice(&a_shape, &a).unwrap()), other(Tensor::from_slice(&b_shape, &b).unwrap())];
    if mm.bias {
        args.push(other(Tensor::from_slice(&[n], &bias).unwrap()));
    }
    let c = run_op(Op::MatMul(mm.clone()), &args, &[Out::new(DType::F32, &out_shape)]).unwrap();
    let (lo, hi) = mm.activation.bounds();
    for (at, &value) in c[0].as_slice::<f32>().unwrap().iter().enumerate() {
        let (j, i, mut rest) = (at % n, at / n % m, at / n / m);
        // The indices of the matrices, from the last leading dimension to the first.
        let (mut ai, mut bi, mut a_step, mut b_step) = (0, 0, 1, 1);
        for axis in (0..lead.len()).rev() {
            let index = rest % lead[axis];
            rest /= lead[axis];
            let of = |own: &[usize]| (axis + own.len()).checked_sub(lead.len()).map_or(1, |i| own[i]);
            ai += a_step * if of(a_lead) == 1 { 0 } else { index };
            bi += b_step * if of(b_lead) == 1 { 0 } else { index };
            a_step *= of(a_lead);
            b_step *= of(b_lead);
        }
        let product = |l: usize| {
            let b_at = if mm.transpose_b { j * k + l } else { l * n + j };
            a[(ai * m + i) * k + l] * b[bi * k * n + b_at]
        };
        let sum = (0..k).map(product).sum::<f32>() + if mm.bias { bias[j] } else { 0.0 };
        assert_eq!(value, sum.clamp(lo, hi), "at {at} of {a_shape:?} · {b_shape:?}, {mm:?}, constant {constant}");
    }
}

#[test]
fn leading_dimensions() {
    let cases: [(&[usize], &[usize], &[usize]); 8] = [
        (&[], &[], &[]),
        (&[2, 3], &[], &[2, 3]),
        (&[2, 3], &[1, 1], &[2, 3]),
        (&[2, 3], &[2, 3], &[2, 3]),
        (&[2, 1], &[3], &[2, 3]),
        (&[], &[2, 3], &[2, 3]),
        (&[1, 3], &[2, 1], &[2, 3]),
        (&[0, 2], &[2], &[0, 2]),
    ];
    for (a, b, out) in cases {
        for bits in 0..8 {
            let mm = MatMul { transpose_b: bits & 1 != 0, bias: bits & 2 != 0, dynamic: false, activation: Activation::None };
            check(a, b, out, [5, 6, 7], &mm, bits & 4 != 0);
        }
    }
}

proptest! {
    #[test]
    fn random_products(
        lead in proptest::collection::vec((1..4usize, any::<bool>(), any::<bool>()), 0..3),
        sizes in [1..30usize, 0..40usize, 1..70usize],
        (transpose_b, bias, constant, relu) in any::<(bool, bool, bool, bool)>(),
    ) {
        let a: Vec<usize> = lead.iter().map(|&(d, a, _)| if a { d } else { 1 }).collect();
        let b: Vec<usize> = lead.iter().map(|&(d, _, b)| if b { d } else { 1 }).collect();
        let out: Vec<usize> = a.iter().zip(&b).map(|(&a, &b)| a.max(b)).collect();
        let activation = if relu { Activation::Relu } else { Activation::None };
        let mm = MatMul { transpose_b, bias, dynamic: false, activation };
        check(&a, &b, &out, sizes, &mm, constant);
    }
}
