//! Removes nodes that change nothing, and joins neighbours that only rename axes.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use super::{
    Pass,
    common::{compose, moves_only_units, uniform},
    rewrite::Rewrite,
};
use crate::{
    error::Result,
    graph::{
        Dim, Graph, Node, Op, ValueId,
        ops::{Activation, BinaryOp, Unary},
    },
};

/// See the module's documentation.
pub(super) struct RemoveIdentities;

impl Pass for RemoveIdentities {
    fn name(&self) -> &'static str {
        "remove-identities"
    }

    fn run(&self, graph: &mut Graph, changes: &mut Vec<String>) -> Result<()> {
        let mut rw = Rewrite::new(graph);
        let mut removed: BTreeMap<&'static str, usize> = BTreeMap::new();
        for i in 0..rw.len() {
            join(&mut rw, i);
            view(&mut rw, i);
            let Some(node) = rw.node(i) else { continue };
            if let Some(source) = passes_through(&rw, node) {
                let (name, output) = (node.op.name(), node.outputs[0]);
                // Each graph output needs a node of its own that writes it.
                if !rw.is_output(output) || (rw.producer(source).is_some() && !rw.is_output(source)) {
                    *removed.entry(name).or_default() += 1;
                    rw.redirect(output, source);
                }
            }
        }
        if !removed.is_empty() {
            let list: Vec<String> = removed.iter().map(|(name, n)| format!("{n} {name}")).collect();
            changes.push(format!("Removed nodes without effect: {}", list.join(", ")));
        }
        rw.finish()
    }
}

/// Joins a node with the one before it where two of a kind do what one can.
pub(super) fn join(rw: &mut Rewrite, i: usize) {
    let Some(node) = rw.node(i) else { return };
    let Some(&x) = node.inputs.first() else { return };
    match (&node.op, rw.source(x).map(|b| (&b.op, b.inputs.as_slice()))) {
        (Op::Reshape, Some((Op::Reshape, &[origin]))) => rw.update(i, Op::Reshape, alloc::vec![origin]),
        (Op::Reinterpret, Some((Op::Reinterpret, &[origin]))) => rw.update(i, Op::Reinterpret, alloc::vec![origin]),
        (Op::Transpose { perm }, Some((Op::Transpose { perm: first }, &[origin]))) => {
            let op = Op::Transpose { perm: compose(first, perm) };
            rw.update(i, op, alloc::vec![origin]);
        }
        _ => {}
    }
}

/// Makes a Transpose that leaves all elements in order a Reshape, which costs nothing.
fn view(rw: &mut Rewrite, i: usize) {
    let Some(node) = rw.node(i) else { return };
    let Op::Transpose { perm } = &node.op else { return };
    let x = node.inputs[0];
    let in_order = !perm.is_sorted() && moves_only_units(&rw.ty(x).shape, perm);
    if in_order && rw.quant(x).is_none_or(|q| q.axis.is_none()) {
        rw.update(i, Op::Reshape, alloc::vec![x]);
        join(rw, i);
    }
}

/// The input that the node's only output equals, if there is one.
fn passes_through(rw: &Rewrite, node: &Node) -> Option<ValueId> {
    let &[output] = node.outputs.as_slice() else { return None };
    let x = *node.inputs.first()?;
    let same_type = |v: ValueId| rw.ty(v) == rw.ty(output);
    let passes = match &node.op {
        Op::Unary(Unary::Identity) | Op::Cast | Op::Reshape | Op::Reinterpret | Op::Expand => true,
        Op::Transpose { perm } => perm.is_sorted(),
        Op::Slice { start, step, .. } => *step == 1 && *start == Dim::fixed(0),
        Op::Pad { pads, .. } => pads.iter().flat_map(|(a, b)| [a, b]).all(|d| *d == Dim::fixed(0)),
        Op::Concat { .. } => node.inputs.len() == 1,
        Op::Unary(Unary::Clamp { lo, hi }) => *lo == f32::NEG_INFINITY && *hi == f32::INFINITY,
        Op::Binary(b) if b.activation == Activation::None && rw.quant(output).is_none() => {
            return neutral(rw, b.op, &node.inputs).filter(|v| same_type(*v));
        }
        _ => false,
    };
    (passes && same_type(x)).then_some(x)
}

/// The other operand of `x + 0`, `x − 0`, `x · 1`, `x / 1` and `x ^ 1`.
fn neutral(rw: &Rewrite, op: BinaryOp, inputs: &[ValueId]) -> Option<ValueId> {
    let &[a, b] = inputs else { return None };
    let is = |v: ValueId, n: f32| uniform(rw, v) == Some(n);
    match op {
        BinaryOp::Add if is(b, 0.0) => Some(a),
        BinaryOp::Add if is(a, 0.0) => Some(b),
        BinaryOp::Sub if is(b, 0.0) => Some(a),
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Pow if is(b, 1.0) => Some(a),
        BinaryOp::Mul if is(a, 1.0) => Some(b),
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
    fn nodes_without_effect_vanish() {
        let mut b = Build::default();
        let x = b.input(&[1, 2, 3, 1]);
        let y = b.unary(Unary::Neg, x);
        let y = b.unary(Unary::Identity, y);
        let y = b.node("cast", Op::Cast, &[y], DType::F32, &[1, 2, 3, 1]);
        let y = b.transpose(y, &[3, 1, 2, 0]);
        let y = b.reshape(y, &[6]);
        let y = b.reshape(y, &[1, 2, 3, 1]);
        let (zero, one) = (b.scalar(0.0), b.scalar(1.0));
        let y = b.binary(BinaryOp::Add, zero, y);
        let y = b.binary(BinaryOp::Div, y, one);
        let y = b.node("slice", Op::Slice { axis: 1, start: Dim::fixed(0), step: 1 }, &[y], DType::F32, &[1, 2, 3, 1]);
        let y = b.unary(Unary::Abs, y);
        let mut g = b.finish(y);
        let data = [Noise(1).floats(&[1, 2, 3, 1], 1.0)];
        let before = run(&g, &data);
        let changes = apply(&RemoveIdentities, &mut g);
        assert_eq!(changes, ["Removed nodes without effect: 1 Add, 1 Cast, 1 Div, 1 Identity, 2 Reshape, 1 Slice"]);
        assert_eq!(ops(&g), "Abs×1 Neg×1");
        assert_eq!(difference(&before, &run(&g, &data)), 0.0);
    }

    #[test]
    fn outputs_keep_a_node_that_writes_them() {
        let mut b = Build::default();
        let x = b.input(&[2]);
        let y = b.unary(Unary::Identity, x);
        let mut g = b.finish(y);
        apply(&RemoveIdentities, &mut g);
        assert_eq!(ops(&g), "Identity×1");
    }
}
