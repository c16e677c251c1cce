//! What the runs came to, for people and as JSON.

use std::{
    collections::BTreeMap,
    io::{Result, Write},
};

use serde_json::json;

use super::{Case, Status, Verdict};

/// How results are printed.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Format {
    /// Print a JSON array with an object per case; the closing lines go to standard error
    #[arg(long)]
    pub json: bool,
    /// Print a table of the operators, with the number of their cases by result
    #[arg(long)]
    pub operators: bool,
    /// Print the cases that passed, too
    #[arg(short, long)]
    pub verbose: bool,
}

/// Prints the results; returns whether all cases passed.
pub fn print(results: &[(Case, Verdict)], format: &Format) -> Result<bool> {
    let mut out = std::io::stdout().lock();
    if format.json {
        write_json(&mut out, results)?;
        out.flush()?;
        write_summary(&mut std::io::stderr().lock(), results)?;
    } else {
        write_cases(&mut out, results, format.verbose)?;
        if format.operators {
            write_operators(&mut out, results)?;
        }
        write_summary(&mut out, results)?;
    }
    Ok(results.iter().all(|(_, v)| v.status.passed()))
}

fn write_json(out: &mut dyn Write, results: &[(Case, Verdict)]) -> Result<()> {
    writeln!(out, "[")?;
    for (i, (case, verdict)) in results.iter().enumerate() {
        let mut object = json!({
            "name": case.name(),
            "path": case.folder(),
            "status": verdict.status.name(),
            "operators": verdict.operators,
        });
        if let Case::Model { variant, id, .. } = case {
            object["variant"] = json!(variant);
            object["case"] = json!(id);
        }
        if let Some(reason) = &verdict.reason {
            object["reason"] = json!(reason);
        }
        writeln!(out, "{object}{}", if i + 1 < results.len() { "," } else { "" })?;
    }
    writeln!(out, "]")
}

fn write_cases(out: &mut dyn Write, results: &[(Case, Verdict)], verbose: bool) -> Result<()> {
    for (case, verdict) in results {
        if verbose || !verdict.status.passed() {
            let reason = verdict.reason.as_deref().unwrap_or_default();
            let separator = if reason.is_empty() { "" } else { ": " };
            writeln!(out, "{:<12}{}{separator}{reason}", verdict.status.name(), case.name())?;
        }
    }
    Ok(())
}

/// A line per operator, those with most failures first.
fn write_operators(out: &mut dyn Write, results: &[(Case, Verdict)]) -> Result<()> {
    let mut counts = BTreeMap::<&str, [usize; 5]>::new();
    for (_, verdict) in results {
        for operator in &verdict.operators {
            counts.entry(operator).or_default()[verdict.status as usize] += 1;
        }
    }
    let mut rows: Vec<(&str, [usize; 5])> = counts.into_iter().collect();
    let failures = |c: &[usize; 5]| Status::ALL.iter().zip(c).filter(|(s, _)| !s.passed()).map(|(_, n)| n).sum::<usize>();
    rows.sort_by_key(|(_, c)| std::cmp::Reverse(failures(c)));
    write!(out, "{:<32}", "operator")?;
    Status::ALL.iter().try_for_each(|s| write!(out, "{:>12}", s.name()))?;
    writeln!(out)?;
    for (operator, counts) in rows {
        write!(out, "{operator:<32}")?;
        counts.iter().try_for_each(|n| write!(out, "{n:>12}"))?;
        writeln!(out)?;
    }
    Ok(())
}

fn write_summary(out: &mut dyn Write, results: &[(Case, Verdict)]) -> Result<()> {
    let count = |status: Status| results.iter().filter(|(_, v)| v.status == status).count();
    let parts: Vec<String> = Status::ALL.iter().map(|&s| format!("{} {}", count(s), s.name())).collect();
    writeln!(out, "{}", parts.join(", "))?;
    writeln!(out, "{} of the passed cases ran on the fallback", count(Status::Fallback))?;
    let passed = results.iter().filter(|(_, v)| v.status.passed()).count();
    writeln!(out, "{passed} passed, {} failed", results.len() - passed)
}
