//! What a model says of its inputs and outputs, sequences, optionals and maps included, which tract's messages leave out.

use alloc::{
    boxed::Box,
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec::Vec,
};

use prost::Message;
use tract_onnx::pb::{TensorShapeProto, tensor_shape_proto::dimension};

use crate::{
    compile::mixed::Kind,
    error::{Error, Result, bail},
    runtime::{DimInfo, PortInfo},
    tensor::DType,
};

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Named>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<Port>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<Port>,
}

/// A tensor, of which only the name counts.
#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "8")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Port {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<Type>,
}

#[derive(Clone, PartialEq, Message)]
struct Type {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorType>,
    #[prost(message, optional, boxed, tag = "4")]
    sequence: Option<Box<Inner>>,
    #[prost(message, optional, boxed, tag = "5")]
    map: Option<Box<MapType>>,
    #[prost(message, optional, boxed, tag = "9")]
    optional: Option<Box<Inner>>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<TensorShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct Inner {
    #[prost(message, optional, boxed, tag = "1")]
    elem_type: Option<Box<Type>>,
}

#[derive(Clone, PartialEq, Message)]
struct MapType {
    #[prost(message, optional, boxed, tag = "2")]
    value_type: Option<Box<Type>>,
}

/// A port and what kind of value it is.
#[derive(Debug, Clone)]
pub(in crate::compile) struct TypedPort {
    /// Name, type of the elements, and for tensors the shape.
    pub info: PortInfo,
    pub kind: Kind,
    /// Whether the model gives a rank.
    pub ranked: bool,
    /// Whether the elements are float16 for callers.
    pub half: bool,
}

/// The ports of a model. What has a default (an initializer) is no input.
pub(in crate::compile) fn typed_ports(onnx: &[u8]) -> Result<(Vec<TypedPort>, Vec<TypedPort>)> {
    let model = Model::decode(onnx).map_err(|e| Error::InvalidModel(format!("the bytes are not an ONNX model ({e})")))?;
    let Some(graph) = model.graph else { bail!(InvalidModel, "the model has no graph") };
    let constants: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let inputs = graph.input.iter().filter(|i| !constants.contains(i.name.as_str()));
    Ok((inputs.map(typed).collect::<Result<_>>()?, graph.output.iter().map(typed).collect::<Result<_>>()?))
}

fn typed(port: &Port) -> Result<TypedPort> {
    let (kind, tensor) = port.kind.as_ref().map_or((Kind::Tensor, None), resolve);
    let code = tensor.map_or(1, |t| t.elem_type);
    let dtype = match code {
        // A port without a type is taken for float32.
        0 => DType::F32,
        code => super::weights::supported(code).map_err(|e| Error::Unsupported(format!("'{}': {e}", port.name)))?,
    };
    let shape = tensor.and_then(|t| t.shape.as_ref()).filter(|_| kind == Kind::Tensor);
    let dims = shape.iter().flat_map(|s| &s.dim).enumerate().map(|(axis, dim)| match &dim.value {
        Some(dimension::Value::DimValue(v)) if *v >= 0 => DimInfo::Fixed(usize::try_from(*v).unwrap_or(usize::MAX)),
        Some(dimension::Value::DimParam(name)) if !name.is_empty() && name != "?" => DimInfo::Symbol(name.clone()),
        _ => DimInfo::Symbol(format!("{}_d{axis}", port.name)),
    });
    let info = PortInfo { name: port.name.to_string(), dtype, shape: dims.collect() };
    Ok(TypedPort { info, kind, ranked: shape.is_some(), half: dtype == DType::F16 })
}

/// The outermost kind, and the tensor at the bottom of the type.
fn resolve(ty: &Type) -> (Kind, Option<&TensorType>) {
    if let Some(sequence) = &ty.sequence {
        (Kind::Sequence, sequence.elem_type.as_ref().and_then(|t| resolve(t).1))
    } else if let Some(optional) = &ty.optional {
        (Kind::Optional, optional.elem_type.as_ref().and_then(|t| resolve(t).1))
    } else if let Some(map) = &ty.map {
        (Kind::Map, map.value_type.as_ref().and_then(|t| resolve(t).1))
    } else {
        (Kind::Tensor, ty.tensor.as_ref())
    }
}
