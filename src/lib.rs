//! Nearside runs quantized ONNX models on the user's own device, in a browser or natively.
//!
//! The work is split in two. The **compiler** (feature `compiler`) turns ONNX into a *plan*: a small graph of closed operators with its
//! weights. The **runtime** reads plans and runs them; it knows neither ONNX nor tract and is all that most visitors of a page download.
//!
//! ```
//! use nearside::{
//!     DType, TensorView,
//!     graph::{Dim, Graph, Op, ValueType, ops::Unary, plan},
//!     runtime::Session,
//!     tensor::AlignedBytes,
//! };
//!
//! // A compiler would write this plan; here is one by hand: y = |x|, for any batch.
//! let mut graph = Graph::default();
//! let batch = graph.symbol("batch");
//! let ty = ValueType::new(DType::F32, vec![Dim::symbol(batch), Dim::fixed(2)]);
//! let x = graph.add_input("x", ty.clone());
//! let y = graph.add_node("abs", Op::Unary(Unary::Abs), &[x], ty);
//! graph.add_output("y", y);
//! let file = plan::write(&plan::Plan { graph, meta: plan::Meta::default() })?;
//!
//! let mut session = Session::new(plan::read(AlignedBytes::copy_of(&file))?)?;
//! let outputs = session.run(&[("x", TensorView::from_slice(&[1, 2], &[-1.5f32, 2.0])?)])?;
//! assert_eq!(outputs.get("y").unwrap().as_slice::<f32>()?, [1.5, 2.0]);
//! # Ok::<(), nearside::Error>(())
//! ```
//!
//! Modules import in one direction: [`graph`] ← [`kernels`] ← [`runtime`] ← [`compile`] and the JavaScript bindings.

// Functions marked so run once per load or per set of shapes, and are large: five of the kilobytes that visitors download.
#![cfg_attr(small, feature(optimize_attribute))]

extern crate alloc;

pub mod compile;
pub mod error;
pub mod graph;
pub mod kernels;
pub mod limits;
pub mod runtime;
pub mod tensor;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod web;

pub use error::{Error, ErrorKind, Result};
pub use limits::Limits;
pub use tensor::{DType, Tensor, TensorView};

// Unit tests for wasm are of kernels: they run where kernels do, in a browser's Worker, whatever calls them.
#[cfg(all(test, target_arch = "wasm32"))]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);
