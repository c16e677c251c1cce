//! Attention as onnxruntime's optimiser writes it (`com.microsoft`), in terms of ONNX's own Attention.
//!
//! What has no counterpart there (masks by length, caches of a fixed size) stays as it is, and is named as unsupported.

use alloc::{borrow::ToOwned, collections::BTreeMap, format, string::String, vec, vec::Vec};

use tract_onnx::pb::{self, tensor_shape_proto::dimension::Value::DimValue, type_proto};

use super::{
    gather_blocks::PACKED,
    write::{Writer, attribute},
};

/// Operators that onnxruntime gives channels last, in the files that it writes.
const CHANNELS_LAST: &str = "com.ms.internal.nhwc";

/// Rewrites the nodes of the graph and of those inside it.
pub(super) fn rewrite(graph: &mut pb::GraphProto) {
    for body in graph.node.iter_mut().flat_map(|n| &mut n.attribute).flat_map(|a| a.g.iter_mut().chain(&mut a.graphs)) {
        rewrite(body);
    }
    let concerned = |n: &pb::NodeProto| match n.domain.as_str() {
        "com.microsoft" => matches!(
            n.op_type.as_str(),
            "Attention" | "QAttention" | "MultiHeadAttention" | "RotaryEmbedding" | "GatherBlockQuantized"
        ),
        domain => domain == CHANNELS_LAST,
    };
    if !graph.node.iter().any(concerned) {
        return;
    }
    let mut rewriter = Rewriter::new(graph);
    for (i, node) in core::mem::take(&mut graph.node).into_iter().enumerate() {
        let done = match (node.domain.as_str(), node.op_type.as_str()) {
            ("com.microsoft", "Attention" | "QAttention") => rewriter.attention(&node, i),
            ("com.microsoft", "MultiHeadAttention") => rewriter.multi_head(&node, i),
            ("com.microsoft", "RotaryEmbedding") => rewriter.rotary(&node),
            ("com.microsoft", "GatherBlockQuantized") => rewriter.gather_blocks(&node),
            (CHANNELS_LAST, _) => rewriter.channels_last(&node, i),
            _ => None,
        };
        if done.is_none() {
            rewriter.w.nodes.push(node);
        }
    }
    graph.node = rewriter.w.nodes;
    graph.initializer.append(&mut rewriter.w.constants);
}

struct Rewriter {
    /// Shapes of weights and inputs.
    sizes: BTreeMap<String, Vec<i64>>,
    /// Ranks, also where sizes are not known, and element types.
    kinds: BTreeMap<String, (usize, i32)>,
    w: Writer,
}

/// What masked scores are lowered by, where the model does not say.
const MASKED: f32 = -10_000.0;

impl Rewriter {
    fn new(graph: &pb::GraphProto) -> Rewriter {
        let weights = graph.initializer.iter();
        let mut sizes: BTreeMap<String, Vec<i64>> = weights.clone().map(|t| (t.name.clone(), t.dims.clone())).collect();
        let mut kinds: BTreeMap<String, (usize, i32)> = weights.map(|t| (t.name.clone(), (t.dims.len(), t.data_type))).collect();
        for input in &graph.input {
            if let Some(type_proto::Value::TensorType(t)) = input.r#type.as_ref().and_then(|t| t.value.as_ref()) {
                let Some(shape) = &t.shape else { continue };
                let known: Option<Vec<i64>> =
                    shape.dim.iter().map(|d| if let Some(DimValue(n)) = d.value { Some(n) } else { None }).collect();
                kinds.insert(input.name.clone(), (shape.dim.len(), t.elem_type));
                sizes.extend(known.map(|dims| (input.name.clone(), dims)));
            }
        }
        for node in graph.node.iter().filter(|n| n.op_type == "Cast") {
            if let [Some(x), Some(y)] = [node.input.first(), node.output.first()]
                && let Some(&(rank, _)) = kinds.get(x)
            {
                kinds.insert(y.clone(), (rank, 0));
            }
        }
        Rewriter { sizes, kinds, w: Writer::default() }
    }

    /// Part `i` of x along an axis, without that axis.
    fn entry(&mut self, x: &str, axis: i64, i: i64, name: &str) -> String {
        let part = self.columns(x, axis, i, i + 1, &format!("{name}.part"));
        let axes = self.w.ints(format!("{name}.axes"), &[axis]);
        self.w.emit("Squeeze", &[&part, &axes], name.to_owned())
    }

    /// The columns from `start` to `end` of the last axis.
    fn columns(&mut self, x: &str, axis: i64, start: i64, end: i64, name: &str) -> String {
        let starts = self.w.ints(format!("{name}.start"), &[start]);
        let ends = self.w.ints(format!("{name}.end"), &[end]);
        let axes = self.w.ints(format!("{name}.axis"), &[axis]);
        self.w.emit("Slice", &[x, &starts, &ends, &axes], name.to_owned())
    }

    /// The node with its operands in their places, and the attributes that both operators have.
    fn finish(&mut self, node: &pb::NodeProto, operands: [&str; 6], output: Vec<String>) {
        let heads = node.attribute.iter().find(|a| a.name == "num_heads").map_or(0, |a| a.i);
        let mut attributes = vec![attribute("q_num_heads", heads), attribute("kv_num_heads", heads)];
        attributes.extend(node.attribute.iter().find(|a| a.name == "scale").cloned());
        if node.attribute.iter().any(|a| a.name == "unidirectional" && a.i == 1) {
            attributes.push(attribute("is_causal", 1));
        }
        let mut input: Vec<String> = operands.iter().map(|s| (*s).to_owned()).collect();
        while input.last().is_some_and(String::is_empty) {
            input.pop();
        }
        self.w.nodes.push(pb::NodeProto {
            name: node.name.clone(),
            op_type: "Attention".into(),
            input,
            output,
            attribute: attributes,
            ..Default::default()
        });
    }

    /// What is added to the scores: the operator's own bias, and −10000 where a mask `[B,T]` or `[B,S,T]` has zeros. `None` for masks of
    /// other forms.
    fn mask(&mut self, node: &pb::NodeProto, mask: Option<&str>, bias: Option<&str>, index: usize) -> Option<String> {
        let Some(mask) = mask else { return Some(bias.unwrap_or_default().to_owned()) };
        let axes: &[i64] = match self.kinds.get(mask)?.0 {
            2 => &[1, 2],
            3 => &[1],
            _ => return None,
        };
        let name = |part: &str| format!("{}.mask{index}.{part}", node.output[0]);
        let filter = node.attribute.iter().find(|a| a.name == "mask_filter_value").map_or(MASKED, |a| a.f);
        let float = self.w.emit("Cast", &[mask], name("float"));
        self.w.with("to", 1);
        let (one, filter) = (self.w.float(name("one"), 1.0), self.w.float(name("filter"), filter));
        let hidden = self.w.emit("Sub", &[&one, &float], name("hidden"));
        let lowered = self.w.emit("Mul", &[&hidden, &filter], name("lowered"));
        let axes = self.w.ints(name("axes"), axes);
        let lowered = self.w.emit("Unsqueeze", &[&lowered, &axes], name("apart"));
        Some(match bias {
            Some(bias) => self.w.emit("Add", &[&lowered, bias], name("all")),
            None => lowered,
        })
    }

    /// Inputs: x `[B,S,D]`, weight `[D,3H]`, bias, padding mask, cache of keys and values, what is added to the scores. QAttention has the
    /// scales of x and weight before the mask, and their zero points behind it.
    fn attention(&mut self, node: &pb::NodeProto, index: usize) -> Option<()> {
        let given = |i: usize| node.input.get(i).filter(|v| !v.is_empty()).map(String::as_str);
        let quantized = node.op_type == "QAttention";
        let own_sizes = node.attribute.iter().any(|a| a.name == "qkv_hidden_sizes" && !a.ints.is_empty());
        let shared = node.attribute.iter().any(|a| a.name == "past_present_share_buffer" && a.i != 0);
        let (x, weight) = (given(0).filter(|_| !own_sizes && !shared && !turns(node))?, given(1)?);
        let width = *self.sizes.get(weight)?.get(1)?;
        let name = |part: &str| format!("{}.attention{index}.{part}", node.output[0]);
        let (mask, past, bias) = if quantized { (given(5), given(8), None) } else { (given(3), given(4), given(5)) };
        let bias = self.mask(node, mask, bias, index)?;
        let all = if quantized {
            let operands = [0, 1, 3, 4, 6, 7, 2].map(|i| given(i).unwrap_or_default());
            let all = self.w.emit("MatMulIntegerToFloat", &operands, name("product"));
            self.w.nodes.last_mut()?.domain = "com.microsoft".into();
            all
        } else {
            let product = self.w.emit("MatMul", &[x, weight], name("product"));
            match given(2) {
                Some(bias) => self.w.emit("Add", &[&product, bias], name("sum")),
                None => product,
            }
        };
        let third = width / 3;
        let [q, k, v] = [0, 1, 2].map(|i| self.columns(&all, 2, i * third, (i + 1) * third, &name(["q", "k", "v"][i as usize])));
        let cache = match past {
            Some(past) => [0, 1].map(|i| self.entry(past, 0, i, &name(["past_key", "past_value"][i as usize]))),
            None => Default::default(),
        };
        let mut outputs = vec![node.output[0].clone()];
        let present = node.output.get(1).filter(|o| !o.is_empty());
        if present.is_some() {
            outputs.extend([name("key"), name("value")]);
        }
        self.finish(node, [&q, &k, &v, &bias, &cache[0], &cache[1]], outputs);
        if let Some(present) = present {
            let axes = self.w.ints(name("axes"), &[0]);
            let parts = ["key", "value"].map(|part| self.w.emit("Unsqueeze", &[&name(part), &axes], name(&format!("{part}.1"))));
            self.w.emit("Concat", &[&parts[0], &parts[1]], present.clone());
            self.w.with("axis", 0);
        }
        Some(())
    }

    /// Inputs: query, key, value, bias `[3H]`, padding mask, what is added to the scores, cached keys and values. All three may be packed
    /// in the query `[B,S,N,3,H]`, or the latter two in the key `[B,T,N,2,H]`.
    fn multi_head(&mut self, node: &pb::NodeProto, index: usize) -> Option<()> {
        let given = |i: usize| node.input.get(i).filter(|v| !v.is_empty()).map(String::as_str);
        let name = |part: &str| format!("{}.attention{index}.{part}", node.output[0]);
        if (8..12).any(|i| given(i).is_some()) || node.output.len() > 3 {
            return None;
        }
        let bias = self.mask(node, given(4), given(5), index)?;
        let q = given(0)?;
        let mut operands = match (given(1), given(2)) {
            (Some(k), Some(v)) => [q, k, v].map(ToOwned::to_owned),
            (packed, None) => {
                let (from, parts) = (packed.unwrap_or(q), if packed.is_some() { 2 } else { 3 });
                let flat = self.w.ints(name("flat"), &[0, 0, -1]);
                let mut split = (0..parts).map(|i| {
                    let part = self.entry(from, 3, i, &name(&format!("packed{i}")));
                    self.w.emit("Reshape", &[&part, &flat], name(&format!("flat{i}")))
                });
                let q = if packed.is_some() { q.to_owned() } else { split.next()? };
                [q, split.next()?, split.next()?]
            }
            (None, Some(_)) => return None,
        };
        if let Some(bias) = given(3) {
            let third = *self.sizes.get(bias)?.first()? / 3;
            for (i, operand) in operands.iter_mut().enumerate() {
                let part = self.columns(bias, 0, third * i as i64, third * (i as i64 + 1), &name(&format!("bias{i}")));
                *operand = self.w.emit("Add", &[operand, &part], name(&format!("sum{i}")));
            }
        }
        let [q, k, v] = &operands;
        let (past_key, past_value) = (given(6).unwrap_or_default(), given(7).unwrap_or_default());
        self.finish(node, [q, k, v, &bias, past_key, past_value], node.output.clone());
        Some(())
    }

    /// Says whether the table's bytes hold several numbers each: types of less than a byte are unpacked when they are read.
    fn gather_blocks(&mut self, node: &pb::NodeProto) -> Option<()> {
        let (_, kind) = *self.kinds.get(node.input.first()?)?;
        let mut node = node.clone();
        let packed = i64::from(kind == pb::tensor_proto::DataType::Uint8 as i32);
        node.attribute.push(attribute(PACKED, packed));
        self.w.nodes.push(node);
        Some(())
    }

    /// The same as ONNX's, but for the order of its operands. The scale does nothing in onnxruntime either.
    fn rotary(&mut self, node: &pb::NodeProto) -> Option<()> {
        let [x, positions, cos, sin] = <&[String; 4]>::try_from(node.input.as_slice()).ok()?;
        let input = [x, cos, sin, positions].map(String::clone).to_vec();
        self.w.nodes.push(pb::NodeProto { domain: String::new(), input, ..node.clone() });
        Some(())
    }

    /// ONNX's operator between transpositions. Weights are as in ONNX.
    fn channels_last(&mut self, node: &pb::NodeProto, index: usize) -> Option<()> {
        let activation = node.attribute.iter().any(|a| a.name == "activation");
        let by_weight = match node.op_type.as_str() {
            "Conv" | "ConvTranspose" => true,
            "MaxPool" | "AveragePool" | "GlobalAveragePool" | "GlobalMaxPool" | "BatchNormalization" => false,
            _ => return None,
        };
        let like = node.input.get(usize::from(by_weight))?;
        let kernel = node.attribute.iter().find(|a| a.name == "kernel_shape").map(|a| a.ints.len() + 2);
        let rank = self.sizes.get(like).map(Vec::len).or(kernel)? as i64;
        let mut inner = pb::NodeProto { domain: String::new(), ..node.clone() };
        if activation && node.op_type == "Conv" {
            inner.op_type = "FusedConv".into();
            inner.domain = "com.microsoft".into();
        }
        let (x, y) = (node.input.first()?, node.output.first()?);
        if rank < 3 {
            self.w.nodes.push(inner);
            return Some(());
        }
        let first = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
        let last = [0].into_iter().chain(2..rank).chain([1]).collect();
        inner.input[0] = self.transposed(x, first, format!("{y}.first{index}"));
        inner.output[0] = format!("{y}.inner{index}");
        let inner_y = inner.output[0].clone();
        self.w.nodes.push(inner);
        self.transposed(&inner_y, last, y.clone());
        Some(())
    }

    fn transposed(&mut self, x: &str, perm: Vec<i64>, output: String) -> String {
        let output = self.w.emit("Transpose", &[x], output);
        self.w.with("perm", perm);
        output
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
        pb::NodeProto { domain: "com.microsoft".into(), ..super::super::write::node(op_type, inputs, "y") }
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
        let masked = operators(node("Attention", &["x", "w", "b", "w"]));
        assert_eq!(masked[..4], ["Cast", "Sub", "Mul", "Unsqueeze"]);
        assert_eq!(operators(node("RotaryEmbedding", &["x", "at", "cos", "sin"])), ["RotaryEmbedding"]);
        assert_eq!(operators(node("MultiHeadAttention", &["q", "k", "v", "", "mask"])), ["com.microsoftMultiHeadAttention"]);
    }
}
