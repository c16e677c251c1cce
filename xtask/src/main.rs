//! `cargo xtask`: every step that a person would otherwise have to remember. CI calls nothing else.

mod bench;
mod bench_kernels;
mod bench_peers;
mod build;
mod conformance;
mod demo;
mod docs;
mod families;
mod fixtures;
mod fuzz;
mod shell;
mod size;
mod stamp;
mod test;
mod tools;
mod wasm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Builds, tests, measures and shows Nearside")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the WebAssembly files, the npm package and the demo page
    Build(build::Options),
    /// Run every check and every test, and print what passed
    Test(test::Options),
    /// Build, start the server and serve the demo page
    Demo(demo::Options),
    /// Build the documentation site in www/dist/docs and look for dead links
    Docs,
    /// Measure the package beside onnxruntime-web in one browser
    Bench(bench::Options),
    /// Run ONNX's backend tests of the assets and write the table in docs/conformance.md
    Conformance,
    /// Look for bytes that make the plan reader or the importer panic
    Fuzz(fuzz::Options),
    /// Format Rust, TypeScript, CSS and JSON
    Fmt {
        /// Change nothing, fail if something would change
        #[arg(long)]
        check: bool,
    },
    /// Print what visitors download, against budgets.toml, and what of the runtime's code belongs to which operators
    Size,
    /// Run one file of wasm-bindgen tests; cargo calls this
    #[command(hide = true, disable_help_flag = true)]
    WasmTestRunner {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Build(options) => build::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Demo(options) => demo::run(&options),
        Task::Docs => docs::run(),
        Task::Bench(options) => bench::run(&options),
        Task::Conformance => conformance::run(),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Fmt { check } => fmt(check),
        Task::Size => families::print(|line| println!("{line}")).and(size::check(|line| println!("{line}"))),
        Task::WasmTestRunner { arguments } => {
            wasm_bindgen_cli::wasm_bindgen_test_runner::run_cli_with_args([vec!["wasm-test-runner".into()], arguments].concat())
        }
    }
}

fn fmt(check: bool) -> Result<()> {
    tools::npm_packages()?;
    let mut rust = shell::cargo();
    rust.args(["fmt", "--all"]);
    let mut web = shell::npm_tool("prettier");
    web.args(["--log-level", "warn", "."]);
    if check {
        rust.arg("--check");
        web.arg("--check");
    } else {
        web.arg("--write");
    }
    // Both run, so that one look shows everything.
    let rust = shell::run(&mut rust);
    shell::run(&mut web).and(rust)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn every_command_can_be_parsed() {
        super::Cli::command().debug_assert();
    }
}
