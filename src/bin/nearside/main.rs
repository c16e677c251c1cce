//! The command line tool: compile, inspect and run models, and serve them.

mod commands;
#[cfg(feature = "serve")]
mod serve;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "nearside", version, about = "Compiles, inspects, runs and serves ONNX models")]
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
    /// Serve a folder of models over the Open Inference Protocol
    #[cfg(feature = "serve")]
    Serve(serve::Args),
}

fn main() -> std::process::ExitCode {
    let result = match Cli::parse().command {
        Command::Compile(args) => commands::compile::run(&args),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Run(args) => commands::run::run(&args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(args),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
