//! The native side of `cargo xtask bench --kernels`.

#[cfg(not(target_arch = "wasm32"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use clap::Parser;

    /// Measures kernels, or the operators of plans
    #[derive(Parser)]
    struct Options {
        /// Only kernels whose name contains one of these words, separated by commas
        #[arg(long, default_value = "")]
        filter: String,
        /// Measure the operators of this plan instead
        #[arg(long)]
        plan: Vec<std::path::PathBuf>,
        /// Tune the plans rather than list their operators
        #[arg(long)]
        tune: bool,
    }

    let options = Options::parse();
    let start = std::time::Instant::now();
    let clock = || start.elapsed().as_secs_f64() * 1e3;
    for file in &options.plan {
        println!("{}", file.display());
        let (bytes, say) = (std::fs::read(file)?, |line: &str| println!("{line}"));
        if options.tune { kernel_bench::tune(&bytes, &clock, say)? } else { kernel_bench::profile(&bytes, &clock, say)? }
    }
    if options.plan.is_empty() {
        kernel_bench::run(&options.filter, &clock, |line| println!("{line}"))?;
    }
    Ok(())
}

#[cfg(target_arch = "wasm32")]
fn main() {}
