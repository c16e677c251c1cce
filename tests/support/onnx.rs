//! ONNX models written by hand: a few lines per graph instead of files.

#![allow(dead_code, reason = "every test has its own copy of this module and needs a part of it")]

use prost::Message;
use tract_onnx::pb::{
    self, AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto,
    attribute_proto::AttributeType,
    tensor_proto::DataType,
    tensor_shape_proto::{Dimension, dimension},
    type_proto,
};

pub const FLOAT: DataType = DataType::Float;
pub const INT64: DataType = DataType::Int64;
pub const BOOL: DataType = DataType::Bool;

/// A model of inputs and outputs with their type and dimensions, and of nodes given as operator, inputs and outputs.
pub fn model(
    inputs: &[(&str, DataType, &[i64])],
    nodes: &[(&str, &[&str], &[&str])],
    outputs: &[(&str, DataType, &[i64])],
) -> Vec<u8> {
    let list = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<String>>();
    let ports = |ports: &[(&str, DataType, &[i64])]| {
        let sizes = |dims: &[i64]| dims.iter().map(|&d| Size::Fixed(d)).collect::<Vec<_>>();
        ports.iter().map(|(name, kind, dims)| port(name, *kind, Some(&sizes(dims)))).collect()
    };
    let mut onnx = Onnx::new(13);
    onnx.graph.input = ports(inputs);
    onnx.graph.output = ports(outputs);
    onnx.graph.node = nodes
        .iter()
        .map(|(op, inputs, outputs)| NodeProto {
            op_type: op.to_string(),
            input: list(inputs),
            output: list(outputs),
            ..Default::default()
        })
        .collect();
    onnx.bytes()
}

/// An attribute's value.
pub enum Attribute<'a> {
    Int(i64),
    Float(f32),
    Ints(&'a [i64]),
    Text(&'a str),
}

/// A dimension: a number or a name.
pub enum Size<'a> {
    Fixed(i64),
    Named(&'a str),
}

/// A model under construction.
pub struct Onnx {
    graph: GraphProto,
    opset: i64,
}

impl Onnx {
    pub fn new(opset: i64) -> Onnx {
        Onnx { graph: GraphProto { name: "test".into(), ..Default::default() }, opset }
    }

    /// A float input.
    pub fn input(&mut self, name: &str, shape: &[Size<'_>]) {
        self.graph.input.push(port(name, DataType::Float, Some(shape)));
    }

    /// A float output, whose shape is left open.
    pub fn output(&mut self, name: &str) {
        self.graph.output.push(port(name, DataType::Float, None));
    }

    /// A float constant.
    pub fn floats(&mut self, name: &str, shape: &[usize], data: &[f32]) {
        self.graph.initializer.push(TensorProto {
            name: name.into(),
            data_type: DataType::Float as i32,
            dims: shape.iter().map(|&d| d as i64).collect(),
            raw_data: data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ..Default::default()
        });
    }

    /// A list of i64.
    pub fn ints(&mut self, name: &str, data: &[i64]) {
        self.graph.initializer.push(TensorProto {
            name: name.into(),
            data_type: DataType::Int64 as i32,
            dims: vec![data.len() as i64],
            raw_data: data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ..Default::default()
        });
    }

    /// A node with one output, which is also its name.
    pub fn node(&mut self, op: &str, inputs: &[&str], output: &str, attributes: &[(&str, Attribute<'_>)]) {
        self.graph.node.push(NodeProto {
            op_type: op.into(),
            name: output.into(),
            input: inputs.iter().map(|&i| i.into()).collect(),
            output: vec![output.into()],
            attribute: attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
            ..Default::default()
        });
    }

    pub fn bytes(self) -> Vec<u8> {
        let opset = OperatorSetIdProto { domain: String::new(), version: self.opset };
        ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(self.graph), ..Default::default() }.encode_to_vec()
    }
}

fn attribute(name: &str, value: &Attribute<'_>) -> AttributeProto {
    let mut a = AttributeProto { name: name.into(), ..Default::default() };
    match value {
        Attribute::Int(v) => (a.i, a.r#type) = (*v, AttributeType::Int as i32),
        Attribute::Float(v) => (a.f, a.r#type) = (*v, AttributeType::Float as i32),
        Attribute::Ints(v) => (a.ints, a.r#type) = (v.to_vec(), AttributeType::Ints as i32),
        Attribute::Text(v) => (a.s, a.r#type) = (v.as_bytes().to_vec(), AttributeType::String as i32),
    }
    a
}

fn port(name: &str, kind: DataType, shape: Option<&[Size<'_>]>) -> ValueInfoProto {
    let dim = |size: &Size<'_>| Dimension {
        value: Some(match size {
            Size::Fixed(n) => dimension::Value::DimValue(*n),
            Size::Named(name) => dimension::Value::DimParam((*name).into()),
        }),
        ..Default::default()
    };
    let tensor = type_proto::Tensor {
        elem_type: kind as i32,
        shape: shape.map(|dims| TensorShapeProto { dim: dims.iter().map(dim).collect() }),
    };
    let ty = TypeProto { value: Some(pb::type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), r#type: Some(ty), ..Default::default() }
}
