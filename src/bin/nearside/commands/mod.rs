//! One file per subcommand, and how they read models.

pub mod bench;
pub mod check;
pub mod compile;
pub mod conformance;
pub mod inspect;
mod page;
pub mod run;

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use anyhow::{Context, Result};
use nearside::{
    compile::{Compiled, OnnxReader, Options},
    graph::plan::{self, Plan},
    tensor::AlignedBytes,
};

/// Reads a file, naming it in the error.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// A model file, compiled if it is ONNX. Weights may lie in files of its folder.
pub fn load(path: &Path) -> Result<Compiled> {
    load_with(path, &Options::default())
}

/// As [`load`]; the options are for ONNX files.
pub fn load_with(path: &Path, options: &Options) -> Result<Compiled> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut head = Vec::new();
    file.by_ref().take(16).read_to_end(&mut head)?;
    if !plan::is_plan(&head) {
        return compile_file(path, &mut file, &head, options).with_context(|| path.display().to_string());
    }
    let plan = load_plan_file(path).with_context(|| path.display().to_string())?;
    let settled = !options.values.is_empty() || !options.dimensions.is_empty();
    anyhow::ensure!(
        !settled,
        "{} is a plan: values and dimensions are settled when the ONNX model is compiled; give that model",
        path.display()
    );
    Ok(plan)
}

fn load_plan_file(path: &Path) -> Result<Compiled> {
    Ok(plan::read(AlignedBytes::copy_of(&std::fs::read(path)?))?.into())
}

/// Compiles what follows `head`, and what the model needs of other files; nothing is held twice.
fn compile_file(path: &Path, file: &mut File, head: &[u8], options: &Options) -> Result<Compiled> {
    let mut reader = OnnxReader::new(file.metadata()?.len(), &options.limits)?;
    reader.push(head)?;
    pieces(file, |piece| Ok(reader.push(piece)?))?;
    let mut model = reader.finish()?;
    for needed in model.needed().to_vec() {
        let mut data = open_beside(path, &needed.path)?;
        data.seek(SeekFrom::Start(needed.start))?;
        let mut at = needed.start;
        pieces(&mut data.take(needed.len as u64), |piece| {
            model.supply(&needed.path, at, piece)?;
            at += piece.len() as u64;
            Ok(())
        })?;
    }
    Ok(model.compile(options)?)
}

/// Opens a file in the model's folder; not one elsewhere to which a link leads.
fn open_beside(model: &Path, path: &str) -> Result<File> {
    let folder = model.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let place = folder.join(path);
    let real = place.canonicalize().with_context(|| format!("cannot read {}, where weights are", place.display()))?;
    let inside = folder.canonicalize().is_ok_and(|folder| real.starts_with(folder));
    anyhow::ensure!(inside, "{} leads out of the model's folder", place.display());
    File::open(&real).with_context(|| format!("cannot read {}", place.display()))
}

/// What of a model is settled when it is compiled.
#[derive(clap::Args)]
pub struct Settled {
    /// Size of an open dimension, for a model that makes sense for some sizes only
    #[arg(long = "dimension", value_name = "NAME=SIZE", value_parser = parse_dimension)]
    dimensions: Vec<(String, usize)>,
    /// Value of an input that decides shapes or branches, with commas between elements: the plan takes this one alone
    #[arg(long = "value", value_name = "NAME=VALUE", value_parser = parse_value)]
    values: Vec<(String, String)>,
}

impl Settled {
    fn options(&self) -> Options {
        Options { dimensions: self.dimensions.clone(), values: self.values.clone(), ..Options::default() }
    }

    fn is_empty(&self) -> bool {
        self.dimensions.is_empty() && self.values.is_empty()
    }
}

/// `NAME=VALUE`.
fn parse_value(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').with_context(|| format!("'{text}' is not NAME=VALUE"))?;
    Ok((name.into(), value.into()))
}

/// `NAME=SIZE`.
fn parse_dimension(text: &str) -> Result<(String, usize)> {
    let (name, size) = text.split_once('=').with_context(|| format!("'{text}' is not NAME=SIZE"))?;
    Ok((name.into(), size.parse().with_context(|| format!("'{size}' is not a size"))?))
}

fn pieces(source: &mut impl Read, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(()),
            n => take(&buffer[..n])?,
        }
    }
}

/// The model's plan; an error that says why, if it has none.
pub fn load_plan(path: &Path, options: &Options) -> Result<Plan> {
    match load_with(path, options)? {
        Compiled::Plan { plan, .. } => Ok(plan),
        Compiled::Fallback { report, .. } => anyhow::bail!(
            "{} has no plan{} Pages can load the ONNX file itself",
            path.display(),
            match report.fallback_operators.as_slice() {
                [] => format!(". {}", report.notes.join(" ")),
                operators => format!(": it uses {}, which the runtime lacks.", operators.join(", ")),
            }
        ),
    }
}
