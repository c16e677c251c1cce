//! Runtimes that are measured only where they are named: their packages, and models of their formats, made from the benchmark's ONNX files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::shell::{self, say};
use crate::stamp::Stamp;

/// Those with a model format of their own, as the benchmark's runner reads them.
const ENGINES: &str = include_str!("../../benches/web/peers/engines.json");
const FOLDER: &str = "benches/web/peers";
const PACKAGES: &str = "benches/web/transfer";

/// Whether one of them is in a list that is separated by commas.
pub fn named(engines: &str) -> Result<bool> {
    let peers: Vec<&str> = serde_json::from_str(ENGINES)?;
    Ok(engines.split(',').any(|name| peers.contains(&name)))
}

/// They have a lock file of their own: a quarter of a gigabyte that nothing else needs.
pub fn packages() -> Result<()> {
    let folder = shell::root().join(PACKAGES);
    Stamp::new("transfer").input(format!("{PACKAGES}/package-lock.json"))?.guard(
        &[folder.join("node_modules/.package-lock.json")],
        || {
            say("Installing the runtimes to compare with");
            shell::quiet("npm ci", shell::command("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder))
        },
    )?;
    Ok(())
}

/// Converts the models of a benchmark's list, or those that are known to convert; gives the folder that holds them.
pub fn models(assets: Option<&Path>, list: Option<&str>) -> Result<PathBuf> {
    let out = shell::target().join("peers/models");
    let python = python()?;
    let mut stamp = Stamp::new("peers-models").input(format!("{FOLDER}/requirements.txt"))?;
    for file in ["convert.py", "network.py", "graph_model.py"] {
        stamp = stamp.input(format!("{FOLDER}/{file}"))?;
    }
    let mut convert = shell::command(python);
    convert.arg(format!("{FOLDER}/convert.py")).args(["--digits", "models", "--out"]).arg(&out);
    if let Some(folder) = assets {
        convert.arg("--assets").arg(folder);
        stamp = stamp.text(&folder.to_string_lossy());
    }
    for name in list.map(names).unwrap_or_default() {
        convert.arg(name);
        stamp = stamp.text(name);
    }
    // A cache beside the scripts would lie in the repository.
    convert.env("PYTHONDONTWRITEBYTECODE", "1");
    stamp.guard(std::slice::from_ref(&out), || {
        say("Converting models for the runtimes to compare with");
        shell::quiet("convert.py", &mut convert)
    })?;
    Ok(out)
}

/// The models in a list of `NAME`, `NAME:VARIANT` and `NAME:VARIANT:CASE`.
fn names(list: &str) -> BTreeSet<&str> {
    list.split(',').filter_map(|text| text.split(':').next()).collect()
}

/// TensorFlow in an environment of its own; gives its Python.
fn python() -> Result<PathBuf> {
    let home = shell::target().join("peers/python");
    let python = home.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let requirements = format!("{FOLDER}/requirements.txt");
    Stamp::new("peers-python").input(&requirements)?.guard(std::slice::from_ref(&python), || {
        say("Installing TensorFlow, which converts models (1.6 GB)");
        let needed = "Python 3.10 to 3.13 with its module venv is needed to convert models for LiteRT.js and tfjs";
        shell::quiet("python3", shell::command("python3").args(["-m", "venv", "--clear"]).arg(&home)).context(needed)?;
        shell::quiet("pip", shell::command(&python).args(["-m", "pip", "install", "--requirement", &requirements]))
            .context(needed)
    })?;
    Ok(python)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_model_of_a_list_is_converted_once() {
        assert_eq!(names("b:qdq,a,b:f32:sample0").into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn packages_are_installed_for_those_who_name_their_engines() {
        assert!(named("nearside,tfjs").unwrap());
        assert!(!named("nearside,ort").unwrap());
    }
}
