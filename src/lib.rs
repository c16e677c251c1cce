//! Nearside runs quantized ONNX models on the user's own device.

extern crate alloc;

pub mod compile;
pub mod error;
pub mod graph;
pub mod kernels;
pub mod runtime;
pub mod tensor;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod web;

pub use error::{Error, ErrorKind, Result};
pub use tensor::{DType, Tensor, TensorView};
