//! `nearside conformance DIR…`: ONNX's backend tests.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;

use crate::cases::{self, How};

#[derive(clap::Args)]
pub struct Args {
    /// Folders that hold backend tests (model.onnx and test_data_set_*), at any depth
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    #[command(flatten)]
    how: How,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    cases::report(cases::backend_cases(&args.folders)?, &args.how)
}
