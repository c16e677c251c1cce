//! Which part of the runtime's code belongs to whom, as its linked WebAssembly tells by the names of its functions.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use wasmparser::{KnownCustom, Name, Parser, Payload};

use crate::wasm;

/// Prints the bytes of code of each kernel module and of the other parts, the largest first. They are not compressed:
/// shares, not sizes of what is downloaded.
pub fn print(print: impl Fn(&str)) -> Result<()> {
    let path = wasm::linked(&wasm::CORE_RELAXED);
    let Ok(bytes) = fs::read(&path) else {
        print("Code by operator family: build the runtime first, with `cargo xtask build`");
        return Ok(());
    };
    let sizes = sizes(&bytes).with_context(|| format!("cannot read {}", path.display()))?;
    let total: u64 = sizes.values().sum();
    let mut rows: Vec<(&String, &u64)> = sizes.iter().collect();
    rows.sort_by_key(|(_, size)| std::cmp::Reverse(**size));
    print(&format!("\n{:<36} {:>10} {:>7}", "code of the runtime (relaxed)", "bytes", "share"));
    for (name, size) in rows {
        print(&format!("{name:<36} {size:>10} {:>6.1}%", *size as f64 / total as f64 * 100.0));
    }
    Ok(())
}

fn sizes(wasm: &[u8]) -> Result<BTreeMap<String, u64>> {
    let mut imported = 0u32;
    let mut bodies = Vec::new();
    let mut names: BTreeMap<u32, String> = BTreeMap::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    imported += u32::from(matches!(import?.ty, wasmparser::TypeRef::Func(_)));
                }
            }
            Payload::CodeSectionEntry(body) => bodies.push(body.range().len() as u64),
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(reader) = section.as_known() {
                    for name in reader {
                        if let Name::Function(map) = name? {
                            for naming in map {
                                let naming = naming?;
                                names.insert(naming.index, format!("{:#}", rustc_demangle::demangle(naming.name)));
                            }
                        }
                    }
                }
            }
            _ => {}
        }
    }
    let mut sizes = BTreeMap::new();
    for (index, size) in (imported..).zip(bodies) {
        *sizes.entry(family(names.get(&index).map_or("", String::as_str))).or_default() += size;
    }
    Ok(sizes)
}

/// The part that a function belongs to: a module of kernels, another module of ours, or a crate.
fn family(function: &str) -> String {
    // What JavaScript calls is exported under the name that it knows.
    if function.starts_with("raw") {
        return "web".into();
    }
    let path = function.find("nearside::").map_or("", |at| &function[at + "nearside::".len()..]);
    let mut parts =
        path.split("::").map(|part| part.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default());
    match (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) {
        ("kernels", module) if module.starts_with(|c: char| c.is_lowercase()) => format!("kernels/{module}"),
        ("", _) => "libraries".into(),
        (module, _) => module.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::family;

    #[test]
    fn functions_belong_to_their_modules() {
        assert_eq!(family("<nearside::kernels::pool::Max as nearside::kernels::Kernel>::run"), "kernels/pool");
        assert_eq!(family("nearside::kernels::gemm_i8::wasm::tile::<true>"), "kernels/gemm_i8");
        assert_eq!(family("nearside::kernels::prepare"), "kernels/prepare");
        assert_eq!(family("<nearside::runtime::session::Session>::run"), "runtime");
        assert_eq!(family("core::ptr::drop_in_place::<nearside::graph::Graph>"), "graph");
        assert_eq!(family("memcpy"), "libraries");
        assert_eq!(family("rawmodel_run"), "web");
    }
}
