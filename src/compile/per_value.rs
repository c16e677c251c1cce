//! Models for which the values of some inputs decide shapes: they are compiled again for every new set of such values.
//!
//! What was compiled is kept, a bounded number of times, so that a caller who gives the same values pays once.

use alloc::{borrow::ToOwned, boxed::Box, format, string::String, vec::Vec};

use super::{
    Compiled, Fallback, Options, compile,
    import::{self, Ports},
};
use crate::{
    error::{Result, bail, ensure},
    runtime::{PortInfo, Session},
    tensor::{Tensor, TensorView},
};

/// How many sets of values are kept.
const KEPT: usize = 8;

/// A model that is compiled when values are known.
pub struct PerValue {
    onnx: Vec<u8>,
    options: Options,
    ports: Ports,
    /// Names of the inputs that decide.
    deciding: Vec<String>,
    /// The most recently used last.
    kept: Vec<(Vec<Tensor>, Runner)>,
}

enum Runner {
    Plan(Box<Session>),
    Tract(Box<Fallback>),
}

impl PerValue {
    /// `None` if no input decides.
    pub(super) fn new(onnx: &[u8], options: &Options) -> Result<Option<PerValue>> {
        let Some((deciding, ports)) = import::deciding(onnx, options)? else { return Ok(None) };
        Ok(Some(PerValue { onnx: onnx.to_vec(), options: options.clone(), ports, deciding, kept: Vec::new() }))
    }

    /// The model's inputs, those that decide included.
    pub fn inputs(&self) -> &[PortInfo] {
        &self.ports.inputs
    }

    /// The model's outputs, as far as the model describes them.
    pub fn outputs(&self) -> &[PortInfo] {
        &self.ports.outputs
    }

    /// The inputs whose values decide.
    pub fn deciding(&self) -> &[String] {
        &self.deciding
    }

    /// Whether the last run was tract's.
    pub fn on_tract(&self) -> bool {
        matches!(self.kept.last(), Some((_, Runner::Tract(_))))
    }

    /// Runs the model. Inputs may come in any order; each must be there once.
    pub fn run(&mut self, inputs: &[(&str, TensorView<'_>)]) -> Result<Vec<(String, Tensor)>> {
        let mut values = Vec::new();
        for name in &self.deciding {
            let mut given = inputs.iter().filter(|(n, _)| n == name);
            let Some((_, view)) = given.next() else { bail!(InvalidInput, "input '{name}' is missing") };
            ensure!(given.next().is_none(), InvalidInput, "input '{name}' is given twice");
            if let Some(port) = self.ports.inputs.iter().find(|p| p.name == *name) {
                check(port, view)?;
            }
            values.push(view.to_tensor());
        }
        let rest: Vec<(&str, TensorView<'_>)> =
            inputs.iter().filter(|(n, _)| self.deciding.iter().all(|d| d != n)).copied().collect();
        match self.runner(values)? {
            Runner::Plan(session) => Ok(session.run(&rest)?.iter().map(|(n, v)| (n.to_owned(), v.to_tensor())).collect()),
            Runner::Tract(model) => model.run(&rest),
        }
    }

    /// What runs the model for these values; moved to the end of what is kept.
    fn runner(&mut self, values: Vec<Tensor>) -> Result<&mut Runner> {
        let entry = match self.kept.iter().position(|(kept, _)| same(kept, &values)) {
            Some(i) => self.kept.remove(i),
            None => {
                let mut options = self.options.clone();
                options.constants.extend(self.deciding.iter().cloned().zip(values.iter().cloned()));
                let runner = match compile(&self.onnx, &options)? {
                    Compiled::Plan { plan, .. } => Runner::Plan(Box::new(Session::new(plan)?)),
                    Compiled::Fallback { model: Resident::Tract(model), .. } => Runner::Tract(Box::new(model)),
                    Compiled::Fallback { .. } => bail!(Internal, "values that were given are still open"),
                };
                (values, runner)
            }
        };
        if self.kept.len() >= KEPT {
            self.kept.remove(0);
        }
        self.kept.push(entry);
        match self.kept.last_mut() {
            Some((_, runner)) => Ok(runner),
            None => bail!(Internal, "what was kept is gone"),
        }
    }
}

fn same(a: &[Tensor], b: &[Tensor]) -> bool {
    let equal = |(a, b): (&Tensor, &Tensor)| a.shape() == b.shape() && a.bytes() == b.bytes();
    a.len() == b.len() && a.iter().zip(b).all(equal)
}

fn check(port: &PortInfo, view: &TensorView<'_>) -> Result<()> {
    let name = &port.name;
    ensure!(
        view.dtype == port.dtype,
        InvalidInput,
        "input '{name}' is {}, the model expects {}; convert it before the call",
        view.dtype,
        port.dtype
    );
    let fits = view.shape.len() == port.shape.len()
        && view.shape.iter().zip(&port.shape).all(|(n, d)| !matches!(d, crate::runtime::DimInfo::Fixed(size) if size != n));
    ensure!(fits, InvalidInput, "input '{name}' has shape {:?}, the model expects {:?}", view.shape, port.shape);
    let bytes = crate::tensor::element_count(view.shape)? * view.dtype.size();
    ensure!(bytes == view.data.len(), InvalidInput, "input '{name}' needs {bytes} bytes, {} were given", view.data.len());
    Ok(())
}

/// A model that stays with the compiler, because it has no plan.
pub enum Resident {
    /// On tract.
    Tract(Fallback),
    /// Compiled for each set of values of the inputs that decide.
    PerValue(PerValue),
}

impl Resident {
    /// Loads a model that has no plan.
    pub fn new(onnx: &[u8], options: &Options) -> Result<Resident> {
        Ok(match PerValue::new(onnx, options)? {
            Some(model) => Resident::PerValue(model),
            None => Resident::Tract(Fallback::new(onnx, options)?),
        })
    }

    /// The model's inputs.
    pub fn inputs(&self) -> &[PortInfo] {
        match self {
            Resident::Tract(model) => model.inputs(),
            Resident::PerValue(model) => model.inputs(),
        }
    }

    /// The model's outputs.
    pub fn outputs(&self) -> &[PortInfo] {
        match self {
            Resident::Tract(model) => model.outputs(),
            Resident::PerValue(model) => model.outputs(),
        }
    }

    /// Whether tract runs the model, as far as is known yet.
    pub fn on_tract(&self) -> bool {
        match self {
            Resident::Tract(_) => true,
            Resident::PerValue(model) => model.on_tract(),
        }
    }

    /// Runs the model. Inputs may come in any order; each must be there once.
    pub fn run(&mut self, inputs: &[(&str, TensorView<'_>)]) -> Result<Vec<(String, Tensor)>> {
        match self {
            Resident::Tract(model) => model.run(inputs),
            Resident::PerValue(model) => model.run(inputs),
        }
    }

    /// Why the model has no plan, as a sentence; `operators` are those that the graph lacks, `first` is the first reason.
    pub(super) fn note(&self, operators: &[String], first: &str) -> String {
        match self {
            Resident::PerValue(model) => {
                let names: Vec<String> = model.deciding().iter().map(|n| format!("'{n}'")).collect();
                format!(
                    "The values of {} decide shapes in this model: it is compiled anew when they change.",
                    names.join(" and ")
                )
            }
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
