//! Recognises layer normalisation that an exporter wrote out as means, differences and a square root.

use alloc::{format, string::String, vec, vec::Vec};

use super::{
    Pass,
    common::{binary_inputs, label, scalar},
    rewrite::Rewrite,
};
use crate::{
    error::Result,
    graph::{
        Graph, Op, ValueId, ValueType,
        ops::{Activation, Binary, BinaryOp, ReduceOp, Unary},
    },
    tensor::{DType, Tensor},
};

/// See the module's documentation.
pub(super) struct FuseLayerNorm;

impl Pass for FuseLayerNorm {
    fn name(&self) -> &'static str {
        "fuse-layer-norm"
    }

    fn run(&self, graph: &mut Graph, changes: &mut Vec<String>) -> Result<()> {
        let mut rw = Rewrite::new(graph);
        for i in 0..rw.len() {
            let Some(found) = normalisation(&rw, i) else { continue };
            let Some(node) = rw.node(i) else { continue };
            let (name, output) = (label(node), node.outputs[0]);
            fuse(&mut rw, i, output, &found)?;
            changes.push(format!("{name}: joined a written-out layer normalisation over the axes from {} on", found.axis));
        }
        rw.finish()
    }
}

struct Normalisation {
    x: ValueId,
    axis: usize,
    epsilon: f32,
}

/// Matches `d / sqrt(mean(d²) + ε)` with `d = x − mean(x)` at node `i`.
fn normalisation(rw: &Rewrite, i: usize) -> Option<Normalisation> {
    let node = rw.node(i)?;
    let Op::Binary(Binary { op, activation: Activation::None }) = &node.op else { return None };
    let (difference, deviation) = match (op, node.inputs.as_slice()) {
        (BinaryOp::Div, &[d, s]) => (d, unary_input(rw, s, Unary::Sqrt)?),
        (BinaryOp::Mul, &[a, b]) => match (inverse_root(rw, b), inverse_root(rw, a)) {
            (Some(v), _) => (a, v),
            (_, Some(v)) => (b, v),
            _ => return None,
        },
        _ => return None,
    };
    let [p, q] = binary_inputs(rw, deviation, BinaryOp::Add)?;
    let (variance, epsilon) = match (scalar(rw, q), scalar(rw, p)) {
        (Some(e), _) => (p, e),
        (_, Some(e)) => (q, e),
        _ => return None,
    };
    let (squared, axes) = mean(rw, variance)?;
    let [x, average] = binary_inputs(rw, difference, BinaryOp::Sub)?;
    let is_square = match rw.source(squared).map(|n| (&n.op, n.inputs.as_slice())) {
        Some((Op::Binary(b), &[a, e])) if b.op == BinaryOp::Pow => a == difference && scalar(rw, e) == Some(2.0),
        Some((Op::Binary(b), &[a, e])) if b.op == BinaryOp::Mul => a == difference && e == difference,
        _ => false,
    };
    let (averaged, average_axes) = mean(rw, average)?;
    let rank = rw.rank(x);
    let trailing = axes.first().is_some_and(|&first| axes.iter().copied().eq(first..rank));
    let matches = is_square && averaged == x && average_axes == axes && trailing;
    (matches && rw.dtype(x) == DType::F32).then(|| Normalisation { x, axis: axes[0], epsilon })
}

fn unary_input(rw: &Rewrite, v: ValueId, op: Unary) -> Option<ValueId> {
    let node = rw.source(v)?;
    (node.op == Op::Unary(op)).then(|| node.inputs[0])
}

/// The input of `1 / sqrt(v)`, however it is written.
fn inverse_root(rw: &Rewrite, v: ValueId) -> Option<ValueId> {
    if let Some(root) = unary_input(rw, v, Unary::Reciprocal) {
        return unary_input(rw, root, Unary::Sqrt);
    }
    if let Some([one, root]) = binary_inputs(rw, v, BinaryOp::Div) {
        return (scalar(rw, one) == Some(1.0)).then(|| unary_input(rw, root, Unary::Sqrt))?;
    }
    let [base, exponent] = binary_inputs(rw, v, BinaryOp::Pow)?;
    (scalar(rw, exponent) == Some(-0.5)).then_some(base)
}

fn mean<'r>(rw: &'r Rewrite, v: ValueId) -> Option<(ValueId, &'r [usize])> {
    let node = rw.source(v)?;
    match &node.op {
        Op::Reduce { op: ReduceOp::Mean, axes, keep_dims: true } => Some((node.inputs[0], axes)),
        _ => None,
    }
}

/// Puts a LayerNorm in the place of node `i` and of the scale and bias behind it.
fn fuse(rw: &mut Rewrite, i: usize, output: ValueId, found: &Normalisation) -> Result<()> {
    let shape = rw.ty(found.x).shape[found.axis..].to_vec();
    let parameter = ValueType::new(DType::F32, shape.clone());
    let mut last = (i, output);
    let scale = next_parameter(rw, last.1, BinaryOp::Mul, &parameter);
    if let Some((node, out, _)) = scale {
        last = (node, out);
    }
    let bias = next_parameter(rw, last.1, BinaryOp::Add, &parameter);
    if let Some((node, out, _)) = bias {
        last = (node, out);
    }
    let Some(name) = rw.node(last.0).map(|n| n.name.clone()) else { return Ok(()) };
    let scale = match scale {
        Some((_, _, v)) => as_parameter(rw, last.0, &name, v, &parameter),
        None => {
            let Some(sizes) = parameter.fixed_shape() else { return Ok(()) };
            let ones = vec![1f32; crate::tensor::element_count(&sizes)?];
            let ones = Tensor::from_slice(&sizes, &ones)?;
            rw.add_values(|g| g.add_const(format!("{name}/scale"), &ones))
        }
    };
    let mut inputs = vec![found.x, scale];
    if let Some((_, _, v)) = bias {
        inputs.push(as_parameter(rw, last.0, &name, v, &parameter));
    }
    let op = Op::LayerNorm { axis: found.axis, epsilon: found.epsilon, bias: bias.is_some() };
    rw.update(last.0, op, inputs);
    Ok(())
}

/// The only reader of `v` and its result, if it combines `v` with a constant that has an element per normalised position.
fn next_parameter(rw: &Rewrite, v: ValueId, op: BinaryOp, parameter: &ValueType) -> Option<(usize, ValueId, ValueId)> {
    let user = rw.only_user(v)?;
    let node = rw.node(user)?;
    let [a, b] = binary_inputs(rw, node.outputs[0], op)?;
    let other = if a == v { b } else { a };
    let ty = rw.ty(other);
    let (dims, given) = (&parameter.shape, &ty.shape);
    let padding = given.len().checked_sub(dims.len())?;
    let fits = given[padding..] == dims[..] && given[..padding].iter().all(|d| d.as_fixed() == Some(1));
    (other != v && fits && rw.is_const(other) && ty.dtype == DType::F32).then(|| (user, node.outputs[0], other))
}

fn as_parameter(rw: &mut Rewrite, at: usize, name: &str, v: ValueId, parameter: &ValueType) -> ValueId {
    if rw.ty(v) == parameter { v } else { rw.insert(at, name, Op::Reshape, &[v], parameter.clone()) }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::compile::passes::testing::{Build, Noise, apply, difference, ops, run};

    #[test]
    fn written_out_forms_are_recognised() {
        for (form, squared_by_pow, bias) in [(0, true, true), (1, false, true), (2, true, false), (0, false, false)] {
            let mut noise = Noise(form);
            let mut b = Build::default();
            let x = b.input(&[2, 3, 8]);
            let mean = b.mean(x, &[2]);
            let d = b.binary(BinaryOp::Sub, x, mean);
            let two = b.scalar(2.0);
            let square = if squared_by_pow { b.binary(BinaryOp::Pow, d, two) } else { b.binary(BinaryOp::Mul, d, d) };
            let variance = b.mean(square, &[2]);
            let epsilon = b.scalar(1e-3);
            let sum = b.binary(BinaryOp::Add, variance, epsilon);
            let mut y = match form {
                0 => {
                    let root = b.unary(Unary::Sqrt, sum);
                    b.binary(BinaryOp::Div, d, root)
                }
                1 => {
                    let root = b.unary(Unary::Sqrt, sum);
                    let inverse = b.unary(Unary::Reciprocal, root);
                    b.binary(BinaryOp::Mul, inverse, d)
                }
                _ => {
                    let exponent = b.scalar(-0.5);
                    let inverse = b.binary(BinaryOp::Pow, sum, exponent);
                    b.binary(BinaryOp::Mul, d, inverse)
                }
            };
            if bias {
                let scale = b.g.add_const("scale", &noise.floats(&[8], 2.0));
                y = b.binary(BinaryOp::Mul, y, scale);
                let offset = b.g.add_const("offset", &noise.floats(&[1, 8], 2.0));
                y = b.binary(BinaryOp::Add, offset, y);
            }
            let mut g = b.finish(y);
            let data = [noise.floats(&[2, 3, 8], 1.0)];
            let before = run(&g, &data);
            assert_eq!(apply(&FuseLayerNorm, &mut g).len(), 1);
            assert_eq!(ops(&g), if bias { "LayerNorm×1 Reshape×1" } else { "LayerNorm×1" });
            assert!(difference(&before, &run(&g, &data)) < 1e-5);
        }
    }
}
