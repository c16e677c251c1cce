//! A loaded model, whoever runs it.

use nearside::{
    Error, Result, Tensor, TensorView,
    compile::{Compiled, Fallback, Options, Report, compile},
    runtime::{PortInfo, Session},
};
use serde::{Deserialize, Serialize};

/// Who runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Executor {
    /// The light runtime; a model that has no plan is an error
    Runtime,
    /// tract
    Tract,
    /// The light runtime, or tract where the model has no plan
    Auto,
}

/// A model that is ready to run.
pub enum Engine {
    /// On the light runtime.
    Plan(Box<Session>),
    /// On tract.
    Fallback(Box<Fallback>),
}

impl Engine {
    /// What the compiler made of a model.
    pub fn of(compiled: Compiled) -> Result<Engine> {
        Ok(match compiled {
            Compiled::Plan { plan, .. } => Engine::Plan(Box::new(Session::new(plan)?)),
            Compiled::Fallback { model, .. } => Engine::Fallback(Box::new(model)),
        })
    }

    /// Compiles ONNX bytes for an executor.
    pub fn load(onnx: &[u8], executor: Executor) -> Result<(Engine, Report)> {
        let options = Options::default();
        if executor == Executor::Tract {
            return Ok((Engine::Fallback(Box::new(Fallback::new(onnx, &options)?)), Report::default()));
        }
        let compiled = compile(onnx, &options)?;
        let report = compiled.report().clone();
        if executor == Executor::Runtime && matches!(compiled, Compiled::Fallback { .. }) {
            return Err(Error::Unsupported(report.notes.get(1).or(report.notes.first()).cloned().unwrap_or_default()));
        }
        Ok((Engine::of(compiled)?, report))
    }

    /// The model's inputs.
    pub fn inputs(&self) -> &[PortInfo] {
        match self {
            Engine::Plan(session) => session.inputs(),
            Engine::Fallback(model) => model.inputs(),
        }
    }

    /// The model's outputs.
    pub fn outputs(&self) -> &[PortInfo] {
        match self {
            Engine::Plan(session) => session.outputs(),
            Engine::Fallback(model) => model.outputs(),
        }
    }

    /// Runs the model once.
    pub fn run(&mut self, inputs: &[(&str, TensorView<'_>)]) -> Result<Vec<(String, Tensor)>> {
        Ok(match self {
            Engine::Plan(session) => session.run(inputs)?.iter().map(|(n, v)| (n.to_string(), v.to_tensor())).collect(),
            Engine::Fallback(model) => model.run(inputs)?,
        })
    }
}
