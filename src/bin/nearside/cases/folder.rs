//! Folders with a `model.json`: variants of a model, inputs, and the outputs that each variant must give.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nearside::{DType, Tensor, TensorView, runtime::PortInfo};
use serde_json::Value;

use super::{
    Status, Verdict,
    compare::{self, Expected, Tolerance, compare},
    stream,
};
use crate::engine::Engine;

/// Models whose outputs are pictures or boxes: errors of the single steps add up over the whole picture.
const LOOSE: [&str; 4] = ["style_", "yolo_", "ultraface_", "ppocr_"];

/// A folder.
pub struct Folder {
    path: PathBuf,
    meta: Value,
}

/// Tensors by name.
pub type Named = Vec<(String, Tensor)>;

impl Folder {
    /// Reads `model.json`.
    pub fn open(path: &Path) -> Result<Folder> {
        let file = path.join("model.json");
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let meta = serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))?;
        Ok(Folder { path: path.into(), meta })
    }

    /// Names of the variants: `f32`, `qdq`, …
    pub fn variants(&self) -> Vec<String> {
        entries(&self.meta["variants"]).map(|(name, _)| name.clone()).collect()
    }

    /// Names of the cases that say what a variant gives.
    pub fn cases(&self, variant: &str) -> Vec<String> {
        let cases = self.meta["cases"].as_array().into_iter().flatten();
        let with_outputs = cases.filter(|c| c["expect"][variant].is_object());
        with_outputs.map(|c| c["id"].as_str().unwrap_or_default().to_string()).collect()
    }

    /// The ONNX file of a variant.
    pub fn onnx(&self, variant: &str) -> Result<Vec<u8>> {
        let file = self.meta["variants"][variant]["file"].as_str().with_context(|| format!("variant {variant} has no file"))?;
        self.read(file)
    }

    /// The operators of a variant.
    pub fn operators(&self, variant: &str) -> Vec<String> {
        entries(&self.meta["variants"][variant]["ops"]).map(|(name, _)| name.clone()).collect()
    }

    fn case(&self, id: &str) -> Result<&Value> {
        let cases = self.meta["cases"].as_array();
        cases.into_iter().flatten().find(|c| c["id"] == id).with_context(|| format!("there is no case {id}"))
    }

    /// Runs a case and compares; `None` if all outputs match.
    pub fn run(&self, engine: &mut Engine, variant: &str, id: &str) -> Result<Option<Verdict>> {
        let case = self.case(id)?;
        let expect = &case["expect"][variant];
        let outputs = if case["kind"].is_string() {
            stream::speech(self, case, engine)
        } else if case["stream"] == true {
            let whole = entries(expect).map(|(name, v)| Ok((name.clone(), shape(v)?))).collect::<Result<Vec<_>>>()?;
            stream::chunks(&self.inputs(case)?, &whole, engine)
        } else {
            let mut inputs = self.inputs(case)?;
            for (name, tensor) in &mut inputs {
                if let Some(port) = engine.inputs().iter().find(|p| p.name == *name) {
                    *tensor = fit(tensor, port)?;
                }
            }
            let views: Vec<(&str, TensorView<'_>)> = inputs.iter().map(|(n, t)| (n.as_str(), t.view())).collect();
            Ok(engine.run(&views))
        }?;
        let outputs = match outputs {
            Ok(outputs) => outputs,
            Err(e) => return Ok(Some(Verdict::of(&e))),
        };
        for (name, value) in entries(expect) {
            let Some((_, got)) = outputs.iter().find(|(n, _)| n == name) else {
                return Ok(Some(Verdict::because(Status::Mismatch, format!("output '{name}' is missing"))));
            };
            if let Err(e) = self.compare(got, value, variant) {
                return Ok(Some(Verdict::because(Status::Mismatch, format!("output '{name}' {e:#}"))));
            }
        }
        Ok(None)
    }

    fn compare(&self, got: &Tensor, value: &Value, variant: &str) -> Result<()> {
        let shape = shape(value)?;
        let stride = value["sample_stride"].as_u64().unwrap_or(1).max(1) as usize;
        let stored = if stride > 1 { vec![shape.iter().product::<usize>().div_ceil(stride)] } else { shape.clone() };
        let want = self.tensor(value, &stored)?;
        let expected = Expected { shape: &shape, tensor: want.view(), stride };
        let natural = value["ort_all_maxdiff"].as_f64().unwrap_or(0.0);
        compare(&got.view(), &expected, &self.tolerance(variant, natural)).map_err(anyhow::Error::msg)?;
        if self.is_classifier(value) {
            let (got, want) = (floats(got)?, floats(&want)?);
            let classes = shape.last().copied().unwrap_or(1).max(1);
            if got.chunks(classes).zip(want.chunks(classes)).any(|(a, b)| top(a) != top(b)) {
                bail!("has another top-1 class");
            }
        }
        Ok(())
    }

    /// Float variants are held to the reference's rounding, quantized ones to twice what another runtime's optimisation changes.
    fn tolerance(&self, variant: &str, natural: f64) -> Tolerance {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        match variant {
            "f32" | "orig" if LOOSE.iter().any(|n| name.starts_with(n)) => Tolerance { of_largest: 1e-3, ..Tolerance::default() },
            "f32" | "orig" => Tolerance { of_largest: 1e-4, ..Tolerance::default() },
            _ => Tolerance { absolute: 2.0 * natural, of_largest: 0.02, of_each: 0.0 },
        }
    }

    /// Whether the output holds the scores of a trained classifier, as some variant's statistics say.
    fn is_classifier(&self, value: &Value) -> bool {
        self.meta["trained"] == true && value["vs_f32"]["top1_same"].is_boolean()
    }

    fn inputs(&self, case: &Value) -> Result<Named> {
        entries(&case["inputs"]).map(|(name, v)| Ok((name.clone(), self.tensor(v, &shape(v)?)?))).collect()
    }

    /// A tensor's file.
    pub fn tensor(&self, v: &Value, shape: &[usize]) -> Result<Tensor> {
        let file = v["file"].as_str().context("a tensor has no file")?;
        let dtype = match v["dtype"].as_str().unwrap_or_default() {
            "f32" => DType::F32,
            "f64" => DType::F64,
            "f16" => DType::F16,
            "i64" => DType::I64,
            "i32" => DType::I32,
            "i16" => DType::I16,
            "i8" => DType::I8,
            "u8" => DType::U8,
            "bool" => DType::Bool,
            other => bail!("{file} has the type '{other}'"),
        };
        Tensor::from_bytes(dtype, shape, &self.read(file)?).with_context(|| file.to_string())
    }

    fn read(&self, file: &str) -> Result<Vec<u8>> {
        let path = self.path.join(file);
        std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }
}

/// A case is written for all variants: an f32 input is converted for a half-precision model, and a list of one stands for a scalar.
fn fit(tensor: &Tensor, port: &PortInfo) -> Result<Tensor> {
    let mut fitted = tensor.clone();
    if port.dtype == DType::F16 && tensor.dtype() == DType::F32 {
        let bits: Vec<u8> = tensor.as_slice::<f32>()?.iter().flat_map(|&v| compare::to_half(v).to_le_bytes()).collect();
        fitted = Tensor::from_bytes(DType::F16, tensor.shape(), &bits)?;
    }
    if port.shape.is_empty() && tensor.len() == 1 {
        fitted = fitted.reshaped(&[])?;
    }
    Ok(fitted)
}

fn entries(v: &Value) -> impl Iterator<Item = (&String, &Value)> {
    v.as_object().into_iter().flatten()
}

fn shape(v: &Value) -> Result<Vec<usize>> {
    let dims = v["shape"].as_array().context("a tensor has no shape")?;
    dims.iter().map(|d| d.as_u64().map(|d| d as usize).context("a dimension is not a number")).collect()
}

fn floats(t: &Tensor) -> Result<Vec<f64>> {
    compare::floats(&t.view(), 1).map_err(anyhow::Error::msg)
}

/// Index of the largest element, the first of equals.
fn top(values: &[f64]) -> Option<usize> {
    (0..values.len()).rev().max_by(|&a, &b| values[a].total_cmp(&values[b]))
}
