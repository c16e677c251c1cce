//! `nearside bench model.onnx --tune`

use std::{path::PathBuf, time::Instant};

use anyhow::{Result, bail};
use nearside::{
    Limits,
    compile::Demand,
    graph::plan,
    kernels::Team,
    runtime::{Choices, Session, Tuned, Tuner},
};

use super::run::read_inputs;

#[derive(clap::Args)]
pub struct Args {
    /// The ONNX model or plan
    model: PathBuf,
    /// An input as for `nearside run`. Inputs not given are zeros, or the value that the plan is for
    #[arg(short, long = "input", value_name = "NAME[:SHAPE]=FILE")]
    inputs: Vec<String>,
    #[command(flatten)]
    settled: super::Settled,
    /// Threads that share the work
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// How often the model runs
    #[arg(long, default_value_t = 30)]
    runs: usize,
    /// Measure the ways to compute each product, and take the fastest if that makes the model faster
    #[arg(long)]
    tune: bool,
    /// About how long to tune, in milliseconds
    #[arg(long, default_value_t = 5000.0, requires = "tune")]
    budget: f64,
    /// Write the plan with what was found for this machine, if the model became faster
    #[arg(long, value_name = "FILE", requires = "tune")]
    output: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long, requires = "tune")]
    json: bool,
}

/// Milliseconds of one step of tuning: between two of them a program could do other things.
const SLICE_MS: f64 = 1000.0;

pub fn run(args: &Args) -> Result<()> {
    let plan = super::load_plan(&args.model, &args.settled.options())?;
    let (limits, team) = (Limits::default(), Team::spawn(args.threads));
    let choices = Choices::decode(&plan.meta.record, &device(&team), plan.graph.nodes.len());
    let mut session = Session::with_choices(plan.clone(), &limits, team.clone(), choices)?;
    let inputs = read_inputs(&args.inputs, session.inputs(), &Demand::list(&plan.graph))?;
    let views: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect();
    let mut times = Vec::new();
    for _ in 0..args.runs.max(1) {
        let start = Instant::now();
        session.run(&views)?;
        times.push(start.elapsed());
    }
    times.sort();
    if !args.json {
        println!("median {:?}, fastest {:?}", times[times.len() / 2], times[0]);
    }
    if !args.tune {
        return Ok(());
    }
    let start = Instant::now();
    let mut clock = || start.elapsed().as_secs_f64() * 1e3;
    let mut tuner = Tuner::new(plan.clone(), &mut session, &views, args.budget)?;
    while tuner.advance(&mut session, &mut clock, SLICE_MS)? < 1.0 {}
    let tuned = tuner.finish(&mut session);
    print(&tuned, &session, args.json);
    match (&args.output, session.choices()) {
        (Some(path), Some(choices)) if tuned.kept => {
            let mut file = plan::write(&plan)?;
            file.extend(choices.encode(&device(&team)));
            Ok(std::fs::write(path, file)?)
        }
        (Some(path), _) => bail!("{} was not written: no other way was faster by more than noise", path.display()),
        _ => Ok(()),
    }
}

/// What a record is for: this release, on this kind of machine, with so many threads.
fn device(team: &Team) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (version, path) = (env!("CARGO_PKG_VERSION"), nearside::kernels::integer_path());
    format!("nearside {version}, {}, {cores} cores, {path}, {} threads", std::env::consts::ARCH, team.size())
}

fn print(tuned: &Tuned, session: &Session, json: bool) {
    let names: Vec<_> = session.nodes().map(|node| (node.name.to_string(), node.op)).collect();
    if json {
        let nodes: Vec<_> = tuned.nodes.iter().map(|n| {
            let (name, op) = &names[n.index];
            serde_json::json!({
                "name": name, "op": op, "before": { "ms": n.before_ms, "way": n.before.to_string() }, "after": { "ms": n.after_ms, "way": n.after.to_string() },
            })
        }).collect();
        let all = serde_json::json!({
            "kept": tuned.kept, "before": tuned.before_ms, "after": tuned.after_ms, "nodes": nodes,
        });
        println!("{all}");
        return;
    }
    for n in &tuned.nodes {
        let (name, op) = &names[n.index];
        let times = format!("{:>8.3} ms", n.before_ms);
        match n.before == n.after {
            true => println!("{times}               {op} '{name}': {}", n.before),
            false => println!("{times} → {:>8.3} ms {op} '{name}': {} → {}", n.after_ms, n.before, n.after),
        }
    }
    let verdict = if tuned.kept { "kept" } else { "not kept" };
    match tuned.before_ms > 0.0 {
        true => println!("whole model: {:.3} ms → {:.3} ms, {verdict}", tuned.before_ms, tuned.after_ms),
        false => println!("no other way was faster for any node"),
    }
}
