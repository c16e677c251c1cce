//! `nearside compile model.onnx -o model.plan`

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nearside::{
    compile::Options,
    graph::{plan::Pieces, print},
};

#[derive(clap::Args)]
pub struct Args {
    /// The ONNX model
    model: PathBuf,
    /// Where the plan goes; beside the model, with the extension .plan, if not given
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Size of an open dimension, for a model that makes sense for some sizes only
    #[arg(long = "dimension", value_name = "NAME=SIZE", value_parser = super::parse_dimension)]
    dimensions: Vec<(String, usize)>,
    /// Value of an input that decides shapes or branches, with commas between elements: the plan takes this one alone
    #[arg(long = "value", value_name = "NAME=VALUE", value_parser = parse_value)]
    values: Vec<(String, String)>,
}

pub fn run(args: &Args) -> Result<()> {
    let options = Options { dimensions: args.dimensions.clone(), values: args.values.clone(), ..Options::default() };
    let compiled = super::load_plan(&args.model, &options)?;
    let pieces = Pieces::of(&compiled)?;
    let output = args.output.clone().unwrap_or_else(|| args.model.with_extension("plan"));
    write(&pieces, &output).with_context(|| format!("cannot write {}", output.display()))?;
    println!("{}: {} bytes, {}", output.display(), pieces.len(), print::histogram(&print::operators(&compiled.graph)));
    for note in &compiled.meta.notes {
        println!("note: {note}");
    }
    Ok(())
}

fn parse_value(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').with_context(|| format!("'{text}' is not NAME=VALUE"))?;
    Ok((name.into(), value.into()))
}

fn write(pieces: &Pieces<'_>, output: &Path) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(output)?);
    pieces.iter().try_for_each(|piece| file.write_all(piece))?;
    file.flush()
}
