//! The command line tool: compile, inspect, run and check models, and serve them.

mod cases;
mod commands;
mod engine;
#[cfg(feature = "serve")]
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "nearside", version, about = "Compiles, inspects, runs, checks and serves ONNX models")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compile an ONNX model to a plan, which the runtime loads without the compiler
    Compile(commands::compile::Args),
    /// Print a model's inputs, outputs and graph, and what each pass of the compiler did
    Inspect(commands::inspect::Args),
    /// Run a model once and print its outputs
    Run(commands::run::Args),
    /// Measure a model; with --tune, choose the fastest ways to compute it on this machine
    Bench(commands::bench::Args),
    /// Run models with a model.json and compare their outputs with those that it names
    Check(commands::check::Args),
    /// Run ONNX's backend tests
    Conformance(commands::conformance::Args),
    /// Run the cases that the parent process asks for
    #[command(hide = true)]
    Worker,
    /// Serve a folder of models over the Open Inference Protocol
    #[cfg(feature = "serve")]
    Serve(serve::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Compile(args) => commands::compile::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Inspect(args) => commands::inspect::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Run(args) => commands::run::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Bench(args) => commands::bench::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Check(args) => commands::check::run(&args),
        Command::Conformance(args) => commands::conformance::run(&args),
        Command::Worker => cases::worker::run().map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(args).map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
