//! Small ONNX models, as bytes.

use prost::Message;
use tract_onnx::pb;

pub const FLOAT: i32 = pb::tensor_proto::DataType::Float as i32;
#[allow(dead_code, reason = "not every test has integer inputs")]
pub const INT64: i32 = pb::tensor_proto::DataType::Int64 as i32;

fn port(name: &str, elem_type: i32, dims: &[i64]) -> pb::ValueInfoProto {
    use pb::{tensor_shape_proto::dimension::Value, type_proto};
    let dim = |&d: &i64| pb::tensor_shape_proto::Dimension { value: Some(Value::DimValue(d)), ..Default::default() };
    let shape = pb::TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type, shape: Some(shape) };
    let ty = pb::TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    pb::ValueInfoProto { name: name.into(), r#type: Some(ty), ..Default::default() }
}

/// A model (operator set 13) of inputs and outputs with their type and dimensions, and of nodes given as operator, inputs and outputs.
pub fn model(inputs: &[(&str, i32, &[i64])], nodes: &[(&str, &[&str], &[&str])], outputs: &[(&str, i32, &[i64])]) -> Vec<u8> {
    let list = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<String>>();
    let node = |(op, inputs, outputs): &(&str, &[&str], &[&str])| pb::NodeProto {
        op_type: op.to_string(),
        input: list(inputs),
        output: list(outputs),
        ..Default::default()
    };
    let graph = pb::GraphProto {
        node: nodes.iter().map(node).collect(),
        input: inputs.iter().map(|(name, ty, dims)| port(name, *ty, dims)).collect(),
        output: outputs.iter().map(|(name, ty, dims)| port(name, *ty, dims)).collect(),
        ..Default::default()
    };
    let opset = pb::OperatorSetIdProto { domain: String::new(), version: 13 };
    let proto = pb::ModelProto { ir_version: 7, opset_import: vec![opset], graph: Some(graph), ..Default::default() };
    proto.encode_to_vec()
}
