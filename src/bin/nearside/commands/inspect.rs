//! `nearside inspect model.onnx --passes`

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nearside::{
    compile::{Compiled, Inspection, Kind, Options},
    runtime::{DimInfo, PortInfo},
};
use serde_json::{Value, json};

use super::page;

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
    /// Draw the graph before and after the passes, with time per node, in a page of one file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Size of an open dimension for the page's times: NAME=SIZE. Those not given are 1. A model that has a plan for some sizes only is compiled
    /// for these
    #[arg(long = "dimension", value_name = "NAME=SIZE", requires = "html", value_parser = super::parse_dimension)]
    dimensions: Vec<(String, usize)>,
    /// Value of an input for which the model is compiled before it is drawn, as for `compile`
    #[arg(long = "value", value_name = "NAME=VALUE", requires = "html", value_parser = super::parse_value)]
    values: Vec<(String, String)>,
    /// For programs
    #[arg(long, conflicts_with = "html")]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    if let Some(file) = &args.html {
        return draw(args, file);
    }
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

fn draw(args: &Args, file: &Path) -> Result<()> {
    let mut options = Options { values: args.values.clone(), ..Options::default() };
    let mut compiled = super::load_with(&args.model, &options);
    if !matches!(compiled, Ok(Compiled::Plan { .. })) && !args.dimensions.is_empty() {
        options.dimensions.clone_from(&args.dimensions);
        compiled = super::load_with(&args.model, &options);
    }
    let (plan, report) = match compiled? {
        Compiled::Plan { plan, report } => (plan, report),
        Compiled::Fallback { report, .. } => {
            bail!("the model has no plan, so there is no graph to draw: {}", report.notes.join(" "))
        }
    };
    let title = args.model.file_name().unwrap_or_default().to_string_lossy();
    let html = page::html(&title, plan, &report, &args.dimensions)?;
    std::fs::write(file, html).with_context(|| format!("cannot write {}", file.display()))?;
    println!("wrote {}", file.display());
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
        out["passes"] = json!(report.passes);
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
