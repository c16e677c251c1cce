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
