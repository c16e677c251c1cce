//! Recognises softmax that an exporter wrote out as exponentials over their sum.

use alloc::{format, string::String, vec, vec::Vec};

use super::{
    Pass,
    common::{binary_inputs, label},
    rewrite::Rewrite,
};
use crate::{
    error::Result,
    graph::{
        Graph, Op, ValueId,
        ops::{BinaryOp, ReduceOp, Unary},
    },
};

/// See the module's documentation.
pub(super) struct FuseSoftmax;

impl Pass for FuseSoftmax {
    fn name(&self) -> &'static str {
        "fuse-softmax"
    }

    fn run(&self, graph: &mut Graph, changes: &mut Vec<String>) -> Result<()> {
        let mut rw = Rewrite::new(graph);
        for i in 0..rw.len() {
            let Some(node) = rw.node(i) else { continue };
            let name = label(node);
            if let Some((x, axis)) = softmax(&rw, node.outputs.first().copied()) {
                rw.update(i, Op::Softmax { axis, log: false }, vec![x]);
                changes.push(format!("{name}: joined a written-out softmax over axis {axis}"));
            }
        }
        rw.finish()
    }
}

/// Matches `e / Σe` with `e = exp(x)` or `e = exp(x − max x)`, which is the same.
fn softmax(rw: &Rewrite, v: Option<ValueId>) -> Option<(ValueId, usize)> {
    let [exponential, sum] = binary_inputs(rw, v?, BinaryOp::Div)?;
    let (summed, axis) = reduced(rw, sum, ReduceOp::Sum)?;
    let node = rw.source(exponential).filter(|n| n.op == Op::Unary(Unary::Exp) && summed == exponential)?;
    let exponent = node.inputs[0];
    if let Some([x, maximum]) = binary_inputs(rw, exponent, BinaryOp::Sub)
        && reduced(rw, maximum, ReduceOp::Max) == Some((x, axis))
    {
        return Some((x, axis));
    }
    Some((exponent, axis))
}

/// What is reduced, and over which single axis.
fn reduced(rw: &Rewrite, v: ValueId, wanted: ReduceOp) -> Option<(ValueId, usize)> {
    let node = rw.source(v)?;
    match &node.op {
        Op::Reduce { op, axes, keep_dims: true } if *op == wanted => match axes.as_slice() {
            [axis] => Some((node.inputs[0], *axis)),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::{
        compile::passes::testing::{Build, Noise, apply, difference, ops, run},
        tensor::DType,
    };

    #[test]
    fn with_and_without_maximum() {
        for with_maximum in [true, false] {
            let mut b = Build::default();
            let x = b.input(&[3, 8]);
            let reduce = |b: &mut Build, op: ReduceOp, v: ValueId| {
                b.node("reduce", Op::Reduce { op, axes: vec![1], keep_dims: true }, &[v], DType::F32, &[3, 1])
            };
            let maximum = reduce(&mut b, ReduceOp::Max, x);
            let z = if with_maximum { b.binary(BinaryOp::Sub, x, maximum) } else { x };
            let e = b.unary(Unary::Exp, z);
            let sum = reduce(&mut b, ReduceOp::Sum, e);
            let y = b.binary(BinaryOp::Div, e, sum);
            let mut g = b.finish(y);
            let data = [Noise(1).floats(&[3, 8], 5.0)];
            let before = run(&g, &data);
            apply(&FuseSoftmax, &mut g);
            assert_eq!(ops(&g), "Softmax×1");
            assert!(difference(&before, &run(&g, &data)) < 1e-6);
        }
    }
}
