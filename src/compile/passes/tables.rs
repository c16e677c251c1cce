//! Makes one table of whatever elementwise operators compute from a single 8-bit value.
//!
//! `Sigmoid` and `Mul` of a quantized SiLU, a Clip between two quantizations, or float functions between a Dequantize and a
//! Quantize: each is a function of one byte, so that 256 results say all about it. They are computed with the kernels of the
//! operators themselves; the numbers stay the same.

use alloc::{format, string::String, vec::Vec};

use super::{Pass, common::label, evaluate, rewrite::Rewrite};
use crate::{
    error::Result,
    graph::{Graph, Node, Op, ValueId},
    tensor::{DType, Tensor},
};

/// See the module's documentation.
pub(super) struct MakeTables;

/// A value as a function of an 8-bit value of the same shape.
#[derive(Clone)]
struct Function {
    root: ValueId,
    /// The result for every byte of the root.
    results: Tensor,
}

impl Pass for MakeTables {
    fn name(&self) -> &'static str {
        "make-tables"
    }

    fn run(&self, graph: &mut Graph, changes: &mut Vec<String>) -> Result<()> {
        let mut rw = Rewrite::new(graph);
        let mut functions: Vec<Option<Function>> = alloc::vec![None; rw.graph().values.len()];
        for i in 0..rw.len() {
            if let Some((output, function)) = rw.node(i).and_then(|node| function_of(&rw, &functions, node)) {
                functions[output.index()] = Some(function);
            }
        }
        // From the end: what only served a later table is gone before its own turn comes.
        for i in (0..rw.len()).rev() {
            let Some(node) = rw.node(i) else { continue };
            let y = node.outputs[0];
            let Some(Function { root, results }) = functions[y.index()].take().filter(|_| is_byte(&rw, y)) else { continue };
            let (what, was_table) = (label(node), node.op == Op::Table);
            if was_table && node.inputs[0] == root {
                continue;
            }
            let table = Tensor::from_bytes(DType::U8, &[256], results.bytes())?;
            let name = format!("{}_table", node.name);
            let table = rw.add_values(|g| g.add_const(name, &table));
            changes.push(format!("{what}: looked up from '{}' in a table of 256 entries", rw.name(root)));
            rw.update(i, Op::Table, alloc::vec![root, table]);
        }
        rw.finish()
    }
}

fn is_byte(rw: &Rewrite, v: ValueId) -> bool {
    matches!(rw.dtype(v), DType::U8 | DType::I8) && rw.quant(v).is_some_and(|q| q.as_per_tensor().is_some())
}

/// The node's only result as a function, if the node is elementwise and all it reads are functions of one root, and numbers.
fn function_of(rw: &Rewrite, functions: &[Option<Function>], node: &Node) -> Option<(ValueId, Function)> {
    if !matches!(node.op, Op::Unary(_) | Op::Binary(_) | Op::Quantize | Op::Dequantize | Op::Table) {
        return None;
    }
    let known = |v: ValueId| match &functions[v.index()] {
        Some(function) => Some(function.clone()),
        None => identity(rw, v),
    };
    let mut root = None;
    let mut operands = Vec::with_capacity(node.inputs.len());
    for (k, v) in node.inputs.iter().enumerate() {
        if rw.is_const(*v) {
            operands.push(if node.op == Op::Table && k == 1 { evaluate::constant(rw.graph(), *v)? } else { number(rw, *v)? });
            continue;
        }
        let function = known(*v)?;
        if *root.get_or_insert(function.root) != function.root {
            return None;
        }
        operands.push(function.results);
    }
    let (root, output) = (root?, *node.outputs.first()?);
    if rw.ty(root).shape != rw.ty(output).shape {
        return None;
    }
    let results = evaluate::compute(rw.graph(), node, &operands, &[alloc::vec![256]]).ok()?.pop()?;
    Some((output, Function { root, results }))
}

/// An 8-bit value as a function of itself.
fn identity(rw: &Rewrite, v: ValueId) -> Option<Function> {
    let all: [u8; 256] = core::array::from_fn(|i| i as u8);
    let results = Tensor::from_bytes(rw.dtype(v), &[256], &all).ok()?;
    is_byte(rw, v).then_some(Function { root: v, results })
}

/// A constant of one element, as a scalar.
fn number(rw: &Rewrite, v: ValueId) -> Option<Tensor> {
    let one = rw.ty(v).shape.iter().all(|d| d.as_fixed() == Some(1));
    let tensor = one.then(|| evaluate::constant(rw.graph(), v))??;
    Tensor::from_bytes(tensor.dtype(), &[], tensor.bytes()).ok()
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::{
        compile::passes::testing::{Build, Noise, apply, difference, ops, run},
        graph::{
            Quant, ValueType,
            ops::{Activation, Binary, BinaryOp, Unary},
        },
    };

    fn stored(b: &Build, v: ValueId, scale: f32, zero: i32) -> ValueType {
        ValueType { quant: Some(Quant::per_tensor(scale, zero)), ..b.g.value(v).ty.clone() }
    }

    fn binary(op: BinaryOp) -> Op {
        Op::Binary(Binary { op, activation: Activation::None })
    }

    #[test]
    fn quantized_silu_is_one_table() {
        let mut b = Build::default();
        let x = b.input(&[4, 70]);
        let x = b.quantize(x, DType::U8, 0.05, 100);
        let ty = stored(&b, x, 1.0 / 256.0, 0);
        let gate = b.g.add_node("sigmoid", Op::Unary(Unary::Sigmoid), &[x], ty);
        let ty = stored(&b, x, 0.03, 10);
        let y = b.g.add_node("mul", binary(BinaryOp::Mul), &[x, gate], ty);
        let mut g = b.finish(y);
        let data = [Noise(1).floats(&[4, 70], 9.0)];
        let before = run(&g, &data);
        assert_eq!(apply(&MakeTables, &mut g), ["Mul 'mul': looked up from 'q' in a table of 256 entries"]);
        assert_eq!(ops(&g), "Quantize×1 Table×1");
        assert_eq!(difference(&before, &run(&g, &data)), 0.0);
        assert!(apply(&MakeTables, &mut g).is_empty());
    }

    #[test]
    fn float_functions_between_integers_are_one_table() {
        let mut b = Build::default();
        let x = b.input(&[300]);
        let q = b.quantize(x, DType::U8, 0.04, 128);
        let x = b.dequantize(q);
        let (half, y) = (b.scalar(0.5), b.unary(Unary::Softplus, x));
        let y = b.binary(BinaryOp::Mul, y, half);
        let y = b.binary(BinaryOp::Add, y, x);
        let y = b.quantize(y, DType::U8, 0.07, 90);
        let mut g = b.finish(y);
        let data = [Noise(2).floats(&[300], 9.0)];
        let before = run(&g, &data);
        apply(&MakeTables, &mut g);
        assert_eq!(ops(&g), "Quantize×1 Table×1");
        assert_eq!(difference(&before, &run(&g, &data)), 0.0);
    }

    #[test]
    fn two_roots_and_grown_shapes_stay() {
        let mut b = Build::default();
        let x = b.input(&[1, 8]);
        let a = b.quantize(x, DType::U8, 0.04, 128);
        let c = b.quantize(x, DType::U8, 0.02, 128);
        let ty = stored(&b, a, 0.05, 128);
        let sum = b.g.add_node("sum", binary(BinaryOp::Add), &[a, c], ty);
        let many = b.g.add_const("many", &Tensor::from_slice(&[8], &[1u8; 8]).unwrap());
        b.g.value_mut(many).ty.quant = Some(Quant::per_tensor(1.0, 0));
        let ty = stored(&b, a, 0.05, 128);
        let y = b.g.add_node("scaled", binary(BinaryOp::Mul), &[sum, many], ty);
        let mut g = b.finish(y);
        assert!(apply(&MakeTables, &mut g).is_empty());
    }
}
