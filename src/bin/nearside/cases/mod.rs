//! Models with given inputs and expected outputs: how `check` and `conformance` run them.
//!
//! A case is run in a child process (`pool.rs` starts it, `worker.rs` is what it does), so that a crash, a hang or a lack of memory
//! costs that case only. `backend.rs` and `folder.rs` each read one form of folder; both end in `compare.rs`.

mod backend;
mod compare;
mod folder;
mod operators;
mod pool;
mod report;
mod stream;
mod values;
pub mod worker;

use std::{path::PathBuf, process::ExitCode};

use nearside::compile::Report;
use pool::Limits;
use report::{Format, print};
use serde::{Deserialize, Serialize};

use crate::engine::{Engine, Executor};

/// What is run, and where it is found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Case {
    /// A folder of ONNX's backend tests: `model.onnx` and `test_data_set_*`.
    Backend {
        /// The folder.
        folder: PathBuf,
    },
    /// A case of a file of onnxruntime-web's operator tests.
    Operator {
        /// The file.
        file: PathBuf,
        /// Which of its tests.
        test: usize,
        /// Which of that test's cases.
        case: usize,
    },
    /// A case of a folder with a `model.json`.
    Model {
        /// The folder.
        folder: PathBuf,
        /// Which of its ONNX files.
        variant: String,
        /// Which of its cases.
        id: String,
    },
}

impl Case {
    /// How the case is called in reports.
    pub fn name(&self) -> String {
        let base = |folder: &PathBuf| folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        match self {
            Case::Backend { folder } => base(folder),
            Case::Operator { file, test, case } => format!("{} {test}.{case}", base(file)),
            Case::Model { folder, variant, id } => format!("{} {variant} {id}", base(folder)),
        }
    }

    fn folder(&self) -> &PathBuf {
        match self {
            Case::Backend { folder } | Case::Model { folder, .. } | Case::Operator { file: folder, .. } => folder,
        }
    }
}

/// A case and who is to run it, as it goes to a child process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// What is run.
    pub case: Case,
    /// By whom.
    pub executor: Executor,
}

/// How a case ended. Ordered from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The outputs match, from the light runtime or from the executor that was asked for.
    Pass,
    /// The outputs match, but tract had to run the model.
    Fallback,
    /// The model holds something that cannot be run.
    Unsupported,
    /// The outputs differ.
    Mismatch,
    /// Any other failure: an error, a crash, a hang.
    Error,
}

impl Status {
    /// All of them, in the order of reports.
    pub const ALL: [Status; 5] = [Status::Pass, Status::Fallback, Status::Unsupported, Status::Mismatch, Status::Error];

    /// Whether the case counts as passed.
    pub fn passed(self) -> bool {
        matches!(self, Status::Pass | Status::Fallback)
    }

    /// The status in a word.
    pub fn name(self) -> &'static str {
        match self {
            Status::Pass => "pass",
            Status::Fallback => "fallback",
            Status::Unsupported => "unsupported",
            Status::Mismatch => "mismatch",
            Status::Error => "error",
        }
    }
}

/// What became of a case.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Verdict {
    /// How it ended.
    pub status: Status,
    /// Why it did not pass, or why tract had to run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The operators of the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<String>,
}

impl Verdict {
    /// A verdict with its reason.
    pub fn because(status: Status, reason: impl Into<String>) -> Verdict {
        Verdict { status, reason: Some(reason.into()), operators: Vec::new() }
    }

    /// The outputs match.
    fn passed(engine: &Engine, executor: Executor, report: &Report) -> Verdict {
        if !engine.on_tract() || executor == Executor::Tract {
            return Verdict { status: Status::Pass, reason: None, operators: Vec::new() };
        }
        let reasons = report.passes.iter().flat_map(|p| &p.changes).map(String::as_str);
        let reasons: Vec<&str> = report.notes.iter().map(String::as_str).chain(reasons).collect();
        let status = if executor == Executor::Auto { Status::Fallback } else { Status::Unsupported };
        Verdict::because(status, reasons.join(" "))
    }

    /// The verdict of an error of ours.
    fn of(error: &nearside::Error) -> Verdict {
        let status = if error.kind() == nearside::ErrorKind::Unsupported { Status::Unsupported } else { Status::Error };
        Verdict::because(status, error.to_string())
    }
}

/// The backend tests and files of operator tests in `folders` and below them, in order of their paths. What shares nothing is a group of
/// its own.
pub fn backend_cases(folders: &[PathBuf]) -> anyhow::Result<Vec<Vec<Case>>> {
    let is_test = |path: &std::path::Path| path.join("model.onnx").is_file() && backend::has_data(path);
    let mut groups = Vec::new();
    for path in below(folders, &|path| operators::is_file(path) || is_test(path))? {
        match operators::is_file(&path) {
            true => groups.extend(operators::cases(&path)?),
            false => groups.push(vec![Case::Backend { folder: path }]),
        }
    }
    Ok(groups)
}

/// The cases of every `model.json` in `folders` and below them. A group is what shares a model.
pub fn model_cases(folders: &[PathBuf]) -> anyhow::Result<Vec<Vec<Case>>> {
    let mut groups = Vec::new();
    for path in below(folders, &|folder| folder.join("model.json").is_file())? {
        let model = folder::Folder::open(&path)?;
        for variant in model.variants() {
            let case = |id| Case::Model { folder: path.clone(), variant: variant.clone(), id };
            groups.push(model.cases(&variant).into_iter().map(case).collect());
        }
    }
    Ok(groups)
}

/// The folders and files at and below `roots` for which `wanted` holds; what lies below such a folder is part of it.
fn below(roots: &[PathBuf], wanted: &dyn Fn(&std::path::Path) -> bool) -> anyhow::Result<Vec<PathBuf>> {
    use anyhow::Context;
    let mut found = Vec::new();
    for root in roots {
        let before = found.len();
        let mut open = vec![root.clone()];
        while let Some(folder) = open.pop() {
            if wanted(&folder) {
                found.push(folder);
                continue;
            }
            let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
            for entry in entries {
                let (path, is_folder) = entry.and_then(|e| Ok((e.path(), e.file_type()?.is_dir())))?;
                if is_folder {
                    open.push(path);
                } else if wanted(&path) {
                    found.push(path);
                }
            }
        }
        anyhow::ensure!(found.len() > before, "{} holds no case to run", root.display());
        found[before..].sort();
    }
    Ok(found)
}

/// How cases are run and reported.
#[derive(clap::Args)]
pub struct How {
    /// Who runs the models
    #[arg(long, value_enum, default_value = "auto")]
    executor: Executor,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    limits: Limits,
}

/// Runs groups of cases in child processes and prints what became of them, in their order.
pub fn report(groups: Vec<Vec<Case>>, how: &How) -> anyhow::Result<ExitCode> {
    let job = |case| Job { case, executor: how.executor };
    let jobs = groups.into_iter().map(|group| group.into_iter().map(job).collect()).collect();
    let results: Vec<(Case, Verdict)> =
        pool::run(jobs, &how.limits)?.into_iter().map(|(job, verdict)| (job.case, verdict)).collect();
    Ok(if print(&results, &how.format)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
