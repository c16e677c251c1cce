//! Files that hold one value: a tensor, a sequence or an optional, by the type of the port that it is for.

use nearside::{
    Error, Result,
    compile::{Kind, Value, read_value},
};
use prost::Message;

/// ONNX's SequenceProto, of which tensors, sequences and optionals are read.
#[derive(Clone, PartialEq, Message)]
struct Sequence {
    #[prost(int32, tag = "2")]
    elem_type: i32,
    #[prost(bytes = "vec", repeated, tag = "3")]
    tensors: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "5")]
    sequences: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "7")]
    optionals: Vec<Vec<u8>>,
}

/// ONNX's OptionalProto.
#[derive(Clone, PartialEq, Message)]
struct Optional {
    #[prost(int32, tag = "2")]
    elem_type: i32,
    #[prost(bytes = "vec", optional, tag = "3")]
    tensor: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "5")]
    sequence: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "7")]
    optional: Option<Vec<u8>>,
}

/// Reads a value of this kind.
pub fn read(bytes: &[u8], kind: Kind) -> Result<Value> {
    let damaged = |e: prost::DecodeError| Error::InvalidModel(format!("the bytes are not an ONNX {}: {e}", kind.name()));
    match kind {
        Kind::Tensor => read_value(bytes),
        Kind::Sequence => {
            let message = Sequence::decode(bytes).map_err(damaged)?;
            let tensors = message.tensors.iter().map(|b| read(b, Kind::Tensor));
            let sequences = message.sequences.iter().map(|b| read(b, Kind::Sequence));
            let optionals = message.optionals.iter().map(|b| read(b, Kind::Optional));
            Ok(Value::Sequence(tensors.chain(sequences).chain(optionals).collect::<Result<_>>()?))
        }
        Kind::Optional => {
            let message = Optional::decode(bytes).map_err(damaged)?;
            match (message.tensor, message.sequence, message.optional) {
                (Some(bytes), ..) => read(&bytes, Kind::Tensor),
                (_, Some(bytes), _) => read(&bytes, Kind::Sequence),
                (_, _, Some(bytes)) => read(&bytes, Kind::Optional),
                _ => Ok(Value::None),
            }
        }
        Kind::Map => Err(Error::Unsupported("data files with maps are not read".into())),
    }
}
