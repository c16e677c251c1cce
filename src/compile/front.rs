//! From bytes to something that runs: the graph where it can express the model, else tract.

use alloc::{format, string::String, vec, vec::Vec};

use sha2::{Digest, Sha256};

use super::{
    fallback::Fallback,
    import::{self, Imported},
    passes::{self, PassReport},
};
use crate::{
    error::{Error, Result},
    graph::{
        Graph,
        plan::{Meta, Plan},
        verify,
    },
};

/// What to compile, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Sizes of symbolic dimensions that are known now, by name (`batch`); an unnamed dimension is called `<input>_d<axis>`.
    pub dimensions: Vec<(String, usize)>,
    /// Files in which the model keeps its weights, by the path that the model gives.
    pub external_data: Vec<(String, Vec<u8>)>,
}

/// What became of a model.
pub enum Compiled {
    /// A plan for the runtime.
    Plan {
        /// The plan.
        plan: Plan,
        /// What was done.
        report: Report,
    },
    /// The model has operators that the graph lacks, so that tract runs it.
    Fallback {
        /// The model on tract.
        model: Fallback,
        /// What was done.
        report: Report,
    },
}

impl Compiled {
    /// What was done.
    pub fn report(&self) -> &Report {
        match self {
            Compiled::Plan { report, .. } | Compiled::Fallback { report, .. } => report,
        }
    }
}

/// What the compiler did.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What each pass changed.
    pub passes: Vec<PassReport>,
    /// ONNX operators for which tract had to be used.
    pub fallback_operators: Vec<String>,
    /// What the user should know, as sentences.
    pub notes: Vec<String>,
}

/// Compiles an ONNX model.
pub fn compile(onnx: &[u8], options: &Options) -> Result<Compiled> {
    match import::import(onnx, options) {
        Ok(Imported { graph, missing_operators, .. }) if missing_operators.is_empty() => {
            let mut report = Report::default();
            let graph = optimise(graph, &mut report)?;
            let meta = Meta {
                producer: concat!("nearside ", env!("CARGO_PKG_VERSION")).into(),
                source_sha256: hex(&Sha256::digest(onnx)),
                notes: report.notes.clone(),
            };
            Ok(Compiled::Plan { plan: Plan { graph, meta }, report })
        }
        Ok(Imported { missing_operators, missing_reasons, .. }) => fall_back(onnx, options, missing_operators, missing_reasons),
        // What we cannot settle tract may; if not, ours is the better message.
        Err(error) => fall_back(onnx, options, Vec::new(), vec![format!("{error}")]).map_err(|_| error),
    }
}

/// Runs the passes and checks what they leave.
fn optimise(mut graph: Graph, report: &mut Report) -> Result<Graph> {
    graph.sort()?;
    graph.remove_dead();
    report.passes = passes::run_all(&mut graph)?;
    verify::verify(&graph)?;
    Ok(graph)
}

fn fall_back(onnx: &[u8], options: &Options, operators: Vec<String>, reasons: Vec<String>) -> Result<Compiled> {
    let model = Fallback::new(onnx, options).map_err(|e| {
        let first = reasons.first().cloned().unwrap_or_default();
        Error::Unsupported(format!("{first}; tract cannot run the model either: {e}"))
    })?;
    let mut notes = vec![format!(
        "This model runs on the slower reference engine, because it has operators without a fast implementation: {}.",
        operators.join(", ")
    )];
    notes.extend(reasons);
    Ok(Compiled::Fallback { model, report: Report { passes: Vec::new(), fallback_operators: operators, notes } })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
