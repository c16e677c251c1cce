//! The fuzz targets on a fixed number of changed seeds: what `cargo xtask fuzz` does for hours, guided by coverage.
#![cfg(not(target_arch = "wasm32"))]

#[path = "../fuzz/src/targets.rs"]
mod targets;

use std::{
    cell::RefCell,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use proptest::{prelude::*, test_runner::RngSeed};

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().map(|p| fs::read(p).unwrap()).collect()
}

/// One change of a file.
#[derive(Debug, Clone)]
enum Change {
    Set(usize, u8),
    Add(usize, u8),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Copy(usize, usize, usize),
    Cut(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<usize>;
    let bytes = prop_oneof![
        Just(vec![0xFF, 0xFF, 0xFF, 0xFF, 0x0F]),
        Just(vec![0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
        prop::collection::vec(any::<u8>(), 1..5),
    ];
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, v)| Change::Set(at, v)),
        4 => (at(), prop_oneof![Just(1u8), Just(255), Just(2), Just(128)]).prop_map(|(at, v)| Change::Add(at, v)),
        2 => (at(), bytes).prop_map(|(at, v)| Change::Insert(at, v)),
        1 => (at(), 1usize..20).prop_map(|(at, n)| Change::Remove(at, n)),
        1 => (at(), at(), 1usize..60).prop_map(|(from, to, n)| Change::Copy(from, to, n)),
        1 => at().prop_map(Change::Cut),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let len = bytes.len().max(1);
    match change {
        Change::Set(at, v) => bytes.iter_mut().skip(at % len).take(1).for_each(|b| *b = *v),
        Change::Add(at, v) => bytes.iter_mut().skip(at % len).take(1).for_each(|b| *b = b.wrapping_add(*v)),
        Change::Insert(at, new) => {
            let at = at % len;
            bytes.splice(at..at, new.iter().copied());
        }
        Change::Remove(at, n) => {
            let at = at % len;
            bytes.drain(at..(at + n).min(bytes.len()));
        }
        Change::Copy(from, to, n) => {
            let (from, to) = (from % len, to % len);
            let piece = bytes[from..(from + n).min(bytes.len())].to_vec();
            bytes.splice(to..to, piece);
        }
        Change::Cut(at) => bytes.truncate(at % len),
    }
}

/// Runs the target; gives the panics inside it, of which compiling catches some.
fn panics(target: fn(&[u8]), bytes: &[u8]) -> Vec<String> {
    std::panic::set_hook(Box::new(|info| PANICS.with_borrow_mut(|p| p.push(info.to_string()))));
    let _ = catch_unwind(AssertUnwindSafe(|| target(bytes)));
    let _ = std::panic::take_hook();
    PANICS.take()
}

fn check(target: fn(&[u8]), seeds: &[Vec<u8>], which: usize, changes: &[Change]) -> Result<(), TestCaseError> {
    // The metadata of a plan is near its beginning, and most of what can go wrong.
    let mut bytes = seeds[which % seeds.len()].clone();
    changes.iter().for_each(|c| apply(&mut bytes, c));
    let found = panics(target, &bytes);
    prop_assert!(found.is_empty(), "{found:?}\n{bytes:?}");
    Ok(())
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() }
}

#[test]
fn changed_plans_never_panic() {
    let seeds = seeds("plan");
    let strategy = (any::<usize>(), prop::collection::vec(change(), 1..6));
    let mut runner = proptest::test_runner::TestRunner::new(config(20_000));
    runner.run(&strategy, |(which, changes)| check(targets::plan, &seeds, which, &changes)).unwrap();
}

#[cfg(feature = "compiler")]
#[test]
fn changed_files_never_panic() {
    let seeds = seeds("onnx");
    let strategy = (any::<usize>(), prop::collection::vec(change(), 1..6));
    let mut runner = proptest::test_runner::TestRunner::new(config(5_000));
    runner.run(&strategy, |(which, changes)| check(targets::onnx, &seeds, which, &changes)).unwrap();
}
