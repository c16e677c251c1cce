//! `nearside check DIR…`: models against the outputs that they must give.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;

use crate::{
    cases::{self, Format, Limits},
    engine::Executor,
};

#[derive(clap::Args)]
pub struct Args {
    /// Folders that hold models with a model.json, at any depth
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Who runs the models
    #[arg(long, value_enum, default_value = "auto")]
    executor: Executor,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    limits: Limits,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let results = cases::run(cases::model_cases(&args.folders)?, args.executor, &args.limits)?;
    Ok(if cases::print(&results, &args.format)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
