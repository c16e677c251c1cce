//! Operators that ONNX defines by others, and that become those before types are inferred: a recurrence is a Scan, and attention with graphs
//! inside is what these say between two products.

use alloc::{borrow::ToOwned, format, string::String, vec, vec::Vec};

use tract_onnx::pb;

use super::{branches, trees, write::Writer};

/// Expands the nodes of the graph and of those inside it.
pub(super) fn expand(graph: &mut pb::GraphProto) {
    for body in graph.node.iter_mut().flat_map(|n| &mut n.attribute).flat_map(|a| a.g.iter_mut().chain(&mut a.graphs)) {
        expand(body);
    }
    let concerned = |n: &pb::NodeProto| matches!(n.op_type.as_str(), "LinearAttention" | "FlexAttention" | "TreeEnsemble");
    if !graph.node.iter().any(concerned) {
        return;
    }
    for node in core::mem::take(&mut graph.node) {
        let mut writer = Named { prefix: node.output.first().cloned().unwrap_or_default(), ..Named::default() };
        let done = match (node.domain.as_str(), node.op_type.as_str()) {
            ("" | "ai.onnx" | "com.microsoft", "LinearAttention") => linear(&mut writer, &node),
            ("ai.onnx.ml", "TreeEnsemble") => ensemble(&mut writer, &node),
            ("ai.onnx.preview", "FlexAttention") => flex(&mut writer, &node, graph),
            _ => None,
        };
        match done {
            Some(()) => {
                graph.node.append(&mut writer.w.nodes);
                graph.initializer.append(&mut writer.w.constants);
            }
            None => graph.node.push(node),
        }
    }
}

/// Trees of float64 answer in float64, which those of the older form never do.
fn ensemble(w: &mut Named, node: &pb::NodeProto) -> Option<()> {
    let mut older = trees::older(node)?;
    let output = older.output.first()?.clone();
    let double = trees::are_double(node);
    if double {
        older.output = vec![format!("{}/single", w.prefix)];
    }
    let single = older.output.first()?.clone();
    w.w.nodes.push(older);
    if double {
        w.w.emit("Cast", &[&single], output);
        w.w.with("to", i64::from(pb::tensor_proto::DataType::Double as i32));
    }
    Some(())
}

/// Nodes in the making, whose values are named after the node that they stand for.
#[derive(Default)]
struct Named {
    prefix: String,
    w: Writer,
}

impl Named {
    fn node(&mut self, op_type: &str, inputs: &[&str], name: &str) -> String {
        self.w.emit(op_type, inputs, format!("{}/{name}", self.prefix))
    }

    fn ints(&mut self, values: &[i64], name: &str) -> String {
        self.w.ints(format!("{}/{name}", self.prefix), values)
    }

    fn float(&mut self, value: f32, name: &str) -> String {
        self.w.float(format!("{}/{name}", self.prefix), value)
    }

    /// The sizes of x from axis `start` to `end`.
    fn sizes(&mut self, x: &str, start: i64, end: i64, name: &str) -> String {
        let shape = self.node("Shape", &[x], &format!("{name}.shape"));
        let [start, end, axis] =
            [("start", start), ("end", end), ("axis", 0)].map(|(part, v)| self.ints(&[v], &format!("{name}.{part}")));
        self.node("Slice", &[&shape, &start, &end, &axis], name)
    }

    /// x under a shape that is made of lists.
    fn reshape(&mut self, x: &str, parts: &[&str], name: &str) -> String {
        let shape = self.node("Concat", parts, &format!("{name}.to"));
        self.w.with("axis", 0);
        self.node("Reshape", &[x, &shape], name)
    }

    fn unsqueeze(&mut self, x: &str, axis: i64, name: &str) -> String {
        let axes = self.ints(&[axis], &format!("{name}.axes"));
        self.node("Unsqueeze", &[x, &axes], name)
    }

    /// x divided by the root of a size, or multiplied by a given scale.
    fn scaled(&mut self, x: &str, scale: Option<f32>, size: &str) -> String {
        if let Some(scale) = scale {
            let scale = self.float(scale, "scale");
            return self.node("Mul", &[x, &scale], "scaled");
        }
        let size = self.node("Cast", &[size], "size");
        self.w.with("to", 1);
        let root = self.node("Sqrt", &[&size], "root");
        self.node("Div", &[x, &root], "scaled")
    }
}

fn operand(node: &pb::NodeProto, i: usize) -> Option<&str> {
    node.input.get(i).filter(|v| !v.is_empty()).map(String::as_str)
}

fn attribute<'a>(node: &'a pb::NodeProto, name: &str) -> Option<&'a pb::AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

/// The recurrence `S = exp(g)·S + β·k⊗(v − S·k)`, `y = q·S`, step by step.
fn linear(w: &mut Named, node: &pb::NodeProto) -> Option<()> {
    let heads = |name: &str| attribute(node, name).map(|a| a.i).filter(|h| *h > 0);
    let (many, few) = (heads("q_num_heads")?, heads("kv_num_heads")?);
    if many % few != 0 || attribute(node, "state_window").is_some_and(|a| a.i != 0) {
        return None;
    }
    let rule = attribute(node, "update_rule").map_or(&b"gated_delta"[..], |a| &a.s);
    let (gated, delta) = match rule {
        b"linear" => (false, false),
        b"gated" => (true, false),
        b"delta" => (false, true),
        b"gated_delta" => (true, true),
        _ => return None,
    };
    let (q, k, v) = (operand(node, 0)?, operand(node, 1)?, operand(node, 2)?);
    let split = |w: &mut Named, x: &str, heads: i64, name: &str| {
        let shape = w.ints(&[0, 0, heads, -1], &format!("{name}.to"));
        w.node("Reshape", &[x, &shape], name)
    };
    // Queries of the heads that share a key are rows of one product.
    let grouped = w.ints(&[0, 0, few, many / few, -1], "queries.to");
    let queries = w.node("Reshape", &[q, &grouped], "queries");
    let (keys, values) = (split(w, k, few, "keys"), split(w, v, few, "values"));
    let size = w.sizes(&keys, 3, 4, "key_size");
    let queries = w.scaled(&queries, attribute(node, "scale").map(|a| a.f).filter(|s| *s != 0.0), &size);
    let state = match operand(node, 3) {
        Some(past) => past.to_owned(),
        None => {
            let batch = w.sizes(&keys, 0, 1, "batch");
            let heads = w.ints(&[few], "heads");
            let width = w.sizes(&values, 3, 4, "value_size");
            let shape = w.node("Concat", &[&batch, &heads, &size, &width], "state_shape");
            w.w.with("axis", 0);
            w.node("ConstantOfShape", &[&shape], "zeros")
        }
    };
    let mut along = vec![queries, keys, values];
    if gated {
        along.push(split(w, operand(node, 4)?, few, "decays"));
    }
    if delta {
        // One rate for all heads, or one for each.
        let shape = w.ints(&[0, 0, -1, 1], "rates.to");
        along.push(w.node("Reshape", &[operand(node, 5)?, &shape], "rates"));
    }

    let mut body = Named { prefix: format!("{}/step", w.prefix), ..Named::default() };
    let name = |part: &str| format!("{}/step/{part}", node.output[0]);
    let key = body.unsqueeze(&name("key"), -1, "column");
    let mut update = body.unsqueeze(&name("value"), -2, "row");
    let mut state_now = name("state");
    if gated {
        let decay = body.node("Exp", &[&name("decay")], "kept");
        let decay = body.unsqueeze(&decay, -1, "kept.column");
        state_now = body.node("Mul", &[&state_now, &decay], "decayed");
    }
    if delta {
        let row = body.unsqueeze(&name("key"), -2, "key.row");
        let known = body.node("MatMul", &[&row, &state_now], "known");
        let news = body.node("Sub", &[&update, &known], "news");
        let rate = body.unsqueeze(&name("rate"), -1, "rate.row");
        update = body.node("Mul", &[&news, &rate], "update");
    }
    let outer = body.node("Mul", &[&key, &update], "outer");
    let next = body.node("Add", &[&state_now, &outer], "next");
    let y = body.node("MatMul", &[&name("query"), &next], "y");
    let port = |name: String| pb::ValueInfoProto { name, ..Default::default() };
    let mut inputs = vec![port(name("state")), port(name("query")), port(name("key")), port(name("value"))];
    inputs.extend(gated.then(|| port(name("decay"))));
    inputs.extend(delta.then(|| port(name("rate"))));
    let graph = pb::GraphProto {
        name: "step".into(),
        node: body.w.nodes,
        initializer: body.w.constants,
        input: inputs,
        output: vec![port(next), port(y)],
        ..Default::default()
    };
    let count = along.len();
    let operands: Vec<&str> = core::iter::once(&state).chain(&along).map(String::as_str).collect();
    let stacked = w.node("Scan", &operands, "stacked");
    w.w.with("num_scan_inputs", count as i64);
    w.w.with("scan_input_axes", vec![1; count]);
    w.w.with("scan_output_axes", vec![1]);
    w.w.with("body", graph);
    let present = node.output.get(1).filter(|o| !o.is_empty()).cloned().unwrap_or_else(|| format!("{}/present", w.prefix));
    if let Some(scan) = w.w.nodes.last_mut() {
        scan.output = vec![present, stacked.clone()];
    }
    let flat = w.ints(&[0, 0, -1], "flat");
    w.w.emit("Reshape", &[&stacked, &flat], node.output.first()?.clone());
    Some(())
}

/// `prob_mod(softmax(score_mod(Q·Kᵀ·scale)))·V`, where both functions are graphs.
fn flex(w: &mut Named, node: &pb::NodeProto, graph: &mut pb::GraphProto) -> Option<()> {
    let (q, k, v) = (operand(node, 0)?, operand(node, 1)?, operand(node, 2)?);
    let size = w.sizes(q, 3, 4, "head_size");
    let q = w.scaled(q, attribute(node, "scale").map(|a| a.f), &size);
    let (outer, many) = (w.sizes(&q, 0, 3, "outer"), w.sizes(&q, 2, 4, "rows"));
    let (batch, few) = (w.sizes(&q, 0, 1, "batch"), w.sizes(k, 1, 2, "groups"));
    let (keys, width) = (w.sizes(k, 2, 3, "keys"), w.sizes(v, 3, 4, "width"));
    let steps = w.sizes(&q, 2, 3, "steps");
    let open = w.ints(&[-1], "open");
    // The heads that share a key are one axis.
    let q = w.reshape(&q, &[&batch, &few, &open, &many], "query");
    let (k, v) = (w.unsqueeze(k, 2, "key"), w.unsqueeze(v, 2, "value"));
    let k = w.node("Transpose", &[&k], "key.columns");
    w.w.with("perm", vec![0, 1, 2, 4, 3]);
    let scores = w.node("MatMul", &[&q, &k], "product");
    let scores = w.reshape(&scores, &[&outer, &keys], "scores");
    let scores = modified(w, node, graph, "score_mod", scores)?;
    let weights = w.node("Softmax", &[&scores], "weights");
    w.w.with("axis", -1);
    let weights = modified(w, node, graph, "prob_mod", weights)?;
    let weights = w.reshape(&weights, &[&batch, &few, &open, &steps, &keys], "weights.grouped");
    let y = w.node("MatMul", &[&weights, &v], "attended");
    let shape = w.node("Concat", &[&outer, &width], "result.to");
    w.w.with("axis", 0);
    w.w.emit("Reshape", &[&y, &shape], node.output.first()?.clone());
    Some(())
}

/// What the graph of an attribute makes of a value.
fn modified(w: &mut Named, node: &pb::NodeProto, graph: &mut pb::GraphProto, name: &str, x: String) -> Option<String> {
    let Some(mut body) = attribute(node, name).and_then(|a| a.g.clone()) else { return Some(x) };
    let mut names = branches::inner_names(&body, &format!("{}/{name}", w.prefix));
    let [input] = body.input.as_slice() else { return None };
    names.insert(input.name.clone(), x);
    let output = body.output.first()?.name.clone();
    w.w.nodes.append(&mut branches::renamed(&mut body, &names, &format!("{}/{name}", w.prefix), graph));
    Some(names.get(&output).cloned().unwrap_or(output))
}
