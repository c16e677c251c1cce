//! `cargo xtask conformance`: the table in `docs/conformance.md`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::shell::{self, say};
use crate::{bench, demo};

/// The sets, with what they are.
const SETS: [(&str, &str); 7] = [
    ("onnx_node_opset17", "ONNX 1.12's node tests"),
    ("onnx_node_opset28", "ONNX 1.23's node tests"),
    ("onnx_simple", "ONNX's simple models"),
    ("onnx_pytorch-converted", "ONNX's tests converted from PyTorch"),
    ("onnx_pytorch-operator", "ONNX's tests of PyTorch's operators"),
    ("ort_js_ops", "onnxruntime-web's operator tests"),
    ("fuzz_ops", "random models, compared with onnxruntime"),
];

#[derive(Deserialize)]
struct Case {
    status: String,
    operators: Vec<String>,
}

/// Runs the sets of the assets and writes the document.
pub fn run() -> Result<()> {
    demo::server()?;
    let folder = bench::assets(None)?.join("conformance");
    let mut table = String::new();
    let mut failing = BTreeMap::<String, usize>::new();
    for (set, what) in SETS {
        let path = folder.join(set);
        if !path.is_dir() {
            continue;
        }
        say(set);
        let cases = cases(&path)?;
        let count = |status: &str| cases.iter().filter(|c| c.status == status).count();
        let (light, fallback) = (count("pass"), count("fallback"));
        let (passed, all) = (light + fallback, cases.len());
        ensure!(all > 0, "{set} holds no case");
        writeln!(
            table,
            "| {what} | {all} | {passed} ({:.1} %) | {light} | {fallback} | {} | {} | {} |",
            passed as f64 / all as f64 * 100.0,
            count("unsupported"),
            count("mismatch"),
            count("error"),
        )?;
        for case in cases.iter().filter(|c| !matches!(c.status.as_str(), "pass" | "fallback")) {
            case.operators.iter().for_each(|op| *failing.entry(op.clone()).or_default() += 1);
        }
    }
    let mut failing: Vec<(String, usize)> = failing.into_iter().collect();
    failing.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let list: Vec<String> = failing.iter().map(|(operator, n)| format!("{operator} ({n})")).collect();
    let path = shell::root().join("docs/conformance.md");
    std::fs::write(&path, document(&table, &list.join(", "))).with_context(|| format!("cannot write {}", path.display()))?;
    say("docs/conformance.md is written");
    Ok(())
}

fn document(table: &str, failing: &str) -> String {
    format!(
        "# Conformance

`cargo xtask conformance` writes this page, natively; `tests/e2e/conformance.spec.ts` runs the same cases in Chromium through the package. A case
passes if every output has the right shape and type, integers are equal, and floats are within 10⁻³ of each number, or 10⁻⁴ of the largest.
*Light* ran on the runtime's kernels, some of it between operators that the mixed executor interprets; *fallback* had a part on tract; *unsupported* was refused with a sentence that names the node.

| set | cases | passed | light | fallback | unsupported | mismatch | error |
| --- | --: | --: | --: | --: | --: | --: | --: |
{table}
Operators in the cases that do not pass, with the number of those cases: {failing}.

ImageDecoder is left out on purpose: decoders for its seven formats would be larger than what they decode, and a page has `createImageBitmap`.
"
    )
}

fn cases(folder: &Path) -> Result<Vec<Case>> {
    let mut command = shell::command(shell::target().join("release/nearside"));
    // The exit status says that not all passed, which the report tells as well.
    let output = command.args(["conformance", "--json"]).arg(folder).stderr(Stdio::inherit()).output()?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("the report on {} cannot be read", folder.display()))
}
