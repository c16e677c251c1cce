//! `cargo xtask docs`: the documentation site, from the repository's Markdown, the package's TypeScript and the crate's rustdoc.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::shell::{self, say, seconds};
use crate::stamp::Stamp;
use crate::tools;

const SITE: &str = "www/dist/docs";
/// Where the crate's documentation lies in the site.
const RUST: &str = "rust";

pub fn run() -> Result<()> {
    tools::npm_packages()?;
    say("Documenting the crate");
    rustdoc()?;
    // The site empties its folder first.
    build(Some(&format!("{RUST}/nearside/index.html")))?;
    copy(&shell::target().join("doc"), &shell::root().join(SITE).join(RUST))?;
    check()?;
    say(&format!("The site is {SITE}/index.html"));
    Ok(())
}

/// The site without the crate's documentation, unless it is there already and as new as its sources.
pub fn site() -> Result<()> {
    let start = std::time::Instant::now();
    let mut inputs = Stamp::new("docs");
    for path in ["docs", "examples", "models/digits.md", "pkg/ts", "pkg/package.json", "www/docs", "package-lock.json"] {
        inputs = inputs.input(path)?;
    }
    for path in ["README.md", "pkg/README.md", "COMPARE.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        inputs = inputs.input(path)?;
    }
    let ran = inputs.guard(&[shell::root().join(SITE).join("index.html")], || build(None))?;
    if ran {
        say(&format!("  documentation site: {}", seconds(start.elapsed())));
    }
    Ok(())
}

/// Fails if a page links to what is not there.
pub fn check() -> Result<()> {
    shell::run(shell::command("node").args(["www/docs/check-links.mjs", SITE]))
}

/// The crate's documentation; what is wrong in it fails.
pub fn rustdoc() -> Result<()> {
    // Cargo merges neither RUSTDOCFLAGS nor this key with anything else here, so nothing is lost by setting it.
    shell::run(
        shell::cargo()
            .args(["doc", "--package", "nearside", "--no-deps", "--all-features", "--locked"])
            .env("RUSTDOCFLAGS", "-Dwarnings"),
    )
}

fn build(rustdoc: Option<&str>) -> Result<()> {
    let mut typedoc = shell::npm_tool("typedoc");
    typedoc.args(["--options", "www/docs/typedoc.config.mjs"]);
    if let Some(page) = rustdoc {
        typedoc.env("NEARSIDE_RUSTDOC", page);
    }
    shell::quiet("documentation site", &mut typedoc)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("cannot write {}", target.display()))?;
        }
    }
    Ok(())
}
