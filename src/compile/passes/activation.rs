//! Fuses a clamp (Relu, Relu6, Clip) into the operator that computes what is clamped.
//!
//! Between quantized values this is exact if the clamp keeps the quantization: rounding is monotone, so that clamping the real
//! number and then rounding it gives what rounding both it and the bounds and then clamping gives.

use alloc::{format, string::String, vec::Vec};

use super::{Pass, common::label, rewrite::Rewrite};
use crate::{
    error::Result,
    graph::{
        Graph, Op,
        ops::{Activation, Binary, Conv, InstanceNorm, MatMul, Unary},
    },
    tensor::DType,
};

/// See the module's documentation.
pub(super) struct FuseActivation;

impl Pass for FuseActivation {
    fn name(&self) -> &'static str {
        "fuse-activation"
    }

    fn run(&self, graph: &mut Graph, changes: &mut Vec<String>) -> Result<()> {
        let mut rw = Rewrite::new(graph);
        for i in 0..rw.len() {
            let Some(node) = rw.node(i) else { continue };
            let Op::Unary(Unary::Clamp { lo, hi }) = node.op else { continue };
            let (x, y) = (node.inputs[0], node.outputs[0]);
            let (Some(target), true) = (rw.only_user(x).and(rw.producer(x)), rw.ty(x) == rw.ty(y)) else { continue };
            let kept = rw.dtype(x) == DType::F32 || rw.quant(x).is_some_and(|q| q.axis.is_none());
            let Some((op, inputs)) = rw.node(target).map(|n| (n.op.clone(), n.inputs.clone())).filter(|_| kept) else { continue };
            let Some(fused) = clamped(op, lo, hi) else { continue };
            let name = rw.node(target).map(label).unwrap_or_default();
            rw.update(target, fused, inputs);
            rw.take_output(target, i);
            changes.push(format!("{name}: clamps its own result to {lo}..{hi}"));
        }
        rw.finish()
    }
}

/// The operator with a clamp behind whatever clamp it already has; `None` if it can have none.
fn clamped(op: Op, lo: f32, hi: f32) -> Option<Op> {
    if lo.is_nan() || hi.is_nan() || lo > hi {
        return None;
    }
    let join = |a: Activation| {
        let (first_lo, first_hi) = a.bounds();
        match (first_lo.clamp(lo, hi), first_hi.clamp(lo, hi)) {
            (0.0, f32::INFINITY) => Activation::Relu,
            (f32::NEG_INFINITY, f32::INFINITY) => Activation::None,
            (lo, hi) => Activation::Clamp { lo, hi },
        }
    };
    Some(match op {
        Op::Conv(c) => Op::Conv(Conv { activation: join(c.activation), ..c }),
        Op::MatMul(m) => Op::MatMul(MatMul { activation: join(m.activation), ..m }),
        Op::InstanceNorm(n) => Op::InstanceNorm(InstanceNorm { activation: join(n.activation), ..n }),
        Op::Binary(b) if !b.op.is_predicate() => Op::Binary(Binary { activation: join(b.activation), ..b }),
        Op::Unary(Unary::Clamp { lo: a, hi: b }) => {
            let (lo, hi) = join(Activation::Clamp { lo: a, hi: b }).bounds();
            Op::Unary(Unary::Clamp { lo, hi })
        }
        _ => return None,
    })
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::{
        compile::passes::testing::{Build, Noise, apply, difference, ops, run},
        graph::{Quant, ValueType, ops::BinaryOp},
    };

    #[test]
    fn clamps_join() {
        let mut b = Build::default();
        let x = b.input(&[64]);
        let y = b.binary(BinaryOp::Add, x, x);
        let y = b.relu(y);
        let y = b.unary(Unary::Clamp { lo: -1.0, hi: 6.0 }, y);
        let mut g = b.finish(y);
        let data = [Noise(1).floats(&[64], 9.0)];
        let before = run(&g, &data);
        assert_eq!(
            apply(&FuseActivation, &mut g),
            ["Add 'binary': clamps its own result to 0..inf", "Add 'binary': clamps its own result to -1..6"]
        );
        let expected = Activation::Clamp { lo: 0.0, hi: 6.0 };
        assert_eq!(g.nodes[0].op, Op::Binary(Binary { op: BinaryOp::Add, activation: expected }));
        assert_eq!(difference(&before, &run(&g, &data)), 0.0);
    }

    #[test]
    fn integers_are_clamped_where_they_are_made() {
        let mut b = Build::default();
        let x = b.input(&[64]);
        let q = b.quantize(x, DType::U8, 0.05, 100);
        let ty = ValueType { quant: Some(Quant::per_tensor(0.11, 90)), ..b.g.value(q).ty.clone() };
        let op = Op::Binary(Binary { op: BinaryOp::Add, activation: Activation::None });
        let y = b.g.add_node("sum", op, &[q, q], ty.clone());
        let y = b.g.add_node("relu", Op::Unary(Unary::Clamp { lo: 0.0, hi: 6.0 }), &[y], ty);
        let mut g = b.finish(y);
        let data = [Noise(2).floats(&[64], 9.0)];
        let before = run(&g, &data);
        apply(&FuseActivation, &mut g);
        assert_eq!(ops(&g), "Add×1 Quantize×1");
        assert_eq!(difference(&before, &run(&g, &data)), 0.0);
    }

    #[test]
    fn value_that_others_read_is_not_clamped() {
        let mut b = Build::default();
        let x = b.input(&[4]);
        let y = b.binary(BinaryOp::Add, x, x);
        let z = b.relu(y);
        let z = b.binary(BinaryOp::Mul, y, z);
        let mut g = b.finish(z);
        assert!(apply(&FuseActivation, &mut g).is_empty());
    }
}
