//! Sinks Transposes towards the outputs until they meet their inverse.
//!
//! The front-end wraps every spatial operator in Transposes, because it computes channels-last and the model does not. A Transpose
//! commutes with whatever works element by element or along one axis, so the one behind an operator travels down to the one
//! before the next, and both vanish. What is left stands at the edges of the graph. Exact: elements are only moved.

use alloc::{format, string::String, vec::Vec};

use super::{
    Pass,
    common::{inverse, is_constant_like, moves_only_units, permuted},
    identity::join,
    reshape::groups,
    rewrite::Rewrite,
};
use crate::{
    error::Result,
    graph::{Dim, Graph, Op, ValueId, ValueType, ops::MatMul},
};

/// See the module's documentation.
pub(super) struct SinkTransposes;

impl Pass for SinkTransposes {
    fn name(&self) -> &'static str {
        "sink-transposes"
    }

    fn run(&self, graph: &mut Graph, changes: &mut Vec<String>) -> Result<()> {
        let before = count(graph);
        let mut rw = Rewrite::new(graph);
        for i in 0..rw.len() {
            if rw.node(i).is_some() {
                join(&mut rw, i);
                cancel(&mut rw, i);
                sink(&mut rw, i);
            }
        }
        rw.finish()?;
        let after = count(graph);
        if after != before {
            changes.push(format!("Went from {before} Transposes to {after}"));
        }
        Ok(())
    }
}

fn count(graph: &Graph) -> usize {
    graph.nodes.iter().filter(|n| matches!(n.op, Op::Transpose { .. })).count()
}

/// Removes node `i` if it is a Transpose that leaves every axis in place.
fn cancel(rw: &mut Rewrite, i: usize) {
    let Some(node) = rw.node(i) else { return };
    let Op::Transpose { perm } = &node.op else { return };
    let (x, y) = (node.inputs[0], node.outputs[0]);
    if perm.is_sorted() && (!rw.is_output(y) || (rw.producer(x).is_some() && !rw.is_output(x))) {
        rw.redirect(y, x);
    }
}

/// What is transposed and how, if `v` is the result of a Transpose.
fn transposed(rw: &Rewrite, v: ValueId) -> Option<(ValueId, Vec<usize>)> {
    let node = rw.source(v)?;
    match &node.op {
        Op::Transpose { perm } if !perm.is_sorted() => Some((node.inputs[0], perm.clone())),
        _ => None,
    }
}

/// The type of a value whose transposition by `perm` has type `ty`.
fn untransposed_type(ty: &ValueType, perm: &[usize]) -> ValueType {
    let mut out = ty.clone();
    out.shape = permuted(&ty.shape, &inverse(perm));
    if let Some(axis) = out.quant.as_mut().and_then(|q| q.axis.as_mut()) {
        *axis = perm[*axis];
    }
    out
}

/// Makes node `i` compute `op` of `inputs`, and a Transpose by `perm` turn that into what the node computed before.
fn replace(rw: &mut Rewrite, i: usize, op: Op, inputs: Vec<ValueId>, perm: Vec<usize>) {
    let Some(node) = rw.node(i) else { return };
    let (name, output) = (node.name.clone(), node.outputs[0]);
    if perm.is_sorted() {
        rw.update(i, op, inputs);
        return;
    }
    let ty = untransposed_type(rw.ty(output), &perm);
    let (old, new) = rw.detach_output(i, 0, ty);
    rw.update(i, op, inputs);
    rw.insert_into(i, &name, Op::Transpose { perm }, &[new], old);
}

/// Lets the Transposes before node `i` come out behind it, if they can.
fn sink(rw: &mut Rewrite, i: usize) -> Option<()> {
    let node = rw.node(i)?;
    let op = node.op.clone();
    let inputs = node.inputs.clone();
    let first = *inputs.first()?;
    match op {
        Op::Binary(_) | Op::Where | Op::Concat { .. } => return sink_through_many(rw, i),
        Op::MatMul(mm) => return absorb_into_matmul(rw, i, mm),
        _ => {}
    }
    let (x, perm) = transposed(rw, first)?;
    match op {
        Op::Unary(_) | Op::Cast | Op::Quantize | Op::Dequantize | Op::Reinterpret | Op::DynamicQuantize => {
            replace(rw, i, op, alloc::vec![x], perm);
        }
        Op::Softmax { axis, log } => replace(rw, i, Op::Softmax { axis: perm[axis], log }, alloc::vec![x], perm),
        Op::Slice { axis, start, step } => {
            replace(rw, i, Op::Slice { axis: perm[axis], start, step }, alloc::vec![x], perm);
        }
        Op::Pad { pads, value } => {
            let pads = permuted(&pads, &inverse(&perm));
            replace(rw, i, Op::Pad { pads, value }, alloc::vec![x], perm);
        }
        Op::Reduce { op, axes, keep_dims } => {
            let mut source: Vec<usize> = axes.iter().map(|&a| perm[a]).collect();
            source.sort_unstable();
            let rest = if keep_dims { perm } else { without(&perm, |i| axes.contains(&i)) };
            replace(rw, i, Op::Reduce { op, axes: source, keep_dims }, alloc::vec![x], rest);
        }
        Op::Gather { axis } => {
            let indices = inputs[1];
            let rest = match rw.rank(indices) {
                0 => without(&perm, |i| i == axis),
                1 => perm.clone(),
                _ => return None,
            };
            replace(rw, i, Op::Gather { axis: perm[axis] }, alloc::vec![x, indices], rest);
        }
        Op::Reshape => {
            let (shape, rest) = sink_through_reshape(rw, i, x, &perm)?;
            debug_assert_eq!(shape.len(), rest.len());
            replace(rw, i, Op::Reshape, alloc::vec![x], rest);
        }
        _ => {}
    }
    Some(())
}

/// The permutation that is left when the axes for which `gone` holds (axes of the result) disappear on both sides.
fn without(perm: &[usize], gone: impl Fn(usize) -> bool) -> Vec<usize> {
    let kept: Vec<usize> = (0..perm.len()).filter(|&i| !gone(i)).map(|i| perm[i]).collect();
    let mut sorted = kept.clone();
    sorted.sort_unstable();
    kept.iter().map(|a| sorted.partition_point(|s| s < a)).collect()
}

/// For operators that combine several tensors: they can work before the Transpose if the others can be brought there for free.
fn sink_through_many(rw: &mut Rewrite, i: usize) -> Option<()> {
    let node = rw.node(i)?;
    let rank = rw.rank(node.outputs[0]);
    let inputs = node.inputs.clone();
    let (op, name) = (node.op.clone(), node.name.clone());
    let perm = inputs.iter().find_map(|v| transposed(rw, *v).filter(|(_, p)| p.len() == rank))?.1;
    let plans: Vec<Adaptation> = inputs.iter().map(|v| adaptation(rw, *v, &perm, rank)).collect::<Option<_>>()?;
    let op = match op {
        Op::Concat { axis } => Op::Concat { axis: perm[axis] },
        other => other,
    };
    let adapted = inputs.iter().zip(plans).map(|(v, plan)| adapt(rw, i, &name, *v, plan, &perm)).collect();
    replace(rw, i, op, adapted, perm);
    Some(())
}

/// How an operand gets into the layout before a Transpose.
enum Adaptation {
    /// It was transposed from this value.
    Source(ValueId),
    /// It broadcasts alike in either layout.
    AsIs,
    /// A constant, or what is computed from one, of this full shape is transposed back at compile time.
    Constant(Vec<Dim>),
    /// Its elements stay in order: another shape will do.
    View(Vec<Dim>),
}

fn adaptation(rw: &Rewrite, v: ValueId, perm: &[usize], rank: usize) -> Option<Adaptation> {
    if let Some((x, p)) = transposed(rw, v)
        && p == perm
    {
        return Some(Adaptation::Source(x));
    }
    let shape = &rw.ty(v).shape;
    if shape.len() > rank {
        return None;
    }
    if rw.quant(v).is_none_or(|q| q.axis.is_none()) && shape.iter().all(|d| d.as_fixed() == Some(1)) && shape.len() < rank {
        return Some(Adaptation::AsIs);
    }
    let mut full = alloc::vec![Dim::fixed(1); rank - shape.len()];
    full.extend_from_slice(shape);
    if is_constant_like(rw, v) {
        return Some(Adaptation::Constant(full));
    }
    let back = inverse(perm);
    (moves_only_units(&full, &back) && rw.quant(v).is_none_or(|q| q.axis.is_none()))
        .then(|| Adaptation::View(permuted(&full, &back)))
}

fn adapt(rw: &mut Rewrite, i: usize, name: &str, v: ValueId, plan: Adaptation, perm: &[usize]) -> ValueId {
    let mut ty = rw.ty(v).clone();
    match plan {
        Adaptation::Source(x) => x,
        Adaptation::AsIs => v,
        Adaptation::View(shape) => {
            ty.shape = shape;
            rw.insert(i, name, Op::Reshape, &[v], ty)
        }
        Adaptation::Constant(full) => {
            let added = full.len() - ty.shape.len();
            ty.shape = full;
            if let Some(axis) = ty.quant.as_mut().and_then(|q| q.axis.as_mut()) {
                *axis += added;
            }
            let back = untransposed_type(&ty, perm);
            let v = if added > 0 { rw.insert(i, name, Op::Reshape, &[v], ty) } else { v };
            rw.insert(i, name, Op::Transpose { perm: inverse(perm) }, &[v], back)
        }
    }
}

/// A Transpose that swaps b's last two axes becomes the product's own attribute; other axes are moved with whole rows kept together.
fn absorb_into_matmul(rw: &mut Rewrite, i: usize, mm: MatMul) -> Option<()> {
    let node = rw.node(i)?;
    let (b, mut inputs, name) = (*node.inputs.get(1)?, node.inputs.clone(), node.name.clone());
    let (x, mut perm) = transposed(rw, b)?;
    let last = perm.len() - 1;
    perm.swap(last - 1, last);
    if perm[last] != last || rw.quant(x).is_some_and(|q| q.axis.is_some() && !perm.is_sorted()) {
        return None;
    }
    inputs[1] = if perm.is_sorted() {
        x
    } else {
        let mut ty = rw.ty(x).clone();
        ty.shape = permuted(&ty.shape, &perm);
        rw.insert(i, &name, Op::Transpose { perm }, &[x], ty)
    };
    rw.update(i, Op::MatMul(MatMul { transpose_b: !mm.transpose_b, ..mm }), inputs);
    Some(())
}

/// For `Reshape(Transpose(x))`: a shape to view x under and the Transpose that then gives the same result, if there are any.
fn sink_through_reshape(rw: &Rewrite, i: usize, x: ValueId, perm: &[usize]) -> Option<(Vec<Dim>, Vec<usize>)> {
    let output = rw.node(i)?.outputs[0];
    if rw.quant(x).is_some_and(|q| q.axis.is_some()) {
        return None;
    }
    let to = &rw.ty(output).shape;
    let source = &rw.ty(x).shape;
    let from = permuted(source, perm);
    let groups = groups(&from, to)?;
    // The place of x's axes when those of size 1 are left out.
    let mut place = alloc::vec![usize::MAX; source.len()];
    for (n, (axis, _)) in source.iter().enumerate().filter(|(_, d)| d.as_fixed() != Some(1)).enumerate() {
        place[axis] = n;
    }
    let mut starts: Vec<(usize, usize)> = Vec::new();
    for (g, group) in groups.iter().enumerate() {
        let places: Vec<usize> = group.from.iter().map(|&a| place[perm[a]]).collect();
        if !places.windows(2).all(|w| w[1] == w[0] + 1) {
            return None;
        }
        starts.push((places[0], g));
    }
    starts.sort_unstable();
    // Output axes in the order in which x has them: leading ones first, other axes of size 1 before the group they precede.
    let is_unit = |a: &usize| to[*a].as_fixed() == Some(1);
    let leading = (0..to.len()).take_while(is_unit).count();
    let mut order: Vec<usize> = (0..leading).collect();
    for &(_, g) in &starts {
        let begin = groups[g].to[0];
        let units = (leading..begin).rev().take_while(is_unit).count();
        let end = groups[g].to[groups[g].to.len() - 1];
        order.extend(begin - units..=end);
    }
    let trailing = (0..to.len()).rev().take_while(is_unit).count().min(to.len() - leading);
    order.extend(to.len() - trailing..to.len());
    (order.len() == to.len()).then(|| (permuted(to, &order), inverse(&order)))
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "layout_tests.rs"]
mod tests;
