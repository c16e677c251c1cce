//! Lets a fully connected layer read a channels-last image as it lies in memory, by reordering the rows of its weight.
//!
//! A model flattens channel by channel: `Reshape(Transpose(x))` and a MatMul, perhaps with a quantization between. Rows of the weight
//! in the order of x's own axes make the Transpose unnecessary. The sums have the same terms in another order.

use alloc::{format, string::String, vec, vec::Vec};

use super::{
    Pass,
    common::{inverse, is_constant_like, label, permuted},
    reshape::groups,
    rewrite::Rewrite,
};
use crate::{
    error::Result,
    graph::{
        Dim, Graph, Op, ValueId,
        ops::{MatMul, Unary},
    },
};

/// See the module's documentation.
pub(super) struct AbsorbFlattenedTransposes;

impl Pass for AbsorbFlattenedTransposes {
    fn name(&self) -> &'static str {
        "absorb-flattened-transposes"
    }

    fn run(&self, graph: &mut Graph, changes: &mut Vec<String>) -> Result<()> {
        let mut rw = Rewrite::new(graph);
        for i in 0..rw.len() {
            let Some(node) = rw.node(i) else { continue };
            let Op::MatMul(mm) = &node.op else { continue };
            let (mm, name) = (mm.clone(), label(node));
            if absorb(&mut rw, i, &mm).is_some() {
                changes.push(format!("{name}: reordered the weight, so that its flattened input needs no Transpose"));
            }
        }
        rw.finish()
    }
}

fn absorb(rw: &mut Rewrite, i: usize, mm: &MatMul) -> Option<()> {
    let node = rw.node(i)?;
    let (a, b, name) = (node.inputs[0], node.inputs[1], node.name.clone());
    let reshape = flattening_before(rw, a)?;
    let (y, flat) = (rw.node(reshape)?.inputs[0], rw.node(reshape)?.outputs[0]);
    let transpose = rw.source(y)?;
    let Op::Transpose { perm } = transpose.op.clone() else { return None };
    let x = transpose.inputs[0];
    let from = rw.ty(y).shape.clone();
    let to = &rw.ty(flat).shape;
    let inner = groups(&from, to)?.pop()?;
    let first = *inner.from.first()?;
    // The last group must be all trailing axes of y, merged into the axis that is summed over, and the only ones that move.
    let merged = inner.to == [to.len() - 1] && *inner.from.last()? == from.len() - 1;
    let others_stay = (0..first).all(|axis| perm[axis] == axis);
    if !merged || !others_stay {
        return None;
    }
    let sizes: Vec<usize> = from[first..].iter().map(Dim::as_fixed).collect::<Option<_>>()?;
    let local: Vec<usize> = perm[first..].iter().map(|&p| p - first).collect();
    let weight = reordered_weight(rw, i, &name, b, mm, &sizes, &local)?;
    rw.update(reshape, Op::Reshape, vec![x]);
    let mut inputs = rw.node(i)?.inputs.clone();
    inputs[1] = weight;
    rw.update(i, Op::MatMul(mm.clone()), inputs);
    Some(())
}

/// The Reshape before `v`, if between them are only elementwise nodes that nobody else reads.
fn flattening_before(rw: &Rewrite, mut v: ValueId) -> Option<usize> {
    for _ in 0..8 {
        rw.only_user(v)?;
        let i = rw.producer(v)?;
        let node = rw.node(i)?;
        match &node.op {
            Op::Reshape => return Some(i),
            Op::DynamicQuantize if node.outputs[0] != v => return None,
            Op::Quantize if rw.quant(v)?.axis.is_some() => return None,
            Op::Unary(Unary::Not) => return None,
            Op::Unary(_) | Op::Quantize | Op::Dequantize | Op::DynamicQuantize | Op::Reinterpret | Op::Cast => v = node.inputs[0],
            _ => return None,
        }
    }
    None
}

/// The weight with its rows (axis K), which are numbered over axes of `sizes`, renumbered over those axes untransposed by `perm`.
fn reordered_weight(
    rw: &mut Rewrite,
    i: usize,
    name: &str,
    b: ValueId,
    mm: &MatMul,
    sizes: &[usize],
    perm: &[usize],
) -> Option<ValueId> {
    let ty = rw.ty(b).clone();
    if ty.shape.len() != 2 || !is_constant_like(rw, b) {
        return None;
    }
    let (k, n) = if mm.transpose_b { (1, 0) } else { (0, 1) };
    if ty.shape[k].as_fixed()? != sizes.iter().product::<usize>() || ty.quant.as_ref().is_some_and(|q| q.axis == Some(k)) {
        return None;
    }
    // Axes of the split weight: K's in one block, N before or after it.
    let split = sizes.len();
    let (k_axes, n_axis) = if mm.transpose_b { (1..split + 1, 0) } else { (0..split, split) };
    let mut shape = vec![Dim::fixed(1); split + 1];
    shape[n_axis] = ty.shape[n].clone();
    for (axis, &size) in k_axes.clone().zip(sizes) {
        shape[axis] = Dim::fixed(size);
    }
    let mut order: Vec<usize> = (0..=split).collect();
    for (at, from) in k_axes.clone().zip(inverse(perm)) {
        order[at] = k_axes.start + from;
    }
    let with = |shape: Vec<Dim>| {
        let mut out = ty.clone();
        out.shape = shape;
        if let Some(axis) = out.quant.as_mut().and_then(|q| q.axis.as_mut()) {
            *axis = n_axis;
        }
        out
    };
    let (whole, moved) = (with(shape.clone()), with(permuted(&shape, &order)));
    let v = rw.insert(i, name, Op::Reshape, &[b], whole);
    let v = rw.insert(i, name, Op::Transpose { perm: order }, &[v], moved);
    Some(rw.insert(i, name, Op::Reshape, &[v], ty))
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::{
        compile::passes::{
            constants::FoldConstants,
            testing::{Build, Noise, TO_FIRST, apply, difference, ops, run},
        },
        graph::Quant,
        tensor::DType,
    };

    #[test]
    fn weight_takes_over_the_order() {
        for transpose_b in [false, true] {
            let mut noise = Noise(1);
            let mut b = Build::default();
            let x = b.input(&[2, 3, 4, 5]);
            let y = b.transpose(x, &TO_FIRST);
            let y = b.reshape(y, &[2, 60]);
            let y = b.qdq(y, 0.01, 128);
            let quant = Quant { scale: vec![0.1, 0.2, 0.3], zero_point: vec![0; 3], axis: Some(usize::from(!transpose_b)) };
            let shape = if transpose_b { [3, 60] } else { [60, 3] };
            let stored = b.g.add_quantized_const("w", &noise.bytes(DType::I8, &shape), Some(quant));
            let out = b.g.add_const("w", &noise.floats(&[60, 3], 1.0));
            let y = b.matmul(y, out);
            if let Op::MatMul(mm) = &mut b.g.nodes[4].op {
                mm.transpose_b = transpose_b;
            }
            b.g.nodes[4].inputs[1] = stored;
            let mut g = b.finish(y);
            let data = [noise.floats(&[2, 3, 4, 5], 1.0)];
            let before = run(&g, &data);
            assert_eq!(apply(&AbsorbFlattenedTransposes, &mut g).len(), 1);
            apply(&FoldConstants { dequantize: false }, &mut g);
            assert_eq!(ops(&g), "Dequantize×1 MatMul×1 Quantize×1 Reshape×1");
            assert!(difference(&before, &run(&g, &data)) < 1e-4);
        }
    }
}
