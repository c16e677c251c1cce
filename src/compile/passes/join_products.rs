//! Computes in one product what several compute of the same input, where the reader takes columns of a wider tensor: the queries, keys
//! and values of attention. No sum is reordered, so that every number stays.

use alloc::{format, string::String, vec, vec::Vec};

use super::{Pass, common::label, linear::Linear, rewrite::Rewrite};
use crate::{
    error::Result,
    graph::{
        Dim, Graph, Op, Quant, ValueId, ValueType,
        ops::{Attention, MatMul},
    },
    tensor::{DType, Tensor},
};

/// See the module's documentation.
pub(super) struct JoinProducts;

impl Pass for JoinProducts {
    fn name(&self) -> &'static str {
        "join-products"
    }

    fn run(&self, graph: &mut Graph, changes: &mut Vec<String>) -> Result<()> {
        let mut rw = Rewrite::new(graph);
        for i in 0..rw.len() {
            let Some(node) = rw.node(i) else { continue };
            let Op::Attention(op) = &node.op else { continue };
            let (op, inputs, name) = (op.clone(), node.inputs.clone(), label(node));
            // All three operands, or keys and values alone, which come from elsewhere than the queries in cross attention.
            for operands in [&[0usize, 1, 2][..], &[1, 2]] {
                let products: Option<Vec<Part>> = operands.iter().map(|&o| part(&rw, i, inputs[o])).collect();
                let Some(joined) = products.and_then(|parts| join(&mut rw, &parts)) else { continue };
                attach(&mut rw, i, op, inputs, operands, &joined);
                changes.push(format!("{name}: joined the {} products that give its operands", operands.len()));
                break;
            }
        }
        rw.finish()
    }
}

/// A product with constant weights.
struct Part {
    node: usize,
    linear: Linear,
    transposed: bool,
    weight: Tensor,
    quant: Option<Quant>,
    bias: Option<Tensor>,
    columns: usize,
}

/// The product that gives `v`, if node `user` alone reads it and it may be joined with others.
fn part(rw: &Rewrite, user: usize, v: ValueId) -> Option<Part> {
    let node = rw.producer(v)?;
    let alone = rw.only_user(v) == Some(user);
    let linear = Linear::of(rw, node).filter(|linear| alone && linear.gives_f32(rw))?;
    let &Op::MatMul(MatMul { transpose_b: transposed, .. }) = &linear.op else { return None };
    if rw.rank(linear.weight) != 2 || !rw.is_const(linear.weight) {
        return None;
    }
    let columns = linear.channels?;
    let weight = rw.graph().const_tensor(linear.weight)?;
    let bias = match linear.bias {
        Some(bias) => Some(rw.graph().const_tensor(bias)?),
        None => None,
    };
    let quant = rw.quant(linear.weight).cloned();
    Some(Part { node, linear, transposed, weight, quant, bias, columns })
}

/// One product in place of all parts; its result, and the first column of each part.
fn join(rw: &mut Rewrite, parts: &[Part]) -> Option<(ValueId, Vec<usize>)> {
    let (first, others) = parts.split_first()?;
    let alike = |part: &Part| {
        part.linear.x == first.linear.x
            && part.linear.op == first.linear.op
            && part.linear.dynamic == first.linear.dynamic
            && part.transposed == first.transposed
            && part.weight.dtype() == first.weight.dtype()
            && part.quant.is_some() == first.quant.is_some()
            && part.bias.as_ref().map(Tensor::dtype) == first.bias.as_ref().map(Tensor::dtype)
            && part.linear.activation == first.linear.activation
            && part.node != first.node
    };
    if !others.iter().all(alike) {
        return None;
    }
    let columns: usize = parts.iter().map(|p| p.columns).sum();
    let weight = joined_weight(parts, columns)?;
    let quant = match &first.quant {
        None => None,
        Some(_) => Some(joined_quant(parts)?),
    };
    let bias = match &first.bias {
        None => None,
        Some(bias) => {
            let bytes: Vec<u8> = parts.iter().filter_map(|p| p.bias.as_ref()).flat_map(|b| b.bytes().to_vec()).collect();
            Some(Tensor::from_bytes(bias.dtype(), &[columns], &bytes).ok()?)
        }
    };
    let node = rw.node(first.node)?;
    let (name, output) = (node.name.clone(), node.outputs[0]);
    let mut shape = rw.ty(output).shape.clone();
    *shape.last_mut()? = Dim::fixed(columns);
    let weight_name = format!("{}+", rw.name(first.linear.weight));
    let weight = rw.add_values(|g| g.add_quantized_const(weight_name, &weight, quant));
    let mut inputs = vec![first.linear.x, weight];
    if let Some(bias) = bias {
        inputs.push(rw.add_values(|g| g.add_const(format!("{name}/bias"), &bias)));
    }
    inputs.extend(first.linear.dynamic.into_iter().flatten());
    let result = rw.insert(first.node, &name, first.linear.op.clone(), &inputs, ValueType::new(DType::F32, shape));
    let mut at = 0;
    let firsts = parts.iter().map(|p| {
        at += p.columns;
        at - p.columns
    });
    Some((result, firsts.collect()))
}

/// The weights side by side.
fn joined_weight(parts: &[Part], columns: usize) -> Option<Tensor> {
    let first = parts.first()?;
    let (dtype, size) = (first.weight.dtype(), first.weight.dtype().size());
    let depth = first.weight.shape()[usize::from(first.transposed)];
    if parts.iter().any(|p| p.weight.shape()[usize::from(p.transposed)] != depth) {
        return None;
    }
    if first.transposed {
        let bytes: Vec<u8> = parts.iter().flat_map(|p| p.weight.bytes().to_vec()).collect();
        return Tensor::from_bytes(dtype, &[columns, depth], &bytes).ok();
    }
    let mut bytes = Vec::with_capacity(columns * depth * size);
    for row in 0..depth {
        for p in parts {
            bytes.extend_from_slice(&p.weight.bytes()[row * p.columns * size..][..p.columns * size]);
        }
    }
    Tensor::from_bytes(dtype, &[depth, columns], &bytes).ok()
}

/// A scale and a zero point for each column.
fn joined_quant(parts: &[Part]) -> Option<Quant> {
    let axis = usize::from(!parts.first()?.transposed);
    let mut out = Quant { scale: Vec::new(), zero_point: Vec::new(), axis: Some(axis) };
    for part in parts {
        let quant = part.quant.as_ref()?;
        match quant.as_per_tensor() {
            Some((scale, zero_point)) => {
                out.scale.extend(vec![scale; part.columns]);
                out.zero_point.extend(vec![zero_point; part.columns]);
            }
            None if quant.axis == Some(axis) && quant.scale.len() == part.columns => {
                out.scale.extend(&quant.scale);
                out.zero_point.extend(&quant.zero_point);
            }
            None => return None,
        }
    }
    Some(out)
}

/// Makes attention read its `operands` from the joined product.
fn attach(
    rw: &mut Rewrite,
    i: usize,
    mut op: Attention,
    mut inputs: Vec<ValueId>,
    operands: &[usize],
    (joined, firsts): &(ValueId, Vec<usize>),
) {
    for (&operand, first) in operands.iter().zip(firsts) {
        inputs[operand] = *joined;
        op.columns[operand] += first;
    }
    rw.update(i, Op::Attention(op), inputs);
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::{
        compile::passes::testing::{Build, Noise, apply, difference, ops, run, shaped},
        graph::ops::Activation,
    };

    /// Attention of two heads whose operands are products of `sources`, by the input's number.
    fn build(sources: [usize; 3], transpose_b: bool, bias: bool, quantized: bool) -> (Graph, [Tensor; 2]) {
        let mut noise = Noise(11);
        let mut b = Build::default();
        let xs = [b.input(&[1, 5, 6]), b.g.add_input("z", shaped(DType::F32, &[1, 5, 6]))];
        let [q, k, v] = [0, 1, 2].map(|i| {
            let shape = if transpose_b { [8, 6] } else { [6, 8] };
            let w = b.g.add_const("w", &noise.floats(&shape, 1.0));
            let x = xs[sources[i]];
            let mut inputs = vec![x, w];
            if quantized {
                let axis = usize::from(!transpose_b);
                let quant = if i == 1 {
                    Quant::per_tensor(0.02, 0)
                } else {
                    Quant { scale: (1..9).map(|s| s as f32 / 100.0).collect(), zero_point: vec![0; 8], axis: Some(axis) }
                };
                inputs[1] = b.g.add_quantized_const("w", &noise.bytes(DType::I8, &shape), Some(quant));
                inputs[0] = b.quantize(x, DType::U8, 0.01, 100);
            }
            if bias {
                inputs.push(b.g.add_const("bias", &noise.floats(&[8], 1.0)));
            }
            let op = MatMul { transpose_b, bias, dynamic: false, activation: Activation::None };
            b.node("product", Op::MatMul(op), &inputs, DType::F32, &[1, 5, 8])
        });
        let op = Attention { heads: 2, depth: 4, columns: [0; 3], scale: 0.5, divide: false, mask: false };
        let y = b.node("attention", Op::Attention(op), &[q, k, v], DType::F32, &[1, 5, 8]);
        (b.finish(y), [noise.floats(&[1, 5, 6], 1.0), noise.floats(&[1, 5, 6], 1.0)])
    }

    #[test]
    fn operands_of_one_input_come_from_one_product() {
        for (transpose_b, bias) in [(false, false), (true, false), (false, true), (true, true)] {
            for (sources, products) in [([0, 0, 0], "MatMul×1"), ([0, 1, 1], "MatMul×2")] {
                let (mut g, data) = build(sources, transpose_b, bias, false);
                let before = run(&g, &data);
                assert_eq!(apply(&JoinProducts, &mut g).len(), 1);
                assert!(ops(&g).contains(products), "{}", ops(&g));
                assert_eq!(difference(&before, &run(&g, &data)), 0.0);
            }
        }
    }

    #[test]
    fn quantized_weights_keep_their_scales() {
        for transpose_b in [false, true] {
            let (mut g, data) = build([0, 0, 0], transpose_b, false, true);
            let before = run(&g, &data);
            super::super::share::ShareEqualNodes.run(&mut g, &mut Vec::new()).unwrap();
            assert_eq!(apply(&JoinProducts, &mut g).len(), 1);
            assert!(ops(&g).contains("MatMul×1"), "{}", ops(&g));
            assert_eq!(difference(&before, &run(&g, &data)), 0.0);
        }
    }

    #[test]
    fn different_inputs_stay_apart() {
        let (mut g, _) = build([0, 1, 0], false, false, false);
        assert!(apply(&JoinProducts, &mut g).is_empty());
    }
}
