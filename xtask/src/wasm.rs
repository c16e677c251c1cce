//! The WebAssembly artefacts of the npm package: cargo, wasm-bindgen and the checks on the result.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;
use wasmparser::{Operator, Parser, Payload, TypeRef};

use crate::shell::{self, say, seconds};
use crate::stamp::Stamp;

/// One WebAssembly file that a browser may fetch.
pub struct Variant {
    /// The name of the file in `pkg/dist/wasm`, without its extension.
    pub file: &'static str,
    /// The module of JavaScript glue; variants that share it must generate the same text.
    glue: &'static str,
    package: &'static str,
    features: &'static [&'static str],
    profile: &'static str,
    relaxed: bool,
    /// Shared memory and atomic instructions, with a standard library that is built for them.
    threads: bool,
    /// What every visitor downloads: built for size where that costs no speed, with a standard library of the same kind.
    small: bool,
}

pub const CORE_SIMD: Variant = Variant {
    file: "core.simd",
    glue: "core",
    package: "nearside",
    features: &[],
    profile: "wasm",
    relaxed: false,
    threads: false,
    small: true,
};
pub const CORE_RELAXED: Variant = Variant { file: "core.relaxed", relaxed: true, ..CORE_SIMD };
/// For Safari, which has threads and no relaxed SIMD.
pub const CORE_SIMD_THREADS: Variant = Variant { file: "core.simd.threads", glue: "core-threads", threads: true, ..CORE_SIMD };
pub const CORE_RELAXED_THREADS: Variant = Variant { file: "core.relaxed.threads", relaxed: true, ..CORE_SIMD_THREADS };
pub const COMPILER: Variant = Variant {
    file: "compiler",
    glue: "compiler",
    package: "nearside",
    features: &["compiler"],
    profile: "wasm-compiler",
    relaxed: false,
    threads: false,
    small: false,
};
/// The modules of `cargo xtask bench --kernels`, which are no part of the package.
pub const KERNELS_SIMD: Variant = Variant { file: "kernels.simd", glue: "kernels", package: "kernel-bench", ..CORE_SIMD };
pub const KERNELS_RELAXED: Variant =
    Variant { file: "kernels.relaxed", glue: "kernels", package: "kernel-bench", ..CORE_RELAXED };

/// Shared memory of any size up to all that there is: the package chooses a maximum that the device grants.
const THREAD_FLAGS: &[&str] = &[
    "-Ctarget-feature=+atomics,+bulk-memory,+mutable-globals",
    "-Clink-arg=--shared-memory",
    "-Clink-arg=--import-memory",
    // The same for both variants, whose glue names it.
    "-Clink-arg=--initial-memory=4194304",
    "-Clink-arg=--max-memory=4294967296",
    // What wasm-bindgen needs to give each thread its stack and its thread-local variables.
    "-Clink-arg=--export=__heap_base",
    "-Clink-arg=--export=__wasm_init_tls",
    "-Clink-arg=--export=__tls_size",
    "-Clink-arg=--export=__tls_align",
    "-Clink-arg=--export=__tls_base",
];
/// Less inlining than usual: inner loops have `#[inline]` where it counts. Engines compile whole functions, when they are first called and again
/// when they are called often, and large ones would make a first prediction wait.
/// `cfg(small)` has functions that run seldom optimised for size, which only an unstable attribute can say.
const SMALL_FLAGS: &[&str] = &["-Cllvm-args=-inline-threshold=100", "--cfg=small"];
/// A panic, which ends the instance, says what happened and not in which line: places are six kilobytes.
const PUBLISHED_FLAGS: &[&str] = &["-Zlocation-detail=none"];
/// Pages of 64 KB that the package's shared memory begins with (`pkg/ts/engine/team.ts`).
const PACKAGE_PAGES: u64 = 80;

/// How much time the build may take for a smaller and faster result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// What is published.
    Release,
    /// Without link-time optimisation: several times larger, built in seconds.
    Dev,
    /// As fast as what is published, built sooner.
    Bench,
}

/// Where the artefacts go.
pub fn out_dir() -> PathBuf {
    shell::root().join("pkg/dist/wasm")
}

/// Builds the variants, at once: the link-time optimisation of the large one keeps only one core busy.
pub fn build(variants: &[Variant], effort: Effort) -> Result<()> {
    stages(variants, effort)?;
    let mut glue: Vec<&Variant> = Vec::new();
    for variant in variants {
        publish(variant, glue.iter().find(|other| other.glue == variant.glue).copied())?;
        glue.push(variant);
    }
    Ok(())
}

/// Builds the variants, and gives the folder of each: `GLUE.js` and `GLUE_bg.wasm`.
pub fn stages(variants: &[Variant], effort: Effort) -> Result<Vec<PathBuf>> {
    let results = thread::scope(|scope| {
        let builds: Vec<_> = variants.iter().map(|variant| scope.spawn(|| build_one(variant, effort))).collect();
        builds.into_iter().map(|build| build.join()).collect::<Vec<_>>()
    });
    for result in results {
        result.map_err(|_| anyhow::anyhow!("a build thread panicked"))??;
    }
    Ok(variants.iter().map(stage).collect())
}

fn build_one(variant: &Variant, effort: Effort) -> Result<()> {
    let start = Instant::now();
    let linked = link(variant, effort)?;
    let stage = stage(variant);
    let outputs = [stage.join(format!("{}_bg.wasm", variant.glue)), stage.join(format!("{}.js", variant.glue))];
    let ran = Stamp::new(variant.file)
        .text(include_str!("wasm.rs"))
        .text(profile(variant, effort))
        .input(&linked)?
        .input("package-lock.json")?
        .guard(&outputs, || {
            bind(variant, &linked, &stage)?;
            check(variant, &outputs[0])
        })?;
    if ran {
        say(&format!("  {}.wasm: {}", variant.file, seconds(start.elapsed())));
    }
    Ok(())
}

fn profile(variant: &Variant, effort: Effort) -> &'static str {
    match effort {
        Effort::Release => variant.profile,
        Effort::Dev => "wasm-dev",
        Effort::Bench => "wasm-bench",
    }
}

fn stage(variant: &Variant) -> PathBuf {
    shell::target().join("wasm").join(variant.file).join("bindgen")
}

/// Compiles and links; each variant has its own target folder, so that their flags do not evict each other's results.
fn link(variant: &Variant, effort: Effort) -> Result<PathBuf> {
    let profile = profile(variant, effort);
    let dir = shell::target().join("wasm").join(variant.file);
    let mut cargo = shell::cargo();
    cargo.args(["rustc", "--package", variant.package, "--lib", "--crate-type", "cdylib", "--locked"]);
    cargo.args(["--target", "wasm32-unknown-unknown", "--profile", profile, "--features", &variant.features.join(",")]);
    cargo.arg("--target-dir").arg(&dir);
    let mut flags: Vec<&str> = Vec::new();
    if variant.relaxed {
        flags.push("-Ctarget-feature=+relaxed-simd");
    }
    if variant.threads {
        flags.extend(THREAD_FLAGS);
    }
    if variant.small {
        flags.extend(SMALL_FLAGS);
        if effort != Effort::Dev {
            flags.extend(PUBLISHED_FLAGS);
        }
        // The one unstable part: neither a small standard library nor one with atomics is shipped, and building it is not stable.
        cargo.env("RUSTC_BOOTSTRAP", "1").args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features=optimize_for_size"]);
    }
    cargo.args(["--config", &format!("target.wasm32-unknown-unknown.rustflags={flags:?}")]);
    shell::quiet(variant.file, &mut cargo)?;
    Ok(linked_by(variant, profile))
}

/// What the linker made of a variant that was built for publication, with the names of its functions.
pub fn linked(variant: &Variant) -> PathBuf {
    linked_by(variant, variant.profile)
}

fn linked_by(variant: &Variant, profile: &str) -> PathBuf {
    let dir = shell::target().join("wasm").join(variant.file).join("wasm32-unknown-unknown").join(profile);
    dir.join(format!("{}.wasm", variant.package.replace('-', "_")))
}

/// Runs wasm-bindgen. The glue has no default path of the wasm: the package passes the URL of the variant that it picked.
fn bind(variant: &Variant, linked: &Path, stage: &Path) -> Result<()> {
    let mut bindgen = Bindgen::new();
    bindgen
        .web(true)?
        .input_path(linked)
        .out_name(variant.glue)
        .typescript(true)
        .omit_default_module_path(true)
        // A trap ends the instance; the package then resets the glue to a new one.
        .reset_state_function(true)
        .remove_name_section(true)
        .remove_producers_section(true);
    bindgen.generate(stage).with_context(|| format!("wasm-bindgen failed on {}", linked.display()))
}

/// Counts instructions: a build flag that got lost leaves a module that works, slowly.
fn check(variant: &Variant, wasm: &Path) -> Result<()> {
    let bytes = fs::read(wasm)?;
    let (mut simd, mut relaxed) = (0, 0);
    let mut shared = false;
    for payload in Parser::new(0).parse_all(&bytes) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    if let TypeRef::Memory(memory) = import?.ty {
                        shared = memory.shared;
                        if memory.initial > PACKAGE_PAGES {
                            bail!(
                                "{}.wasm needs {} pages from the start; the package gives {PACKAGE_PAGES}",
                                variant.file,
                                memory.initial
                            );
                        }
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                for operator in body.get_operators_reader()? {
                    match operator? {
                        Operator::I32x4DotI16x8S | Operator::F32x4Mul | Operator::I32x4Add => simd += 1,
                        Operator::I32x4RelaxedDotI8x16I7x16AddS
                        | Operator::I16x8RelaxedDotI8x16I7x16S
                        | Operator::F32x4RelaxedMadd
                        | Operator::F32x4RelaxedNmadd => relaxed += 1,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if shared != variant.threads {
        bail!("{}.wasm {} shared memory", variant.file, if shared { "has" } else { "has no" });
    }
    if simd == 0 {
        bail!("{}.wasm holds no SIMD arithmetic: see `rustflags` in .cargo/config.toml", variant.file);
    }
    if variant.relaxed && relaxed == 0 {
        bail!("{}.wasm holds no relaxed SIMD instruction: its kernels or its build flags are missing", variant.file);
    }
    if !variant.relaxed && relaxed > 0 {
        bail!("{}.wasm holds {relaxed} relaxed SIMD instructions: Safari could not compile it", variant.file);
    }
    Ok(())
}

/// Copies into the package. `twin` is a variant that was published with the same glue.
fn publish(variant: &Variant, twin: Option<&Variant>) -> Result<()> {
    let (stage, out) = (stage(variant), out_dir());
    fs::create_dir_all(&out)?;
    for extension in ["js", "d.ts"] {
        let name = format!("{}.{extension}", variant.glue);
        if let Some(twin) = twin
            && fs::read(stage.join(&name))? != fs::read(self::stage(twin).join(&name))?
        {
            bail!("{name} differs between {} and {}: they cannot share their glue", variant.file, twin.file);
        }
        copy_if_changed(&stage.join(&name), &out.join(&name))?;
    }
    copy_if_changed(&stage.join(format!("{}_bg.wasm", variant.glue)), &out.join(format!("{}.wasm", variant.file)))
}

/// Leaves an equal file alone, so that watchers and later steps see no change.
fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))
}
