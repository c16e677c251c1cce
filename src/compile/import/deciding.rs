//! Inputs whose values, not only their shapes, decide what a model computes: a target shape, axes, the number of results.
//!
//! Once the values are known these inputs are constants, and the model is an ordinary one.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    vec::Vec,
};

use tract_onnx::pb::{self, tensor_shape_proto::dimension, type_proto};

/// An input may decide if it has at most this many elements; larger ones are data.
const MAX_ELEMENTS: i64 = 4096;

/// Positions of the operands that must be known when an operator is compiled.
fn parameters(op_type: &str) -> &'static [usize] {
    match op_type {
        "Reshape" | "Expand" | "Tile" | "Upsample" | "Squeeze" | "Unsqueeze" | "Split" | "SplitToSequence" | "CumSum"
        | "CumProd" | "TopK" | "Trilu" | "CenterCropPad" | "AffineGrid" | "Compress" | "ReduceSum" | "ReduceMean"
        | "ReduceMin" | "ReduceMax" | "ReduceProd" | "ReduceSumSquare" | "ReduceL1" | "ReduceL2" | "ReduceLogSum"
        | "ReduceLogSumExp" => &[1],
        "Slice" => &[1, 2, 3, 4],
        "Pad" | "Resize" | "STFT" => &[1, 2, 3],
        "ConstantOfShape" | "If" | "BlackmanWindow" | "HammingWindow" | "HannWindow" => &[0],
        "Loop" => &[0, 1],
        "Range" => &[0, 1, 2],
        "OneHot" | "DFT" | "Col2Im" | "Dropout" | "MaxUnpool" => &[1, 2],
        "MelWeightMatrix" => &[0, 1, 2, 3, 4],
        "NonMaxSuppression" => &[2, 3, 4],
        "LSTM" | "GRU" | "RNN" => &[4],
        "QLinearConv" => &[1, 2, 3, 4, 5, 6, 7],
        "QLinearMatMul" => &[1, 2, 4, 5, 6, 7],
        "ConvInteger" => &[1, 3],
        "GroupQueryAttention" => &[6],
        "MatMulNBits" => &[1, 2, 3],
        "GatherBlockQuantized" => &[0, 2, 3],
        _ => &[],
    }
}

/// The names of the inputs that decide; none if some parameter depends on data.
pub(in crate::compile) fn deciding_inputs(graph: &pb::GraphProto) -> Vec<String> {
    let constants: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let inputs: BTreeMap<&str, &pb::ValueInfoProto> = graph.input.iter().map(|i| (i.name.as_str(), i)).collect();
    let mut search = Search { producers: BTreeMap::new(), visited: BTreeSet::new() };
    let mut open = Vec::new();
    search.collect(graph, &mut open);
    let mut found = BTreeSet::new();
    while let Some(name) = open.pop() {
        if !search.visited.insert(name) || constants.contains(name) {
            continue;
        }
        if let Some(input) = inputs.get(name) {
            if is_small(input) {
                found.insert(name);
            }
        } else if let Some(node) = search.producers.get(name)
            && !matches!(node.op_type.as_str(), "Shape" | "Size")
        {
            open.extend(node.input.iter().map(String::as_str));
        }
    }
    graph.input.iter().filter(|i| found.contains(i.name.as_str())).map(|i| i.name.to_string()).collect()
}

struct Search<'a> {
    producers: BTreeMap<&'a str, &'a pb::NodeProto>,
    visited: BTreeSet<&'a str>,
}

impl<'a> Search<'a> {
    /// Gathers the nodes of a graph and of the graphs inside it, and the operands that must be known.
    fn collect(&mut self, graph: &'a pb::GraphProto, open: &mut Vec<&'a str>) {
        for node in &graph.node {
            self.producers.extend(node.output.iter().filter(|o| !o.is_empty()).map(|o| (o.as_str(), node)));
            open.extend(parameters(&node.op_type).iter().filter_map(|&i| node.input.get(i)).map(String::as_str));
            for body in node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)) {
                self.collect(body, open);
            }
        }
    }
}

/// Whether the input is a scalar, a list, or a tensor whose fixed shape has few elements.
fn is_small(input: &pb::ValueInfoProto) -> bool {
    let Some(type_proto::Value::TensorType(t)) = input.r#type.as_ref().and_then(|t| t.value.as_ref()) else { return false };
    let Some(shape) = &t.shape else { return false };
    let elements = shape.dim.iter().try_fold(1i64, |n, d| match d.value {
        Some(dimension::Value::DimValue(v)) => n.checked_mul(v),
        _ => None,
    });
    shape.dim.len() <= 1 || elements.is_some_and(|n| n <= MAX_ELEMENTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(op_type: &str, input: &[&str], output: &str) -> pb::NodeProto {
        let input = input.iter().map(|s| s.to_string()).collect();
        pb::NodeProto { op_type: op_type.into(), input, output: alloc::vec![output.into()], ..Default::default() }
    }

    fn input(name: &str, rank: usize) -> pb::ValueInfoProto {
        let shape = pb::TensorShapeProto { dim: alloc::vec![Default::default(); rank] };
        let tensor = type_proto::Tensor { elem_type: 1, shape: Some(shape) };
        let ty = pb::TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
        pb::ValueInfoProto { name: name.into(), r#type: Some(ty), ..Default::default() }
    }

    fn deciding(nodes: Vec<pb::NodeProto>) -> Vec<String> {
        let graph =
            pb::GraphProto { node: nodes, input: alloc::vec![input("x", 2), input("n", 1), input("m", 0)], ..Default::default() };
        deciding_inputs(&graph)
    }

    #[test]
    fn parameters_are_followed_back_to_inputs() {
        assert_eq!(deciding(alloc::vec![node("Concat", &["n", "m"], "s"), node("Reshape", &["x", "s"], "y")]), ["n", "m"]);
        assert!(deciding(alloc::vec![node("Shape", &["n"], "s"), node("Reshape", &["x", "s"], "y")]).is_empty());
        assert!(deciding(alloc::vec![node("Add", &["x", "n"], "y")]).is_empty());
        assert!(deciding(alloc::vec![node("ReduceMax", &["x"], "s"), node("ConstantOfShape", &["s"], "y")]).is_empty());
    }
}
