//! `nearside inspect model.onnx --passes`

use std::path::PathBuf;

use anyhow::Result;
use nearside::{
    compile::{Compiled, Inspection, Kind},
    runtime::{DimInfo, PortInfo},
};
use serde_json::{Value, json};

#[derive(clap::Args)]
pub struct Args {
    /// The ONNX model or plan
    model: PathBuf,
    /// What each pass of the compiler did
    #[arg(long)]
    passes: bool,
    /// The whole graph, a node per line
    #[arg(long, conflicts_with = "json")]
    graph: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let compiled = super::load(&args.model)?;
    let inspection = Inspection::of(&compiled);
    let graph = match &compiled {
        Compiled::Plan { plan, .. } if args.graph => Some(&plan.graph),
        _ => None,
    };
    if args.json {
        println!("{:#}", to_json(&inspection, args.passes));
    } else {
        print!("{}", inspection.text(args.passes, graph));
    }
    Ok(())
}

fn to_json(inspection: &Inspection, passes: bool) -> Value {
    let Inspection { inputs, outputs, plan, operators, weights, report } = inspection;
    let ports = |ports: &[(PortInfo, Kind)]| ports.iter().map(port).collect::<Value>();
    let mut out = json!({
        "plan": plan,
        "inputs": ports(inputs),
        "outputs": ports(outputs),
        "operators": operators.iter().map(|(name, n)| (name.to_string(), json!(n))).collect::<Value>(),
        "weights": weights,
        "notes": report.notes,
        "fallbackOperators": report.fallback_operators,
    });
    if passes {
        let pass = |p: &nearside::compile::passes::PassReport| json!({ "name": p.name, "changes": p.changes });
        out["passes"] = report.passes.iter().map(pass).collect();
    }
    out
}

fn port((port, kind): &(PortInfo, Kind)) -> Value {
    let dim = |d: &DimInfo| match d {
        DimInfo::Fixed(n) => json!(n),
        DimInfo::Symbol(s) => json!(s),
    };
    let mut out = json!({
        "name": port.name,
        "type": port.dtype.name(),
        "dims": port.shape.iter().map(dim).collect::<Value>(),
    });
    if *kind != Kind::Tensor {
        out["kind"] = json!(kind.name());
    }
    out
}
