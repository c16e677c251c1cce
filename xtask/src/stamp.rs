//! Skipping a step whose inputs have not changed since it last succeeded.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::shell;

/// The inputs of one step, digested; the digest of the last success lies beside the build's output.
pub struct Stamp {
    name: String,
    hash: Sha256,
}

impl Stamp {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), hash: Sha256::new() }
    }

    /// Adds a file, or every file below a folder (what is generated or installed there excepted).
    pub fn input(mut self, path: impl AsRef<Path>) -> Result<Self> {
        for file in files(&shell::root().join(path))? {
            self.hash.update(file.to_string_lossy().as_bytes());
            self.hash.update(fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
        }
        Ok(self)
    }

    /// Adds a text, for instance the flags of a command.
    pub fn text(mut self, text: &str) -> Self {
        self.hash.update(text.as_bytes());
        self
    }

    /// Runs `step` unless it succeeded before on the same inputs and all `outputs` still exist. Says whether it ran.
    pub fn guard(self, outputs: &[PathBuf], step: impl FnOnce() -> Result<()>) -> Result<bool> {
        let digest = format!("{:x}", self.hash.finalize());
        let file = shell::target().join("xtask").join(format!("{}.stamp", self.name));
        let current = fs::read_to_string(&file).is_ok_and(|old| old == digest);
        if current && outputs.iter().all(|output| output.exists()) {
            return Ok(false);
        }
        step()?;
        fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
        fs::write(&file, digest).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(true)
    }
}

/// The files below `path` in a fixed order, without `node_modules`, `dist`, `target` and hidden ones.
pub fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with('.') && !["node_modules", "dist", "target", "output"].contains(&name.as_str()) {
            found.extend(files(&path)?);
        }
    }
    found.sort();
    Ok(found)
}
