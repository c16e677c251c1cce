//! The intermediate representation: a small graph of typed values and closed operators.
//!
//! It knows nothing of ONNX, tract or kernels. The compiler writes it, the plan file stores it, the runtime runs it.

pub mod dim;
pub mod ops;
pub mod plan;
pub mod print;
pub mod shape;
pub mod verify;

use alloc::{string::String, sync::Arc, vec, vec::Vec};

use serde::{Deserialize, Serialize};

pub use dim::Dim;
pub use ops::Op;

use crate::{
    error::{Result, ensure},
    tensor::{AlignedBytes, DType, Tensor, TensorView},
};

/// Index of a value in [`Graph::values`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ValueId(pub u32);

impl ValueId {
    /// The index as `usize`.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// How stored integers stand for real numbers: `(stored − zero_point) · scale`.
///
/// `scale` and `zero_point` have one entry, or one per index along `axis`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quant {
    /// Scales; finite and positive.
    pub scale: Vec<f32>,
    /// Zero points, within the stored type's range; as many as scales.
    pub zero_point: Vec<i32>,
    /// The axis along which scales differ.
    pub axis: Option<usize>,
}

impl Quant {
    /// One scale and zero point for the whole tensor.
    pub fn per_tensor(scale: f32, zero_point: i32) -> Quant {
        Quant { scale: vec![scale], zero_point: vec![zero_point], axis: None }
    }

    /// The scale and zero point, if there is just one of each.
    pub fn as_per_tensor(&self) -> Option<(f32, i32)> {
        match (self.scale.as_slice(), self.zero_point.as_slice()) {
            ([s], [z]) => Some((*s, *z)),
            _ => None,
        }
    }
}

/// Type of a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValueType {
    /// Element type as stored.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub shape: Vec<Dim>,
    /// What stored integers stand for, if not themselves.
    pub quant: Option<Quant>,
}

impl ValueType {
    /// A type without quantization.
    pub fn new(dtype: DType, shape: Vec<Dim>) -> ValueType {
        ValueType { dtype, shape, quant: None }
    }

    /// The shape, if no dimension is symbolic.
    pub fn fixed_shape(&self) -> Option<Vec<usize>> {
        self.shape.iter().map(Dim::as_fixed).collect()
    }
}

/// A value: a graph input, a constant or a node's output.
#[derive(Debug, Clone)]
pub struct Value {
    /// Name in the model, for messages; not necessarily unique.
    pub name: String,
    /// Type.
    pub ty: ValueType,
    /// Contents, for a constant.
    pub init: Option<Init>,
}

/// Contents of a constant.
#[derive(Debug, Clone)]
pub enum Init {
    /// Bytes, known now.
    Data(Blob),
    /// i64 elements that are known once shapes are bound (what ONNX computes with Shape, Gather, Concat, …).
    Dims(Vec<Dim>),
}

/// A range of a shared buffer: weights are read from the plan's own bytes, never copied one by one.
#[derive(Debug, Clone)]
pub struct Blob {
    buffer: Arc<AlignedBytes>,
    offset: usize,
    len: usize,
}

impl Blob {
    /// The whole of `bytes`.
    pub fn new(bytes: AlignedBytes) -> Blob {
        let len = bytes.len();
        Blob { buffer: Arc::new(bytes), offset: 0, len }
    }

    /// A range of `buffer`, `None` if it reaches beyond the end or is not 64-byte aligned.
    pub fn range(buffer: &Arc<AlignedBytes>, offset: usize, len: usize) -> Option<Blob> {
        let end = offset.checked_add(len)?;
        (end <= buffer.len() && offset.is_multiple_of(64)).then(|| Blob { buffer: buffer.clone(), offset, len })
    }

    /// The bytes; none after [`Blob::release`].
    pub fn bytes(&self) -> &[u8] {
        // Of an empty buffer the slice is aligned like any other.
        if self.buffer.is_empty() { &self.buffer } else { &self.buffer[self.offset..self.offset + self.len] }
    }

    /// Number of bytes, also of those that were given back.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Gives the memory back, if nothing else lies in it and nobody else holds it.
    pub fn release(&mut self) {
        if self.offset == 0 && self.buffer.len().next_multiple_of(64) == self.len.next_multiple_of(64) {
            self.buffer = Arc::default();
        }
    }

    /// Whether both lie in one allocation.
    pub fn shares_memory(&self, other: &Blob) -> bool {
        Arc::ptr_eq(&self.buffer, &other.buffer)
    }
}

/// A node. Inputs and outputs are as the operator's documentation lists them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Name in the model, for messages; not necessarily unique.
    pub name: String,
    /// What is computed.
    #[serde(deserialize_with = "apart")]
    pub op: Op,
    /// Operands.
    pub inputs: Vec<ValueId>,
    /// Results.
    pub outputs: Vec<ValueId>,
}

/// Reads a value in a function of its own: engines would spend a first prediction's time on optimising a loop around as much code as the
/// operators are.
#[inline(never)]
#[cfg_attr(small, optimize(size))]
fn apart<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(from: D) -> core::result::Result<T, D::Error> {
    T::deserialize(from)
}

/// A named input or output of the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// The name that callers use.
    pub name: String,
    /// The value behind it.
    pub value: ValueId,
}

/// A model: values, and nodes in topological order.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// Names of the symbols that dimensions refer to.
    pub symbols: Vec<String>,
    /// All values.
    pub values: Vec<Value>,
    /// Nodes, each after those it depends on (see [`Graph::sort`]).
    pub nodes: Vec<Node>,
    /// Inputs, in the model's order.
    pub inputs: Vec<Port>,
    /// Outputs, in the model's order.
    pub outputs: Vec<Port>,
}

impl Graph {
    /// The value with the given id.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// The value with the given id, mutable.
    pub fn value_mut(&mut self, id: ValueId) -> &mut Value {
        &mut self.values[id.index()]
    }

    /// Bytes of all constants.
    pub fn constant_bytes(&self) -> usize {
        let bytes = |value: &Value| if let Some(Init::Data(blob)) = &value.init { blob.len() } else { 0 };
        self.values.iter().map(bytes).sum()
    }

    /// Index of the symbol with this name; added if new.
    pub fn symbol(&mut self, name: &str) -> u32 {
        let index = self.symbols.iter().position(|s| s == name).unwrap_or_else(|| {
            self.symbols.push(name.into());
            self.symbols.len() - 1
        });
        index as u32
    }

    /// Adds a value that some node will produce.
    pub fn add_value(&mut self, name: impl Into<String>, ty: ValueType) -> ValueId {
        self.values.push(Value { name: name.into(), ty, init: None });
        ValueId(self.values.len() as u32 - 1)
    }

    /// Adds a graph input.
    pub fn add_input(&mut self, name: &str, ty: ValueType) -> ValueId {
        let value = self.add_value(name, ty);
        self.inputs.push(Port { name: name.into(), value });
        value
    }

    /// Adds a graph output.
    pub fn add_output(&mut self, name: &str, value: ValueId) {
        self.outputs.push(Port { name: name.into(), value });
    }

    /// Adds a constant.
    pub fn add_const(&mut self, name: impl Into<String>, tensor: &Tensor) -> ValueId {
        self.add_quantized_const(name, tensor, None)
    }

    /// Adds a constant whose integers stand for real numbers.
    pub fn add_quantized_const(&mut self, name: impl Into<String>, tensor: &Tensor, quant: Option<Quant>) -> ValueId {
        let ty = ValueType { quant, ..ValueType::new(tensor.dtype(), fixed(tensor.shape())) };
        let id = self.add_value(name, ty);
        self.value_mut(id).init = Some(Init::Data(Blob::new(AlignedBytes::copy_of(tensor.bytes()))));
        id
    }

    /// Adds a constant whose bytes are shared with others who hold them. They must be as many as the type and shape take.
    pub fn add_const_bytes(&mut self, name: impl Into<String>, dtype: DType, shape: &[usize], bytes: Blob) -> ValueId {
        let id = self.add_value(name, ValueType::new(dtype, fixed(shape)));
        self.value_mut(id).init = Some(Init::Data(bytes));
        id
    }

    /// Adds a one-dimensional i64 constant of dimensions that are known once shapes are bound.
    pub fn add_dims(&mut self, name: impl Into<String>, dims: Vec<Dim>) -> ValueId {
        let id = self.add_value(name, ValueType::new(DType::I64, vec![Dim::fixed(dims.len())]));
        self.value_mut(id).init = Some(Init::Dims(dims));
        id
    }

    /// Adds a node with one output of type `ty`, at the end.
    pub fn add_node(&mut self, name: &str, op: Op, inputs: &[ValueId], ty: ValueType) -> ValueId {
        let output = self.add_value(name, ty);
        self.nodes.push(Node { name: name.into(), op, inputs: inputs.to_vec(), outputs: vec![output] });
        output
    }

    /// The constant's contents, if the value is one whose bytes are known.
    pub fn const_tensor(&self, id: ValueId) -> Option<Tensor> {
        let value = self.value(id);
        let Some(Init::Data(blob)) = &value.init else { return None };
        Tensor::from_bytes(value.ty.dtype, &value.ty.fixed_shape()?, blob.bytes()).ok()
    }

    /// The constant's f32 elements, if the value is such a constant.
    pub fn const_f32(&self, id: ValueId) -> Option<Vec<f32>> {
        self.const_tensor(id).and_then(|t| t.as_slice::<f32>().ok().map(<[f32]>::to_vec))
    }

    /// For every value, the index of the node that produces it.
    pub fn producers(&self) -> Vec<Option<usize>> {
        let mut out = vec![None; self.values.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            for o in &node.outputs {
                out[o.index()] = Some(i);
            }
        }
        out
    }

    /// For every value, the indices of the nodes that read it (once per operand).
    pub fn consumers(&self) -> Vec<Vec<usize>> {
        let mut out = vec![Vec::new(); self.values.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            for v in &node.inputs {
                out[v.index()].push(i);
            }
        }
        out
    }

    /// Whether the value is a graph output.
    pub fn is_output(&self, id: ValueId) -> bool {
        self.outputs.iter().any(|p| p.value == id)
    }

    /// Makes every reader of `from`, graph outputs included, read `to`.
    pub fn replace_uses(&mut self, from: ValueId, to: ValueId) {
        for node in &mut self.nodes {
            for v in &mut node.inputs {
                if *v == from {
                    *v = to;
                }
            }
        }
        for port in &mut self.outputs {
            if port.value == from {
                port.value = to;
            }
        }
    }

    /// Puts the nodes in topological order, keeping the present order where it is free. Fails on a cycle.
    pub fn sort(&mut self) -> Result<()> {
        let producers = self.producers();
        let consumers = self.consumers();
        let mut missing: Vec<usize> =
            self.nodes.iter().map(|n| n.inputs.iter().filter(|v| producers[v.index()].is_some()).count()).collect();
        let mut ready: alloc::collections::BTreeSet<usize> = (0..self.nodes.len()).filter(|&i| missing[i] == 0).collect();
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some(i) = ready.pop_first() {
            order.push(i);
            for v in &self.nodes[i].outputs {
                for &c in &consumers[v.index()] {
                    missing[c] -= 1;
                    if missing[c] == 0 {
                        ready.insert(c);
                    }
                }
            }
        }
        ensure!(order.len() == self.nodes.len(), InvalidModel, "the graph has a cycle");
        let mut nodes: Vec<Option<Node>> = core::mem::take(&mut self.nodes).into_iter().map(Some).collect();
        self.nodes = order.into_iter().filter_map(|i| nodes[i].take()).collect();
        Ok(())
    }

    /// Removes nodes whose results nobody reads and values that nothing refers to. Returns the number of nodes removed.
    pub fn remove_dead(&mut self) -> usize {
        let before = self.nodes.len();
        let mut live = vec![false; self.values.len()];
        for port in &self.outputs {
            live[port.value.index()] = true;
        }
        let mut kept = vec![false; before];
        for (i, node) in self.nodes.iter().enumerate().rev() {
            if node.outputs.iter().any(|o| live[o.index()]) {
                kept[i] = true;
                for v in node.inputs.iter().chain(&node.outputs) {
                    live[v.index()] = true;
                }
            }
        }
        for port in &self.inputs {
            live[port.value.index()] = true;
        }
        let mut keep = kept.iter();
        self.nodes.retain(|_| *keep.next().unwrap_or(&true));
        self.compact(&live);
        before - self.nodes.len()
    }

    fn compact(&mut self, live: &[bool]) {
        let mut map = vec![ValueId(u32::MAX); live.len()];
        for (next, (i, _)) in live.iter().enumerate().filter(|(_, l)| **l).enumerate() {
            map[i] = ValueId(next as u32);
        }
        let mut keep = live.iter();
        self.values.retain(|_| *keep.next().unwrap_or(&false));
        for node in &mut self.nodes {
            for v in node.inputs.iter_mut().chain(&mut node.outputs) {
                *v = map[v.index()];
            }
        }
        for port in self.inputs.iter_mut().chain(&mut self.outputs) {
            port.value = map[port.value.index()];
        }
    }
}

impl Value {
    /// The constant's contents under a shape that the caller knows.
    pub fn const_view<'a>(&'a self, shape: &'a [usize]) -> Option<TensorView<'a>> {
        match &self.init {
            Some(Init::Data(blob)) => Some(TensorView { dtype: self.ty.dtype, shape, data: blob.bytes() }),
            _ => None,
        }
    }
}

fn fixed(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&d| Dim::fixed(d)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f32_type(shape: &[usize]) -> ValueType {
        ValueType::new(DType::F32, shape.iter().map(|&d| Dim::fixed(d)).collect())
    }

    #[test]
    fn sorts_and_removes_dead_nodes() {
        let mut g = Graph::default();
        let x = g.add_input("x", f32_type(&[2]));
        let late = g.add_value("late", f32_type(&[2]));
        let y = g.add_node("second", Op::Unary(ops::Unary::Neg), &[late], f32_type(&[2]));
        g.nodes.push(Node { name: "first".into(), op: Op::Unary(ops::Unary::Abs), inputs: vec![x], outputs: vec![late] });
        g.add_node("dead", Op::Unary(ops::Unary::Exp), &[x], f32_type(&[2]));
        g.add_output("y", y);
        g.sort().unwrap();
        assert_eq!(g.remove_dead(), 1);
        let names: Vec<&str> = g.nodes.iter().map(|n| n.name.as_str()).collect();
        assert_eq!(names, ["first", "second"]);
        assert_eq!(g.values.len(), 3);
    }

    #[test]
    fn cycles_are_errors() {
        let mut g = Graph::default();
        let a = g.add_value("a", f32_type(&[2]));
        let b = g.add_node("n", Op::Unary(ops::Unary::Neg), &[a], f32_type(&[2]));
        g.nodes.push(Node { name: "m".into(), op: Op::Unary(ops::Unary::Neg), inputs: vec![b], outputs: vec![a] });
        assert!(g.sort().is_err());
    }
}
