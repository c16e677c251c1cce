//! Trial preparation: which nodes of a graph no kernel can run, found without weights being packed or memory being taken.
//!
//! The compiler asks before it gives a plan away, so that a model which would fail at its first run is known in time.

use alloc::{vec, vec::Vec};

use super::frame::{alias_roots, bind_dims, prepare_node, with_fixed_dims};
use crate::{
    error::{Error, ErrorKind, Result, ensure},
    graph::{Graph, Init, Op, ValueId},
    kernels::PackedWeights,
    tensor::element_count,
};

/// Sizes that symbols are tried with: which of them fit a model's arithmetic on shapes is not known beforehand.
const TRIAL_SIZES: [i64; 6] = [1, 2, 8, 32, 128, 224];

/// What came of a node.
#[derive(Clone)]
enum Verdict {
    /// No trial size gave it shapes that fit.
    Open,
    Runs,
    Refused(Error),
}

/// Indices of the nodes that cannot run, each with the reason. Nodes whose shapes fit no trial size are taken to run.
pub fn refused_nodes(graph: &Graph) -> Vec<(usize, Error)> {
    let unknown: Vec<(usize, Error)> = (0..graph.nodes.len()).filter_map(|i| Some((i, check_symbols(graph, i).err()?))).collect();
    if !unknown.is_empty() {
        return unknown;
    }
    let mut verdicts = vec![Verdict::Open; graph.nodes.len()];
    let sizes = if graph.symbols.is_empty() { &TRIAL_SIZES[..1] } else { &TRIAL_SIZES };
    for &size in sizes {
        if verdicts.iter().all(|v| matches!(v, Verdict::Runs)) {
            break;
        }
        try_size(graph, size, &mut verdicts);
    }
    let refused = verdicts.into_iter().enumerate();
    refused.filter_map(|(i, v)| if let Verdict::Refused(e) = v { Some((i, e)) } else { None }).collect()
}

/// Fails where a node's result has a dimension that does not follow from the inputs' shapes.
fn check_symbols(graph: &Graph, node: usize) -> Result<()> {
    let inputs = graph.inputs.iter().flat_map(|p| &graph.value(p.value).ty.shape);
    let solvable: Vec<u32> = inputs.filter_map(|d| d.as_symbol()).collect();
    let node = &graph.nodes[node];
    let shapes = node.outputs.iter().flat_map(|v| &graph.value(*v).ty.shape);
    let attributes: Vec<_> = match &node.op {
        Op::Slice { start, .. } => vec![start],
        Op::Pad { pads, .. } => pads.iter().flat_map(|(a, b)| [a, b]).collect(),
        _ => Vec::new(),
    };
    for symbol in shapes.chain(attributes).flat_map(|d| d.symbols()) {
        ensure!(
            solvable.contains(&symbol),
            Unsupported,
            "the size '{}' of its result is not known from the shapes of the inputs alone",
            graph.symbols.get(symbol as usize).map_or("?", |s| s)
        );
    }
    Ok(())
}

fn try_size(graph: &Graph, size: i64, verdicts: &mut [Verdict]) {
    let symbols = vec![size; graph.symbols.len()];
    let shapes: Vec<Option<Vec<usize>>> = graph
        .values
        .iter()
        .map(|v| {
            let shape = v.ty.shape.iter().map(|d| d.eval(&symbols)).collect::<Result<Vec<usize>>>().ok()?;
            element_count(&shape).ok().map(|_| shape)
        })
        .collect();
    let dims: Vec<_> = graph
        .values
        .iter()
        .map(|v| match &v.init {
            Some(Init::Dims(dims)) => bind_dims(dims, &symbols).ok(),
            _ => None,
        })
        .collect();
    let roots = alias_roots(graph);
    for (node, verdict) in graph.nodes.iter().zip(verdicts) {
        if matches!(verdict, Verdict::Runs) {
            continue;
        }
        let known = node.inputs.iter().chain(&node.outputs).all(|v| shapes[v.index()].is_some());
        let (true, Ok(fixed)) = (known, with_fixed_dims(node, &symbols)) else { continue };
        let mut packed = PackedWeights::trial();
        let shape = |v: ValueId| shapes[v.index()].as_deref().unwrap_or_default();
        match prepare_node(graph, &mut packed, &roots, &dims, &shape, &fixed) {
            Ok(_) => *verdict = Verdict::Runs,
            Err(_) if packed.was_reached() => *verdict = Verdict::Runs,
            Err(e) if e.kind() == ErrorKind::Unsupported && matches!(verdict, Verdict::Open) => {
                *verdict = Verdict::Refused(e);
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        graph::{
            Dim, ValueType,
            ops::{Activation, Binary, BinaryOp, MatMul},
        },
        tensor::{DType, Tensor},
    };

    #[test]
    fn a_type_without_kernel_is_refused() {
        let mut g = Graph::default();
        let batch = g.symbol("batch");
        let ty = |dtype| ValueType::new(dtype, vec![Dim::symbol(batch), Dim::fixed(3)]);
        let x = g.add_input("x", ty(DType::F32));
        let weight = g.add_const("w", &Tensor::from_slice(&[3, 3], &[0.5f32; 9]).unwrap());
        let op = MatMul { transpose_b: false, bias: false, dynamic: false, activation: Activation::None };
        let product = g.add_node("product", Op::MatMul(op), &[x, weight], ty(DType::F32));
        let text = g.add_input("text", ty(DType::String));
        let add = Op::Binary(Binary { op: BinaryOp::Add, activation: Activation::None });
        let sum = g.add_node("sum", add, &[text, text], ty(DType::String));
        g.add_output("product", product);
        g.add_output("sum", sum);
        let refused = refused_nodes(&g);
        assert_eq!(refused.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [1]);
        assert_eq!(refused[0].1.to_string(), "Add has no kernel for string 1×3, string 1×3 → string 1×3");
    }

    #[test]
    fn a_size_that_no_input_gives_is_refused() {
        let mut g = Graph::default();
        let count = g.symbol("count");
        let x = g.add_input("x", ValueType::new(DType::F32, vec![Dim::fixed(3)]));
        let y = g.add_node("cut", Op::Slice { axis: 0, start: Dim::fixed(0), step: 1 }, &[x], {
            ValueType::new(DType::F32, vec![Dim::symbol(count)])
        });
        g.add_output("y", y);
        let refused = refused_nodes(&g);
        assert_eq!(refused[0].1.to_string(), "the size 'count' of its result is not known from the shapes of the inputs alone");
    }
}
