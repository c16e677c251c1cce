//! `nearside check DIR…`: models against the outputs that they must give.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;

use crate::cases::{self, How};

#[derive(clap::Args)]
pub struct Args {
    /// Folders that hold models with a model.json, at any depth
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    #[command(flatten)]
    how: How,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    cases::report(cases::model_cases(&args.folders)?, &args.how)
}
