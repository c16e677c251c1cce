//! onnxruntime-web's operator tests: JSON files (with comments) that list tests of one operator each, with cases of plain numbers.

use std::path::Path;

use anyhow::{Context, Result, bail};
use jsonc_parser::ParseOptions;
use nearside::{DType, Tensor, TensorView, compile::element_type};
use prost::Message;
use serde_json::Value;
use tract_onnx::pb::{self, attribute_proto::AttributeType, tensor_shape_proto, type_proto};

use super::{
    Case, Status, Verdict, backend,
    compare::{self, Expected, compare},
};
use crate::engine::{Engine, Executor};

/// The operator set of tests that name none.
const OPSET: i64 = 17;

/// Whether the file holds such tests.
pub fn is_file(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "jsonc")
}

/// The cases of a file, a group per test.
pub fn cases(file: &Path) -> Result<Vec<Vec<Case>>> {
    let tests = read(file)?;
    let case = |test: usize, case: usize| Case::Operator { file: file.into(), test, case };
    Ok(tests.iter().enumerate().map(|(t, test)| (0..list(&test["cases"]).len()).map(|c| case(t, c)).collect()).collect())
}

fn read(file: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let value: Value = jsonc_parser::parse_to_serde_value(&text, &ParseOptions::default())
        .with_context(|| format!("{} is not JSON with comments", file.display()))?;
    let Value::Array(tests) = value else { bail!("{} does not hold a list of tests", file.display()) };
    Ok(tests)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Runs one case.
pub fn run(file: &Path, test: usize, case: usize, executor: Executor) -> Verdict {
    let outcome = read(file).and_then(|tests| {
        let test = tests.get(test).context("there is no such test")?;
        run_case(test, list(&test["cases"]).get(case).context("there is no such case")?, executor)
    });
    outcome.unwrap_or_else(|e| match e.downcast_ref::<nearside::Error>() {
        Some(error) => Verdict::of(error),
        None => Verdict::because(Status::Error, format!("{e:#}")),
    })
}

fn run_case(test: &Value, case: &Value, executor: Executor) -> Result<Verdict> {
    let operator = test["operator"].as_str().unwrap_or_default().to_string();
    let verdict = |verdict: Verdict| Verdict { operators: vec![operator.clone()], ..verdict };
    let inputs: Vec<Option<Tensor>> = list(&case["inputs"]).iter().map(tensor).collect::<Result<_>>()?;
    let outputs: Vec<Option<Tensor>> = list(&case["outputs"]).iter().map(tensor).collect::<Result<_>>()?;
    let onnx = model(test, &operator, &inputs, &outputs)?.encode_to_vec();
    let (mut engine, report) = match Engine::load(&onnx, executor) {
        Ok(loaded) => loaded,
        Err(error) => return Ok(verdict(Verdict::of(&error))),
    };
    let names: Vec<String> = (0..inputs.len()).map(|i| format!("input{i}")).collect();
    let views: Vec<(&str, TensorView<'_>)> = names
        .iter()
        .zip(&inputs)
        .filter(|(name, _)| engine.inputs().iter().any(|p| p.name == **name))
        .filter_map(|(name, tensor)| Some((name.as_str(), tensor.as_ref()?.view())))
        .collect();
    let results = match engine.run(&views) {
        Ok(results) => results,
        Err(error) => return Ok(verdict(Verdict::of(&error))),
    };
    for (i, want) in outputs.iter().enumerate() {
        let Some(want) = want else { continue };
        let name = format!("output{i}");
        let Some((_, got)) = results.iter().find(|(n, _)| *n == name) else {
            return Ok(verdict(Verdict::because(Status::Mismatch, format!("{name} is missing"))));
        };
        let expected = Expected { shape: want.shape(), tensor: want.view(), stride: 1 };
        if let Err(e) = compare(&got.view(), &expected, &backend::tolerance(want.dtype(), false)) {
            return Ok(verdict(Verdict::because(Status::Mismatch, format!("{name} {e}"))));
        }
    }
    Ok(verdict(Verdict::passed(&engine, executor, &report)))
}

/// A model of the one operator; an input that a case leaves out has an empty name.
fn model(test: &Value, operator: &str, inputs: &[Option<Tensor>], outputs: &[Option<Tensor>]) -> Result<pb::ModelProto> {
    let domain = test["opset"]["domain"].as_str().unwrap_or_default().to_string();
    let version = test["opset"]["version"].as_i64().unwrap_or(OPSET);
    let name = |kind: &str, i: usize, there: bool| if there { format!("{kind}{i}") } else { String::new() };
    let names = |kind: &str, all: &[Option<Tensor>]| all.iter().enumerate().map(|(i, t)| name(kind, i, t.is_some())).collect();
    let ports = |kind: &str, all: &[Option<Tensor>]| {
        all.iter().enumerate().filter_map(|(i, t)| Some(port(&format!("{kind}{i}"), t.as_ref()?))).collect()
    };
    let node = pb::NodeProto {
        op_type: operator.into(),
        domain: domain.clone(),
        input: names("input", inputs),
        output: names("output", outputs),
        attribute: list(&test["attributes"]).iter().map(attribute).collect::<Result<_>>()?,
        ..Default::default()
    };
    let graph = pb::GraphProto {
        node: vec![node],
        input: ports("input", inputs),
        output: ports("output", outputs),
        ..Default::default()
    };
    let mut opset_import = vec![pb::OperatorSetIdProto { domain: domain.clone(), version }];
    if !domain.is_empty() {
        opset_import.push(pb::OperatorSetIdProto { domain: String::new(), version: OPSET });
    }
    Ok(pb::ModelProto { ir_version: 8, opset_import, graph: Some(graph), ..Default::default() })
}

fn port(name: &str, tensor: &Tensor) -> pb::ValueInfoProto {
    let dim = |&d: &usize| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(d as i64)),
        ..Default::default()
    };
    let shape = pb::TensorShapeProto { dim: tensor.shape().iter().map(dim).collect() };
    let ty = type_proto::Tensor { elem_type: element_type(tensor.dtype()), shape: Some(shape) };
    let ty = pb::TypeProto { value: Some(type_proto::Value::TensorType(ty)), ..Default::default() };
    pb::ValueInfoProto { name: name.into(), r#type: Some(ty), ..Default::default() }
}

fn attribute(value: &Value) -> Result<pb::AttributeProto> {
    let data = &value["data"];
    let mut out = pb::AttributeProto { name: value["name"].as_str().unwrap_or_default().into(), ..Default::default() };
    let kind = match value["type"].as_str().unwrap_or_default() {
        "int" => {
            out.i = data.as_i64().context("an attribute is not an integer")?;
            AttributeType::Int
        }
        "float" => {
            out.f = data.as_f64().context("an attribute is not a number")? as f32;
            AttributeType::Float
        }
        "string" => {
            out.s = data.as_str().unwrap_or_default().as_bytes().to_vec();
            AttributeType::String
        }
        "ints" => {
            out.ints = list(data).iter().filter_map(Value::as_i64).collect();
            AttributeType::Ints
        }
        "floats" => {
            out.floats = list(data).iter().filter_map(Value::as_f64).map(|v| v as f32).collect();
            AttributeType::Floats
        }
        other => bail!("attributes of the type '{other}' are not known"),
    };
    out.r#type = kind as i32;
    Ok(out)
}

/// A tensor, or `None` where the case leaves the operand out.
fn tensor(value: &Value) -> Result<Option<Tensor>> {
    if value["data"].is_null() {
        return Ok(None);
    }
    let shape: Vec<usize> = list(&value["dims"]).iter().filter_map(|d| Some(d.as_u64()? as usize)).collect();
    let number = |v: &Value| match v {
        Value::Bool(b) => Ok(f64::from(u8::from(*b))),
        Value::String(s) => s.parse().with_context(|| format!("'{s}' is not a number")),
        v => v.as_f64().with_context(|| format!("{v} is not a number")),
    };
    let numbers: Vec<f64> = list(&value["data"]).iter().map(number).collect::<Result<_>>()?;
    macro_rules! of {
        ($t:ty) => {
            Tensor::from_slice(&shape, &numbers.iter().map(|&v| v as $t).collect::<Vec<$t>>())
        };
    }
    // As JavaScript's typed arrays: what is too large wraps.
    let bytes = || numbers.iter().map(|&v| v as i64 as u8).collect::<Vec<u8>>();
    Ok(Some(match value["type"].as_str().unwrap_or_default() {
        "float32" => of!(f32),
        "int32" => of!(i32),
        "uint32" => of!(u32),
        "int64" => of!(i64),
        // Held unpacked, as callers of the library give them.
        "uint4" | "uint8" => Tensor::from_bytes(DType::U8, &shape, &bytes()),
        "int4" | "int8" => Tensor::from_bytes(DType::I8, &shape, &bytes()),
        "bool" => Tensor::from_bytes(DType::Bool, &shape, &bytes()),
        "float16" => {
            let bits: Vec<u8> = numbers.iter().flat_map(|&v| compare::to_half(v as f32).to_le_bytes()).collect();
            Tensor::from_bytes(DType::F16, &shape, &bits)
        }
        other => Err(nearside::Error::Unsupported(format!("tensors of the type '{other}' are not supported"))),
    }?))
}
