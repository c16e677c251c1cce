//! Half-precision models: computed in f32, for no browser has fast arithmetic on 16-bit floats.
//!
//! float16 becomes float32 in the protobuf, before anything looks at types, and so do the types of `narrow.rs`. Inputs and outputs that are
//! float16 stay so for callers: they are converted at the graph's edges.

use alloc::{collections::BTreeSet, string::String, vec::Vec};

use tract_onnx::{
    pb::{self, tensor_proto::DataType, type_proto},
    prelude::f16,
};

use super::narrow;
use crate::{
    error::Result,
    tensor::{DType, Tensor},
};

/// Inputs and outputs of the model that callers give and get as float16.
#[derive(Debug, Clone, Default)]
pub(in crate::compile) struct Half {
    pub inputs: BTreeSet<String>,
    pub outputs: BTreeSet<String>,
}

/// Attributes that name an element type.
const TYPE_ATTRIBUTES: [&str; 4] = ["to", "dtype", "output_dtype", "stash_type"];

/// Makes every half-precision type of the model float32; says which inputs and outputs were float16.
pub(super) fn widen(graph: &mut pb::GraphProto) -> Half {
    let names = |ports: &[pb::ValueInfoProto]| -> BTreeSet<String> {
        let half = ports.iter().filter(|p| elem_type(p) == Some(DataType::Float16 as i32));
        half.map(|p| p.name.clone()).collect()
    };
    narrow::mark(graph);
    let found = Half { inputs: names(&graph.input), outputs: names(&graph.output) };
    widen_graph(graph);
    found
}

fn widen_graph(graph: &mut pb::GraphProto) {
    graph.initializer.iter_mut().for_each(widen_tensor);
    for port in graph.input.iter_mut().chain(&mut graph.output) {
        if let Some(type_proto::Value::TensorType(t)) = port.r#type.as_mut().and_then(|t| t.value.as_mut())
            && is_widened(t.elem_type)
        {
            t.elem_type = wide(t.elem_type);
        }
    }
    for attribute in graph.node.iter_mut().flat_map(|n| &mut n.attribute) {
        attribute.t.iter_mut().chain(&mut attribute.tensors).for_each(widen_tensor);
        attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(widen_graph);
        if TYPE_ATTRIBUTES.contains(&attribute.name.as_str())
            && let Ok(code) = i32::try_from(attribute.i)
        {
            attribute.i = i64::from(wide(code));
        }
    }
}

/// A float16 tensor as float32.
pub(in crate::compile) fn widened(tensor: &Tensor) -> Result<Tensor> {
    let wide: Vec<f32> =
        tensor.bytes().chunks_exact(2).map(|b| f16::from_bits(u16::from_le_bytes([b[0], b[1]])).to_f32()).collect();
    Tensor::from_slice(tensor.shape(), &wide)
}

/// A float32 tensor as float16, each number rounded to the nearest.
pub(in crate::compile) fn narrowed(tensor: &Tensor) -> Result<Tensor> {
    let bits: Vec<u16> = tensor.as_slice::<f32>()?.iter().map(|&v| f16::from_f32(v).to_bits()).collect();
    Tensor::from_bytes(DType::F16, tensor.shape(), bytemuck::cast_slice(&bits))
}

fn elem_type(port: &pb::ValueInfoProto) -> Option<i32> {
    let type_proto::Value::TensorType(t) = port.r#type.as_ref()?.value.as_ref()?;
    Some(t.elem_type)
}

/// The type in which the numbers of a type are computed.
fn wide(code: i32) -> i32 {
    if code == DataType::Float16 as i32 { DataType::Float as i32 } else { narrow::held(code) }
}

/// Whether tensors of the type become wider ones.
pub(super) fn is_widened(code: i32) -> bool {
    wide(code) != code
}

/// The tensor as float32. A wrong number of bytes stays wrong, for the check that follows.
fn widen_tensor(tensor: &mut pb::TensorProto) {
    if tensor.data_type != DataType::Float16 as i32 {
        narrow::hold(tensor);
        return;
    }
    let number = |bits: u16| f16::from_bits(bits).to_f32();
    tensor.data_type = DataType::Float as i32;
    let raw = core::mem::take(&mut tensor.raw_data);
    if raw.is_empty() {
        tensor.float_data = core::mem::take(&mut tensor.int32_data).into_iter().map(|v| number(v as u16)).collect();
        return;
    }
    let pairs = raw.chunks_exact(2);
    let stray = pairs.remainder().to_vec();
    let mut wide: Vec<u8> = Vec::with_capacity(raw.len() * 2);
    wide.extend(pairs.flat_map(|b| number(u16::from_le_bytes([b[0], b[1]])).to_le_bytes()));
    wide.extend(stray);
    tensor.raw_data = wide;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_widened() {
        let tensor = |kind: DataType, raw: &[u8], ints: &[i32]| {
            let mut t = pb::TensorProto {
                data_type: kind as i32,
                raw_data: raw.to_vec(),
                int32_data: ints.to_vec(),
                ..Default::default()
            };
            widen_tensor(&mut t);
            t
        };
        assert_eq!(tensor(DataType::Float16, &[0, 0x3E], &[]).raw_data, 1.5f32.to_le_bytes());
        assert_eq!(tensor(DataType::Float16, &[], &[0xC500]).float_data, [-5.0]);
        assert_eq!(tensor(DataType::Float16, &[0, 0x3E, 1], &[]).raw_data.len(), 5);
        assert_eq!(tensor(DataType::Int8, &[7], &[]).raw_data, [7]);
    }
}
