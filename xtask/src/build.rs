//! `cargo xtask build`: everything that the npm package and the demo page need, in order.

use std::fs;

use anyhow::Result;
use clap::Args;

use crate::shell::{self, say, seconds};
use crate::stamp::Stamp;
use crate::wasm::{self, Effort};
use crate::{demo, size, tools};

#[derive(Args, Clone, Default)]
// The demo's options include these, and clap names a group of options after its type.
#[group(id = "build")]
pub struct Options {
    /// Build in seconds, without link-time optimisation: for trying things, not for measuring
    #[arg(long)]
    pub dev: bool,
    /// Leave the ONNX compiler out: pages can then load plans only
    #[arg(long)]
    pub core_only: bool,
}

pub fn run(options: &Options) -> Result<()> {
    let start = std::time::Instant::now();
    tools::wasm_target()?;
    tools::npm_packages()?;
    wasm_artefacts(options)?;
    package()?;
    page()?;
    if !options.dev && !options.core_only {
        size::check(say)?;
    }
    say(&format!("Built in {}", seconds(start.elapsed())));
    Ok(())
}

pub fn wasm_artefacts(options: &Options) -> Result<()> {
    tools::rust_src()?;
    let effort = if options.dev { Effort::Dev } else { Effort::Release };
    let mut variants = vec![wasm::CORE_SIMD, wasm::CORE_RELAXED, wasm::CORE_SIMD_THREADS, wasm::CORE_RELAXED_THREADS];
    if !options.core_only {
        say("Building WebAssembly (the compiler takes some minutes the first time)");
        variants.push(wasm::COMPILER);
    }
    wasm::build(&variants, effort)
}

/// The TypeScript of the npm package.
pub fn package() -> Result<()> {
    let sample = "models/digits.int8.onnx";
    let page = "src/bin/nearside/commands/inspect.html";
    let inputs =
        Stamp::new("pkg").input("pkg")?.input(wasm::out_dir())?.input("package-lock.json")?.input(sample)?.input(page)?;
    npm_build(inputs, "pkg", "pkg/dist/index.js")
}

/// The demo page and the benchmark page, and the plans that they load.
pub fn page() -> Result<()> {
    demo::server()?;
    for (model, plan) in [
        ("digits.int8.onnx", "www/public/digits.int8.plan"),
        ("digits.int8.onnx", "www/bench/plans/digits.int8.plan"),
        ("digits.onnx", "www/bench/plans/digits.plan"),
        ("digits.qop.onnx", "www/bench/plans/digits.qop.plan"),
        ("digits.dyn.onnx", "www/bench/plans/digits.dyn.plan"),
    ] {
        let plan = shell::root().join(plan);
        fs::create_dir_all(plan.parent().unwrap_or(&plan))?;
        let mut compile = shell::command(shell::target().join("release/nearside"));
        compile.arg("compile").arg(format!("models/{model}")).arg("--output").arg(plan);
        shell::quiet("plan", &mut compile)?;
    }
    let inputs = Stamp::new("www").input("www")?.input("models")?.input("benches/web/memory.ts")?.input("pkg/dist")?;
    npm_build(inputs.input("package-lock.json")?, "www", "www/dist/bench/index.html")
}

fn npm_build(inputs: Stamp, workspace: &str, output: &str) -> Result<()> {
    let start = std::time::Instant::now();
    let ran = inputs.guard(&[shell::root().join(output)], || {
        shell::quiet(workspace, shell::command("npm").args(["run", "build", "--workspace", workspace]))
    })?;
    if ran {
        say(&format!("  {workspace}: {}", seconds(start.elapsed())));
    }
    Ok(())
}
