//! Models that stay with the compiler, and who runs them.

use alloc::{format, string::String, sync::Arc, vec, vec::Vec};

use super::{
    Fallback, Kind, Mixed, Options, PerValue, Value,
    per_value::{KEPT, TRIAL_SIZES},
    values::symbols,
};
use crate::{
    error::{Error, Result, bail},
    runtime::PortInfo,
    tensor::{Tensor, TensorView},
};

/// A model that stays with the compiler, because it has no plan.
pub enum Resident {
    /// On tract.
    Tract(Fallback),
    /// Compiled for each set of values, or shapes, of the inputs that decide.
    PerValue(PerValue),
    /// Compiled in parts, with interpreted operators between them.
    Mixed(Mixed),
}

impl Resident {
    /// Loads a model that has no plan because of these operators, as far as it is known.
    pub(super) fn new(onnx: &[u8], options: &Options, operators: &[String]) -> Result<Resident> {
        let mixed = Mixed::new(onnx, options).ok();
        let mixed = match mixed {
            Some(model) if model.is_needed() => return Ok(Resident::Mixed(model)),
            other => other,
        };
        let interpreted = !operators.is_empty() && operators.iter().all(|op| Mixed::interprets(op));
        if let Some(by_value) = PerValue::of_values(onnx, options)? {
            return Ok(match mixed {
                // Numbers of a signal differ each time, so that nothing is gained by compiling for them.
                Some(model) if (interpreted || model.has_control()) && !by_value.deciding_are_integers() => {
                    Resident::Mixed(model)
                }
                _ => Resident::PerValue(by_value),
            });
        }
        let mixed = match mixed {
            Some(model) if interpreted => return Ok(Resident::Mixed(model)),
            other => other,
        };
        match Fallback::new(onnx, options) {
            Ok(model) => Ok(Resident::Tract(model)),
            Err(error) => match PerValue::of_shapes(onnx, options) {
                Some(model) => Ok(Resident::PerValue(model)),
                None => mixed.and_then(tried).map(Resident::Mixed).ok_or(error),
            },
        }
    }

    /// Loads a model that nothing but the mixed executor runs; `None` for any other.
    pub(super) fn only_mixed(onnx: &[u8], options: &Options) -> Option<Resident> {
        Mixed::new(onnx, options).ok().filter(Mixed::is_needed).map(Resident::Mixed)
    }

    /// The model's inputs.
    pub fn inputs(&self) -> &[PortInfo] {
        match self {
            Resident::Tract(model) => model.inputs(),
            Resident::PerValue(model) => model.inputs(),
            Resident::Mixed(model) => model.inputs(),
        }
    }

    /// The model's outputs.
    pub fn outputs(&self) -> &[PortInfo] {
        match self {
            Resident::Tract(model) => model.outputs(),
            Resident::PerValue(model) => model.outputs(),
            Resident::Mixed(model) => model.outputs(),
        }
    }

    /// What kind of value each input, or output, is.
    pub fn kinds(&self, outputs: bool) -> Vec<Kind> {
        match self {
            Resident::Mixed(model) => model.kinds(outputs).to_vec(),
            other => vec![Kind::Tensor; if outputs { other.outputs().len() } else { other.inputs().len() }],
        }
    }

    /// Whether tract runs the model, or a part of it, as far as is known yet.
    pub fn on_tract(&self) -> bool {
        match self {
            Resident::Tract(_) => true,
            Resident::PerValue(model) => model.on_tract(),
            Resident::Mixed(model) => model.on_tract(),
        }
    }

    /// Runs a model whose inputs and outputs are tensors of numbers. Inputs may come in any order; each must be there once.
    pub fn run(&mut self, inputs: &[(&str, TensorView<'_>)]) -> Result<Vec<(String, Tensor)>> {
        match self {
            Resident::Tract(model) => model.run(inputs),
            Resident::PerValue(model) => model.run(inputs),
            Resident::Mixed(model) => {
                let values: Vec<(&str, Value)> = inputs.iter().map(|(n, view)| (*n, view.to_tensor().into())).collect();
                let plain = |(name, value): (String, Value)| match value {
                    Value::Tensor(tensor) => Ok((name, Arc::unwrap_or_clone(tensor))),
                    other => bail!(
                        Unsupported,
                        "output '{name}' is {}, not a tensor of numbers; take it with run_values",
                        other.describe()
                    ),
                };
                model.run(&values)?.into_iter().map(plain).collect()
            }
        }
    }

    /// Runs the model on values of any kind.
    pub fn run_values(&mut self, inputs: &[(&str, Value)]) -> Result<Vec<(String, Value)>> {
        if let Resident::Mixed(model) = self {
            return model.run(inputs);
        }
        let mut views = Vec::with_capacity(inputs.len());
        for (name, value) in inputs {
            let tensor = value.tensor().map_err(|e| Error::InvalidInput(format!("input '{name}': {e}")))?;
            views.push((*name, tensor.view()));
        }
        Ok(self.run(&views)?.into_iter().map(|(name, tensor)| (name, tensor.into())).collect())
    }

    /// Why the model has no plan, as a sentence; `operators` are those that the graph lacks, `first` is the first reason.
    pub(super) fn note(&self, operators: &[String], first: &str) -> String {
        match self {
            Resident::PerValue(model) => {
                let names = model.deciding();
                let (why, options): (String, Vec<String>) = if names.is_empty() {
                    let sizes = symbols(model.inputs()).into_iter().map(|name| format!("--dimension {name}=…"));
                    ("This model makes sense for some sizes of its inputs only".into(), sizes.collect())
                } else {
                    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
                    let values = names.iter().map(|name| format!("--value {name}=…"));
                    (format!("The values of {} decide shapes or branches in this model", quoted.join(" and ")), values.collect())
                };
                format!(
                    "{why}: the compiler makes a plan for each set of them, and keeps the last {KEPT}. `nearside compile` with {} makes a plan \
                     for one set, which pages load without the compiler.",
                    options.join(" ")
                )
            }
            Resident::Mixed(model) => format!(
                "This model is compiled in parts as it runs, because it has operators that are interpreted: {}.",
                model.interpreted().join(", ")
            ),
            Resident::Tract(_) if operators.is_empty() => {
                format!("This model runs on the slower reference engine, because it cannot be compiled ({first}).")
            }
            Resident::Tract(_) => format!(
                "This model runs on the slower reference engine, because it has operators without a fast implementation: {}.",
                operators.join(", ")
            ),
        }
    }
}

/// The model, if it runs on zeros with some sizes of its open dimensions.
fn tried(mut model: Mixed) -> Option<Mixed> {
    TRIAL_SIZES.iter().any(|&(first, other)| model.try_run(first, other).is_ok()).then_some(model)
}
