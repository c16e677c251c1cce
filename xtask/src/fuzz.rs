//! `cargo xtask fuzz`: coverage-guided fuzzing, for as long as wanted.

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::shell::{self, say};
use crate::tools;

#[derive(Args)]
pub struct Options {
    /// What is fuzzed
    #[arg(value_enum, default_value = "plan")]
    target: Target,
    /// How long, in seconds
    #[arg(long, default_value_t = 600)]
    seconds: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Target {
    /// The plan reader and the runtime
    Plan,
    /// The ONNX importer, the compiler and the runtime; building it takes some minutes
    Onnx,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Target::Plan => "plan",
            Target::Onnx => "onnx",
        }
    }
}

pub fn run(options: &Options) -> Result<()> {
    let program = tools::cargo_fuzz()?;
    let target = options.target.name();
    // What it finds on the way goes to the build folder: the corpus of the repository stays as small as it is.
    let found = shell::target().join("fuzz").join(target);
    std::fs::create_dir_all(&found)?;
    say(&format!("Fuzzing {target} for {} seconds", options.seconds));
    let mut cargo = shell::command(program);
    // Instrumentation is an unstable option of the compiler, without sanitizers the only one; the code is safe but for the kernels.
    cargo.env("RUSTC_BOOTSTRAP", "1").args(["fuzz", "run", "--sanitizer", "none"]);
    if matches!(options.target, Target::Onnx) {
        cargo.args(["--features", "compiler"]);
    }
    cargo.arg(target);
    cargo.arg(&found).arg(format!("fuzz/corpus/{target}"));
    cargo.args(["--", &format!("-max_total_time={}", options.seconds), "-max_len=8192", "-timeout=10", "-rss_limit_mb=2048"]);
    shell::run(&mut cargo).with_context(|| format!("a crash is in fuzz/artifacts/{target}"))
}
