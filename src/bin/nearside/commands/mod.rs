//! One file per subcommand, and how they read models.

pub mod check;
pub mod compile;
pub mod conformance;
pub mod inspect;
pub mod run;

use std::path::Path;

use anyhow::{Context, Result};
use nearside::{
    compile::{Compiled, Options, compile},
    graph::plan::{self, Plan},
    tensor::AlignedBytes,
};

/// Reads a file, naming it in the error.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// A model file, compiled if it is ONNX.
pub fn load(path: &Path) -> Result<Compiled> {
    let bytes = read(path)?;
    if plan::is_plan(&bytes) {
        let plan = plan::read(AlignedBytes::copy_of(&bytes)).with_context(|| path.display().to_string())?;
        return Ok(Compiled::Plan { plan, report: Default::default() });
    }
    compile(&bytes, &Options::default()).with_context(|| path.display().to_string())
}

/// The model's plan; an error if it only runs on the fallback, which has none.
pub fn load_plan(path: &Path) -> Result<Plan> {
    match load(path)? {
        Compiled::Plan { plan, .. } => Ok(plan),
        Compiled::Fallback { report, .. } => anyhow::bail!(
            "{} has no plan: it uses {}, which only the fallback executor runs; load the ONNX file itself",
            path.display(),
            report.fallback_operators.join(", ")
        ),
    }
}
