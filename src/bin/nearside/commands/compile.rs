//! `nearside compile model.onnx -o model.plan`

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nearside::graph::{plan::Pieces, print};

#[derive(clap::Args)]
pub struct Args {
    /// The ONNX model
    model: PathBuf,
    /// Where the plan goes; beside the model, with the extension .plan, if not given
    #[arg(short, long)]
    output: Option<PathBuf>,
    #[command(flatten)]
    settled: super::Settled,
}

pub fn run(args: &Args) -> Result<()> {
    let compiled = super::load_plan(&args.model, &args.settled.options())?;
    let pieces = Pieces::of(&compiled)?;
    let output = args.output.clone().unwrap_or_else(|| args.model.with_extension("plan"));
    write(&pieces, &output).with_context(|| format!("cannot write {}", output.display()))?;
    println!("{}: {} bytes, {}", output.display(), pieces.len(), print::histogram(&print::operators(&compiled.graph)));
    for note in &compiled.meta.notes {
        println!("note: {note}");
    }
    Ok(())
}

fn write(pieces: &Pieces<'_>, output: &Path) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(output)?);
    pieces.iter().try_for_each(|piece| file.write_all(piece))?;
    file.flush()
}
