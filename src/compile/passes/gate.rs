//! Recognises activations that gate their input by a function of it: SiLU, hard swish, hard sigmoid and Mish.

use alloc::{format, string::String, vec, vec::Vec};

use super::{
    Pass,
    common::{close, label},
    product::{plus_constant, product},
    rewrite::Rewrite,
};
use crate::{
    error::Result,
    graph::{Graph, Op, ValueId, ops::Unary},
};

/// See the module's documentation.
pub(super) struct FuseGate;

impl Pass for FuseGate {
    fn name(&self) -> &'static str {
        "fuse-gate"
    }

    fn run(&self, graph: &mut Graph, changes: &mut Vec<String>) -> Result<()> {
        let mut rw = Rewrite::new(graph);
        for i in (0..rw.len()).rev() {
            let Some(node) = rw.node(i) else { continue };
            let Op::Binary(_) = node.op else { continue };
            let name = label(node);
            if let Some((x, function)) = gate(&rw, node.outputs[0]) {
                rw.update(i, Op::Unary(function), vec![x]);
                changes.push(format!("{name}: joined a written-out {}", Op::Unary(function).name()));
            }
        }
        rw.finish()
    }
}

fn gate(rw: &Rewrite, v: ValueId) -> Option<(ValueId, Unary)> {
    let whole = product(rw, v)?;
    let sixth = 1.0 / 6.0;
    match *whole.factors.as_slice() {
        [clamped] if close(whole.constant, sixth) => {
            Some((clamped_sum(rw, clamped)?, Unary::HardSigmoid { alpha: sixth, beta: 0.5 }))
        }
        [a, b] => [(a, b), (b, a)].into_iter().find_map(|(x, gate)| {
            if close(whole.constant, sixth) && clamped_sum(rw, gate) == Some(x) {
                return Some((x, Unary::HardSwish));
            }
            let node = rw.source(gate)?;
            let Op::Unary(function) = node.op else { return None };
            let inner = node.inputs[0];
            let found = match function {
                Unary::Sigmoid if inner == x => Unary::Silu,
                Unary::HardSigmoid { alpha, beta } if inner == x && close(alpha, sixth) && close(beta, 0.5) => Unary::HardSwish,
                Unary::Tanh => {
                    let before = rw.source(inner)?;
                    (before.op == Op::Unary(Unary::Softplus) && before.inputs[0] == x).then_some(Unary::Mish)?
                }
                _ => return None,
            };
            close(whole.constant, 1.0).then_some((x, found))
        }),
        _ => None,
    }
}

/// The `x` of `clamp(x + 3, 0, 6)`.
fn clamped_sum(rw: &Rewrite, v: ValueId) -> Option<ValueId> {
    let node = rw.source(v)?;
    let Op::Unary(Unary::Clamp { lo, hi }) = node.op else { return None };
    let (x, three) = plus_constant(rw, node.inputs[0])?;
    (lo == 0.0 && hi == 6.0 && three == 3.0).then_some(x)
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::{
        compile::passes::testing::{Build, Noise, apply, difference, ops, run},
        graph::ops::BinaryOp,
    };

    #[test]
    fn gates_are_recognised() {
        for (kind, expected) in ["Silu×1", "HardSwish×1", "HardSwish×1", "HardSigmoid×1", "Mish×1"].into_iter().enumerate() {
            let mut b = Build::default();
            let x = b.input(&[100]);
            let (three, six) = (b.scalar(3.0), b.scalar(6.0));
            let clamped = |b: &mut Build| {
                let sum = b.binary(BinaryOp::Add, three, x);
                b.unary(Unary::Clamp { lo: 0.0, hi: 6.0 }, sum)
            };
            let gate = match kind {
                0 => b.unary(Unary::Sigmoid, x),
                1 => b.unary(Unary::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }, x),
                2 | 3 => {
                    let c = clamped(&mut b);
                    b.binary(BinaryOp::Div, c, six)
                }
                _ => {
                    let s = b.unary(Unary::Softplus, x);
                    b.unary(Unary::Tanh, s)
                }
            };
            let y = if kind == 3 { gate } else { b.binary(BinaryOp::Mul, x, gate) };
            let mut g = b.finish(y);
            let data = [Noise(1).floats(&[100], 5.0)];
            let before = run(&g, &data);
            assert_eq!(apply(&FuseGate, &mut g).len(), 1);
            assert_eq!(ops(&g), expected);
            assert!(difference(&before, &run(&g, &data)) < 2e-6);
        }
    }
}
