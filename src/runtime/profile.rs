//! Where a run spends its time, node by node.

use alloc::{string::String, vec::Vec};

use super::Session;
use crate::{
    error::Result,
    graph::{Graph, Op},
    tensor::TensorView,
};

/// What one node of the graph took.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeProfile {
    /// Its place among the graph's nodes, and so among [`Session::nodes`].
    pub index: usize,
    /// The node's name.
    pub name: String,
    /// Its operator.
    pub op: &'static str,
    /// Shape of its first output.
    pub shape: Vec<usize>,
    /// Multiply-accumulates of a Conv or MatMul; 0 for others.
    pub macs: u64,
    /// Bytes of all operands and results: the least that must pass through memory.
    pub bytes: u64,
    /// Mean time of a run, in milliseconds. Coarse clocks spoil single times, but not their mean.
    pub mean_ms: f64,
    /// Shortest time, in milliseconds.
    pub min_ms: f64,
}

/// Runs the model `runs` times (at least once) after a first run that is not counted. `clock` gives milliseconds.
pub fn profile(
    session: &mut Session,
    inputs: &[(&str, TensorView<'_>)],
    runs: usize,
    mut clock: impl FnMut() -> f64,
) -> Result<Vec<NodeProfile>> {
    let mut nodes = Vec::new();
    let outputs = session.run_observed(inputs, |index, _| nodes.push(index))?;
    let (graph, shapes) = outputs.bound();
    let mut all: Vec<NodeProfile> = nodes.into_iter().map(|index| describe(graph, shapes, index)).collect();
    for _ in 0..runs.max(1) {
        let (mut index, mut last) = (0, clock());
        session.run_observed(inputs, |_, _| {
            let now = clock();
            let ms = now - last;
            last = now;
            if let Some(entry) = all.get_mut(index) {
                entry.mean_ms += ms / runs.max(1) as f64;
                entry.min_ms = entry.min_ms.min(ms);
            }
            index += 1;
        })?;
    }
    Ok(all)
}

#[inline(never)]
#[cfg_attr(small, optimize(size))]
fn describe(graph: &Graph, shapes: &[Vec<usize>], index: usize) -> NodeProfile {
    let node = &graph.nodes[index];
    let elements = |v: usize| shapes[v].iter().product::<usize>();
    let values = node.inputs.iter().chain(&node.outputs);
    let bytes: usize = values.map(|v| elements(v.index()) * graph.value(*v).ty.dtype.size()).sum();
    let depth = |k: usize, skip: usize| node.inputs.get(k).map_or(0, |v| shapes[v.index()][skip..].iter().product::<usize>());
    let output = node.outputs[0].index();
    let macs = match &node.op {
        Op::Conv(_) => elements(output) * depth(1, 1),
        Op::MatMul(_) => elements(output) * node.inputs.first().and_then(|v| shapes[v.index()].last().copied()).unwrap_or(0),
        Op::Attention(op) => {
            let (keys, width) = (shapes[node.inputs[1].index()].iter().rev().nth(1), shapes[output].last());
            let (keys, width) = (keys.copied().unwrap_or(0), width.copied().unwrap_or(0));
            elements(output).checked_div(width).unwrap_or(0) * keys * (op.heads * op.depth + width)
        }
        _ => 0,
    };
    NodeProfile {
        index,
        name: node.name.clone(),
        op: node.op.name(),
        shape: shapes[output].clone(),
        macs: macs as u64,
        bytes: bytes as u64,
        mean_ms: 0.0,
        min_ms: f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        graph::{
            Dim, ValueType,
            ops::{Activation, MatMul, Unary},
            plan::{Meta, Plan},
        },
        tensor::{DType, Tensor},
    };

    #[test]
    fn every_node_is_measured_and_described() {
        let mut graph = Graph::default();
        let ty = |dims: &[usize]| ValueType::new(DType::F32, dims.iter().map(|&d| Dim::fixed(d)).collect());
        let x = graph.add_input("x", ty(&[2, 3]));
        let w = graph.add_const("w", &Tensor::from_slice(&[3, 4], &[0.5f32; 12]).unwrap());
        let mm = MatMul { transpose_b: false, bias: false, dynamic: false, activation: Activation::None };
        let y = graph.add_node("product", Op::MatMul(mm), &[x, w], ty(&[2, 4]));
        let y = graph.add_node("negative", Op::Unary(Unary::Neg), &[y], ty(&[2, 4]));
        graph.add_output("y", y);
        let mut session = Session::new(Plan { graph, meta: Meta::default() }).unwrap();
        let mut now = 0.0;
        let clock = || {
            now += 1.0;
            now
        };
        let x = [1f32; 6];
        let nodes = profile(&mut session, &[("x", TensorView::from_slice(&[2, 3], &x).unwrap())], 5, clock).unwrap();
        let summary: Vec<_> = nodes.iter().map(|n| (n.name.as_str(), n.op, n.macs, n.bytes, n.mean_ms, n.min_ms)).collect();
        assert_eq!(summary, [("product", "MatMul", 24, 104, 1.0, 1.0), ("negative", "Neg", 0, 64, 1.0, 1.0)]);
        assert_eq!(nodes[0].shape, [2, 4]);
    }
}
