//! The compiler: ONNX bytes to a plan, through tract-onnx and the passes.

#[cfg(feature = "compiler")]
pub mod import;
pub mod passes;
