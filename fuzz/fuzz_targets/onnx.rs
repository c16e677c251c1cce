//! The ONNX importer, the passes, and what runs the result.
#![no_main]

#[path = "../src/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::onnx(data));
