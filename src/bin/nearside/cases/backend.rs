//! Folders in the form of ONNX's backend tests: `model.onnx`, and `test_data_set_*` with `input_*.pb` and `output_*.pb`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use nearside::{DType, Tensor, TensorView, compile::read_tensor};
use prost::Message;
use tract_onnx::pb::{self, tensor_proto::DataType};

use super::{
    Status, Verdict,
    compare::{Expected, Tolerance, compare},
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
    for set in sets {
        let inputs = tensors(&set, "input", &signature.inputs)?;
        let outputs = tensors(&set, "output", &signature.outputs)?;
        let mut views: Vec<(&str, TensorView<'_>)> =
            signature.inputs.iter().map(|p| p.name.as_str()).zip(inputs.iter().map(Tensor::view)).collect();
        // What the compiler found to be unused is not an input of the plan.
        let names: BTreeSet<String> = engine.inputs().iter().map(|p| p.name.clone()).collect();
        views.retain(|(name, _)| names.contains(*name));
        let results = engine.run(&views).map_err(|e| Verdict::of(&e))?;
        for (Port { name, brain }, want) in signature.outputs.iter().zip(&outputs) {
            let Some((_, got)) = results.iter().find(|(n, _)| n == name) else {
                return Err(Verdict::because(Status::Mismatch, format!("output '{name}' is missing")));
            };
            let expected = Expected { shape: want.shape(), tensor: want.view(), stride: 1 };
            compare(&got.view(), &expected, &tolerance(want.dtype(), *brain))
                .map_err(|e| Verdict::because(Status::Mismatch, format!("output '{name}' {e}")))?;
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

/// The tensors `<kind>_<i>.pb` of a data set, for these ports.
fn tensors(set: &Path, kind: &str, ports: &[Port]) -> Result<Vec<Tensor>, Verdict> {
    let mut all = Vec::new();
    for (i, port) in ports.iter().enumerate() {
        let path = set.join(format!("{kind}_{i}.pb"));
        // Fewer inputs than the model has: those that are left out have defaults.
        if kind == "input" && !path.exists() {
            break;
        }
        let bytes = std::fs::read(&path)
            .map_err(|e| Verdict::because(Status::Error, format!("{} cannot be read: {e}", path.display())))?;
        let tensor = read_tensor(&bytes).map_err(|e| Verdict::because(Verdict::of(&e).status, format!("{kind} {i}: {e}")))?;
        all.push(if port.brain { widened(tensor) } else { tensor });
    }
    Ok(all)
}

/// A bfloat16 tensor, which is stored as the upper halves of float32 numbers, as float32.
fn widened(tensor: Tensor) -> Tensor {
    if tensor.dtype() != DType::U16 {
        return tensor;
    }
    let wide: Vec<u8> = tensor.bytes().chunks_exact(2).flat_map(|b| [0, 0, b[0], b[1]]).collect();
    Tensor::from_bytes(DType::F32, tensor.shape(), &wide).unwrap_or(tensor)
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
}

impl Signature {
    fn read(onnx: &[u8]) -> Signature {
        let mut out = Signature::default();
        let Ok(model) = pb::ModelProto::decode(onnx) else { return out };
        let Some(graph) = &model.graph else { return out };
        let constants: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        out.inputs = graph.input.iter().filter(|i| !constants.contains(i.name.as_str())).map(Port::of).collect();
        out.outputs = graph.output.iter().map(Port::of).collect();
        collect_operators(graph, &mut out.operators);
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
