//! `cargo xtask bench`: the npm package beside onnxruntime-web, in one browser.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::{build, demo, shell, tools};

#[derive(Args)]
pub struct Options {
    /// Print a JSON array instead of the table
    #[arg(long)]
    json: bool,
    /// The folder with the models, their inputs and references
    #[arg(long, value_name = "DIR")]
    assets: Option<PathBuf>,
    /// Which models, as NAME, NAME:VARIANT or NAME:VARIANT:CASE, separated by commas
    #[arg(long)]
    models: Option<String>,
    /// Which engines, by the name of their file in benches/web/adapters; all of them if none is named
    #[arg(long)]
    engines: Option<String>,
    /// How often each engine opens a fresh page per model; the engines take turns
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    #[arg(long, value_enum, default_value_t = Browser::Chromium)]
    browser: Browser,
    /// Threads that an engine may use
    #[arg(long, default_value_t = 1)]
    threads: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Browser {
    Chromium,
    Firefox,
}

pub fn run(options: &Options) -> Result<()> {
    tools::browsers()?;
    build::run(&build::Options::default())?;
    demo::server()?;
    let mut node = shell::command("node");
    node.arg("benches/web/run.mjs").arg("--assets").arg(assets(options.assets.as_deref())?);
    node.arg("--nearside").arg(shell::target().join("release/nearside"));
    node.args(["--rounds", &options.rounds.to_string(), "--threads", &options.threads.to_string()]);
    node.args(["--browser", if matches!(options.browser, Browser::Chromium) { "chromium" } else { "firefox" }]);
    for (flag, value) in [("--models", &options.models), ("--engines", &options.engines)] {
        if let Some(value) = value {
            node.args([flag, value]);
        }
    }
    if options.json {
        node.arg("--json");
    }
    shell::run(&mut node)
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
