//! The compiler: ONNX bytes to a plan, through tract-onnx and the passes.

pub mod import;
pub mod passes;
