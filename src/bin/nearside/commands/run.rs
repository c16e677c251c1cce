//! `nearside run model.onnx --input x=x.bin`

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use nearside::{
    Tensor,
    compile::{Compiled, Demand},
    kernels::Team,
    runtime::{self, DimInfo, PortInfo, Session},
};

use crate::engine::Engine;

#[derive(clap::Args)]
pub struct Args {
    /// The ONNX model or plan
    model: PathBuf,
    /// An input as raw little-endian bytes: NAME=FILE, or NAME:2x3=FILE where the shape is not fixed. Inputs not given are zeros, or the value
    /// that the plan is for
    #[arg(short, long = "input", value_name = "NAME[:SHAPE]=FILE")]
    inputs: Vec<String>,
    #[command(flatten)]
    settled: super::Settled,
    /// How many of each output's elements to print
    #[arg(long, default_value_t = 16)]
    elements: usize,
    /// Run this many times and print the median and fastest time
    #[arg(long, alias = "runs", default_value_t = 1)]
    repeat: usize,
    /// Threads that share the work
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Print what each operator and the slowest nodes took, in the fastest of the runs
    #[arg(long)]
    profile: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let compiled = if args.settled.is_empty() {
        super::load(&args.model)?
    } else {
        super::load_plan(&args.model, &args.settled.options())?.into()
    };
    let demands = match &compiled {
        Compiled::Plan { plan, .. } => Demand::list(&plan.graph),
        Compiled::Fallback { .. } => Vec::new(),
    };
    let mut model = Engine::of(compiled, Team::spawn(args.threads))?;
    let inputs = read_inputs(&args.inputs, model.inputs(), &demands)?;
    let views: Vec<_> = inputs.iter().map(|(n, t)| (n.as_str(), t.view())).collect();
    let mut times = Vec::new();
    let mut outputs = Vec::new();
    for _ in 0..args.repeat.max(1) {
        let start = std::time::Instant::now();
        outputs = model.run(&views)?;
        times.push(start.elapsed());
    }
    times.sort();
    println!("median {:?}, fastest {:?}", times[times.len() / 2], times[0]);
    for (name, tensor) in outputs {
        println!("{name}: {}", tensor.view().describe());
        println!("    {}", elements(&tensor, args.elements));
    }
    match (&mut model, args.profile) {
        (Engine::Plan(session), true) => profile(session, &inputs, args.repeat),
        (Engine::Resident(_), true) => bail!("only models that run on the light runtime can be profiled"),
        _ => Ok(()),
    }
}

/// Prints the fastest time of every operator kind and of the slowest nodes.
fn profile(session: &mut Session, inputs: &[(String, Tensor)], repeat: usize) -> Result<()> {
    let views: Vec<_> = inputs.iter().map(|(n, t)| (n.as_str(), t.view())).collect();
    let start = std::time::Instant::now();
    let mut nodes = runtime::profile(session, &views, repeat, || start.elapsed().as_secs_f64() * 1e3)?;
    let mut operators = std::collections::BTreeMap::<&str, (usize, f64, u64)>::new();
    for node in &nodes {
        let entry = operators.entry(node.op).or_default();
        *entry = (entry.0 + 1, entry.1 + node.min_ms, entry.2 + node.macs);
    }
    let total: f64 = nodes.iter().map(|n| n.min_ms).sum();
    let line = |ms: f64, macs: u64, what: String| {
        let speed = if macs > 0 { format!("{:.1}", macs as f64 / ms / 1e6) } else { String::new() };
        println!("{:>10.1} µs {:>5.1} % {speed:>7}  {what}", ms * 1e3, ms / total * 100.0);
    };
    println!("      time          of all  GMAC/s");
    let mut operators: Vec<_> = operators.into_iter().collect();
    operators.sort_by(|a, b| b.1.1.total_cmp(&a.1.1));
    for (op, (count, ms, macs)) in operators {
        line(ms, macs, format!("{op}×{count}"));
    }
    nodes.sort_by(|a, b| b.min_ms.total_cmp(&a.min_ms));
    for node in nodes.iter().take(20) {
        line(node.min_ms, node.macs, format!("{} '{}' {:?}", node.op, node.name, node.shape));
    }
    Ok(())
}

/// The inputs that `specs` name, as `--input` takes them; the others are what the plan demands, or zeros.
pub fn read_inputs(specs: &[String], ports: &[PortInfo], demands: &[Demand]) -> Result<Vec<(String, Tensor)>> {
    let mut given = std::collections::BTreeMap::new();
    for spec in specs {
        let (target, file) = spec.split_once('=').with_context(|| format!("'{spec}' is not NAME[:SHAPE]=FILE"))?;
        let (name, shape) = match target.rsplit_once(':') {
            Some((name, shape)) => (name, Some(parse_shape(shape)?)),
            None => (target, None),
        };
        given.insert(name.to_string(), (shape, super::read(file.as_ref())?));
    }
    let mut inputs = Vec::new();
    for port in ports {
        if let Some(demand) = demands.iter().find(|demand| demand.input == port.name && !given.contains_key(&port.name)) {
            inputs.push((port.name.clone(), demand.value.clone()));
            continue;
        }
        let fixed: Option<Vec<usize>> = port
            .shape
            .iter()
            .map(|d| match d {
                DimInfo::Fixed(n) => Some(*n),
                DimInfo::Symbol(_) => None,
            })
            .collect();
        let (shape, bytes) = given.remove(&port.name).map_or((None, None), |(s, b)| (s, Some(b)));
        let Some(shape) = shape.or(fixed) else {
            bail!("input '{}' has a dynamic shape: give it as --input '{}:1x2x3=FILE'", port.name, port.name)
        };
        let tensor = match bytes {
            Some(bytes) => Tensor::from_bytes(port.dtype, &shape, &bytes).with_context(|| format!("input '{}'", port.name))?,
            None => Tensor::zeros(port.dtype, &shape)?,
        };
        inputs.push((port.name.clone(), tensor));
    }
    if let Some(name) = given.keys().next() {
        bail!("the model has no input '{name}'");
    }
    Ok(inputs)
}

fn parse_shape(text: &str) -> Result<Vec<usize>> {
    text.split('x').map(|d| d.parse().with_context(|| format!("'{text}' is not a shape such as 1x3x224x224"))).collect()
}

fn elements(tensor: &Tensor, limit: usize) -> String {
    use nearside::DType;
    fn list<T: std::fmt::Display>(values: &[T], limit: usize) -> String {
        let shown: Vec<String> = values.iter().take(limit).map(T::to_string).collect();
        shown.join(" ") + if values.len() > limit { " …" } else { "" }
    }
    let text = match tensor.dtype() {
        DType::F32 => tensor.as_slice::<f32>().map(|v| list(v, limit)),
        DType::I64 => tensor.as_slice::<i64>().map(|v| list(v, limit)),
        DType::I32 => tensor.as_slice::<i32>().map(|v| list(v, limit)),
        DType::I8 => tensor.as_slice::<i8>().map(|v| list(v, limit)),
        DType::U8 | DType::Bool => tensor.as_slice::<u8>().map(|v| list(v, limit)),
        other => return format!("({other} elements)"),
    };
    text.unwrap_or_default()
}
