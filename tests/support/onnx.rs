//! ONNX models written by hand: a few lines per graph instead of files.

#![allow(dead_code, reason = "every test has its own copy of this module and needs a part of it")]

use prost::Message;
use tract_onnx::pb::{
    self, AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto,
    attribute_proto::AttributeType,
    tensor_proto,
    tensor_shape_proto::{Dimension, dimension},
    type_proto,
};

pub use tensor_proto::DataType;

pub const FLOAT: DataType = DataType::Float;
pub const INT64: DataType = DataType::Int64;
pub const BOOL: DataType = DataType::Bool;
pub const INT32: DataType = DataType::Int32;
pub const INT8: DataType = DataType::Int8;
pub const UINT8: DataType = DataType::Uint8;

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
#[derive(Clone)]
pub enum Attribute<'a> {
    Int(i64),
    Float(f32),
    Ints(&'a [i64]),
    Floats(&'a [f32]),
    Text(&'a str),
    Texts(&'a [&'a str]),
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
    ml: bool,
    sequences: Vec<String>,
}

impl Onnx {
    pub fn new(opset: i64) -> Onnx {
        Onnx { graph: GraphProto { name: "test".into(), ..Default::default() }, opset, ml: false, sequences: Vec::new() }
    }

    /// A float input.
    pub fn input(&mut self, name: &str, shape: &[Size<'_>]) {
        self.graph.input.push(port(name, DataType::Float, Some(shape)));
    }

    /// An input of another type.
    pub fn input_of(&mut self, name: &str, kind: DataType, shape: &[Size<'_>]) {
        self.graph.input.push(port(name, kind, Some(shape)));
    }

    /// A constant of bytes: u8, s8 or, as little endian, any other type.
    pub fn raw(&mut self, name: &str, kind: DataType, shape: &[usize], raw_data: &[u8]) {
        self.graph.initializer.push(TensorProto {
            name: name.into(),
            data_type: kind as i32,
            dims: shape.iter().map(|&d| d as i64).collect(),
            raw_data: raw_data.to_vec(),
            ..Default::default()
        });
    }

    /// A float output, whose shape is left open.
    pub fn output(&mut self, name: &str) {
        self.graph.output.push(port(name, DataType::Float, None));
    }

    /// A string input.
    pub fn input_words(&mut self, name: &str, shape: &[Size<'_>]) {
        self.graph.input.push(port(name, DataType::String, Some(shape)));
    }

    /// An output of another type.
    pub fn output_of(&mut self, name: &str, kind: DataType) {
        self.graph.output.push(port(name, kind, None));
    }

    /// An output of i64.
    pub fn output_int(&mut self, name: &str) {
        self.graph.output.push(port(name, DataType::Int64, None));
    }

    /// A string output.
    pub fn output_words(&mut self, name: &str) {
        self.graph.output.push(port(name, DataType::String, None));
    }

    /// An output that is a sequence of float tensors; its type is not among tract's messages and is written by [`Onnx::bytes`].
    pub fn output_sequence(&mut self, name: &str) {
        self.graph.output.push(ValueInfoProto { name: name.into(), ..Default::default() });
        self.sequences.push(name.into());
    }

    /// Opens `ai.onnx.ml`.
    pub fn ml(&mut self) {
        self.ml = true;
    }

    /// A scalar of i64.
    pub fn scalar(&mut self, name: &str, value: i64) {
        self.ints_of(name, &[], &[value]);
    }

    /// A boolean scalar.
    pub fn flag(&mut self, name: &str, value: bool) {
        let raw_data = vec![u8::from(value)];
        self.graph.initializer.push(TensorProto { name: name.into(), data_type: 9, raw_data, ..Default::default() });
    }

    /// A node with several outputs.
    pub fn many(&mut self, op: &str, inputs: &[&str], outputs: &[&str]) {
        self.graph.node.push(node(op, inputs, outputs, &[]));
    }

    /// A node with graphs inside.
    pub fn body(
        &mut self,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        bodies: &[(&str, Body)],
        attributes: &[(&str, Attribute<'_>)],
    ) {
        self.graph.node.push(with_bodies(node(op, inputs, outputs, attributes), bodies));
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
        self.ints_of(name, &[data.len()], data);
    }

    /// A constant of i64.
    pub fn ints_of(&mut self, name: &str, shape: &[usize], data: &[i64]) {
        self.graph.initializer.push(TensorProto {
            name: name.into(),
            data_type: DataType::Int64 as i32,
            dims: shape.iter().map(|&d| d as i64).collect(),
            raw_data: data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ..Default::default()
        });
    }

    /// A node with one output, which is also its name. An operator of another domain has it in front, like `com.microsoft::FusedConv`.
    pub fn node(&mut self, op: &str, inputs: &[&str], output: &str, attributes: &[(&str, Attribute<'_>)]) {
        self.graph.node.push(node(op, inputs, &[output], attributes));
    }

    /// Gives the last node these outputs.
    pub fn outputs_of_last(&mut self, names: &[&str]) {
        if let Some(node) = self.graph.node.last_mut() {
            node.output = names.iter().map(|n| n.to_string()).collect();
        }
    }

    pub fn bytes(mut self) -> Vec<u8> {
        let set = |domain: &str, version| OperatorSetIdProto { domain: domain.into(), version };
        let mut opset_import = vec![set("", self.opset)];
        for domain in ["com.microsoft", "com.ms.internal.nhwc", "ai.onnx.preview"] {
            if self.graph.node.iter().any(|n| n.domain == domain) {
                opset_import.push(set(domain, 1));
            }
        }
        if self.ml {
            opset_import.push(set("ai.onnx.ml", 3));
            for node in &mut self.graph.node {
                if matches!(node.op_type.as_str(), "LabelEncoder" | "ZipMap") {
                    node.domain = "ai.onnx.ml".into();
                }
            }
        }
        // A message may come in parts, which are joined: outputs of types that tract's messages lack stand in a part of their own.
        let outputs = core::mem::take(&mut self.graph.output);
        let model = ModelProto { ir_version: 8, opset_import, graph: Some(self.graph), ..Default::default() };
        let mut bytes = model.encode_to_vec();
        for output in outputs {
            let info = match self.sequences.contains(&output.name) {
                true => [field(1, output.name.as_bytes()), field(2, &field(4, &field(1, &field(1, &[8, 1]))))].concat(),
                false => output.encode_to_vec(),
            };
            bytes.extend(field(7, &field(12, &info)));
        }
        bytes
    }
}

/// A field of a message, of some bytes.
fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 128, "longer fields have longer lengths");
    [&[tag << 3 | 2, bytes.len() as u8], bytes].concat()
}

/// The graph inside a node.
#[derive(Clone)]
pub struct Body(GraphProto);

impl Body {
    pub fn new(inputs: &[&str]) -> Body {
        let input = inputs.iter().map(|name| ValueInfoProto { name: name.to_string(), ..Default::default() }).collect();
        Body(GraphProto { name: "body".into(), input, ..Default::default() })
    }

    pub fn node(&mut self, op: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, Attribute<'_>)]) {
        self.0.node.push(node(op, inputs, outputs, attributes));
    }

    pub fn body(
        &mut self,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        bodies: &[(&str, Body)],
        attributes: &[(&str, Attribute<'_>)],
    ) {
        self.0.node.push(with_bodies(node(op, inputs, outputs, attributes), bodies));
    }

    pub fn outputs(&mut self, names: &[&str]) {
        self.0.output = names.iter().map(|name| ValueInfoProto { name: name.to_string(), ..Default::default() }).collect();
    }
}

fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, Attribute<'_>)]) -> NodeProto {
    let (domain, op) = op.rsplit_once("::").unwrap_or(("", op));
    NodeProto {
        op_type: op.into(),
        domain: domain.into(),
        name: outputs[0].into(),
        input: inputs.iter().map(|&i| i.into()).collect(),
        output: outputs.iter().map(|&o| o.into()).collect(),
        attribute: attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
        ..Default::default()
    }
}

fn with_bodies(mut node: NodeProto, bodies: &[(&str, Body)]) -> NodeProto {
    node.attribute.extend(bodies.iter().map(|(name, body)| AttributeProto {
        name: name.to_string(),
        r#type: AttributeType::Graph as i32,
        g: Some(body.0.clone()),
        ..Default::default()
    }));
    node
}

fn attribute(name: &str, value: &Attribute<'_>) -> AttributeProto {
    let mut a = AttributeProto { name: name.into(), ..Default::default() };
    match value {
        Attribute::Int(v) => (a.i, a.r#type) = (*v, AttributeType::Int as i32),
        Attribute::Float(v) => (a.f, a.r#type) = (*v, AttributeType::Float as i32),
        Attribute::Ints(v) => (a.ints, a.r#type) = (v.to_vec(), AttributeType::Ints as i32),
        Attribute::Floats(v) => (a.floats, a.r#type) = (v.to_vec(), AttributeType::Floats as i32),
        Attribute::Text(v) => (a.s, a.r#type) = (v.as_bytes().to_vec(), AttributeType::String as i32),
        Attribute::Texts(v) => {
            (a.strings, a.r#type) = (v.iter().map(|s| s.as_bytes().to_vec()).collect(), AttributeType::Strings as i32);
        }
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
