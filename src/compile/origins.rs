//! Which nodes of the ONNX model became part of which node of the graph.

use alloc::{collections::BTreeMap, string::String, vec, vec::Vec};

use crate::graph::{Graph, plan::Origin};

/// A node of the ONNX model as it was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name; nodes without one were given one.
    pub name: String,
    /// Its operator.
    pub op: String,
    /// Names of its operands; empty where one was left out.
    pub inputs: Vec<String>,
    /// Names of its results.
    pub outputs: Vec<String>,
}

/// For each node of `graph`, the sources that became part of it. A source whose name a node bears belongs to that node. Any other was merged: it
/// belongs where its operands come from (an activation, a Quantize), or, if these are constants or inputs, where its results go (a
/// Dequantize of a weight). Products and Softmax never become a part of what is before them: they belong where their results go.
pub fn origins(sources: &[Source], graph: &Graph) -> Vec<Vec<Origin>> {
    let mut bearers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, node) in graph.nodes.iter().enumerate() {
        bearers.entry(&node.name).or_default().push(i);
    }
    let mut owners: Vec<Vec<usize>> = vec![Vec::new(); sources.len()];
    let mut producer: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, source) in sources.iter().enumerate() {
        let named = bearers.get(source.name.as_str()).cloned();
        let before =
            || source.inputs.iter().filter_map(|v| producer.get(v.as_str())).map(|&p| &owners[p]).find(|o| !o.is_empty());
        let joins_before = !matches!(source.op.as_str(), "MatMul" | "Softmax");
        owners[i] = named.or_else(|| before().filter(|_| joins_before).cloned()).unwrap_or_default();
        producer.extend(source.outputs.iter().map(|v| (v.as_str(), i)));
    }
    // The last consumer is visited first, so that chains of constants find their way.
    for (i, source) in sources.iter().enumerate().rev() {
        let owner = owners[i].clone();
        for p in source.inputs.iter().filter_map(|v| producer.get(v.as_str())) {
            if owners[*p].is_empty() {
                owners[*p].clone_from(&owner);
            }
        }
    }
    let mut out = vec![Vec::new(); graph.nodes.len()];
    for (source, owners) in sources.iter().zip(owners) {
        for owner in owners {
            out[owner].push(Origin { op: source.op.clone(), name: source.name.clone() });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        graph::{
            Dim, Op, ValueType,
            ops::{Activation, MatMul, Unary},
        },
        tensor::{DType, Tensor},
    };

    fn source(name: &str, op: &str, inputs: &[&str], outputs: &[&str]) -> Source {
        let list = |names: &[&str]| names.iter().map(|&n| n.into()).collect();
        Source { name: name.into(), op: op.into(), inputs: list(inputs), outputs: list(outputs) }
    }

    #[test]
    fn merged_nodes_belong_to_their_producer_or_else_to_their_consumer() {
        let mut graph = Graph::default();
        let ty = ValueType::new(DType::F32, vec![Dim::fixed(2), Dim::fixed(2)]);
        let x = graph.add_input("x", ty.clone());
        let w = graph.add_const("w", &Tensor::from_slice(&[2, 2], &[1f32; 4]).unwrap());
        let product = MatMul { transpose_b: false, bias: false, dynamic: false, activation: Activation::Relu };
        let y = graph.add_node("product", Op::MatMul(product), &[x, w], ty.clone());
        let y = graph.add_node("negative", Op::Unary(Unary::Neg), &[y], ty);
        graph.add_output("y", y);
        let sources = [
            source("scale", "Constant", &[], &["s"]),
            source("weight", "DequantizeLinear", &["wq", "s"], &["w"]),
            source("product", "MatMul", &["x", "w"], &["a"]),
            source("clamp", "Relu", &["a"], &["b"]),
            source("negative", "Neg", &["b"], &["y"]),
            source("nothing", "Identity", &["z"], &["unused"]),
        ];
        let found = origins(&sources, &graph);
        let names = |i: usize| found[i].iter().map(|o| o.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names(0), ["scale", "weight", "product", "clamp"]);
        assert_eq!(names(1), ["negative"]);
        assert_eq!(found[0][3].op, "Relu");
    }
}
