//! `cargo xtask test`: every check and every test. A failure hides no other: all steps run, the exit status tells.

use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::shell::{self, cargo, npm_tool, run as sh, seconds};
use crate::{bench, build, demo, docs, families, fixtures, size, tools};

#[derive(Args)]
pub struct Options {
    /// Run only the steps whose name contains one of these
    #[arg(value_name = "STEP")]
    only: Vec<String>,
    /// Print the names of the steps
    #[arg(long)]
    list: bool,
}

type Step = (&'static str, fn() -> Result<()>);

/// Steps that share a build follow each other; what a later step needs is built (or found built) by itself. Those before `build` work with
/// what cargo makes for them alone.
const STEPS: &[Step] = &[
    ("format", format),
    ("unit tests", || sh(cargo().args(["test", "--workspace", "--lib", "--bins", "--locked"]))),
    ("clippy", clippy),
    ("clippy wasm", clippy_wasm),
    ("documentation", docs::rustdoc),
    ("native tests", native_tests),
    ("build", || build::run(&build::Options::default())),
    ("size", || families::print(|line| println!("{line}")).and(size::check(|line| println!("{line}")))),
    ("documentation site", || docs::site().and_then(|()| docs::check())),
    ("lint web", || sh(npm_tool("eslint").args(["--max-warnings", "0", "."]))),
    ("types", types),
    // After the build: the types that it checks against include the generated glue's.
    ("package tests", || sh(shell::command("npm").args(["test", "--workspaces", "--if-present"]))),
    ("benchmark tests", || sh(npm_tool("vitest").args(["run", "--root", "benches/web"]))),
    ("package contents", fixtures::package_contents),
    ("fixtures", fixtures::run),
    ("licences", licences),
    ("wasm in Chromium", || wasm_tests(Browser::Chromium, false)),
    ("wasm in Chromium, relaxed", || wasm_tests(Browser::Chromium, true)),
    ("wasm in Firefox", || wasm_tests(Browser::Firefox, false)),
    ("end to end", end_to_end),
];

pub fn run(options: &Options) -> Result<()> {
    let chosen: Vec<&Step> = STEPS
        .iter()
        .filter(|(name, _)| options.only.is_empty() || options.only.iter().any(|part| name.contains(part.as_str())))
        .collect();
    if options.list {
        chosen.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(());
    }
    if chosen.is_empty() {
        bail!("no step has such a name; `cargo xtask test --list` prints them");
    }
    tools::wasm_target()?;
    tools::npm_packages()?;
    let mut background = Background::start(&chosen);

    let results: Vec<(&str, Duration, bool)> = chosen
        .into_iter()
        .map(|(name, step)| {
            println!("\n── {name}");
            let start = Instant::now();
            background.wait_before(name);
            let result = step();
            if let Err(error) = &result {
                println!("{error:#}");
            }
            (*name, start.elapsed(), result.is_ok())
        })
        .collect();

    println!("\n{:<28} {:>14}", "step", "time");
    for (name, time, passed) in &results {
        println!("{name:<28} {:>14}  {}", seconds(*time), if *passed { "passed" } else { "FAILED" });
    }
    println!("{:<28} {:>14}", "", seconds(results.iter().map(|(_, time, _)| *time).sum()));
    let passed = results.iter().filter(|(.., passed)| *passed).count();
    let failed = results.len() - passed;
    println!("{passed} passed, {failed} failed");
    if failed > 0 { std::process::exit(1) } else { Ok(()) }
}

/// The package's build and two tools, begun beside the first steps: their linking and optimising keeps one core busy for minutes.
/// The steps that need them look for themselves whether all is there, so a failure here is reported there.
struct Background(Option<JoinHandle<()>>);

impl Background {
    fn start(chosen: &[&Step]) -> Self {
        let independent = chosen.iter().filter(|(name, _)| Self::is_independent(name)).count();
        let worthwhile = independent > 0 && independent < chosen.len();
        Self(worthwhile.then(|| {
            thread::spawn(|| {
                let _ = build::run(&build::Options::default());
                let _ = tools::cargo_deny();
                let _ = tools::geckodriver();
            })
        }))
    }

    fn is_independent(step: &str) -> bool {
        STEPS.iter().take_while(|(name, _)| *name != "build").any(|(name, _)| *name == step)
    }

    fn wait_before(&mut self, step: &str) {
        if !Self::is_independent(step)
            && let Some(thread) = self.0.take()
        {
            let _ = thread.join();
        }
    }
}

fn format() -> Result<()> {
    tools::rust_component("rustfmt", "fmt")?;
    crate::fmt(true)
}

fn clippy() -> Result<()> {
    tools::rust_component("clippy", "clippy")?;
    sh(cargo().args(["clippy", "--workspace", "--all-targets", "--all-features", "--locked", "--", "-Dwarnings"]))
}

/// What only exists in the browser's build: the bindings and the SIMD kernels.
fn clippy_wasm() -> Result<()> {
    let target = ["--target", "wasm32-unknown-unknown"];
    sh(cargo().args(["clippy", "--package", "nearside", "--lib", "--tests", "--locked"]).args(target).args(["--", "-Dwarnings"]))
}

/// Advisories need a database from the network and change without the code: a scheduled job's matter, not a test's.
fn licences() -> Result<()> {
    sh(shell::command(tools::cargo_deny()?).args(["--all-features", "--locked", "check", "licenses", "bans", "sources"]))
}

/// Everything native, the compiler, the command line tool and the server included; one build of tract serves them all.
fn native_tests() -> Result<()> {
    let mut command = cargo();
    command.args(["test", "--release", "--locked", "--package", "nearside", "--features", "serve"]);
    sh(with_assets(&mut command))
}

fn types() -> Result<()> {
    sh(shell::command("npm").args(["run", "typecheck", "--workspaces", "--if-present"]))?;
    sh(npm_tool("tsc").args(["--noEmit", "--project", "benches/web"]))?;
    sh(shell::command("node").arg("www/docs/check-samples.mjs"))
}

#[derive(Clone, Copy)]
enum Browser {
    Chromium,
    Firefox,
}

fn wasm_tests(browser: Browser, relaxed: bool) -> Result<()> {
    tools::browsers()?;
    let mut command = cargo();
    command.args(["test", "--package", "nearside", "--tests", "--locked", "--target", "wasm32-unknown-unknown"]);
    let program = std::env::current_exe().context("cannot find this program")?;
    let runner = format!("target.wasm32-unknown-unknown.runner=['{}', 'wasm-test-runner']", program.display());
    command.args(["--config", &runner]);
    if relaxed {
        command.args(["--config", "target.wasm32-unknown-unknown.rustflags=['-Ctarget-feature=+relaxed-simd']"]);
        command.arg("--target-dir").arg(shell::target().join("wasm/test-relaxed"));
    }
    for name in ["CHROMEDRIVER", "GECKODRIVER", "SAFARIDRIVER"] {
        command.env_remove(name);
    }
    match browser {
        Browser::Chromium => command.env("CHROMEDRIVER", shell::find("chromedriver").context("chromedriver is missing")?),
        Browser::Firefox => command.env("GECKODRIVER", tools::geckodriver()?),
    };
    // Without this, a file that does not say where it runs would go to Node, which is not what this step is for.
    command.env("WASM_BINDGEN_USE_BROWSER", "1").env("WASM_BINDGEN_TEST_TIMEOUT", "120");
    sh(&mut command)
}

fn end_to_end() -> Result<()> {
    tools::browsers()?;
    build::run(&build::Options::default())?;
    demo::server()?;
    // One after the other, so that nothing else runs beside the tests that look at times.
    ["results", "pages"]
        .map(|project| {
            let mut command = npm_tool("playwright");
            command.args(["test", "--config", "tests/e2e/playwright.config.ts", "--project", project]);
            command.env("NEARSIDE_SERVER", shell::target().join("release/nearside"));
            sh(with_assets(&mut command))
        })
        .into_iter()
        .collect()
}

/// Names the folder of the test assets, where there is one; tests that need it say so when they skip.
fn with_assets(command: &mut std::process::Command) -> &mut std::process::Command {
    if let Ok(folder) = bench::assets(None) {
        command.env::<_, PathBuf>("NEARSIDE_ASSETS", folder);
    }
    command
}
