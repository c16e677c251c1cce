//! `nearside compile model.onnx -o model.plan`

use std::path::PathBuf;

use anyhow::{Context, Result};
use nearside::graph::{plan, print};

#[derive(clap::Args)]
pub struct Args {
    /// The ONNX model
    model: PathBuf,
    /// Where the plan goes; beside the model, with the extension .plan, if not given
    #[arg(short, long)]
    output: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<()> {
    let compiled = super::load_plan(&args.model)?;
    let bytes = plan::write(&compiled)?;
    let output = args.output.clone().unwrap_or_else(|| args.model.with_extension("plan"));
    std::fs::write(&output, &bytes).with_context(|| format!("cannot write {}", output.display()))?;
    println!("{}: {} bytes, {}", output.display(), bytes.len(), print::histogram(&compiled.graph));
    for note in &compiled.meta.notes {
        println!("note: {note}");
    }
    Ok(())
}
