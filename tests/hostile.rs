//! Models that are damaged or made to harm, and bad calls of a good one: each gives what `hostile.json` expects, within bounds of time and
//! memory, without a panic (which would end a WebAssembly instance), and a good model loads afterwards.
//!
//! Every file is tried in a process of its own: this test program again, with the file's name in an environment variable.
#![cfg(all(feature = "compiler", not(target_arch = "wasm32")))]

mod support;

use std::{
    fs,
    io::Read,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use nearside::{
    DType, Error, Result, Tensor, TensorView,
    compile::{Compiled, Options, Resident, compile},
    graph::plan,
    runtime::{DimInfo, PortInfo, Session},
    tensor::AlignedBytes,
};
use serde_json::Value;

const FILE: &str = "NEARSIDE_HOSTILE_FILE";
const SECONDS: u64 = 10;
const KILOBYTES: u64 = 1 << 20;

static PANICS: AtomicUsize = AtomicUsize::new(0);

enum Model {
    Plan(Box<Session>),
    Fallback(Box<Resident>),
}

impl Model {
    /// What a page does: compiles, stores the plan, reads it, prepares it.
    fn load(onnx: &[u8]) -> Result<Model> {
        Ok(match compile(onnx, &Options::default())? {
            Compiled::Plan { plan, .. } => {
                let file = plan::write(&plan)?;
                Model::Plan(Box::new(Session::new(plan::read(AlignedBytes::copy_of(&file))?)?))
            }
            Compiled::Fallback { model, .. } => Model::Fallback(Box::new(model)),
        })
    }

    fn inputs(&self) -> &[PortInfo] {
        match self {
            Model::Plan(session) => session.inputs(),
            Model::Fallback(model) => model.inputs(),
        }
    }

    fn run(&mut self, inputs: &[(&str, TensorView<'_>)]) -> Result<Vec<(String, Tensor)>> {
        match self {
            Model::Plan(session) => Ok(session.run(inputs)?.iter().map(|(n, v)| (n.into(), v.to_tensor())).collect()),
            Model::Fallback(model) => model.run(inputs),
        }
    }
}

fn dtype(name: &str) -> DType {
    match name {
        "f32" => DType::F32,
        "i32" => DType::I32,
        "i64" => DType::I64,
        "u8" => DType::U8,
        other => panic!("unknown type {other}"),
    }
}

/// A tensor filled with one number.
fn filled(dtype: DType, shape: &[usize], fill: f32) -> Tensor {
    let mut tensor = Tensor::zeros(dtype, shape).expect("inputs of the tests are small");
    match dtype {
        DType::F32 => tensor.as_mut_slice::<f32>().expect("f32").fill(fill),
        DType::I32 => tensor.as_mut_slice::<i32>().expect("i32").fill(fill as i32),
        DType::I64 => tensor.as_mut_slice::<i64>().expect("i64").fill(fill as i64),
        DType::U8 => tensor.as_mut_slice::<u8>().expect("u8").fill(fill as u8),
        _ => {}
    }
    tensor
}

fn dims(v: &Value) -> Vec<i64> {
    v["shape"].as_array().into_iter().flatten().filter_map(Value::as_i64).collect()
}

/// The inputs that `hostile.json` gives, else zeros where the model's shapes are known and small.
fn inputs_for(entry: &Value, ports: &[PortInfo]) -> Option<Vec<(String, Tensor)>> {
    if let Some(given) = entry["inputs"].as_object().filter(|o| !o.is_empty()) {
        let tensor = |v: &Value| {
            let shape: Vec<usize> = dims(v).iter().map(|&d| d as usize).collect();
            filled(dtype(v["dtype"].as_str().unwrap_or("f32")), &shape, v["fill"].as_f64().unwrap_or(0.0) as f32)
        };
        return Some(given.iter().map(|(name, v)| (name.clone(), tensor(v))).collect());
    }
    let zeros = |port: &PortInfo| {
        let shape: Option<Vec<usize>> =
            port.shape.iter().map(|d| if let DimInfo::Fixed(n) = d { Some(*n) } else { None }).collect();
        let shape = shape.filter(|s| s.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).is_some_and(|n| n < 1 << 20))?;
        Some((port.name.clone(), Tensor::zeros(port.dtype, &shape).ok()?))
    };
    ports.iter().map(zeros).collect()
}

/// Loads and runs one file: `Ok` says how far it came.
fn attempt(onnx: &[u8], entry: &Value) -> (&'static str, String) {
    let mut model = match Model::load(onnx) {
        Ok(model) => model,
        Err(e) => return ("load_error", e.to_string()),
    };
    let Some(inputs) = inputs_for(entry, model.inputs()) else { return ("loaded", String::new()) };
    let views: Vec<(&str, TensorView<'_>)> = inputs.iter().map(|(n, t)| (n.as_str(), t.view())).collect();
    match model.run(&views) {
        Ok(outputs) => ("ok", outputs.iter().map(|(n, t)| format!("{n}: {} ", t.view().describe())).collect()),
        Err(e) => ("run_error", e.to_string()),
    }
}

fn good_model_runs(folder: &Path) {
    let mut model = Model::load(&fs::read(folder.join("relu_good.onnx")).unwrap()).expect("the good model loads");
    let x = Tensor::from_slice(&[1, 4], &[-1f32, 2.0, -3.0, 4.0]).unwrap();
    let outputs = model.run(&[("x", x.view())]).expect("the good model runs");
    assert_eq!(outputs[0].1.as_slice::<f32>().unwrap(), [0.0, 2.0, 0.0, 4.0]);
}

/// Most memory that this process has held, where the system tells.
fn peak_kilobytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}

/// The child: tries the file that the environment names.
fn try_named_file(folder: &Path, name: &str, entry: &Value) {
    std::panic::set_hook(Box::new(|info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        eprintln!("{info}");
    }));
    let onnx = fs::read(folder.join(name)).unwrap();
    let (outcome, detail) = attempt(&onnx, entry);
    good_model_runs(folder);
    let detail: String = detail.chars().take(400).collect();
    println!("\nOUTCOME {outcome} {} {} {}", PANICS.load(Ordering::Relaxed), peak_kilobytes(), detail.replace('\n', " "));
}

/// Runs this program again for one file; the outcome, panics, kilobytes and message, or what went wrong.
fn in_child(name: &str) -> std::result::Result<(String, usize, u64, String), String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hostile_files_give_what_is_expected", "--nocapture", "--test-threads=1"])
        .env(FILE, name)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if started.elapsed() > Duration::from_secs(SECONDS) => {
                child.kill().unwrap();
                child.wait().unwrap();
                return Err(format!("did not end within {SECONDS} s"));
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    let Some(line) = out.lines().find_map(|l| l.strip_prefix("OUTCOME ")) else {
        return Err(format!("ended with {status}: {}", err.chars().take(2000).collect::<String>()));
    };
    let mut parts = line.splitn(4, ' ');
    let mut next = || parts.next().unwrap_or_default().to_string();
    let (outcome, panics, peak, detail) = (next(), next(), next(), next());
    let detail = if panics == "0" { detail } else { format!("{detail} {}", err.lines().take(3).collect::<Vec<_>>().join(" ")) };
    Ok((outcome, panics.parse().unwrap(), peak.parse().unwrap(), detail))
}

fn is_expected(expected: &str, outcome: &str) -> bool {
    let error = matches!(outcome, "load_error" | "run_error");
    match expected {
        // A model that needs inputs of sizes that it does not tell cannot be run here; loading it is half an answer.
        "load_error" => outcome == "load_error",
        "load_or_run_error" | "hang_or_error" => error,
        "ok" | "ok_special" => outcome == "ok",
        _ => true,
    }
}

#[test]
fn hostile_files_give_what_is_expected() {
    let Some(assets) = support::folder() else { return };
    let folder = assets.join("hostile");
    let table: Value = serde_json::from_str(&fs::read_to_string(folder.join("hostile.json")).unwrap()).unwrap();
    let entries = table["models"].as_array().unwrap();
    if let Ok(name) = std::env::var(FILE) {
        let entry = entries.iter().find(|e| e["file"] == name.as_str()).unwrap();
        return try_named_file(&folder, &name, entry);
    }
    let mut failures = Vec::new();
    for entry in entries {
        let (name, expected) = (entry["file"].as_str().unwrap(), entry["expect"].as_str().unwrap());
        let started = Instant::now();
        let result = in_child(name);
        println!("{name} ({expected}, {:.1} s): {result:?}", started.elapsed().as_secs_f32());
        match result {
            Err(e) => failures.push(format!("{name}: {e}")),
            Ok((_, panics, _, detail)) if panics > 0 => failures.push(format!("{name}: panicked inside: {detail}")),
            Ok((_, _, peak, _)) if peak > KILOBYTES => failures.push(format!("{name}: took {peak} kB")),
            Ok((outcome, _, _, detail)) if !is_expected(expected, &outcome) => {
                failures.push(format!("{name}: {outcome} instead of {expected}: {detail}"));
            }
            Ok(_) => {}
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn bad_calls_are_errors_and_the_model_stays_usable() {
    let Some(assets) = support::folder() else { return };
    let folder = assets.join("hostile");
    let table: Value = serde_json::from_str(&fs::read_to_string(folder.join("runtime_inputs.json")).unwrap()).unwrap();
    let onnx = fs::read(folder.join(table["good_model"].as_str().unwrap())).unwrap();
    let mut session = match Model::load(&onnx).unwrap() {
        Model::Plan(session) => session,
        Model::Fallback(_) => panic!("the good model needs the fallback"),
    };
    for case in table["cases"].as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        let Some((shapes, data)) = call(case) else { continue };
        let views: Vec<(&str, TensorView<'_>)> =
            shapes.iter().zip(&data).map(|((n, d, s), b)| (n.as_str(), TensorView { dtype: *d, shape: s, data: b })).collect();
        let result = session.run(&views).map(|o| o.get("y").map(|y| y.shape.to_vec()));
        let fine = case["expect"] == "ok";
        assert_eq!(result.is_ok(), fine, "{id}: {result:?}");
        if let Err(e) = result {
            assert!(matches!(e, Error::InvalidInput(_)), "{id}: {e:?}");
            println!("{id}: {e}");
        }
        let x = [1f32, -1.0, 2.0, -2.0];
        let outputs = session.run(&[("x", TensorView::from_slice(&[1, 4], &x).unwrap())]).unwrap();
        assert_eq!(outputs.get("y").unwrap().as_slice::<f32>().unwrap(), [1.0, 0.0, 2.0, 0.0], "after {id}");
    }
}

/// A call's inputs as name, type and shape, and their bytes; `None` for what only JavaScript can do.
type Call = (Vec<(String, DType, Vec<usize>)>, Vec<Vec<u8>>);

fn call(case: &Value) -> Option<Call> {
    let (mut ports, mut data) = (Vec::new(), Vec::new());
    for (name, v) in case["inputs"].as_object().unwrap() {
        // Negative sizes and detached buffers cannot be written down in Rust.
        let shape: Vec<usize> = dims(v).iter().map(|&d| usize::try_from(d).ok()).collect::<Option<_>>()?;
        if v["js"].is_string() {
            return None;
        }
        let dtype = dtype(v["dtype"].as_str().unwrap());
        let count = v["elements"].as_u64().map_or(shape.iter().product(), |n| n as usize);
        let bytes = match v["values"].as_array() {
            Some(values) => {
                let number = |v: &Value| v.as_str().unwrap().replace("Infinity", "inf").parse::<f32>().unwrap();
                values.iter().flat_map(|v| number(v).to_le_bytes()).collect()
            }
            None => filled(dtype, &[count], v["fill"].as_f64().unwrap_or(1.0) as f32).bytes().to_vec(),
        };
        ports.push((name.clone(), dtype, shape));
        data.push(bytes);
    }
    Some((ports, data))
}
