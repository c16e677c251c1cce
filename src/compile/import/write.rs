//! Writing ONNX: attributes, constants and nodes, for operators that are put in terms of others before types are inferred.

use alloc::{borrow::ToOwned, string::String, vec, vec::Vec};

use tract_onnx::pb::{self, attribute_proto::AttributeType, tensor_proto::DataType};

/// What an attribute says.
pub(super) enum Value {
    Int(i64),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Text(Vec<u8>),
    Texts(Vec<Vec<u8>>),
    Tensor(pb::TensorProto),
    Graph(pb::GraphProto),
}

macro_rules! values {
    ($($from:ty => $value:expr;)*) => {
        $(impl From<$from> for Value {
            fn from(given: $from) -> Value {
                $value(given)
            }
        })*
    };
}
values! {
    i64 => Value::Int;
    Vec<i64> => Value::Ints;
    Vec<f32> => Value::Floats;
    pb::TensorProto => Value::Tensor;
    pb::GraphProto => Value::Graph;
    &str => |text: &str| Value::Text(text.as_bytes().to_vec());
    &[&str] => |texts: &[&str]| Value::Texts(texts.iter().map(|text| text.as_bytes().to_vec()).collect());
}

pub(super) fn attribute(name: &str, value: impl Into<Value>) -> pb::AttributeProto {
    let mut out = pb::AttributeProto { name: name.into(), ..Default::default() };
    let kind = match value.into() {
        Value::Int(i) => (out.i = i, AttributeType::Int).1,
        Value::Ints(ints) => (out.ints = ints, AttributeType::Ints).1,
        Value::Floats(floats) => (out.floats = floats, AttributeType::Floats).1,
        Value::Text(s) => (out.s = s, AttributeType::String).1,
        Value::Texts(strings) => (out.strings = strings, AttributeType::Strings).1,
        Value::Tensor(t) => (out.t = Some(t), AttributeType::Tensor).1,
        Value::Graph(g) => (out.g = Some(g), AttributeType::Graph).1,
    };
    out.r#type = kind as i32;
    out
}

/// A node that is called like its one result.
pub(super) fn node(op_type: &str, inputs: &[&str], output: &str) -> pb::NodeProto {
    pb::NodeProto {
        name: output.into(),
        op_type: op_type.into(),
        input: inputs.iter().map(|s| (*s).to_owned()).collect(),
        output: vec![output.into()],
        ..Default::default()
    }
}

/// An int64 constant.
pub(super) fn int64s(name: String, dims: Vec<i64>, values: Vec<i64>) -> pb::TensorProto {
    pb::TensorProto { name, data_type: DataType::Int64 as i32, dims, int64_data: values, ..Default::default() }
}

/// Nodes and constants in the making.
#[derive(Default)]
pub(super) struct Writer {
    pub nodes: Vec<pb::NodeProto>,
    pub constants: Vec<pb::TensorProto>,
}

impl Writer {
    /// Adds a node, and gives its result's name back.
    pub fn emit(&mut self, op_type: &str, inputs: &[&str], output: String) -> String {
        self.nodes.push(node(op_type, inputs, &output));
        output
    }

    /// Gives the last node an attribute.
    pub fn with(&mut self, name: &str, value: impl Into<Value>) {
        if let Some(node) = self.nodes.last_mut() {
            node.attribute.push(attribute(name, value));
        }
    }

    /// A list of integers.
    pub fn ints(&mut self, name: String, values: &[i64]) -> String {
        self.constants.push(int64s(name.clone(), vec![values.len() as i64], values.to_vec()));
        name
    }

    /// A float32 scalar.
    pub fn float(&mut self, name: String, value: f32) -> String {
        let data_type = DataType::Float as i32;
        self.constants.push(pb::TensorProto { name: name.clone(), data_type, float_data: vec![value], ..Default::default() });
        name
    }
}
