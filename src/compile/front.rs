//! From bytes to something that runs: the graph where it can express the model, else tract.

use alloc::{borrow::ToOwned, collections::BTreeSet, format, string::String, vec, vec::Vec};

use super::{
    import::{self, Imported},
    origins::{Source, origins},
    passes::{self, PassReport},
    reader::{Stripped, strip},
    resident::Resident,
    values::Values,
    weight_files::WeightFiles,
};
use crate::{
    error::{Error, ErrorKind, Result},
    graph::{
        Graph,
        plan::{Meta, Plan},
        verify,
    },
    limits::Limits,
    runtime,
    tensor::Tensor,
};

/// What to compile, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Sizes of symbolic dimensions that are known now, by name (`batch`); an unnamed dimension is called `<input>_d<axis>`.
    pub dimensions: Vec<(String, usize)>,
    /// Files in which the model keeps weights.
    pub external_data: WeightFiles,
    /// Values of inputs that are known now, by name: they become constants of the model.
    pub constants: Vec<(String, Tensor)>,
    /// Values of inputs, by name, as text: elements with commas between them. A plan keeps these inputs, and takes these values alone.
    pub values: Vec<(String, String)>,
    /// How much the model may ask for.
    pub limits: Limits,
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
    /// The model has no plan, so that it stays with the compiler: tract runs it, or it is compiled for each set of some inputs' values.
    Fallback {
        /// The model.
        model: Resident,
        /// What was done.
        report: Report,
    },
}

impl From<Plan> for Compiled {
    /// A plan that was compiled before. Of the report only the notes are known.
    fn from(plan: Plan) -> Compiled {
        let report = Report { notes: plan.meta.notes.clone(), ..Report::default() };
        Compiled::Plan { plan, report }
    }
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
    /// What each pass changed; for a fallback, where and why the graph cannot be used.
    pub passes: Vec<PassReport>,
    /// ONNX operators for which tract had to be used.
    pub fallback_operators: Vec<String>,
    /// What the user should know, as sentences; for a fallback, one that names the operators.
    pub notes: Vec<String>,
    /// The nodes of the model; none for a fallback.
    pub sources: Vec<Source>,
}

/// Compiles an ONNX model.
pub fn compile(onnx: &[u8], options: &Options) -> Result<Compiled> {
    options.limits.check_model(onnx.len() as u64)?;
    import::recognise(onnx)?;
    let Stripped { onnx, weights, sha256 } = strip(onnx)?;
    let mut options = options.clone();
    options.external_data.extend(weights);
    compile_stripped(&onnx, hex(&sha256), &options)
}

/// Compiles a model whose large weights are among `options.external_data`.
pub(super) fn compile_stripped(onnx: &[u8], source_sha256: String, options: &Options) -> Result<Compiled> {
    let mut options = options.clone();
    let values = Values::take(onnx, &mut options)?;
    match to_graph(onnx, &options) {
        Ok((mut graph, mut report)) => {
            report.notes.extend(values.demand(&mut graph));
            let meta = Meta {
                producer: concat!("nearside ", env!("CARGO_PKG_VERSION")).into(),
                source_sha256,
                notes: report.notes.clone(),
                origins: origins(&report.sources, &graph),
                record: Vec::new(),
            };
            Ok(Compiled::Plan { plan: Plan { graph, meta }, report })
        }
        Err(Refused::Graph { operators, reasons }) => fall_back(onnx, &options, operators, reasons),
        Err(Refused::Model(error)) if is_not_for_tract(&error) => {
            // Types that only the mixed executor knows look like contradictions, too.
            match Resident::only_mixed(onnx, &options) {
                Some(model) => Ok(resident(model, Vec::new(), vec![format!("{error}")])),
                None => Err(error),
            }
        }
        // What we cannot settle tract may; if not, ours is the better message.
        Err(Refused::Model(error)) => fall_back(onnx, &options, Vec::new(), vec![format!("{error}")]).map_err(|_| error),
    }
}

/// Whether a node was found to contradict ONNX, or to ask for too much: tract may panic at it, or count for ever.
pub(super) fn is_not_for_tract(error: &Error) -> bool {
    matches!(error, Error::AtNode { .. }) && matches!(error.kind(), ErrorKind::InvalidModel | ErrorKind::Limit)
}

/// Why there is no plan.
pub(super) struct NoPlan {
    /// Operators that the graph or the kernels lack.
    pub operators: Vec<String>,
    /// The first reason.
    pub error: Option<Error>,
}

/// The plan of a part of a model.
pub(super) fn plan_of(onnx: &[u8], options: &Options) -> Result<Plan, NoPlan> {
    match to_graph(onnx, options) {
        Ok((graph, _)) => Ok(Plan { graph, meta: Meta::default() }),
        Err(Refused::Graph { operators, reasons }) => {
            Err(NoPlan { operators, error: reasons.into_iter().next().map(Error::Unsupported) })
        }
        Err(Refused::Model(error)) => Err(NoPlan { operators: Vec::new(), error: Some(error) }),
    }
}

/// Why there is no graph that the runtime can run.
enum Refused {
    /// It has nodes which the graph or the kernels lack.
    Graph { operators: Vec<String>, reasons: Vec<String> },
    /// It could not be imported.
    Model(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused::Model(error)
    }
}

/// The optimised graph, every node of which has a kernel.
fn to_graph(onnx: &[u8], options: &Options) -> Result<(Graph, Report), Refused> {
    let Imported { graph, missing_operators, missing_reasons, notes, operators, sources } = import::import(onnx, options)?;
    if !missing_operators.is_empty() {
        return Err(Refused::Graph { operators: missing_operators, reasons: missing_reasons });
    }
    let mut report = Report { notes, sources, ..Report::default() };
    let graph = optimise(graph, &mut report)?;
    let refused = runtime::refused_nodes(&graph);
    if refused.is_empty() {
        return Ok((graph, report));
    }
    let mut names = BTreeSet::new();
    let mut reasons = Vec::new();
    for (index, error) in refused {
        let node = &graph.nodes[index];
        let operator = operators.get(&node.name).map_or(node.op.name(), String::as_str);
        names.insert(operator.to_owned());
        reasons.push(format!("{}", error.at_node(operator, &node.name)));
    }
    Err(Refused::Graph { operators: names.into_iter().collect(), reasons })
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
    let first = reasons.first().cloned().unwrap_or_default();
    let model = Resident::new(onnx, options, &operators)
        .map_err(|e| Error::Unsupported(format!("{first}; tract cannot run the model either: {e}")))?;
    Ok(resident(model, operators, reasons))
}

fn resident(model: Resident, mut operators: Vec<String>, reasons: Vec<String>) -> Compiled {
    let first = reasons.first().cloned().unwrap_or_default();
    let notes = vec![model.note(&operators, &first)];
    if let Resident::Mixed(model) = &model {
        operators = model.interpreted().to_vec();
    }
    let passes = vec![PassReport { name: "import", changes: reasons }];
    Compiled::Fallback { model, report: Report { passes, fallback_operators: operators, notes, ..Report::default() } }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
