use proptest::prelude::*;

use super::*;
use crate::{
    compile::passes::testing::{Build, Noise, TO_FIRST, TO_LAST, apply, difference, ops, run},
    graph::ops::{BinaryOp, Unary},
    tensor::DType,
};

#[test]
fn transposes_between_convolutions_vanish() {
    let mut b = Build::default();
    let mut noise = Noise(1);
    let x = b.input(&[1, 3, 6, 6]);
    let w1 = b.g.add_const("w1", &noise.floats(&[4, 3, 3, 3], 0.3));
    let w2 = b.g.add_const("w2", &noise.floats(&[4, 1, 1, 4], 0.3));
    let y = b.conv(x, w1, None, 1);
    let bias = b.constant(&[4, 1, 1], &[0.1, -0.2, 0.3, 0.0]);
    let y = b.binary(BinaryOp::Add, y, bias);
    let y = b.relu(y);
    let z = b.max_pool(y);
    let z = b.conv(z, w2, None, 1);
    let z = b.mean(z, &[2, 3]);
    let z = b.reshape(z, &[1, 4]);
    let mut g = b.finish(z);
    let image = [noise.floats(&[1, 3, 6, 6], 1.0)];
    let before = run(&g, &image);
    apply(&SinkTransposes, &mut g);
    assert_eq!(g.nodes.iter().filter(|n| matches!(n.op, Op::Transpose { .. })).count(), 2);
    // The bias is a constant, the other stands at the input.
    assert_eq!(g.nodes[0].op, Op::Transpose { perm: TO_LAST.to_vec() });
    assert!(difference(&before, &run(&g, &image)) < 1e-6);
}

#[test]
fn residual_branches_meet_in_one_layout() {
    let mut b = Build::default();
    let mut noise = Noise(2);
    let x = b.input(&[1, 2, 4, 4]);
    let w = b.g.add_const("w", &noise.floats(&[2, 3, 3, 2], 0.3));
    let y = b.conv(x, w, None, 1);
    let z = b.conv(y, w, None, 1);
    let sum = b.binary(BinaryOp::Add, y, z);
    let both = b.concat(&[sum, y], 1);
    let v = b.g.add_const("v", &noise.floats(&[1, 1, 1, 4], 0.3));
    let out = b.conv(both, v, None, 1);
    let mut g = b.finish(out);
    let image = [noise.floats(&[1, 2, 4, 4], 1.0)];
    let before = run(&g, &image);
    apply(&SinkTransposes, &mut g);
    assert_eq!(ops(&g), "Conv×3 Transpose×2 Add×1 Concat×1");
    assert!(difference(&before, &run(&g, &image)) < 1e-6);
}

#[test]
fn swapped_matrix_becomes_an_attribute() {
    let mut b = Build::default();
    let mut noise = Noise(3);
    let x = b.input(&[2, 3, 4, 5]);
    let q = b.transpose(x, &[0, 2, 1, 3]);
    let k = b.transpose(x, &[0, 2, 3, 1]);
    let scores = b.matmul(q, k);
    let mut g = b.finish(scores);
    let data = [noise.floats(&[2, 3, 4, 5], 1.0)];
    let before = run(&g, &data);
    apply(&SinkTransposes, &mut g);
    let perms: Vec<&Op> = g.nodes.iter().map(|n| &n.op).filter(|op| matches!(op, Op::Transpose { .. })).collect();
    assert!(perms.iter().all(|op| **op == Op::Transpose { perm: vec![0, 2, 1, 3] }), "{perms:?}");
    assert!(g.nodes.iter().any(|n| matches!(&n.op, Op::MatMul(m) if m.transpose_b)));
    assert!(difference(&before, &run(&g, &data)) < 1e-6);
}

#[test]
fn spatial_axes_may_be_merged_behind_a_transpose() {
    let mut b = Build::default();
    let x = b.input(&[1, 4, 5, 6]);
    let y = b.transpose(x, &TO_FIRST);
    let y = b.reshape(y, &[1, 6, 20]);
    let mut g = b.finish(y);
    let data = [Noise(4).floats(&[1, 4, 5, 6], 1.0)];
    let before = run(&g, &data);
    apply(&SinkTransposes, &mut g);
    assert_eq!(g.nodes[0].op, Op::Reshape);
    assert_eq!(difference(&before, &run(&g, &data)), 0.0);
}

/// A random chain and tree of operators over transposed rank-4 tensors; every value stays small.
fn random_graph(seed: u32) -> (Graph, Vec<usize>) {
    let mut noise = Noise(seed);
    let mut b = Build::default();
    let shape: Vec<usize> = (0..4).map(|_| [1, 2, 3, 4][noise.below(4)]).collect();
    let mut open = vec![b.input(&shape)];
    let perms = [[0, 2, 3, 1], [0, 3, 1, 2], [3, 2, 1, 0], [0, 1, 3, 2], [1, 0, 2, 3]];
    for _ in 0..12 {
        let x = open[noise.below(open.len())];
        let s = b.shape(x);
        let y = match noise.below(14) {
            0..=4 => {
                let perm: Vec<usize> = if s.len() == 4 { perms[noise.below(5)].to_vec() } else { (0..s.len()).rev().collect() };
                b.transpose(x, &perm)
            }
            5 => b.unary(Unary::Sigmoid, x),
            6 => {
                let from = noise.below(s.len() + 1);
                let c = noise.floats(&s[from..], 1.0);
                let c = b.g.add_const("c", &c);
                b.binary(BinaryOp::Sub, x, c)
            }
            7 => match open.iter().copied().find(|v| *v != x && b.shape(*v) == s) {
                Some(other) => b.binary(BinaryOp::Add, x, other),
                None => b.binary(BinaryOp::Mul, x, x),
            },
            8 => b.mean(x, &[noise.below(s.len())]),
            9 => {
                let axis = noise.below(s.len());
                b.node("softmax", Op::Softmax { axis, log: false }, &[x], DType::F32, &s)
            }
            10 => {
                let pads: Vec<(Dim, Dim)> = s.iter().map(|_| (Dim::fixed(noise.below(2)), Dim::fixed(noise.below(2)))).collect();
                let padded: Vec<usize> =
                    s.iter().zip(&pads).map(|(d, (a, z))| d + a.as_fixed().unwrap() + z.as_fixed().unwrap()).collect();
                if padded.iter().product::<usize>() > 4000 {
                    x
                } else {
                    b.node("pad", Op::Pad { pads, value: 0.5 }, &[x], DType::F32, &padded)
                }
            }
            11 => {
                let axis = noise.below(s.len());
                let mut out = s.clone();
                out[axis] -= usize::from(s[axis] > 1);
                let op = Op::Slice { axis, start: Dim::fixed(s[axis] - out[axis]), step: 1 };
                b.node("slice", op, &[x], DType::F32, &out)
            }
            12 if s.iter().product::<usize>() < 2000 => b.concat(&[x, x], noise.below(s.len())),
            _ if s.len() == 4 => b.reshape(x, &[s[0], s[1], s[2] * s[3]]),
            _ => b.reshape(x, &[s[0], 1, s[1], s[2]]),
        };
        open.push(y);
    }
    let mut g = b.g;
    for (i, v) in open.iter().rev().take(3).enumerate() {
        if !g.is_output(*v) && g.producers()[v.index()].is_some() {
            g.add_output(["a", "b", "c"][i], *v);
        }
    }
    (g, shape)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn results_stay(seed in any::<u32>()) {
        let (mut g, shape) = random_graph(seed);
        let input = [Noise(seed ^ 7).floats(&shape, 1.0)];
        let before = run(&g, &input);
        apply(&SinkTransposes, &mut g);
        // Sums over several axes may be taken in another order.
        prop_assert!(difference(&before, &run(&g, &input)) < 1e-5);
    }
}
