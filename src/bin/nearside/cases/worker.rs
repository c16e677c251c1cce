//! The child process: reads jobs, a line of JSON each, and answers each with a line.

use std::{
    io::{BufRead, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nearside::compile::Report;

use super::{Case, Job, Status, Verdict, backend, folder::Folder, operators};
use crate::engine::{Engine, Executor};

/// Runs jobs until the input ends.
pub fn run() -> Result<()> {
    // A panic is reported as the case's verdict.
    std::panic::set_hook(Box::new(|_| {}));
    let mut loaded = None;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let job: Job = serde_json::from_str(&line?).context("a job is not understood")?;
        let work = std::panic::AssertUnwindSafe(|| verdict(&job, &mut loaded));
        let verdict = std::panic::catch_unwind(work).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Verdict::because(Status::Error, format!("panicked: {}", text.unwrap_or("no details")))
        });
        serde_json::to_writer(&mut out, &verdict)?;
        writeln!(out)?;
        out.flush()?;
    }
    Ok(())
}

/// A model that was loaded for the case before.
struct Loaded {
    key: (PathBuf, String),
    engine: Result<(Engine, Report), Verdict>,
}

fn verdict(job: &Job, loaded: &mut Option<Loaded>) -> Verdict {
    match &job.case {
        Case::Backend { folder } => backend::run(folder, job.executor),
        Case::Operator { file, test, case } => operators::run(file, *test, *case, job.executor),
        Case::Model { folder, variant, id } => {
            model(folder, variant, id, job.executor, loaded).unwrap_or_else(|e| Verdict::because(Status::Error, format!("{e:#}")))
        }
    }
}

fn model(path: &Path, variant: &str, id: &str, executor: Executor, loaded: &mut Option<Loaded>) -> Result<Verdict> {
    let folder = Folder::open(path)?;
    let key = (path.to_path_buf(), variant.to_string());
    let mut entry = match loaded.take() {
        Some(entry) if entry.key == key => entry,
        _ => {
            let engine = Engine::load(&folder.onnx(variant)?, executor).map_err(|e| Verdict::of(&e));
            Loaded { key, engine }
        }
    };
    let mut verdict = match &mut entry.engine {
        Ok((engine, report)) => match folder.run(engine, variant, id)? {
            None => Verdict::passed(engine, executor, report),
            Some(verdict) => verdict,
        },
        Err(verdict) => verdict.clone(),
    };
    verdict.operators = folder.operators(variant);
    *loaded = Some(entry);
    Ok(verdict)
}
