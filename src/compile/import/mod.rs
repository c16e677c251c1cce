//! ONNX to the graph, by way of tract.
//!
//! tract parses the model, infers types and symbolic shapes and folds the arithmetic on shapes that exporters write. The operators
//! themselves stay whole (`whole.rs`) and are lowered from their ONNX form, one file per family. The result is literal: the passes optimise it.

mod conv;
mod dims;
mod elementwise;
mod lower;
mod matmul;
mod movement;
mod node;
mod norm;
mod proto;
mod qlinear;
mod quant;
mod quant_ops;
mod reduce;
mod tract_ops;
mod weights;
mod whole;

use alloc::{collections::BTreeMap, format, string::String, vec, vec::Vec};

pub(super) use node::OnnxNode;
use tract_onnx::{
    pb,
    tract_core::internal::TypedModel,
    tract_hir::infer::InferenceModelExt,
};

use self::{
    dims::SymbolNames,
    lower::{Lower, Lowering},
};
use super::Options;
use crate::{
    error::{Error, Result, bail, ensure},
    graph::Graph,
};
