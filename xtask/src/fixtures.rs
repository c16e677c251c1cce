//! The package as its users get it: packed, installed and run by each of the tools that they use (`tests/fixtures`).

use anyhow::Result;

use crate::shell::{self, run as sh, say};
use crate::stamp::Stamp;
use crate::{build, tools};

const FOLDER: &str = "tests/fixtures";

/// Builds and runs a small project of every tool with the packed package.
pub fn run() -> Result<()> {
    tools::browsers()?;
    build::run(&build::Options::default())?;
    install()?;
    sh(shell::command("node").arg(shell::root().join(FOLDER).join("run.mjs")))
}

/// Checks the manifests and files of the packages, and the types of the main one.
pub fn package_contents() -> Result<()> {
    install()?;
    for package in ["pkg", "drop-in"] {
        sh(shell::npm_tool("publint").args([package, "--strict"]))?;
    }
    let attw = shell::root().join(FOLDER).join("node_modules/.bin/attw");
    sh(shell::command(attw).args(["--pack", "pkg", "--profile", "esm-only", "--quiet"]))
}

/// The tools, in the versions of a lock file of their own: nearly a gigabyte that only these steps need.
fn install() -> Result<()> {
    let folder = shell::root().join(FOLDER);
    let lock = format!("{FOLDER}/package-lock.json");
    Stamp::new("fixtures").input(lock)?.guard(&[folder.join("node_modules/.package-lock.json")], || {
        say("Installing bundlers, Bun, Deno and workerd");
        // `npm ci` stumbles over an optional dependency that names no version; `install` keeps to the lock file, too.
        shell::quiet("npm install", shell::command("npm").args(["install", "--no-audit", "--no-fund"]).current_dir(&folder))
    })?;
    Ok(())
}
