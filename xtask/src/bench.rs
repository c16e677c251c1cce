//! `cargo xtask bench`: the npm package beside onnxruntime-web, in one browser; the demo page's cold start; or bytes on the wire.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::shell::{self, say};
use crate::{bench_kernels, bench_peers, build, demo, tools};

#[derive(Args)]
pub struct Options {
    /// Print JSON instead of the table
    #[arg(long)]
    json: bool,
    /// The folder with the models, their inputs and references; without one, only the digits models are measured
    #[arg(long, value_name = "DIR")]
    assets: Option<PathBuf>,
    /// Which models, as NAME, NAME:VARIANT or NAME:VARIANT:CASE, separated by commas
    #[arg(long)]
    models: Option<String>,
    /// Which engines, by the name of their file in benches/web/adapters; if none is named, all but litert and tfjs, for which packages are installed and models made
    #[arg(long)]
    engines: Option<String>,
    /// How often each engine opens a fresh page per model; the engines take turns. The demo page is opened 15 times
    #[arg(long)]
    rounds: Option<u32>,
    #[arg(long, value_enum, default_value_t = Browser::Chromium)]
    browser: Browser,
    /// Threads that an engine may use; several numbers, separated by commas, take turns
    #[arg(long, value_delimiter = ',', default_value = "1")]
    threads: Vec<u32>,
    /// Processes that keep a core busy each while models are measured
    #[arg(long, default_value_t = 0)]
    busy: u32,
    /// Print what each operator and the slowest nodes take as well
    #[arg(long)]
    profile: bool,
    /// Open each page twice, in a browser that keeps files, compiled code and plans between, and print what loading and the first run take at both visits
    #[arg(long)]
    again: bool,
    /// Open the demo page with nothing cached and print when its first answer came, step by step
    #[arg(long, conflicts_with_all = ["assets", "models", "engines", "browser", "threads", "busy", "profile", "again"])]
    cold_start: bool,
    /// Print what a page transfers until its first answer, after brotli, beside other runtimes
    #[arg(long, conflicts_with_all = ["assets", "models", "rounds", "browser", "threads", "busy", "profile", "again", "cold_start"])]
    transfer: bool,
    #[command(flatten)]
    kernels: bench_kernels::Options,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Browser {
    Chromium,
    Firefox,
}

impl Browser {
    pub fn name(self) -> &'static str {
        match self {
            Browser::Chromium => "chromium",
            Browser::Firefox => "firefox",
        }
    }
}

pub fn run(options: &Options) -> Result<()> {
    if options.kernels.chosen() {
        return bench_kernels::run(&options.kernels, options.browser);
    }
    tools::browsers()?;
    build::run(&build::Options::default())?;
    demo::server()?;
    let mut node = shell::command("node");
    if options.transfer {
        transfer(options, &mut node)?;
    } else if options.cold_start {
        node.arg("benches/web/cold-start.mjs").arg("--server").arg(shell::target().join("release/nearside"));
    } else {
        compare(options, &mut node)?;
    }
    if let Some(rounds) = options.rounds {
        node.args(["--rounds", &rounds.to_string()]);
    }
    if options.json {
        node.arg("--json");
    }
    shell::run(&mut node)
}

fn transfer(options: &Options, node: &mut Command) -> Result<()> {
    bench_peers::packages()?;
    node.arg("benches/web/transfer/run.mjs").arg("--out").arg(shell::target().join("transfer"));
    if let Some(engines) = &options.engines {
        node.args(["--engines", engines]);
    }
    Ok(())
}

fn compare(options: &Options, node: &mut Command) -> Result<()> {
    let threads: Vec<String> = options.threads.iter().map(u32::to_string).collect();
    node.arg("benches/web/run.mjs").args(["--threads", &threads.join(","), "--busy", &options.busy.to_string()]);
    node.arg("--nearside").arg(shell::target().join("release/nearside"));
    node.args(["--browser", options.browser.name()]);
    for (flag, given) in [("--profile", options.profile), ("--again", options.again)] {
        if given {
            node.arg(flag);
        }
    }
    let assets = match assets(options.assets.as_deref()) {
        Ok(folder) => Some(folder),
        // A folder that was named must be right.
        Err(error) if options.assets.is_some() || std::env::var_os("NEARSIDE_ASSETS").is_some() => return Err(error),
        Err(error) => {
            say(&format!("Measuring the digits models only: {error:#}"));
            None
        }
    };
    if let Some(folder) = &assets {
        node.arg("--assets").arg(folder);
    }
    if options.engines.as_deref().map(bench_peers::named).transpose()? == Some(true) {
        bench_peers::packages()?;
        node.arg("--converted").arg(bench_peers::models(assets.as_deref(), options.models.as_deref())?);
    }
    for (flag, value) in [("--models", &options.models), ("--engines", &options.engines)] {
        if let Some(value) = value {
            node.args([flag, value]);
        }
    }
    Ok(())
}

/// The folder of the test assets: as given, from `NEARSIDE_ASSETS`, or unpacked by the script beside the checkout.
pub fn assets(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(folder) = given.map(Path::to_path_buf).or_else(|| std::env::var_os("NEARSIDE_ASSETS").map(PathBuf::from)) {
        if !folder.join("real").is_dir() {
            bail!("{} has no folder `real`: it does not hold the test assets", folder.display());
        }
        return Ok(folder);
    }
    let script = shell::root().join("../shared/assets.sh");
    if !script.is_file() {
        bail!("the test assets are missing: name their folder with --assets or NEARSIDE_ASSETS");
    }
    Ok(PathBuf::from(shell::output(&mut shell::command(script))?.trim()))
}
