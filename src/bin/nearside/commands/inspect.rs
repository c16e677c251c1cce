//! `nearside inspect model.onnx --passes`

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use nearside::{
    compile::{Compiled, Report},
    graph::print,
    runtime::{DimInfo, PortInfo},
};

use super::page;

#[derive(clap::Args)]
pub struct Args {
    /// The ONNX model or plan
    model: PathBuf,
    /// What each pass of the compiler did
    #[arg(long)]
    passes: bool,
    /// The whole graph, a node per line
    #[arg(long)]
    graph: bool,
    /// Draw the graph before and after the passes, with time per node, in a page of one file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Size of an open dimension for the page's times: NAME=SIZE. Those not given are 1
    #[arg(long = "dimension", value_name = "NAME=SIZE", requires = "html", value_parser = parse_dimension)]
    dimensions: Vec<(String, usize)>,
}

pub fn run(args: &Args) -> Result<()> {
    match super::load(&args.model)? {
        Compiled::Plan { plan, report } => {
            print_report(&report, args.passes);
            if let Some(file) = &args.html {
                let title = args.model.file_name().unwrap_or_default().to_string_lossy();
                let html = page::html(&title, plan, &report, &args.dimensions)?;
                std::fs::write(file, html).with_context(|| format!("cannot write {}", file.display()))?;
                println!("wrote {}", file.display());
            } else if args.graph {
                print!("{}", print::print(&plan.graph));
            } else {
                let session = nearside::runtime::Session::new(plan)?;
                print_ports(session.inputs(), session.outputs());
                println!("nodes   {}", print::histogram(session.graph()));
                println!("weights {} bytes", session.memory().weights);
            }
        }
        Compiled::Fallback { report, .. } if args.html.is_some() => {
            bail!("the model has no plan, so there is no graph to draw: {}", report.notes.join(" "))
        }
        Compiled::Fallback { model, report } => {
            print_report(&report, args.passes);
            print_ports(model.inputs(), model.outputs());
            println!("runs on the fallback executor, for the operators {}", report.fallback_operators.join(", "));
        }
    }
    Ok(())
}

fn parse_dimension(text: &str) -> Result<(String, usize)> {
    let (name, size) = text.split_once('=').with_context(|| format!("'{text}' is not NAME=SIZE"))?;
    Ok((name.into(), size.parse().with_context(|| format!("'{size}' is not a size"))?))
}

fn print_report(report: &Report, passes: bool) {
    for note in &report.notes {
        println!("note: {note}");
    }
    if !passes {
        return;
    }
    for pass in &report.passes {
        println!("pass {} ({} changes)", pass.name, pass.changes.len());
        for change in &pass.changes {
            println!("    {change}");
        }
    }
}

fn print_ports(inputs: &[PortInfo], outputs: &[PortInfo]) {
    for (kind, ports) in [("input ", inputs), ("output", outputs)] {
        for port in ports {
            let dims: Vec<String> = port
                .shape
                .iter()
                .map(|d| match d {
                    DimInfo::Fixed(n) => n.to_string(),
                    DimInfo::Symbol(s) => s.clone(),
                })
                .collect();
            println!("{kind}  {}: {}[{}]", port.name, port.dtype, dims.join("×"));
        }
    }
}
