//! `nearside inspect model.onnx --passes`

use std::path::PathBuf;

use anyhow::Result;
use nearside::{
    compile::{Compiled, Report},
    graph::print,
    runtime::{DimInfo, PortInfo},
};

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
}

pub fn run(args: &Args) -> Result<()> {
    match super::load(&args.model)? {
        Compiled::Plan { plan, report } => {
            print_report(&report, args.passes);
            if args.graph {
                print!("{}", print::print(&plan.graph));
            } else {
                let session = nearside::runtime::Session::new(plan)?;
                print_ports(session.inputs(), session.outputs());
                println!("nodes   {}", print::histogram(session.graph()));
                println!("weights {} bytes", session.memory().weights);
            }
        }
        Compiled::Fallback { model, report } => {
            print_report(&report, args.passes);
            print_ports(model.inputs(), model.outputs());
            println!("runs on the fallback executor, for the operators {}", report.fallback_operators.join(", "));
        }
    }
    Ok(())
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
