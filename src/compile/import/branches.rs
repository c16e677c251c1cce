//! If nodes whose condition follows from constants and shapes: the branch that is taken replaces them.
//!
//! Exporters write such nodes for what depends on a dimension, and the other branch then often does not even fit the shapes: tract, which
//! infers both, would refuse the model.

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

use tract_onnx::{pb, tract_core::internal::DatumType};

use super::{proto, type_model, weights, whole, write};
use crate::compile::Options;

/// Conditions that are nested deeper stay.
const MAX_ROUNDS: usize = 32;

/// Replaces what can be replaced. What cannot stays as it is.
pub(super) fn resolve(model: &mut pb::ModelProto, options: &Options) {
    for _ in 0..MAX_ROUNDS {
        let known = known_conditions(model, options);
        let Some(graph) = model.graph.as_mut().filter(|g| !known.is_empty() && g.node.len() < options.limits.nodes) else {
            break;
        };
        let nodes = core::mem::take(&mut graph.node);
        for node in nodes {
            match known.get(node.input.first().map_or("", String::as_str)) {
                Some(&taken) if node.op_type == "If" => splice(graph, node, taken),
                _ => graph.node.push(node),
            }
        }
        proto::make_names_unique(graph);
    }
}

/// The values of those conditions that are known, by name.
fn known_conditions(model: &pb::ModelProto, options: &Options) -> BTreeMap<String, bool> {
    let mut known = BTreeMap::new();
    let Some(graph) = &model.graph else { return known };
    let mut producers: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, node) in graph.node.iter().enumerate() {
        producers.extend(node.output.iter().filter(|o| !o.is_empty()).map(|o| (o.as_str(), i)));
    }
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    let mut needed: BTreeSet<usize> = BTreeSet::new();
    for condition in graph.node.iter().filter(|n| n.op_type == "If").filter_map(|n| n.input.first()) {
        let mut ancestors = BTreeSet::new();
        let mut open = Vec::from([condition.as_str()]);
        while let Some(index) = open.pop().map(|name| producers.get(name).copied()) {
            if let Some(index) = index.filter(|i| ancestors.insert(*i)) {
                open.extend(graph.node[index].input.iter().map(String::as_str));
            }
        }
        // A condition that waits for another branch is known in a later round, if at all.
        if !ancestors.iter().any(|i| has_body(&graph.node[*i])) {
            wanted.insert(condition);
            needed.extend(ancestors);
        }
    }
    if wanted.is_empty() {
        return known;
    }
    let reads: BTreeSet<&str> =
        needed.iter().flat_map(|i| &graph.node[*i].input).map(String::as_str).chain(wanted.iter().copied()).collect();
    let identity = |name: &&str| write::node("Identity", &[name], &format!("{name}/condition"));
    let mut nodes: Vec<pb::NodeProto> = needed.iter().map(|i| graph.node[*i].clone()).collect();
    nodes.extend(wanted.iter().map(identity));
    let mut part = pb::GraphProto {
        node: nodes,
        input: graph.input.clone(),
        initializer: graph.initializer.iter().filter(|t| reads.contains(t.name.as_str())).cloned().collect(),
        output: wanted.iter().map(|n| pb::ValueInfoProto { name: format!("{n}/condition"), ..Default::default() }).collect(),
        ..Default::default()
    };
    if weights::detach(&mut part, &options.external_data).is_err() {
        return known;
    }
    let part = pb::ModelProto {
        ir_version: model.ir_version,
        opset_import: model.opset_import.clone(),
        graph: Some(part),
        ..Default::default()
    };
    let Ok(typed) = type_model(&whole::keeping_all(), &part, &options.limits) else { return known };
    for (name, outlet) in wanted.into_iter().zip(&typed.outputs) {
        let Some(value) = typed.outlet_fact(*outlet).ok().and_then(|f| f.konst.clone()) else { continue };
        if value.datum_type() == DatumType::Bool
            && let [byte] = value.as_bytes()
        {
            known.insert(name.to_owned(), *byte != 0);
        }
    }
    known
}

fn has_body(node: &pb::NodeProto) -> bool {
    node.attribute.iter().any(|a| a.g.is_some() || !a.graphs.is_empty())
}

/// Puts the nodes of a branch where the If was.
fn splice(graph: &mut pb::GraphProto, mut node: pb::NodeProto, taken: bool) {
    let branch = if taken { "then_branch" } else { "else_branch" };
    let Some(mut body) = node.attribute.iter_mut().find(|a| a.name == branch).and_then(|a| a.g.take()) else { return };
    let names = inner_names(&body, &node.name);
    let outputs = core::mem::take(&mut body.output);
    let nodes = renamed(&mut body, &names, &node.name, graph);
    graph.node.extend(nodes);
    for (from, to) in outputs.iter().zip(&node.output).filter(|(_, to)| !to.is_empty()) {
        graph.node.push(write::node("Identity", &[names.get(&from.name).unwrap_or(&from.name)], to));
    }
}

/// New names, with a prefix, of what a body defines.
pub(super) fn inner_names(body: &pb::GraphProto, prefix: &str) -> BTreeMap<String, String> {
    let defined = body.node.iter().flat_map(|n| &n.output).chain(body.initializer.iter().map(|t| &t.name));
    defined.filter(|n| !n.is_empty()).map(|n| (n.clone(), format!("{prefix}/{n}"))).collect()
}

/// The nodes of a body under new names; its weights go to the graph.
pub(super) fn renamed(
    body: &mut pb::GraphProto,
    names: &BTreeMap<String, String>,
    prefix: &str,
    graph: &mut pb::GraphProto,
) -> Vec<pb::NodeProto> {
    for mut tensor in core::mem::take(&mut body.initializer) {
        tensor.name = names.get(&tensor.name).unwrap_or(&tensor.name).clone();
        graph.initializer.push(tensor);
    }
    let mut nodes = core::mem::take(&mut body.node);
    for inner in &mut nodes {
        inner.name = format!("{prefix}/{}", inner.name);
        rename(inner, names);
    }
    nodes
}

/// Renames what a node reads and writes, in its bodies, too, where these do not define the name anew.
fn rename(node: &mut pb::NodeProto, names: &BTreeMap<String, String>) {
    for name in node.input.iter_mut().chain(&mut node.output) {
        if let Some(new) = names.get(name) {
            name.clone_from(new);
        }
    }
    for body in node.attribute.iter_mut().flat_map(|a| a.g.iter_mut().chain(&mut a.graphs)) {
        let mut inner = names.clone();
        for name in body.input.iter().map(|i| &i.name).chain(body.initializer.iter().map(|t| &t.name)) {
            inner.remove(name);
        }
        for name in body.node.iter().flat_map(|n| &n.output) {
            inner.remove(name);
        }
        body.node.iter_mut().for_each(|n| rename(n, &inner));
        for output in &mut body.output {
            if let Some(new) = inner.get(&output.name) {
                output.name.clone_from(new);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::{
        write::{attribute, node},
        *,
    };

    fn branch(name: &str, operator: &str) -> pb::AttributeProto {
        let output = pb::ValueInfoProto { name: "inner".into(), ..Default::default() };
        let body = pb::GraphProto { node: vec![node(operator, &["x"], "inner")], output: vec![output], ..Default::default() };
        attribute(name, body)
    }

    #[test]
    fn a_known_condition_leaves_one_branch() {
        let flag = pb::TensorProto { name: "flag".into(), data_type: 9, raw_data: vec![0], ..Default::default() };
        let mut choice = node("If", &["flag"], "y");
        choice.attribute = vec![branch("then_branch", "Neg"), branch("else_branch", "Abs")];
        let graph = pb::GraphProto { node: vec![choice], initializer: vec![flag], ..Default::default() };
        let opset = pb::OperatorSetIdProto { domain: String::new(), version: 13 };
        let mut model = pb::ModelProto { opset_import: vec![opset], graph: Some(graph), ..Default::default() };
        resolve(&mut model, &Options::default());
        let nodes = model.graph.unwrap().node;
        let list: Vec<(&str, &str, &str)> = nodes.iter().map(|n| (&*n.op_type, &*n.input[0], &*n.output[0])).collect();
        assert_eq!(list, [("Abs", "x", "y/inner"), ("Identity", "y/inner", "y")]);
    }
}
