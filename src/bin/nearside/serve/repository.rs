//! The models of the served folder, and their executors.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};
use nearside::{
    DType, Tensor,
    compile::{Compiled, Fallback, Options, Resident, compile},
    graph::{Graph, Op, plan, plan::Plan},
    runtime::{PortInfo, Session},
    tensor::AlignedBytes,
};

use super::error::ApiError;

/// All served models by name.
pub struct Repository {
    models: BTreeMap<String, Arc<Model>>,
}

/// One served model.
pub struct Model {
    /// Its name in URLs: the file's name without the extension.
    pub name: String,
    /// Inputs in the model's order.
    pub inputs: Vec<PortInfo>,
    /// Outputs in the model's order.
    pub outputs: Vec<PortInfo>,
    /// What runs it: `nearside` or `tract`.
    pub platform: &'static str,
    source: Source,
    /// Executors that no request uses now. They keep their memory, so they are worth keeping.
    idle: Mutex<Vec<Executor>>,
}

/// What executors are made from.
enum Source {
    Plan(Box<Plan>),
    Onnx(Vec<u8>),
}

/// Runs a model for one request at a time.
enum Executor {
    Session(Box<Session>),
    Tract(Box<Resident>),
}

impl Repository {
    /// Loads every model of the folder; fails on the first that cannot be served.
    pub fn open(folder: &Path) -> Result<Repository> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
            .with_context(|| format!("cannot read the folder {}", folder.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        files.retain(|p| p.extension().is_some_and(|e| e == "onnx" || e == "plan"));
        files.sort();
        let mut models = BTreeMap::new();
        for file in files {
            let name = file.file_stem().and_then(|s| s.to_str()).context("a model's file name is not UTF-8")?.to_string();
            let model = Model::load(&name, &file).with_context(|| format!("cannot serve {}", file.display()))?;
            if models.insert(name.clone(), Arc::new(model)).is_some() {
                bail!("{} holds two models named {name}", folder.display());
            }
        }
        if models.is_empty() {
            bail!("{} holds no .onnx or .plan file", folder.display());
        }
        Ok(Repository { models })
    }

    /// Names of all models.
    pub fn names(&self) -> Vec<&str> {
        self.models.keys().map(String::as_str).collect()
    }

    /// The model with this name.
    pub fn get(&self, name: &str) -> Result<Arc<Model>, ApiError> {
        self.models.get(name).cloned().ok_or_else(|| {
            ApiError::not_found(format!("there is no model '{name}'; this server has: {}", self.names().join(", ")))
        })
    }
}

impl Model {
    fn load(name: &str, file: &Path) -> Result<Model> {
        let bytes = std::fs::read(file)?;
        let source = if plan::is_plan(&bytes) {
            Source::Plan(Box::new(plan::read(AlignedBytes::copy_of(&bytes))?))
        } else {
            match compile(&bytes, &Options::default())? {
                // Float models run on tract, whose kernels use the widest vectors of the CPU: the cloud figure has to be an honest one.
                Compiled::Plan { plan, .. } if computes_on_integers(&plan.graph) => Source::Plan(Box::new(plan)),
                _ => Source::Onnx(bytes),
            }
        };
        let executor = source.executor()?;
        let (inputs, outputs, platform) = match &executor {
            Executor::Session(s) => (s.inputs().to_vec(), s.outputs().to_vec(), "nearside"),
            Executor::Tract(t) => (t.inputs().to_vec(), t.outputs().to_vec(), "tract"),
        };
        Ok(Model { name: name.into(), inputs, outputs, platform, source, idle: Mutex::new(vec![executor]) })
    }

    /// Runs the model. Blocks; as many calls as there are executors may run at the same time.
    pub fn run(&self, inputs: &[(String, Tensor)]) -> Result<Vec<(String, Tensor)>, ApiError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut executor = match idle {
            Some(executor) => executor,
            None => self.source.executor().map_err(|e| ApiError::internal(format!("{e:#}")))?,
        };
        let views: Vec<_> = inputs.iter().map(|(n, t)| (n.as_str(), t.view())).collect();
        let outputs = match &mut executor {
            Executor::Session(s) => {
                s.run(&views).map(|outputs| outputs.iter().map(|(n, v)| (n.to_string(), v.to_tensor())).collect())
            }
            Executor::Tract(t) => t.run(&views),
        };
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(executor);
        Ok(outputs?)
    }
}

impl Source {
    fn executor(&self) -> nearside::Result<Executor> {
        Ok(match self {
            Source::Plan(plan) => Executor::Session(Box::new(Session::new(Plan::clone(plan))?)),
            Source::Onnx(bytes) => match Fallback::new(bytes, &Options::default()) {
                Ok(model) => Executor::Tract(Box::new(Resident::Tract(model))),
                Err(_) => match compile(bytes, &Options::default())? {
                    Compiled::Fallback { model, .. } => Executor::Tract(Box::new(model)),
                    Compiled::Plan { plan, .. } => Executor::Session(Box::new(Session::new(plan)?)),
                },
            },
        })
    }
}

/// Whether the heavy operators multiply integers.
fn computes_on_integers(graph: &Graph) -> bool {
    graph
        .nodes
        .iter()
        .filter(|n| matches!(n.op, Op::Conv(_) | Op::MatMul(_)))
        .any(|n| matches!(graph.value(n.inputs[0]).ty.dtype, DType::U8 | DType::I8))
}
