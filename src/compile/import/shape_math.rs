//! Shape arithmetic in int32, as tf2onnx and jax2tf write it: `Shape → Cast(int32) → Slice → Concat → Cast(int64)`.
//!
//! tract follows symbols through int64 only, so such chains are made int64 where they begin. Every other reader gets the int32 back.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec,
    vec::Vec,
};

use tract_onnx::pb::{self, NodeProto, tensor_proto::DataType};

use super::{
    weights,
    write::{attribute, int64s, node},
};
use crate::tensor::DType;

/// Which inputs of an operator are data that its result is made of; `None` for operators that end a chain.
fn data_inputs(node: &NodeProto) -> Option<core::ops::Range<usize>> {
    Some(match node.op_type.as_str() {
        "Slice" | "Gather" | "Squeeze" | "Unsqueeze" | "Reshape" | "Identity" => 0..1,
        "Concat" | "Add" | "Sub" | "Mul" | "Div" | "Max" | "Min" => 0..node.input.len(),
        _ => return None,
    })
}

/// Rewrites the chains of the top-level graph, whose nodes are in order.
pub(super) fn widen(graph: &mut pb::GraphProto) {
    let outputs: BTreeSet<&str> = graph.output.iter().map(|o| o.name.as_str()).collect();
    let constants = small_constants(graph, DataType::Int32);
    let mut shapes: BTreeSet<String> = BTreeSet::new();
    let mut narrow: BTreeSet<String> = BTreeSet::new();
    let mut begins = Vec::new();
    for (i, node) in graph.node.iter().enumerate() {
        let Some(output) = node.output.first() else { continue };
        let first = node.input.first().map_or("", String::as_str);
        match (node.op_type.as_str(), data_inputs(node)) {
            ("Shape", _) => drop(shapes.insert(output.clone())),
            ("Cast", _) if shapes.contains(first) && cast_to(node) == Some(DataType::Int32 as i64) => {
                begins.push(i);
                narrow.insert(output.clone());
            }
            (_, Some(data)) => {
                let data = &node.input[data];
                if data.iter().any(|v| narrow.contains(v)) && data.iter().all(|v| narrow.contains(v) || constants.contains_key(v))
                {
                    narrow.insert(output.clone());
                } else if data.iter().any(|v| shapes.contains(v)) {
                    shapes.insert(output.clone());
                }
            }
            _ => {}
        }
    }
    // Outputs of the model keep their type.
    if begins.is_empty() || narrow.iter().any(|v| outputs.contains(v.as_str())) || has_bodies(graph) {
        return;
    }
    let mut wide: BTreeMap<String, String> = BTreeMap::new();
    let mut back: BTreeMap<String, String> = BTreeMap::new();
    let mut nodes = Vec::with_capacity(graph.node.len());
    for (i, mut node) in core::mem::take(&mut graph.node).into_iter().enumerate() {
        let inside = node.output.first().is_some_and(|o| narrow.contains(o));
        let data = data_inputs(&node).filter(|_| inside);
        if begins.contains(&i) {
            node.attribute.iter_mut().filter(|a| a.name == "to").for_each(|a| a.i = DataType::Int64 as i64);
        } else if node.op_type != "Cast" {
            // How long a cache gets is a dimension, and remains one.
            let length = (node.op_type == "GroupQueryAttention").then_some(6);
            for (j, input) in node.input.iter_mut().enumerate() {
                let is_data = data.as_ref().is_some_and(|d| d.contains(&j));
                if is_data && constants.contains_key(input) {
                    *input = wide.entry(input.clone()).or_insert_with(|| format!("{input}.int64")).clone();
                } else if !is_data && length != Some(j) && narrow.contains(input.as_str()) {
                    let name = format!("{input}.int32");
                    if back.insert(input.clone(), name.clone()).is_none() {
                        nodes.push(cast(input, &name, DataType::Int32));
                    }
                    *input = name;
                }
            }
        }
        nodes.push(node);
    }
    for (name, new) in wide {
        graph.initializer.push(int64s(new, constants[&name].0.clone(), constants[&name].1.clone()));
    }
    graph.node = nodes;
}

/// Ends of slices from here on mean the end of the axis: no tensor is that long.
const OPEN_END: i64 = 1 << 29;

/// Slices that end at a large number, where tract knows the largest one only as the end.
pub(super) fn open_ends(graph: &mut pb::GraphProto) {
    let mut constants = small_constants(graph, DataType::Int32);
    constants.extend(small_constants(graph, DataType::Int64));
    let mut added = BTreeMap::new();
    for node in graph.node.iter_mut().filter(|n| n.op_type == "Slice") {
        let is_open = |name: &String| constants.get(name).is_some_and(|(_, ends)| ends.iter().any(|e| *e >= OPEN_END));
        let indices = node.input.get(1..).unwrap_or_default();
        if !node.input.get(2).is_some_and(is_open) || !indices.iter().all(|i| i.is_empty() || constants.contains_key(i)) {
            continue;
        }
        for (i, input) in node.input.iter_mut().enumerate().skip(1).filter(|(_, v)| !v.is_empty()) {
            let (dims, mut values) = constants[input.as_str()].clone();
            if i == 2 {
                values.iter_mut().filter(|e| **e >= OPEN_END).for_each(|e| *e = i64::MAX);
                *input = format!("{input}.open");
            } else {
                *input = format!("{input}.int64");
            }
            added.insert(input.clone(), (dims, values));
        }
    }
    let exists = |graph: &pb::GraphProto, name: &String| graph.initializer.iter().any(|t| t.name == *name);
    for (name, values) in added {
        if !exists(graph, &name) {
            graph.initializer.push(int64s(name, values.0, values.1));
        }
    }
}

/// Longer ranges are left to the graph.
const LONGEST_RANGE: i128 = 1 << 16;

/// Ranges that are known and go downwards become constants: tract counts their elements with a step that has lost its sign where addresses
/// have 32 bits.
pub(super) fn fold_ranges(graph: &mut pb::GraphProto) {
    for kind in [DataType::Int32, DataType::Int64] {
        let constants = small_constants(graph, kind);
        let number = |name: &String| match constants.get(name) {
            Some((_, values)) if values.len() == 1 => Some(i128::from(values[0])),
            _ => None,
        };
        let mut folded = Vec::new();
        graph.node.retain(|node| {
            let ([start, limit, delta], [output]) = (node.input.as_slice(), node.output.as_slice()) else { return true };
            let (Some(start), Some(limit), Some(delta)) = (number(start), number(limit), number(delta)) else { return true };
            let count = if delta < 0 { ((start - limit).max(0) - delta - 1) / -delta } else { return true };
            if node.op_type != "Range" || count > LONGEST_RANGE {
                return true;
            }
            let values: Vec<i64> = (0..count).map(|i| (start + i * delta) as i64).collect();
            let mut tensor = int64s(output.clone(), vec![count as i64], values);
            if kind == DataType::Int32 {
                tensor.data_type = kind as i32;
                tensor.int32_data = core::mem::take(&mut tensor.int64_data).into_iter().map(|v| v as i32).collect();
            }
            folded.push(tensor);
            false
        });
        graph.initializer.append(&mut folded);
    }
}

/// Dimensions and elements of a constant.
type Values = (Vec<i64>, Vec<i64>);

/// The constants of an integer type that are small enough to be shapes, by name.
fn small_constants(graph: &pb::GraphProto, kind: DataType) -> BTreeMap<String, Values> {
    let small = |t: &&pb::TensorProto| t.data_type == kind as i32 && t.dims.iter().product::<i64>() <= 64;
    let read = |t: &pb::TensorProto| -> Option<Values> {
        let tensor = weights::tensor(t).ok()?;
        let values = match tensor.dtype() {
            DType::I32 => tensor.as_slice::<i32>().ok()?.iter().map(|&v| i64::from(v)).collect(),
            _ => tensor.as_slice::<i64>().ok()?.to_vec(),
        };
        Some((t.dims.clone(), values))
    };
    let initializers = graph.initializer.iter().map(|t| (&t.name, t));
    let nodes = graph.node.iter().filter(|n| n.op_type == "Constant");
    let nodes = nodes.filter_map(|n| Some((n.output.first()?, n.attribute.iter().find_map(|a| a.t.as_ref())?)));
    let found = initializers.chain(nodes).filter(|(_, t)| small(t));
    found.filter_map(|(name, t)| Some((name.clone(), read(t)?))).collect()
}

/// Whether graphs inside nodes may read values of this one.
fn has_bodies(graph: &pb::GraphProto) -> bool {
    graph.node.iter().flat_map(|n| &n.attribute).any(|a| a.g.is_some() || !a.graphs.is_empty())
}

fn cast_to(node: &NodeProto) -> Option<i64> {
    node.attribute.iter().find(|a| a.name == "to").map(|a| a.i)
}

fn cast(input: &str, output: &str, to: DataType) -> NodeProto {
    NodeProto { attribute: vec![attribute("to", to as i64)], ..node("Cast", &[input], output) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_go_down_are_constants() {
        let scalar = |name: &str, v: i32| pb::TensorProto {
            name: name.into(),
            data_type: DataType::Int32 as i32,
            int32_data: vec![v],
            ..Default::default()
        };
        for (numbers, expected) in [
            ([10, 6, -3], Some(vec![10, 7])),
            ([10, 4, -3], Some(vec![10, 7])),
            ([10, 3, -3], Some(vec![10, 7, 4])),
            ([1, 5, -1], Some(vec![])),
            ([1, 5, 1], None),
            ([1, 5, 0], None),
        ] {
            let names = ["start", "limit", "delta"];
            let initializer = names.iter().zip(numbers).map(|(n, v)| scalar(n, v)).collect();
            let mut graph = pb::GraphProto { node: vec![node("Range", &names, "y")], initializer, ..Default::default() };
            fold_ranges(&mut graph);
            let y = graph.initializer.iter().find(|t| t.name == "y").map(|t| t.int32_data.clone());
            assert_eq!(y, expected, "{numbers:?}");
            assert_eq!(graph.node.len(), usize::from(expected.is_none()));
        }
    }
}
