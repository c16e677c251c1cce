//! `nearside inspect --html`: the graph before and after the passes, drawn, with time per node, as one file that needs nothing else.

use anyhow::{Context, Result};
use nearside::{
    Tensor,
    compile::{Demand, Drawing, Report},
    graph::plan::Plan,
    runtime::{self, DimInfo, NodeProfile, PortInfo, Session},
};
use serde_json::json;

/// The same as `npx nearside inspect --html` fills (`pkg/ts/tools/cli/page.ts`), with data of the same form.
const TEMPLATE: &str = include_str!("inspect.html");

/// Runs of which the fastest times are shown.
const RUNS: usize = 10;

/// The page. Times are of this machine, for the values that the plan is for and else zeros, whose open dimensions are 1, or as `dimensions` say.
pub fn html(title: &str, plan: Plan, report: &Report, dimensions: &[(String, usize)]) -> Result<String> {
    let Drawing { before, after } = Drawing::of(&plan, report);
    let mut after = json!(after);
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
    let data = json!({ "title": title, "notes": notes, "passes": report.passes, "before": before, "after": after });
    // Nothing in the data may end the script element that holds it.
    Ok(TEMPLATE.replacen("DATA", &data.to_string().replace('<', "\\u003c"), 1))
}

fn measure(session: &mut Session, dimensions: &[(String, usize)]) -> Result<Vec<NodeProfile>> {
    let demands = Demand::list(session.graph());
    let input = |port: &PortInfo| match demands.iter().find(|demand| demand.input == port.name) {
        Some(demand) => Ok((port.name.clone(), demand.value.clone())),
        None => zeros(port, dimensions),
    };
    let inputs: Vec<(String, Tensor)> = session.inputs().iter().map(input).collect::<Result<_>>()?;
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
