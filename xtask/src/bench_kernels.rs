//! `cargo xtask bench --kernels`: single kernels beside the speed of their instructions, natively and in a browser.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::bench::Browser;
use crate::shell::{self, say};
use crate::tools;
use crate::wasm::{self, Effort, KERNELS_RELAXED, KERNELS_SIMD, Variant};

#[derive(Args)]
#[group(id = "kernel options")]
pub struct Options {
    /// Measure single kernels instead of models, against the peak of the instructions that they use
    #[arg(long)]
    kernels: bool,
    /// With --kernels: only those whose name contains one of these words, separated by commas
    #[arg(long, default_value = "")]
    filter: String,
    /// Measure the operators of this plan, on invented inputs
    #[arg(long, value_name = "FILE")]
    plan: Vec<PathBuf>,
    /// With --plan: measure the ways to compute each product, and the whole model by the fastest of them
    #[arg(long, requires = "plan")]
    tune: bool,
    /// With --kernels or --plan: measure what is published, link-time optimisation included; building it takes a minute more
    #[arg(long)]
    exact: bool,
    /// With --kernels or --plan: where to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["relaxed", "simd", "native"])]
    on: Vec<Target>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    /// In the browser, with relaxed SIMD
    Relaxed,
    /// In the browser, without
    Simd,
    Native,
}

impl Options {
    pub fn chosen(&self) -> bool {
        self.kernels || !self.plan.is_empty()
    }
}

pub fn run(options: &Options, browser: Browser) -> Result<()> {
    for &target in &options.on {
        match target {
            Target::Relaxed => in_browser(options, KERNELS_RELAXED, browser)?,
            Target::Simd => in_browser(options, KERNELS_SIMD, browser)?,
            Target::Native => natively(options)?,
        }
    }
    Ok(())
}

fn natively(options: &Options) -> Result<()> {
    say("natively");
    let mut cargo = shell::cargo();
    cargo.args(["run", "--quiet", "--release", "--locked", "--package", "kernel-bench", "--", "--filter", &options.filter]);
    options.plan.iter().for_each(|plan| _ = cargo.arg("--plan").arg(plan));
    if options.tune {
        cargo.arg("--tune");
    }
    shell::run(&mut cargo)
}

fn in_browser(options: &Options, variant: Variant, browser: Browser) -> Result<()> {
    tools::browsers()?;
    tools::wasm_target()?;
    tools::npm_packages()?;
    say(variant.file);
    for stage in wasm::stages(&[variant], if options.exact { Effort::Release } else { Effort::Bench })? {
        let mut node = shell::command("node");
        node.arg("benches/kernels/run.mjs").arg("--module").arg(stage);
        node.args(["--browser", browser.name(), "--filter", &options.filter]);
        options.plan.iter().for_each(|plan| _ = node.arg("--plan").arg(plan));
        if options.tune {
            node.arg("--tune");
        }
        shell::run(&mut node)?;
    }
    Ok(())
}
