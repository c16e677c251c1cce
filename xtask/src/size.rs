//! Sizes of what visitors download, against `budgets.toml`.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::shell;
use crate::stamp;

#[derive(Deserialize)]
struct Budget {
    /// Files below the workspace; one `*` may stand for any part of the file's name.
    files: String,
    /// The most that all of them together may weigh, compressed, in bytes.
    brotli: u64,
}

/// Prints the table; an exceeded budget or a missing file is an error.
pub fn check(print: impl Fn(&str)) -> Result<()> {
    let text = fs::read_to_string(shell::root().join("budgets.toml")).context("cannot read budgets.toml")?;
    let budgets: BTreeMap<String, Budget> = toml::from_str(&text).context("budgets.toml is not as expected")?;
    print(&format!("{:<28} {:>12} {:>12} {:>12}", "", "bytes", "brotli", "budget"));
    let mut failed = Vec::new();
    for (name, budget) in &budgets {
        let row = match measure(&budget.files)? {
            Some((raw, compressed)) => {
                let over = compressed > budget.brotli;
                if over {
                    failed.push(format!("{name} is over its budget"));
                }
                format!(
                    "{:>12} {:>12} {:>12}{}",
                    group(raw),
                    group(compressed),
                    group(budget.brotli),
                    if over { "  over" } else { "" }
                )
            }
            None => {
                failed.push(format!("{} is not built yet, run `cargo xtask build`", budget.files));
                format!("{:>12} {:>12} {:>12}", "–", "–", group(budget.brotli))
            }
        };
        print(&format!("{name:<28} {row}"));
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    Ok(())
}

/// The raw and the compressed size of all files that match, if there are any.
fn measure(pattern: &str) -> Result<Option<(u64, u64)>> {
    let (folder, name) = pattern.rsplit_once('/').unwrap_or((".", pattern));
    let (before, after) = name.split_once('*').unwrap_or((name, ""));
    let mut sizes = (0, 0);
    let folder = shell::root().join(folder);
    if !folder.is_dir() {
        return Ok(None);
    }
    for file in stamp::files(&folder)? {
        if file.parent() != Some(folder.as_path()) {
            continue;
        }
        let file_name = file.file_name().unwrap_or_default().to_string_lossy();
        let matches =
            if name.contains('*') { file_name.starts_with(before) && file_name.ends_with(after) } else { file_name == name };
        if matches {
            let bytes = fs::read(&file)?;
            sizes.0 += bytes.len() as u64;
            sizes.1 += brotli_size(&bytes)?;
        }
    }
    Ok((sizes.0 > 0).then_some(sizes))
}

/// The size at brotli's highest quality, remembered by content: the compiler takes half a minute.
fn brotli_size(bytes: &[u8]) -> Result<u64> {
    let cache = shell::target().join("xtask/brotli").join(format!("{:x}", Sha256::digest(bytes)));
    if let Some(size) = fs::read_to_string(&cache).ok().and_then(|text| text.parse().ok()) {
        return Ok(size);
    }
    let mut out = CountBytes(0);
    let parameters = brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 22, ..Default::default() };
    brotli::BrotliCompress(&mut &bytes[..], &mut out, &parameters)?;
    fs::create_dir_all(cache.parent().unwrap_or(&cache))?;
    fs::write(&cache, out.0.to_string())?;
    Ok(out.0)
}

struct CountBytes(u64);

impl std::io::Write for CountBytes {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// `1234567` as `1 234 567`.
fn group(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}
