//! Folders in the form of ONNX's backend tests: `model.onnx`, and `test_data_set_*` with `input_*.pb` and `output_*.pb`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use nearside::{
    DType, Tensor,
    compile::{Kind, Value},
};
use prost::Message;
use tract_onnx::pb::{self, tensor_proto::DataType};

use super::{
    Status, Verdict,
    compare::{Expected, Tolerance, compare},
    values,
};
use crate::engine::{Engine, Executor};

/// Whether the folder has a data set.
pub fn has_data(folder: &Path) -> bool {
    data_sets(folder).is_ok_and(|sets| !sets.is_empty())
}

fn data_sets(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut sets = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("test_data_set_") && entry.file_type()?.is_dir() {
            sets.push(entry.path());
        }
    }
    sets.sort();
    Ok(sets)
}

/// Runs every data set of the folder.
pub fn run(folder: &Path, executor: Executor) -> Verdict {
    let onnx = match std::fs::read(folder.join("model.onnx")) {
        Ok(bytes) => bytes,
        Err(e) => return Verdict::because(Status::Error, format!("the model cannot be read: {e}")),
    };
    let signature = Signature::read(&onnx);
    let verdict = match run_sets(folder, &onnx, &signature, executor) {
        Ok(verdict) | Err(verdict) => verdict,
    };
    Verdict { operators: signature.operators.into_iter().collect(), ..verdict }
}

fn run_sets(folder: &Path, onnx: &[u8], signature: &Signature, executor: Executor) -> Result<Verdict, Verdict> {
    let (mut engine, report) = Engine::load(onnx, executor).map_err(|e| Verdict::of(&e))?;
    let sets = data_sets(folder).map_err(|e| Verdict::because(Status::Error, format!("the data cannot be read: {e}")))?;
    // A plan has lost the inputs that are not used, and with them what they were.
    let kinds = engine.kinds(false);
    let kind_of = |name: &str, engine: &Engine| {
        engine.inputs().iter().zip(&kinds).find(|(port, _)| port.name == name).map_or(Kind::Tensor, |(_, kind)| *kind)
    };
    for set in sets {
        let inputs = read_all(&set, "input", &signature.inputs, &|_, name| kind_of(name, &engine))?;
        let kinds = engine.kinds(true);
        let outputs = read_all(&set, "output", &signature.outputs, &|i, _| kinds.get(i).copied().unwrap_or(Kind::Tensor))?;
        let mut given: Vec<(&str, Value)> = signature.inputs.iter().map(|p| p.name.as_str()).zip(inputs).collect();
        // What the compiler found to be unused is not an input of the plan.
        let names: BTreeSet<String> = engine.inputs().iter().map(|p| p.name.clone()).collect();
        given.retain(|(name, _)| names.contains(*name));
        let results = engine.run_values(&given).map_err(|e| Verdict::of(&e))?;
        for (Port { name, brain }, want) in signature.outputs.iter().zip(&outputs) {
            let Some((_, got)) = results.iter().find(|(n, _)| n == name) else {
                return Err(Verdict::because(Status::Mismatch, format!("output '{name}' is missing")));
            };
            let same = if signature.draws() { same_form(got, want) } else { same_value(got, want, *brain) };
            same.map_err(|e| Verdict::because(Status::Mismatch, format!("output '{name}' {e}")))?;
        }
    }
    Ok(Verdict::passed(&engine, executor, &report))
}

/// ONNX's own bounds (10⁻³ of each number, or 10⁻⁷), widened to 10⁻⁴ of the largest, which is what models are held to: sums of large
/// numbers that cancel keep the rounding error of the large ones. A 16-bit number may be off by two of its steps.
pub(super) fn tolerance(dtype: DType, brain: bool) -> Tolerance {
    let of_each = match dtype {
        _ if brain => 2f64.powi(-6),
        DType::F16 => 2f64.powi(-9),
        _ => 1e-3,
    };
    Tolerance { absolute: 1e-7, of_each, of_largest: 1e-4 }
}

/// Whether two values are equal within the tolerance.
fn same_value(got: &Value, want: &Value, brain: bool) -> Result<(), String> {
    match (got, want) {
        (Value::Tensor(got), Value::Tensor(want)) => {
            let expected = Expected { shape: want.shape(), tensor: want.view(), stride: 1 };
            compare(&got.view(), &expected, &tolerance(want.dtype(), brain))
        }
        (Value::Strings(a), Value::Strings(b)) => {
            if a.shape() != b.shape() {
                return Err(format!("has shape {:?} instead of {:?}", a.shape(), b.shape()));
            }
            match a.data().iter().zip(b.data()).find(|(a, b)| !same_text(a, b)) {
                Some((a, b)) => Err(format!("has '{a}' instead of '{b}'")),
                None => Ok(()),
            }
        }
        (Value::Sequence(a), Value::Sequence(b)) if a.len() == b.len() => {
            a.iter().zip(b).try_for_each(|(a, b)| same_value(a, b, brain))
        }
        (Value::None, Value::None) => Ok(()),
        (got, want) => Err(format!("is {} instead of {}", got.describe(), want.describe())),
    }
}

/// ONNX does not say how many digits a number has as a string: numbers are compared as float32.
fn same_text(a: &str, b: &str) -> bool {
    a == b || matches!((a.parse::<f32>(), b.parse::<f32>()), (Ok(a), Ok(b)) if a == b)
}

/// Whether two tensors have one type and shape. More cannot be asked of random numbers, whose generator ONNX leaves open.
fn same_form(got: &Value, want: &Value) -> Result<(), String> {
    match (got, want) {
        (Value::Tensor(a), Value::Tensor(b)) if a.dtype() == b.dtype() && a.shape() == b.shape() => Ok(()),
        (got, want) => Err(format!("is {} instead of {}", got.describe(), want.describe())),
    }
}

/// The values `<kind>_<i>.pb` of a data set, for these ports.
fn read_all(set: &Path, kind: &str, ports: &[Port], of: &dyn Fn(usize, &str) -> Kind) -> Result<Vec<Value>, Verdict> {
    let mut all = Vec::new();
    for (i, port) in ports.iter().enumerate() {
        let path = set.join(format!("{kind}_{i}.pb"));
        // Fewer inputs than the model has: those that are left out have defaults.
        if kind == "input" && !path.exists() {
            break;
        }
        let bytes = std::fs::read(&path)
            .map_err(|e| Verdict::because(Status::Error, format!("{} cannot be read: {e}", path.display())))?;
        let value = values::read(&bytes, of(i, &port.name))
            .map_err(|e| Verdict::because(Verdict::of(&e).status, format!("{kind} {i}: {e}")))?;
        all.push(match value {
            Value::Tensor(tensor) if port.brain => widened(&tensor).into(),
            value => value,
        });
    }
    Ok(all)
}

/// A bfloat16 tensor, which is stored as the upper halves of float32 numbers, as float32.
fn widened(tensor: &Tensor) -> Tensor {
    if tensor.dtype() != DType::U16 {
        return tensor.clone();
    }
    let wide: Vec<u8> = tensor.bytes().chunks_exact(2).flat_map(|b| [0, 0, b[0], b[1]]).collect();
    Tensor::from_bytes(DType::F32, tensor.shape(), &wide).unwrap_or_else(|_| tensor.clone())
}

/// An input or output.
struct Port {
    name: String,
    /// It is bfloat16, which callers give and get as float32.
    brain: bool,
}

impl Port {
    fn of(info: &pb::ValueInfoProto) -> Port {
        let value = info.r#type.as_ref().and_then(|t| t.value.as_ref());
        let brain = matches!(value, Some(pb::type_proto::Value::TensorType(t)) if t.elem_type == DataType::Bfloat16 as i32);
        Port { name: info.name.clone(), brain }
    }
}

/// What the ONNX file says of itself.
#[derive(Default)]
struct Signature {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    operators: BTreeSet<String>,
    /// It has a Dropout that may be in training, as its third input says.
    trains: bool,
}

impl Signature {
    /// Whether the model's outputs are random: it draws numbers, or drops elements in training.
    fn draws(&self) -> bool {
        let random = ["Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"];
        self.trains || random.iter().any(|op| self.operators.contains(*op))
    }

    fn read(onnx: &[u8]) -> Signature {
        let mut out = Signature::default();
        let Ok(model) = pb::ModelProto::decode(onnx) else { return out };
        let Some(graph) = &model.graph else { return out };
        let constants: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        out.inputs = graph.input.iter().filter(|i| !constants.contains(i.name.as_str())).map(Port::of).collect();
        out.outputs = graph.output.iter().map(Port::of).collect();
        collect_operators(graph, &mut out.operators);
        out.trains = graph.node.iter().any(|n| n.op_type == "Dropout" && n.input.get(2).is_some_and(|i| !i.is_empty()));
        out
    }
}

fn collect_operators(graph: &pb::GraphProto, operators: &mut BTreeSet<String>) {
    for node in &graph.node {
        let default = matches!(node.domain.as_str(), "" | "ai.onnx");
        operators.insert(if default { node.op_type.clone() } else { format!("{}.{}", node.domain, node.op_type) });
        node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)).for_each(|body| collect_operators(body, operators));
    }
}
