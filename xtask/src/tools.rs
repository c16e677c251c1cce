//! What must be on the machine: each function installs one thing if it is missing, and says so.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::shell::{self, say};
use crate::stamp::Stamp;

/// Tools of crates.io that are too large to be dependencies of this program, in the versions tried.
const GECKODRIVER: (&str, &str) = ("geckodriver", "0.37.1");
const CARGO_DENY: (&str, &str) = ("cargo-deny", "0.20.2");
const CARGO_FUZZ: (&str, &str) = ("cargo-fuzz", "0.13.2");

/// The standard library for wasm, through rustup.
pub fn wasm_target() -> Result<()> {
    let libs = shell::output(shell::command("rustc").args(["--print", "target-libdir", "--target", "wasm32-unknown-unknown"]))?;
    if PathBuf::from(libs.trim()).is_dir() {
        return Ok(());
    }
    say("Adding the target wasm32-unknown-unknown");
    shell::quiet("rustup", shell::command("rustup").args(["target", "add", "wasm32-unknown-unknown"]))
        .context("the standard library for wasm32-unknown-unknown is missing and rustup could not add it")
}

/// The source of the standard library, which the runtime's WebAssembly is built with.
pub fn rust_src() -> Result<()> {
    let root = shell::output(shell::command("rustc").args(["--print", "sysroot"]))?;
    if PathBuf::from(root.trim()).join("lib/rustlib/src/rust/library/std/Cargo.toml").is_file() {
        return Ok(());
    }
    say("Adding the component rust-src");
    shell::quiet("rustup", shell::command("rustup").args(["component", "add", "rust-src"]))
        .context("the source of the standard library is missing and rustup could not add it")
}

/// A component of the toolchain, such as clippy.
pub fn rust_component(name: &str, probe: &str) -> Result<()> {
    if shell::output(shell::cargo().args([probe, "--version"])).is_ok() {
        return Ok(());
    }
    say(&format!("Adding the component {name}"));
    shell::quiet("rustup", shell::command("rustup").args(["component", "add", name]))
}

/// The npm packages of the lock file.
pub fn npm_packages() -> Result<()> {
    let node = shell::output(shell::command("node").arg("--version")).context("Node.js 20.19 or newer is needed")?;
    let mut version = node.trim().trim_start_matches('v').split('.').map_while(|part| part.parse::<u32>().ok());
    let (major, minor) = (version.next().unwrap_or(0), version.next().unwrap_or(0));
    if (major, minor) < (20, 19) {
        bail!("Node.js 20.19 or newer is needed, this is {}", node.trim());
    }
    let ran =
        Stamp::new("npm").input("package-lock.json")?.guard(&[shell::root().join("node_modules/.package-lock.json")], || {
            say("Installing npm packages");
            shell::quiet("npm ci", shell::command("npm").args(["ci", "--no-audit", "--no-fund"]))
        })?;
    if ran {
        say("  npm packages are up to date with package-lock.json");
    }
    Ok(())
}

/// Chromium, its driver and Firefox, from Debian.
pub fn browsers() -> Result<()> {
    let missing: Vec<&str> = [("chromium", "chromium"), ("chromedriver", "chromium-driver"), ("firefox-esr", "firefox-esr")]
        .into_iter()
        .filter(|(program, _)| shell::find(program).is_none())
        .map(|(_, package)| package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    say(&format!("Installing from Debian: {}", missing.join(", ")));
    let root = shell::output(shell::command("id").arg("-u"))?.trim() == "0";
    let apt = |args: &[&str]| {
        let mut command = if root { shell::command("apt-get") } else { shell::command("sudo") };
        if !root {
            command.args(["-n", "apt-get"]);
        }
        command.env("DEBIAN_FRONTEND", "noninteractive").args(args);
        shell::quiet("apt-get", &mut command)
    };
    let hint = || format!("the browsers for the tests are missing; as root run: apt-get install {}", missing.join(" "));
    apt(&["update"]).with_context(hint)?;
    apt(&[&["install", "-y", "--no-install-recommends"], missing.as_slice()].concat()).with_context(hint)
}

/// The WebDriver of Firefox, which Debian does not package.
pub fn geckodriver() -> Result<PathBuf> {
    match shell::find("geckodriver") {
        Some(path) => Ok(path),
        None => install(GECKODRIVER),
    }
}

/// The checker of licences and sources.
pub fn cargo_deny() -> Result<PathBuf> {
    match shell::find("cargo-deny") {
        Some(path) => Ok(path),
        None => install(CARGO_DENY),
    }
}

/// The front-end of libFuzzer.
pub fn cargo_fuzz() -> Result<PathBuf> {
    match shell::find("cargo-fuzz") {
        Some(path) => Ok(path),
        None => install(CARGO_FUZZ),
    }
}

/// Builds a tool once and keeps it in the user's cache, so that a fresh checkout need not build it again.
fn install((name, version): (&str, &str)) -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(shell::target)
        .join("nearside-tools")
        .join(format!("{name}-{version}"));
    let program = cache.join("bin").join(name);
    if !program.is_file() {
        say(&format!("Building {name} {version} (once, a few minutes)"));
        let mut command = shell::cargo();
        // A debug build takes a third of the time, and these tools only wait for others.
        command.args(["install", name, "--version", version, "--locked", "--debug", "--root"]).arg(&cache);
        command.arg("--target-dir").arg(shell::target().join("tools"));
        shell::quiet(name, &mut command)?;
    }
    Ok(program)
}
