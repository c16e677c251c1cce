//! What `inspect --html` draws: the ONNX model and the graph that it became, as names and texts.

use alloc::{format, string::String, string::ToString, vec::Vec};

use serde::Serialize;

use super::front::Report;
use crate::graph::{
    Graph, Node, Port, ValueId,
    plan::{Origin, Plan},
    print,
};

/// A model before and after the compiler.
#[derive(Serialize)]
pub struct Drawing {
    /// The ONNX nodes; none where a plan was given.
    pub before: DrawnGraph,
    /// The nodes of the plan.
    pub after: DrawnGraph,
}

/// One graph.
#[derive(Serialize)]
pub struct DrawnGraph {
    /// The nodes, in the order in which they run.
    pub nodes: Vec<DrawnNode>,
    /// The model's inputs.
    pub inputs: Vec<DrawnPort>,
    /// The model's outputs.
    pub outputs: Vec<DrawnPort>,
}

/// One node.
#[derive(Serialize)]
pub struct DrawnNode {
    /// Its name.
    pub name: String,
    /// Its operator.
    pub op: String,
    /// What is to be read of it beside the operator: its attributes; of an ONNX node, its name.
    pub text: String,
    /// Type of its first result; empty if unknown.
    #[serde(rename = "type")]
    pub result: String,
    /// Names of the values that it reads.
    pub inputs: Vec<String>,
    /// Names of the values that it makes.
    pub outputs: Vec<String>,
    /// The ONNX nodes that it was made of.
    pub fused: Vec<Origin>,
}

/// An input or output of the model.
#[derive(Serialize)]
pub struct DrawnPort {
    /// Its name.
    pub name: String,
    /// What nodes call its value.
    pub value: String,
    /// Its type.
    #[serde(rename = "type")]
    pub result: String,
}

impl Drawing {
    /// Of a plan and what the compiler reported of it.
    pub fn of(plan: &Plan, report: &Report) -> Drawing {
        let graph = &plan.graph;
        let sources = report.sources.iter().map(|source| DrawnNode {
            name: source.name.clone(),
            op: source.op.clone(),
            text: source.name.clone(),
            result: String::new(),
            inputs: source.inputs.clone(),
            outputs: source.outputs.clone(),
            fused: Vec::new(),
        });
        let nodes = graph.nodes.iter().enumerate().map(|(i, node)| drawn(graph, node, plan.meta.origins.get(i)));
        Drawing {
            before: DrawnGraph::new(graph, sources.collect(), |port| port.name.clone()),
            after: DrawnGraph::new(graph, nodes.collect(), |port| value_name(port.value)),
        }
    }
}

impl DrawnGraph {
    /// Nodes with the ports of `graph`, whose values `name` names.
    fn new(graph: &Graph, nodes: Vec<DrawnNode>, name: impl Fn(&Port) -> String) -> DrawnGraph {
        let port = |port: &Port| DrawnPort { name: port.name.clone(), value: name(port), result: type_of(graph, port.value) };
        DrawnGraph { nodes, inputs: graph.inputs.iter().map(port).collect(), outputs: graph.outputs.iter().map(port).collect() }
    }
}

fn drawn(graph: &Graph, node: &Node, origins: Option<&Vec<Origin>>) -> DrawnNode {
    DrawnNode {
        name: node.name.clone(),
        op: node.op.name().into(),
        text: print::attributes(&node.op).trim_matches(['<', '>']).to_string(),
        result: node.outputs.first().map(|value| type_of(graph, *value)).unwrap_or_default(),
        inputs: node.inputs.iter().copied().map(value_name).collect(),
        outputs: node.outputs.iter().copied().map(value_name).collect(),
        fused: origins.cloned().unwrap_or_default(),
    }
}

fn value_name(value: ValueId) -> String {
    format!("%{}", value.0)
}

fn type_of(graph: &Graph, value: ValueId) -> String {
    print::type_text(&graph.value(value).ty, &graph.symbols)
}
