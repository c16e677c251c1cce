use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::{
    compile::passes::{
        activation::FuseActivation,
        bias::FuseBias,
        canonical::CanonicalQuantizedTypes,
        qdq_move::MoveQuantization,
        run_all,
        testing::{Build, Noise, apply, difference, ops, run},
    },
    graph::ops::Activation,
};

const FOLD: FoldQuantization = FoldQuantization { report_refusals: true };

fn per_channel(noise: &mut Noise, n: usize, axis: usize) -> Quant {
    let scale = (0..n).map(|_| 0.002 + 0.001 * (noise.unit() + 1.0)).collect();
    Quant { scale, zero_point: vec![0; n], axis: Some(axis) }
}

#[test]
fn convolution_with_bias_and_relu_becomes_one_integer_node() {
    let mut noise = Noise(1);
    let mut b = Build::default();
    let x = b.input(&[1, 5, 5, 3]);
    let x = b.qdq(x, 0.02, 120);
    let quant = per_channel(&mut noise, 4, 0);
    let bias_quant = Quant { scale: quant.scale.iter().map(|s| s * 0.02).collect(), ..quant.clone() };
    let w = b.dq_const(&noise.bytes(DType::I8, &[4, 3, 3, 3]), quant);
    let bias = b.dq_const(&Tensor::from_slice(&[4], &[100i32, -2000, 7, 0]).unwrap(), bias_quant);
    let y = b.conv_last(x, w, Some(bias), 1);
    let y = b.relu(y);
    let y = b.qdq(y, 0.05, 0);
    let mut g = b.finish(y);
    let data = [noise.floats(&[1, 5, 5, 3], 3.0)];
    let before = run(&g, &data);
    apply(&FuseActivation, &mut g);
    let changes = apply(&FOLD, &mut g);
    assert_eq!(ops(&g), "Conv×1 Dequantize×1 Quantize×1");
    assert_eq!(changes, ["Conv 'conv': folded Dequantize of its operands and Quantize of its result into an int8 convolution"]);
    let Op::Conv(conv) = &g.nodes[1].op else { panic!("{:?}", g.nodes[1]) };
    assert_eq!(conv.activation, Activation::Relu);
    assert_eq!(g.const_tensor(g.nodes[1].inputs[2]).unwrap().as_slice::<i32>().unwrap(), [100, -2000, 7, 0]);
    assert!(difference(&before, &run(&g, &data)) <= 0.0501);
}

#[test]
fn result_that_is_not_quantized_stays_float() {
    let mut noise = Noise(2);
    let mut b = Build::default();
    let x = b.input(&[2, 8]);
    let x = b.qdq(x, 0.01, 128);
    let w = b.dq_const(&noise.bytes(DType::I8, &[8, 5]), per_channel(&mut Noise(3), 5, 1));
    let y = b.matmul(x, w);
    let bias = b.constant(&[1, 5], &[0.5, -0.5, 0.25, 0.0, 9.0]);
    let y = b.binary(BinaryOp::Add, y, bias);
    let mut g = b.finish(y);
    let data = [noise.floats(&[2, 8], 1.2)];
    let before = run(&g, &data);
    apply(&FuseBias, &mut g);
    apply(&FOLD, &mut g);
    assert_eq!(ops(&g), "MatMul×1 Quantize×1");
    // The bias is rounded to sx·sw: half of 0.01 · 0.004 at most.
    assert!(difference(&before, &run(&g, &data)) <= 3e-5);
}

#[test]
fn product_of_two_activations_signs_the_second() {
    let mut noise = Noise(4);
    let mut b = Build::default();
    let x = b.input(&[2, 4, 4]);
    let a = b.qdq(x, 0.01, 128);
    let c = b.qdq(x, 0.011, 100);
    let y = b.matmul(a, c);
    let y = b.qdq(y, 0.03, 128);
    let mut g = b.finish(y);
    let data = [noise.floats(&[2, 4, 4], 1.2)];
    let before = run(&g, &data);
    apply(&FOLD, &mut g);
    assert_eq!(ops(&g), "Quantize×2 Dequantize×1 Identity×1 MatMul×1");
    assert!(difference(&before, &run(&g, &data)) <= 0.0301);
}

#[test]
fn refusals_say_why() {
    let mut b = Build::default();
    let x = b.input(&[1, 4, 4, 2]);
    let q = b.qdq(x, 0.02, 120);
    let w = b.g.add_const("weight", &Noise(5).floats(&[2, 1, 1, 2], 1.0));
    let y = b.conv_last(q, w, None, 1);
    let z = b.binary(BinaryOp::Add, q, y);
    let mut g = b.finish(z);
    let changes = apply(&FOLD, &mut g);
    assert_eq!(
        changes,
        ["Conv 'conv' stays float: its weight 'weight' is float32", "Add 'binary' stays float: its result is not quantized"]
    );
}

#[test]
fn sums_that_could_overflow_are_refused() {
    let mut b = Build::default();
    let k = 70_000;
    let x = b.input(&[1, k]);
    let x = b.qdq(x, 0.01, 0);
    let weights = Tensor::from_slice(&[k, 1], &vec![127i8; k]).unwrap();
    let w = b.dq_const(&weights, Quant::per_tensor(0.01, 0));
    let y = b.matmul(x, w);
    let y = b.qdq(y, 0.03, 128);
    let mut g = b.finish(y);
    assert_eq!(apply(&FOLD, &mut g), ["MatMul 'matmul' stays float: its sums may exceed 32 bits"]);
}

#[test]
fn relu_between_two_scales_is_one_table() {
    let mut b = Build::default();
    let x = b.input(&[40]);
    let x = b.qdq(x, 0.02, 120);
    let y = b.relu(x);
    let y = b.qdq(y, 0.01, 0);
    let mut g = b.finish(y);
    let data = [Noise(6).floats(&[40], 4.0)];
    let before = run(&g, &data);
    apply(&MoveQuantization, &mut g);
    apply(&FOLD, &mut g);
    assert_eq!(ops(&g), "Clamp×1 Dequantize×1 Quantize×1");
    assert_eq!(difference(&before, &run(&g, &data)), 0.0);
}

/// One operator between quantized values, and by how many units of the result the integer form may differ.
fn one_operator(kind: usize, noise: &mut Noise) -> (Graph, Vec<usize>, f64) {
    let mut b = Build::default();
    let c = 1 + noise.below(5);
    let shape = vec![1 + noise.below(2), 2 + noise.below(4), 2 + noise.below(4), c];
    let (dtype, zero_from) = if noise.below(2) == 0 { (DType::U8, 0) } else { (DType::I8, -128) };
    let zero = |noise: &mut Noise| zero_from + noise.below(256) as i32;
    let input = b.input(&shape);
    let (za, zb, zy) = (zero(noise), zero(noise), zero(noise));
    let sa = 0.01 * (1.5 + noise.unit());
    let qa = b.quantize(input, dtype, sa, za);
    let x = b.dequantize(qa);
    let qb = b.quantize(input, dtype, 0.01 * (1.5 + noise.unit()), zb);
    let other = b.dequantize(qb);
    let o = 1 + noise.below(6);
    let weight_type = if noise.below(2) == 0 { DType::I8 } else { DType::U8 };
    let weight_quant = |noise: &mut Noise, n: usize, axis: usize| {
        let zero = if weight_type == DType::U8 { 128 } else { 0 };
        match noise.below(3) {
            0 => Quant::per_tensor(0.003, zero + noise.below(9) as i32 - 4),
            _ => Quant { zero_point: vec![zero; n], ..per_channel(noise, n, axis) },
        }
    };
    let units = if kind <= 2 || kind == 9 { 1.0 } else { 0.0 };
    let y = match kind {
        0 => {
            let quant = weight_quant(noise, o, 0);
            let kernel = 1 + 2 * noise.below(2);
            let w = b.dq_const(&noise.bytes(weight_type, &[o, kernel, 1, c]), quant);
            let bias = b.g.add_const("bias", &noise.floats(&[o], 0.3));
            b.conv_last(x, w, (noise.below(2) == 0).then_some(bias), 1)
        }
        1 => {
            let quant = weight_quant(noise, o, 1);
            let w = b.dq_const(&noise.bytes(weight_type, &[c, o]), quant);
            b.matmul(x, w)
        }
        2 => b.binary(BinaryOp::Add, x, other),
        3 => b.binary(BinaryOp::Mul, x, other),
        4 => {
            let c = b.scalar(noise.unit());
            b.binary(BinaryOp::Sub, c, x)
        }
        5 => b.unary(Unary::Sigmoid, x),
        6 => b.concat(&[x, other, x], noise.below(4)),
        7 => b.node("softmax", Op::Softmax { axis: 3, log: false }, &[x], DType::F32, &shape),
        8 => b.relu(x),
        _ => b.mean(x, &[1, 2]),
    };
    let sy = [0.05, 0.05, 0.03, 0.01, 0.02, 1.0 / 255.0, 0.02, 1.0 / 255.0, 0.02, 0.02][kind];
    let q = b.quantize(y, dtype, sy, zy);
    (b.finish(q), shape, units)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn integer_operators_round_like_float_ones(kind in 0usize..10, seed in any::<u32>()) {
        let mut noise = Noise(seed);
        let (mut g, shape, units) = one_operator(kind, &mut noise);
        let input = [noise.floats(&shape, 2.0)];
        let before = run(&g, &input);
        apply(&CanonicalQuantizedTypes, &mut g);
        let changes = apply(&FOLD, &mut g);
        prop_assert!(!changes.iter().any(|c| c.contains("stays float")), "{changes:?}");
        prop_assert!(!g.nodes.iter().any(|n| n.op == Op::Dequantize));
        let difference = difference(&before, &run(&g, &input));
        prop_assert!(difference <= units, "differs by {difference} units");
    }

    #[test]
    fn networks_stay_close(seed in any::<u32>()) {
        let mut noise = Noise(seed);
        let mut b = Build::default();
        let x = b.input(&[1, 3, 6, 6]);
        let mut open = vec![b.qdq(x, 0.01, 128)];
        for _ in 0..5 {
            let x = open[open.len() - 1 - noise.below(open.len().min(2))];
            let shape = b.shape(x);
            let y = match noise.below(6) {
                0..=2 => {
                    let w = noise.bytes(DType::I8, &[4, 1, 1, shape[1]]);
                    let w = b.dq_const(&w, per_channel(&mut noise, 4, 0));
                    let y = b.conv(x, w, None, 1);
                    if noise.below(2) == 0 { b.relu(y) } else { y }
                }
                3 => match open.iter().copied().find(|v| *v != x && b.shape(*v) == shape) {
                    Some(other) => b.binary(BinaryOp::Add, x, other),
                    None => b.concat(&[x, x], 1),
                },
                4 if shape[2] > 2 => b.max_pool(x),
                _ => b.unary(Unary::Tanh, x),
            };
            open.push(b.qdq(y, 0.02, 128));
        }
        let last = open[open.len() - 1];
        let mut g = b.finish(last);
        let input = [noise.floats(&[1, 3, 6, 6], 1.0)];
        let before = run(&g, &input);
        let reports = run_all(&mut g).unwrap();
        prop_assert!(g.nodes.iter().filter(|n| n.op == Op::Dequantize).count() == 1, "{reports:?}");
        // No layer multiplies by more than 4 · 0.004 · 128 ≈ 2, and a Conv's own unit may differ at each of 5.
        prop_assert!(difference(&before, &run(&g, &input)) <= 0.02 * 31.0);
    }
}
