//! Reads the folder of models with inputs and reference outputs that the tests compare with.

#![allow(dead_code, reason = "every test has its own copy of this module and needs a part of it")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use nearside::{
    DType, Tensor, TensorView,
    graph::{
        Dim, Graph, Op, ValueType,
        plan::{Meta, Plan},
    },
    runtime::{PortInfo, Session},
};
use serde_json::Value;

/// The folder: `NEARSIDE_ASSETS`, or `assets` beside the repository or two levels above. `None`, with a note, if there is none.
pub fn folder() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = [
        std::env::var_os("NEARSIDE_ASSETS").map(PathBuf::from),
        Some(root.join("../shared/assets")),
        Some(root.join("../../shared/assets")),
    ];
    let found = places.into_iter().flatten().find(|p| p.join("real").is_dir());
    if found.is_none() {
        eprintln!("skipped: no folder of test models (set NEARSIDE_ASSETS)");
    }
    found
}

/// A model's folder.
pub struct Model {
    path: PathBuf,
    meta: Value,
}

/// A tensor to compare with.
pub struct Expected {
    pub name: String,
    pub tensor: Tensor,
    /// Shape of the whole output; `tensor` holds every `stride`-th element.
    pub shape: Vec<usize>,
    pub stride: usize,
    /// By how much another runtime's optimisation changes the output.
    pub natural_difference: f32,
}

/// Inputs with the outputs that one variant of the model must give.
pub struct Case {
    pub id: String,
    pub inputs: Vec<(String, Tensor)>,
    pub expected: Vec<Expected>,
}

impl Case {
    /// Converts float inputs to half precision where the model takes that.
    pub fn fit(&mut self, ports: &[PortInfo]) {
        for (name, tensor) in &mut self.inputs {
            if tensor.dtype() == DType::F32 && ports.iter().any(|p| p.name == *name && p.dtype == DType::F16) {
                *tensor = to_half(tensor);
            }
        }
    }

    pub fn views(&self) -> Vec<(&str, TensorView<'_>)> {
        self.inputs.iter().map(|(name, t)| (name.as_str(), t.view())).collect()
    }
}

impl Model {
    /// Reads `model.json`.
    pub fn open(assets: &Path, name: &str) -> Model {
        let path = assets.join(name);
        let text = fs::read_to_string(path.join("model.json")).expect("model.json can be read");
        Model { meta: serde_json::from_str(&text).expect("model.json is JSON"), path }
    }

    /// All models under `real` and `arch`.
    pub fn all(assets: &Path) -> Vec<String> {
        let mut names = Vec::new();
        for group in ["real", "arch"] {
            let Ok(entries) = fs::read_dir(assets.join(group)) else { continue };
            let folders = entries.flatten().filter(|e| e.path().join("model.json").is_file());
            names.extend(folders.map(|e| format!("{group}/{}", e.file_name().to_string_lossy())));
        }
        names.sort();
        names
    }

    /// Names of the variants: `f32`, `qdq`, …
    pub fn variants(&self) -> Vec<String> {
        self.meta["variants"].as_object().map(|v| v.keys().cloned().collect()).unwrap_or_default()
    }

    /// The variant's ONNX file.
    pub fn onnx(&self, variant: &str) -> Vec<u8> {
        let file = self.meta["variants"][variant]["file"].as_str().expect("the variant has a file");
        fs::read(self.path.join(file)).expect("the model can be read")
    }

    /// The cases of a variant, without those that feed states back.
    pub fn cases(&self, variant: &str) -> Vec<Case> {
        let cases = self.meta["cases"].as_array().cloned().unwrap_or_default();
        let plain = cases.iter().filter(|c| !c["stream"].as_bool().unwrap_or(false) && c["expect"][variant].is_object());
        plain
            .map(|case| Case {
                id: case["id"].as_str().unwrap_or_default().into(),
                inputs: entries(&case["inputs"]).map(|(name, v)| (name.clone(), self.tensor(v, &shape(v)))).collect(),
                expected: entries(&case["expect"][variant]).map(|(name, v)| self.expected(name, v)).collect(),
            })
            .collect()
    }

    fn expected(&self, name: &str, v: &Value) -> Expected {
        let full = shape(v);
        let stride = v["sample_stride"].as_u64().unwrap_or(1) as usize;
        let stored = if stride > 1 { vec![full.iter().product::<usize>().div_ceil(stride)] } else { full.clone() };
        Expected {
            name: name.into(),
            tensor: self.tensor(v, &stored),
            shape: full,
            stride,
            natural_difference: v["ort_all_maxdiff"].as_f64().unwrap_or(0.0) as f32,
        }
    }

    fn tensor(&self, v: &Value, shape: &[usize]) -> Tensor {
        let file = v["file"].as_str().expect("the tensor has a file");
        let bytes = fs::read(self.path.join(file)).expect("the tensor can be read");
        let dtype = match v["dtype"].as_str().expect("the tensor has a type") {
            "f32" => DType::F32,
            "f16" => DType::F16,
            "f64" => DType::F64,
            "i64" => DType::I64,
            "i32" => DType::I32,
            "i8" => DType::I8,
            "u8" => DType::U8,
            "bool" => DType::Bool,
            other => panic!("unknown type {other}"),
        };
        Tensor::from_bytes(dtype, shape, &bytes).expect("the file has the tensor's size")
    }
}

fn entries(v: &Value) -> impl Iterator<Item = (&String, &Value)> {
    v.as_object().into_iter().flatten()
}

fn shape(v: &Value) -> Vec<usize> {
    let dims = v["shape"].as_array().expect("the tensor has a shape");
    dims.iter().map(|d| d.as_u64().expect("dimensions are numbers") as usize).collect()
}

/// Every `stride`-th element, as f32.
pub fn floats(view: &TensorView<'_>, stride: usize) -> Vec<f32> {
    let all: Vec<f32> = match view.dtype {
        DType::F32 => view.as_slice::<f32>().expect("f32").to_vec(),
        DType::F16 => view.data.chunks_exact(2).map(|b| half_to_f32(u16::from_le_bytes([b[0], b[1]]))).collect(),
        DType::F64 => view.as_slice::<f64>().expect("f64").iter().map(|&x| x as f32).collect(),
        DType::I64 => view.as_slice::<i64>().expect("i64").iter().map(|&x| x as f32).collect(),
        DType::I32 => view.as_slice::<i32>().expect("i32").iter().map(|&x| x as f32).collect(),
        DType::I8 => view.as_slice::<i8>().expect("i8").iter().map(|&x| f32::from(x)).collect(),
        _ => view.data.iter().map(|&x| f32::from(x)).collect(),
    };
    all.into_iter().step_by(stride).collect()
}

fn to_half(tensor: &Tensor) -> Tensor {
    let ty = |dtype| ValueType::new(dtype, tensor.shape().iter().map(|&d| Dim::fixed(d)).collect());
    let mut graph = Graph::default();
    let x = graph.add_input("x", ty(DType::F32));
    let y = graph.add_node("cast", Op::Cast, &[x], ty(DType::F16));
    graph.add_output("y", y);
    let mut session = Session::new(Plan { graph, meta: Meta::default() }).expect("a cast can be prepared");
    let outputs = session.run(&[("x", tensor.view())]).expect("a cast runs");
    outputs.get("y").expect("the graph has this output").to_tensor()
}

fn half_to_f32(bits: u16) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023) / 1024.0);
    let magnitude = match exponent {
        0 => fraction * 2f32.powi(-14),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction) * 2f32.powi(exponent - 15),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

/// Largest difference and largest magnitude of the reference; a NaN on one side only counts as infinite.
pub fn difference(got: &[f32], reference: &[f32]) -> (f32, f32) {
    assert_eq!(got.len(), reference.len());
    let apart = |(a, b): (&f32, &f32)| if a.is_nan() && b.is_nan() || a == b { 0.0 } else { (a - b).abs() };
    let worst = got.iter().zip(reference).map(apart).fold(0.0, |m: f32, d| if d.is_nan() { f32::INFINITY } else { m.max(d) });
    (worst, reference.iter().fold(0.0, |m: f32, v| m.max(v.abs())))
}

/// Index of the largest element.
pub fn top(values: &[f32]) -> Option<usize> {
    (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b]))
}
