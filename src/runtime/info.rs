//! What a loaded model tells of itself: its inputs, outputs and nodes.

use alloc::{string::String, vec::Vec};

use crate::{
    graph::{Graph, Port, ValueId, plan::Origin},
    tensor::DType,
};

/// Name, type and shape of an input or output.
#[derive(Debug, Clone, PartialEq)]
pub struct PortInfo {
    /// The name by which `run` takes or gives it.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub shape: Vec<DimInfo>,
}

impl PortInfo {
    /// What is to be known of a graph's inputs, or of its outputs.
    pub(crate) fn list(graph: &Graph, ports: &[Port]) -> Vec<PortInfo> {
        let dtype = |port: &Port| graph.value(port.value).ty.dtype;
        ports.iter().map(|p| PortInfo { name: p.name.clone(), dtype: dtype(p), shape: dims_of(graph, p.value) }).collect()
    }
}

/// A dimension of an input or output.
#[derive(Debug, Clone, PartialEq)]
pub enum DimInfo {
    /// Always this size.
    Fixed(usize),
    /// Chosen by the caller (an input's symbol) or computed from the inputs (an expression over symbols).
    Symbol(String),
}

/// A node of the graph that runs.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeInfo<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its operator.
    pub op: &'static str,
    /// Element type of its first result.
    pub dtype: DType,
    /// Dimensions of its first result.
    pub shape: Vec<DimInfo>,
    /// The ONNX nodes that became part of it; empty if unknown.
    pub origins: &'a [Origin],
}

/// Dimensions of a value.
pub(super) fn dims_of(graph: &Graph, value: ValueId) -> Vec<DimInfo> {
    let dims = graph.value(value).ty.shape.iter();
    dims.map(|d| match d.as_fixed() {
        Some(n) => DimInfo::Fixed(n),
        None => DimInfo::Symbol(d.display(&graph.symbols)),
    })
    .collect()
}
