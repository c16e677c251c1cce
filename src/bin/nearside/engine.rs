//! A loaded model, whoever runs it.

use nearside::{
    Error, Result, Tensor, TensorView,
    compile::{Compiled, Fallback, Kind, Options, Report, Resident, Value, compile},
    kernels::Team,
    limits::Limits,
    runtime::{PortInfo, Session},
};
use serde::{Deserialize, Serialize};

/// Who runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Executor {
    /// The light runtime; a model that needs tract is an error
    Runtime,
    /// tract
    Tract,
    /// The light runtime, or tract where the model needs it
    Auto,
}

/// A model that is ready to run.
pub enum Engine {
    /// On the light runtime.
    Plan(Box<Session>),
    /// With the compiler, because it has no plan.
    Resident(Box<Resident>),
}

impl Engine {
    /// What the compiler made of a model, to be run by `team`.
    pub fn of(compiled: Compiled, team: Team) -> Result<Engine> {
        Ok(match compiled {
            Compiled::Plan { plan, .. } => Engine::Plan(Box::new(Session::with_team(plan, &Limits::default(), team)?)),
            Compiled::Fallback { model, .. } => Engine::Resident(Box::new(model)),
        })
    }

    /// Compiles ONNX bytes for an executor.
    pub fn load(onnx: &[u8], executor: Executor) -> Result<(Engine, Report)> {
        let options = Options::default();
        if executor == Executor::Tract {
            return Ok((Engine::Resident(Box::new(Resident::Tract(Fallback::new(onnx, &options)?))), Report::default()));
        }
        let compiled = compile(onnx, &options)?;
        let report = compiled.report().clone();
        if executor == Executor::Runtime && matches!(compiled, Compiled::Fallback { model: Resident::Tract(_), .. }) {
            return Err(Error::Unsupported(report.notes.get(1).or(report.notes.first()).cloned().unwrap_or_default()));
        }
        Ok((Engine::of(compiled, Team::ALONE)?, report))
    }

    /// The model's inputs.
    pub fn inputs(&self) -> &[PortInfo] {
        match self {
            Engine::Plan(session) => session.inputs(),
            Engine::Resident(model) => model.inputs(),
        }
    }

    /// The model's outputs.
    pub fn outputs(&self) -> &[PortInfo] {
        match self {
            Engine::Plan(session) => session.outputs(),
            Engine::Resident(model) => model.outputs(),
        }
    }

    /// Whether tract ran the model, or will.
    pub fn on_tract(&self) -> bool {
        matches!(self, Engine::Resident(model) if model.on_tract())
    }

    /// What kind of value each input, or output, is.
    pub fn kinds(&self, outputs: bool) -> Vec<Kind> {
        match self {
            Engine::Plan(session) => vec![Kind::Tensor; if outputs { session.outputs().len() } else { session.inputs().len() }],
            Engine::Resident(model) => model.kinds(outputs),
        }
    }

    /// Runs the model once on values of any kind.
    pub fn run_values(&mut self, inputs: &[(&str, Value)]) -> Result<Vec<(String, Value)>> {
        if let Engine::Resident(model) = self {
            return model.run_values(inputs);
        }
        let mut views = Vec::with_capacity(inputs.len());
        for (name, value) in inputs {
            views.push((*name, value.tensor()?.view()));
        }
        Ok(self.run(&views)?.into_iter().map(|(name, tensor)| (name, tensor.into())).collect())
    }

    /// Runs the model once on tensors of numbers.
    pub fn run(&mut self, inputs: &[(&str, TensorView<'_>)]) -> Result<Vec<(String, Tensor)>> {
        Ok(match self {
            Engine::Plan(session) => session.run(inputs)?.iter().map(|(n, v)| (n.to_string(), v.to_tensor())).collect(),
            Engine::Resident(model) => model.run(inputs)?,
        })
    }
}
