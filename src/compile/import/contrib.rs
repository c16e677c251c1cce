//! Attention as onnxruntime's optimiser writes it (`com.microsoft`), in terms of ONNX's own Attention.
//!
//! What has no counterpart there (padding masks, packed operands, caches in one tensor) stays as it is, and is named as unsupported.

use alloc::{borrow::ToOwned, collections::BTreeMap, format, string::String, vec, vec::Vec};

use tract_onnx::pb::{self, attribute_proto::AttributeType, tensor_shape_proto::dimension::Value::DimValue, type_proto};

/// Rewrites the nodes of the top-level graph.
pub(super) fn rewrite(graph: &mut pb::GraphProto) {
    if !graph.node.iter().any(|n| n.domain == "com.microsoft" && matches!(n.op_type.as_str(), "Attention" | "MultiHeadAttention"))
    {
        return;
    }
    let mut sizes: BTreeMap<String, Vec<i64>> = graph.initializer.iter().map(|t| (t.name.clone(), t.dims.clone())).collect();
    for input in &graph.input {
        if let Some(type_proto::Value::TensorType(t)) = input.r#type.as_ref().and_then(|t| t.value.as_ref()) {
            let dims = t.shape.iter().flat_map(|s| &s.dim);
            let known: Option<Vec<i64>> = dims.map(|d| if let Some(DimValue(n)) = d.value { Some(n) } else { None }).collect();
            sizes.extend(known.map(|dims| (input.name.clone(), dims)));
        }
    }
    let mut rewriter = Rewriter { sizes, nodes: Vec::new(), constants: Vec::new() };
    for (i, node) in core::mem::take(&mut graph.node).into_iter().enumerate() {
        let done = match (node.domain.as_str(), node.op_type.as_str()) {
            ("com.microsoft", "Attention") => rewriter.attention(&node, i),
            ("com.microsoft", "MultiHeadAttention") => rewriter.multi_head(&node, i),
            _ => None,
        };
        if done.is_none() {
            rewriter.nodes.push(node);
        }
    }
    graph.node = rewriter.nodes;
    graph.initializer.append(&mut rewriter.constants);
}

struct Rewriter {
    /// Shapes of weights and inputs.
    sizes: BTreeMap<String, Vec<i64>>,
    nodes: Vec<pb::NodeProto>,
    constants: Vec<pb::TensorProto>,
}

impl Rewriter {
    fn emit(&mut self, op_type: &str, inputs: &[&str], output: String) -> String {
        self.nodes.push(pb::NodeProto {
            name: output.clone(),
            op_type: op_type.into(),
            input: inputs.iter().map(|s| (*s).to_owned()).collect(),
            output: vec![output.clone()],
            ..Default::default()
        });
        output
    }

    fn ints(&mut self, name: String, value: i64) -> String {
        let data_type = pb::tensor_proto::DataType::Int64 as i32;
        self.constants.push(pb::TensorProto {
            name: name.clone(),
            data_type,
            dims: vec![1],
            int64_data: vec![value],
            ..Default::default()
        });
        name
    }

    /// The columns from `start` to `end` of the last axis.
    fn columns(&mut self, x: &str, axis: i64, start: i64, end: i64, name: &str) -> String {
        let starts = self.ints(format!("{name}.start"), start);
        let ends = self.ints(format!("{name}.end"), end);
        let axes = self.ints(format!("{name}.axis"), axis);
        self.emit("Slice", &[x, &starts, &ends, &axes], name.to_owned())
    }

    /// The node with its operands in their places, and the attributes that both operators have.
    fn finish(&mut self, node: &pb::NodeProto, operands: [&str; 6]) {
        let heads = node.attribute.iter().find(|a| a.name == "num_heads").map_or(0, |a| a.i);
        let int = |name: &str, i: i64| pb::AttributeProto {
            name: name.into(),
            r#type: AttributeType::Int as i32,
            i,
            ..Default::default()
        };
        let mut attribute = vec![int("q_num_heads", heads), int("kv_num_heads", heads)];
        attribute.extend(node.attribute.iter().find(|a| a.name == "scale").cloned());
        if node.attribute.iter().any(|a| a.name == "unidirectional" && a.i == 1) {
            attribute.push(int("is_causal", 1));
        }
        let mut input: Vec<String> = operands.iter().map(|s| (*s).to_owned()).collect();
        while input.last().is_some_and(String::is_empty) {
            input.pop();
        }
        self.nodes.push(pb::NodeProto {
            name: node.name.clone(),
            op_type: "Attention".into(),
            input,
            output: node.output.clone(),
            attribute,
            ..Default::default()
        });
    }

    /// Inputs: x `[B,S,D]`, weight `[D,3H]`, bias, padding mask, cache, what is added to the scores.
    fn attention(&mut self, node: &pb::NodeProto, index: usize) -> Option<()> {
        let given = |i: usize| node.input.get(i).filter(|v| !v.is_empty()).map(String::as_str);
        let own_sizes = node.attribute.iter().any(|a| a.name == "qkv_hidden_sizes" && !a.ints.is_empty());
        let plain = given(3).is_none() && given(4).is_none() && !own_sizes && !turns(node) && node.output.len() == 1;
        let (x, weight) = (given(0).filter(|_| plain)?, given(1)?);
        let width = *self.sizes.get(weight)?.get(1)?;
        let name = |part: &str| format!("{}.attention{index}.{part}", node.output[0]);
        let mut all = self.emit("MatMul", &[x, weight], name("product"));
        if let Some(bias) = given(2) {
            all = self.emit("Add", &[&all, bias], name("sum"));
        }
        let third = width / 3;
        let [q, k, v] = [0, 1, 2].map(|i| self.columns(&all, 2, i * third, (i + 1) * third, &name(["q", "k", "v"][i as usize])));
        self.finish(node, [&q, &k, &v, given(5).unwrap_or_default(), "", ""]);
        Some(())
    }

    /// Inputs: query, key, value, bias `[3H]`, padding mask, what is added to the scores, cached keys and values.
    fn multi_head(&mut self, node: &pb::NodeProto, index: usize) -> Option<()> {
        let given = |i: usize| node.input.get(i).filter(|v| !v.is_empty()).map(String::as_str);
        let plain = given(4).is_none() && (8..12).all(|i| given(i).is_none()) && node.output.len() <= 3;
        let (q, k, v) = (given(0).filter(|_| plain)?, given(1)?, given(2)?);
        let mut operands = [q.to_owned(), k.to_owned(), v.to_owned()];
        if let Some(bias) = given(3) {
            let third = *self.sizes.get(bias)?.first()? / 3;
            for (i, operand) in operands.iter_mut().enumerate() {
                let name = |part: &str| format!("{}.attention{index}.{part}{i}", node.output[0]);
                let part = self.columns(bias, 0, third * i as i64, third * (i as i64 + 1), &name("bias"));
                *operand = self.emit("Add", &[operand, &part], name("sum"));
            }
        }
        let [q, k, v] = &operands;
        let (past_key, past_value) = (given(6).unwrap_or_default(), given(7).unwrap_or_default());
        self.finish(node, [q, k, v, given(5).unwrap_or_default(), past_key, past_value]);
        Some(())
    }
}

/// Whether the node turns queries and keys by their positions.
fn turns(node: &pb::NodeProto) -> bool {
    node.attribute.iter().any(|a| a.name == "do_rotary" && a.i != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(op_type: &str, inputs: &[&str]) -> pb::NodeProto {
        pb::NodeProto {
            op_type: op_type.into(),
            domain: "com.microsoft".into(),
            input: inputs.iter().map(|s| (*s).to_owned()).collect(),
            output: vec!["y".into()],
            ..Default::default()
        }
    }

    fn operators(node: pb::NodeProto) -> Vec<String> {
        let weight = |name: &str, dims: &[i64]| pb::TensorProto { name: name.into(), dims: dims.to_vec(), ..Default::default() };
        let initializer = vec![weight("w", &[4, 12]), weight("b", &[12])];
        let mut graph = pb::GraphProto { node: vec![node], initializer, ..Default::default() };
        rewrite(&mut graph);
        graph.node.iter().map(|n| format!("{}{}", n.domain, n.op_type)).collect()
    }

    #[test]
    fn what_has_a_counterpart_becomes_it() {
        assert_eq!(operators(node("Attention", &["x", "w", "b"])), ["MatMul", "Add", "Slice", "Slice", "Slice", "Attention"]);
        assert_eq!(operators(node("MultiHeadAttention", &["q", "k", "v"])), ["Attention"]);
        assert_eq!(operators(node("MultiHeadAttention", &["q", "k", "v", "b"])).len(), 7);
        assert_eq!(operators(node("Attention", &["x", "w", "b", "mask"])), ["com.microsoftAttention"]);
        assert_eq!(operators(node("MultiHeadAttention", &["q", "k", "v", "", "mask"])), ["com.microsoftMultiHeadAttention"]);
    }
}
