//! Joins the products of attention and the softmax between them, so that the scores need no memory of their own. Heads that an exporter
//! moved in front of the positions stay where they are. Keeps every number to the bit.

use alloc::{format, string::String, vec, vec::Vec};

use super::{
    Pass,
    common::{label, scalar},
    rewrite::Rewrite,
};
use crate::{
    error::Result,
    graph::{
        Dim, Graph, Op, ValueId, ValueType,
        ops::{Activation, Attention, Binary, BinaryOp, MatMul},
    },
    tensor::DType,
};

/// See the module's documentation.
pub(super) struct FuseAttention;

impl Pass for FuseAttention {
    fn name(&self) -> &'static str {
        "fuse-attention"
    }

    fn run(&self, graph: &mut Graph, changes: &mut Vec<String>) -> Result<()> {
        let mut rw = Rewrite::new(graph);
        for i in 0..rw.len() {
            let Some(found) = attention(&rw, i) else { continue };
            let Some(node) = rw.node(i) else { continue };
            let name = label(node);
            let heads = in_place(&rw, i, &found);
            let beside = if heads.is_some() { ", its heads where they lie" } else { "" };
            fuse(&mut rw, i, &found, heads);
            changes.push(format!("{name}: joined with the scores and the softmax before it{beside}"));
        }
        rw.finish()
    }
}

struct Found {
    q: ValueId,
    k: ValueId,
    /// Whether k is stored `[…,N,D]`.
    rows_of_keys: bool,
    v: ValueId,
    scale: f32,
    /// Scores are divided by the scale.
    divide: bool,
    mask: Option<ValueId>,
}

/// Matches `softmax(q·k · scale + mask) · v` at node `i`.
fn attention(rw: &Rewrite, i: usize) -> Option<Found> {
    let [p, v] = product(rw, i).filter(|(_, transposed)| !transposed)?.0;
    let weights = inner(rw, p)?;
    let (&Op::Softmax { axis, log: false }, &[s]) = (&rw.node(weights)?.op, rw.node(weights)?.inputs.as_slice()) else {
        return None;
    };
    let mut scores = s;
    let mut mask = None;
    if let Some([a, b]) = between(rw, scores, BinaryOp::Add) {
        let (found, other) = if is_scores(rw, a) { (a, b) } else { (b, a) };
        (scores, mask) = (found, Some(other));
    }
    let (mut scale, mut divide) = (1.0, false);
    if let Some([a, b]) = between(rw, scores, BinaryOp::Mul) {
        (scores, scale) = scalar(rw, b).map(|factor| (a, factor)).or_else(|| Some((b, scalar(rw, a)?)))?;
    } else if let Some([a, b]) = between(rw, scores, BinaryOp::Div) {
        (scores, scale, divide) = (a, scalar(rw, b)?, true);
    }
    let ([q, k], rows_of_keys) = product(rw, inner(rw, scores)?)?;
    let shape = &rw.ty(scores).shape;
    let fits = |m: ValueId| {
        let own = &rw.ty(m).shape;
        let one = |d: &Dim| d.as_fixed() == Some(1);
        own.len() <= shape.len()
            && own.last() == shape.last()
            && own.iter().rev().zip(shape.iter().rev()).all(|(own, full)| own == full || one(own))
            && rw.dtype(m) == DType::F32
    };
    (axis + 1 == shape.len() && mask.is_none_or(fits)).then_some(Found { q, k, rows_of_keys, v, scale, divide, mask })
}

/// Operands of a plain product of f32 values that changes from run to run, and whether the second is transposed.
fn product(rw: &Rewrite, i: usize) -> Option<([ValueId; 2], bool)> {
    let node = rw.node(i)?;
    let &Op::MatMul(MatMul { transpose_b, bias: false, dynamic: false, activation: Activation::None }) = &node.op else {
        return None;
    };
    let &[a, b] = node.inputs.as_slice() else { return None };
    let plain = [a, b, node.outputs[0]].iter().all(|v| rw.dtype(*v) == DType::F32);
    (plain && !rw.is_const(b)).then_some(([a, b], transpose_b))
}

/// The node that gives `v`, if nobody but one other node needs it.
fn inner(rw: &Rewrite, v: ValueId) -> Option<usize> {
    rw.only_user(v)?;
    rw.producer(v)
}

fn is_scores(rw: &Rewrite, v: ValueId) -> bool {
    inner(rw, v).is_some_and(|i| product(rw, i).is_some())
        || [BinaryOp::Mul, BinaryOp::Div].iter().any(|op| between(rw, v, *op).is_some())
}

fn between(rw: &Rewrite, v: ValueId, op: BinaryOp) -> Option<[ValueId; 2]> {
    let node = rw.node(inner(rw, v)?)?;
    match (&node.op, node.inputs.as_slice()) {
        (Op::Binary(Binary { op: own, activation: Activation::None }), &[a, b]) if *own == op => Some([a, b]),
        _ => None,
    }
}

/// Heads that lie side by side in rows `[B,S,H,D]`, before they were moved to the front.
struct InPlace {
    q: ValueId,
    k: ValueId,
    v: ValueId,
    heads: usize,
    depth: usize,
    /// The Transpose that moves the result's heads back.
    back: usize,
}

fn in_place(rw: &Rewrite, i: usize, found: &Found) -> Option<InPlace> {
    let moved = |v: ValueId, expected: [usize; 4]| match rw.source(v).map(|n| (&n.op, n.inputs.as_slice())) {
        Some((Op::Transpose { perm }, &[x])) if *perm == expected => Some(x),
        _ => None,
    };
    let (q, v) = (moved(found.q, [0, 2, 1, 3])?, moved(found.v, [0, 2, 1, 3])?);
    let k = moved(found.k, if found.rows_of_keys { [0, 2, 1, 3] } else { [0, 2, 3, 1] })?;
    let output = rw.node(i)?.outputs[0];
    let back = rw.only_user(output)?;
    matches!(&rw.node(back)?.op, Op::Transpose { perm } if *perm == [0, 2, 1, 3]).then_some(())?;
    let [shape_q, shape_k, shape_v] = [q, k, v].map(|x| &rw.ty(x).shape);
    let (heads, depth, width) = (shape_q[2].as_fixed()?, shape_q[3].as_fixed()?, shape_v[3].as_fixed()?);
    let same = shape_k[2] == shape_q[2] && shape_v[2] == shape_q[2] && shape_k[0] == shape_q[0] && shape_v[0] == shape_q[0];
    (same && width > 0).then_some(InPlace { q, k, v, heads, depth, back })
}

fn fuse(rw: &mut Rewrite, i: usize, found: &Found, in_place: Option<InPlace>) {
    let Some(node) = rw.node(i) else { return };
    let name = node.name.clone();
    let reshape = |rw: &mut Rewrite, at: usize, v: ValueId, shape: Vec<Dim>| {
        rw.insert(at, &name, Op::Reshape, &[v], ValueType::new(DType::F32, shape))
    };
    let op = |heads: usize, depth: usize| {
        let &Found { scale, divide, mask, .. } = found;
        Op::Attention(Attention { heads, depth, columns: [0; 3], scale, divide, mask: mask.is_some() })
    };
    let Some(InPlace { q, k, v, heads, depth, back }) = in_place else {
        let (k, depth) = keys_as_rows(rw, i, &name, found);
        let Some(depth) = depth else { return };
        let mut inputs = vec![found.q, k, found.v];
        if let Some(mask) = found.mask {
            // Its own axis for the heads, of which there is one.
            let mut shape = rw.ty(mask).shape.clone();
            if shape.len() > 2 {
                shape.insert(shape.len() - 2, Dim::fixed(1));
                inputs.push(reshape(rw, i, mask, shape));
            } else {
                inputs.push(mask);
            }
        }
        return rw.update(i, op(1, depth), inputs);
    };
    let side_by_side = |shape: &[Dim]| {
        let row = shape[2].as_fixed().zip(shape[3].as_fixed()).map_or(0, |(heads, depth)| heads * depth);
        vec![shape[0].clone(), shape[1].clone(), Dim::fixed(row)]
    };
    let mut inputs: Vec<ValueId> = Vec::new();
    for v in [q, k, v] {
        let shape = side_by_side(&rw.ty(v).shape);
        inputs.push(reshape(rw, i, v, shape));
    }
    inputs.extend(found.mask);
    let Some(last) = rw.node(back).map(|n| n.outputs[0]) else { return };
    let ty = ValueType::new(DType::F32, side_by_side(&rw.ty(last).shape));
    let result = rw.insert(i, &name, op(heads, depth), &inputs, ty);
    rw.update(back, Op::Reshape, vec![result]);
}

/// k as `[…,N,D]`, and D.
fn keys_as_rows(rw: &mut Rewrite, i: usize, name: &str, found: &Found) -> (ValueId, Option<usize>) {
    let mut ty = rw.ty(found.k).clone();
    let last = ty.shape.len() - 1;
    let depth = ty.shape[if found.rows_of_keys { last } else { last - 1 }].as_fixed();
    if found.rows_of_keys || depth.is_none() {
        return (found.k, depth);
    }
    let mut perm: Vec<usize> = (0..=last).collect();
    perm.swap(last - 1, last);
    ty.shape.swap(last - 1, last);
    (rw.insert(i, name, Op::Transpose { perm }, &[found.k], ty), depth)
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::compile::passes::{
        layout::SinkTransposes,
        testing::{Build, Noise, apply, difference, ops, run},
    };

    const MATMUL: MatMul = MatMul { transpose_b: false, bias: false, dynamic: false, activation: Activation::None };

    /// How an exporter may write attention.
    #[derive(Clone, Copy, Default)]
    struct Form {
        scale: Option<BinaryOp>,
        mask: Option<&'static [usize]>,
        mask_first: bool,
        /// Keys come transposed by a node of their own.
        transposed_keys: bool,
        /// The scores have another reader.
        read_twice: bool,
        log: bool,
    }

    fn product(b: &mut Build, x: ValueId, y: ValueId) -> ValueId {
        let (mut shape, last) = (b.shape(x), b.shape(y)[3]);
        shape[3] = last;
        b.node("product", Op::MatMul(MATMUL), &[x, y], DType::F32, &shape)
    }

    /// Two heads of four elements over five positions, from projections of the input.
    fn build(form: Form) -> (Graph, crate::tensor::Tensor) {
        let mut noise = Noise(7);
        let mut b = Build::default();
        let x = b.input(&[2, 5, 6]);
        let perms = [[0, 2, 1, 3], if form.transposed_keys { [0, 2, 3, 1] } else { [0, 2, 1, 3] }, [0, 2, 1, 3]];
        let [q, mut k, v] = perms.map(|perm| {
            let w = b.g.add_const("w", &noise.floats(&[6, 8], 1.0));
            let y = b.matmul(x, w);
            let y = b.reshape(y, &[2, 5, 2, 4]);
            b.transpose(y, &perm)
        });
        if !form.transposed_keys {
            k = b.transpose(k, &[0, 1, 3, 2]);
        }
        let mut s = product(&mut b, q, k);
        if let Some(op) = form.scale {
            let c = b.scalar(1.7);
            s = b.binary(op, s, c);
        }
        if let Some(shape) = form.mask {
            let mask = b.g.add_const("mask", &noise.floats(shape, 2.0));
            s = if form.mask_first { b.binary(BinaryOp::Add, mask, s) } else { b.binary(BinaryOp::Add, s, mask) };
        }
        if form.read_twice {
            b.g.add_output("scores", s);
        }
        let p = b.node("softmax", Op::Softmax { axis: 3, log: form.log }, &[s], DType::F32, &[2, 2, 5, 5]);
        let y = product(&mut b, p, v);
        let y = b.transpose(y, &[0, 2, 1, 3]);
        let y = b.reshape(y, &[2, 5, 8]);
        (b.finish(y), noise.floats(&[2, 5, 6], 1.0))
    }

    #[test]
    fn joins_what_exporters_write() {
        let none = Form::default();
        let forms = [
            none,
            Form { scale: Some(BinaryOp::Div), mask: Some(&[2, 1, 1, 5]), ..none },
            Form { scale: Some(BinaryOp::Mul), mask: Some(&[5, 5]), mask_first: true, ..none },
            Form { mask: Some(&[5]), transposed_keys: true, ..none },
        ];
        for form in forms {
            let (mut g, x) = build(form);
            let before = run(&g, core::slice::from_ref(&x));
            apply(&SinkTransposes, &mut g);
            assert_eq!(apply(&FuseAttention, &mut g).len(), 1);
            let ops = ops(&g);
            assert!(ops.contains("Attention×1") && ops.contains("MatMul×3") && !ops.contains("Transpose"), "{ops}");
            assert!(difference(&before, &run(&g, &[x])) < 1e-5);
        }
    }

    #[test]
    fn heads_in_front_stay_there() {
        for (mask, transposed) in [(None, false), (Some(&[2, 1, 5, 5][..]), true), (Some(&[2, 2, 1, 5][..]), false)] {
            let mut noise = Noise(3);
            let mut b = Build::default();
            let x = b.input(&[2, 2, 5, 4]);
            let k = if transposed { x } else { b.transpose(x, &[0, 1, 3, 2]) };
            let mut s = if transposed {
                let op = Op::MatMul(MatMul { transpose_b: true, ..MATMUL });
                b.node("product", op, &[x, k], DType::F32, &[2, 2, 5, 5])
            } else {
                product(&mut b, x, k)
            };
            if let Some(shape) = mask {
                let mask = b.g.add_const("mask", &noise.floats(shape, 2.0));
                s = b.binary(BinaryOp::Add, s, mask);
            }
            let p = b.node("softmax", Op::Softmax { axis: 3, log: false }, &[s], DType::F32, &[2, 2, 5, 5]);
            let y = product(&mut b, p, x);
            let mut g = b.finish(y);
            let data = [noise.floats(&[2, 2, 5, 4], 1.0)];
            let before = run(&g, &data);
            assert_eq!(apply(&FuseAttention, &mut g).len(), 1);
            assert!(ops(&g).contains("Attention×1") && !ops(&g).contains("MatMul"), "{}", ops(&g));
            assert!(difference(&before, &run(&g, &data)) < 1e-5);
        }
    }

    #[test]
    fn leaves_what_others_need() {
        let none = Form::default();
        for form in [Form { read_twice: true, ..none }, Form { log: true, ..none }] {
            let (mut g, _) = build(form);
            assert!(apply(&FuseAttention, &mut g).is_empty());
        }
    }
}
