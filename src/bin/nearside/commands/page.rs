//! `nearside inspect --html`: the graph before and after the passes, drawn, with time per node, as one file that needs nothing else.

use anyhow::{Context, Result};
use nearside::{
    Tensor,
    compile::Report,
    graph::{Graph, Port, ValueId, plan::Plan, print},
    runtime::{self, DimInfo, NodeProfile, PortInfo, Session},
};
use serde_json::{Value, json};

const TEMPLATE: &str = include_str!("inspect.html");

/// Runs of which the fastest times are shown.
const RUNS: usize = 10;

/// The page. Times are of this machine, for inputs of zeros whose open dimensions are 1, or as `dimensions` say.
pub fn html(title: &str, plan: Plan, report: &Report, dimensions: &[(String, usize)]) -> Result<String> {
    let before = sources(report, &plan.graph);
    let mut after = nodes(&plan);
    let notes = report.notes.clone();
    let mut session = Session::new(plan)?;
    let times = measure(&mut session, dimensions);
    let notes: Vec<String> = notes.into_iter().chain(times.as_ref().err().map(|e| format!("It was not run: {e:#}."))).collect();
    for time in times.iter().flatten() {
        let node = &mut after["nodes"][time.index];
        node["ms"] = json!(time.min_ms);
        node["macs"] = json!(time.macs);
        node["bytes"] = json!(time.bytes);
    }
    let passes: Vec<Value> = report.passes.iter().map(|p| json!({ "name": p.name, "changes": p.changes })).collect();
    let data = json!({ "title": title, "notes": notes, "passes": passes, "before": before, "after": after });
    // Nothing in the data may end the script element that holds it.
    Ok(TEMPLATE.replacen("DATA", &data.to_string().replace('<', "\\u003c"), 1))
}

fn sources(report: &Report, graph: &Graph) -> Value {
    let nodes: Vec<Value> = report
        .sources
        .iter()
        .map(|s| json!({ "name": s.name, "op": s.op, "text": s.name, "inputs": s.inputs, "outputs": s.outputs }))
        .collect();
    let value = |p: &Port| p.name.clone();
    json!({ "nodes": nodes, "inputs": ports(graph, &graph.inputs, value), "outputs": ports(graph, &graph.outputs, value) })
}

fn nodes(plan: &Plan) -> Value {
    let graph = &plan.graph;
    let name = |v: &ValueId| format!("%{}", v.0);
    let node = |(i, node): (usize, &nearside::graph::Node)| {
        let fused: Vec<Value> =
            plan.meta.origins.get(i).into_iter().flatten().map(|o| json!({ "op": o.op, "name": o.name })).collect();
        json!({
            "name": node.name,
            "op": node.op.name(),
            "text": print::attributes(&node.op).trim_matches(['<', '>']),
            "type": node.outputs.first().map(|v| type_of(graph, *v)),
            "inputs": node.inputs.iter().map(name).collect::<Vec<_>>(),
            "outputs": node.outputs.iter().map(name).collect::<Vec<_>>(),
            "fused": fused,
        })
    };
    let nodes: Vec<Value> = graph.nodes.iter().enumerate().map(node).collect();
    let value = |p: &Port| name(&p.value);
    json!({ "nodes": nodes, "inputs": ports(graph, &graph.inputs, value), "outputs": ports(graph, &graph.outputs, value) })
}

/// Inputs or outputs; `value` is what nodes call them.
fn ports(graph: &Graph, ports: &[Port], value: impl Fn(&Port) -> String) -> Vec<Value> {
    ports.iter().map(|p| json!({ "name": p.name, "value": value(p), "type": type_of(graph, p.value) })).collect()
}

fn type_of(graph: &Graph, value: ValueId) -> String {
    print::type_text(&graph.value(value).ty, &graph.symbols)
}

fn measure(session: &mut Session, dimensions: &[(String, usize)]) -> Result<Vec<NodeProfile>> {
    let inputs: Vec<(String, Tensor)> = session.inputs().iter().map(|port| zeros(port, dimensions)).collect::<Result<_>>()?;
    let views: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect();
    let start = std::time::Instant::now();
    Ok(runtime::profile(session, &views, RUNS, || start.elapsed().as_secs_f64() * 1e3)?)
}

fn zeros(port: &PortInfo, dimensions: &[(String, usize)]) -> Result<(String, Tensor)> {
    let size = |dim: &DimInfo| match dim {
        DimInfo::Fixed(n) => *n,
        DimInfo::Symbol(name) => dimensions.iter().find(|(n, _)| n == name).map_or(1, |(_, size)| *size),
    };
    let shape: Vec<usize> = port.shape.iter().map(size).collect();
    let tensor = Tensor::zeros(port.dtype, &shape).with_context(|| format!("input '{}'", port.name))?;
    Ok((port.name.clone(), tensor))
}
