//! Tensors in the protobuf: checked, and taken out of it before tract sees the model, so that weights are held once.

use alloc::{format, string::String, vec::Vec};

use prost::Message;
use tract_onnx::{
    pb::{self, tensor_proto::DataType},
    prelude::DatumType,
};

use super::{
    narrow,
    proto::type_name,
    write::{self, attribute},
};
use crate::{
    compile::{
        reader::DETACH_FROM,
        weight_files::{self, WeightFiles},
    },
    error::{Result, bail, ensure},
    graph::Blob,
    tensor::{DType, Tensor, element_count},
};

/// The operator that stands where a weight was.
pub(super) const WEIGHT_OP: &str = "nearside.Weight";

/// A weight that was taken out of the model.
#[derive(Debug, Clone)]
pub(super) struct Weight {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub bytes: Blob,
}

/// Our name of an ONNX element type, or of the one that holds it.
pub(in crate::compile) fn supported(code: i32) -> Result<DType> {
    Ok(match DataType::try_from(narrow::held(code)) {
        Ok(DataType::Float) => DType::F32,
        Ok(DataType::Double) => DType::F64,
        Ok(DataType::Float16) => DType::F16,
        Ok(DataType::Int8) => DType::I8,
        Ok(DataType::Uint8) => DType::U8,
        Ok(DataType::Int16) => DType::I16,
        Ok(DataType::Uint16) => DType::U16,
        Ok(DataType::Int32) => DType::I32,
        Ok(DataType::Uint32) => DType::U32,
        Ok(DataType::Int64) => DType::I64,
        Ok(DataType::Uint64) => DType::U64,
        Ok(DataType::Bool) => DType::Bool,
        Ok(DataType::String) => DType::String,
        _ => bail!(Unsupported, "element type {} is not supported; convert the model to float32 or int8", type_name(code)),
    })
}

/// tract's element type to ours. Dimensions are i64 in ONNX.
pub(in crate::compile) fn dtype_of(datum: DatumType) -> Result<DType> {
    Ok(match datum {
        DatumType::F32 => DType::F32,
        DatumType::F64 => DType::F64,
        DatumType::F16 => DType::F16,
        DatumType::I8 => DType::I8,
        DatumType::U8 => DType::U8,
        DatumType::I16 => DType::I16,
        DatumType::U16 => DType::U16,
        DatumType::I32 => DType::I32,
        DatumType::U32 => DType::U32,
        DatumType::I64 | DatumType::TDim => DType::I64,
        DatumType::U64 => DType::U64,
        DatumType::Bool => DType::Bool,
        DatumType::String => DType::String,
        other => bail!(Unsupported, "element type {other:?} is not supported"),
    })
}

/// Our element type to tract's.
pub(in crate::compile) fn datum_of(dtype: DType) -> DatumType {
    match dtype {
        DType::F32 => DatumType::F32,
        DType::F64 => DatumType::F64,
        DType::F16 => DatumType::F16,
        DType::I8 => DatumType::I8,
        DType::U8 => DatumType::U8,
        DType::I16 => DatumType::I16,
        DType::U16 => DatumType::U16,
        DType::I32 => DatumType::I32,
        DType::U32 => DatumType::U32,
        DType::I64 => DatumType::I64,
        DType::U64 => DatumType::U64,
        DType::Bool => DatumType::Bool,
        DType::String => DatumType::String,
    }
}

fn shape_of(tensor: &pb::TensorProto) -> Result<Vec<usize>> {
    let dims: Option<Vec<usize>> = tensor.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let Some(dims) = dims else { bail!(InvalidModel, "tensor '{}' has the shape {:?}", tensor.name, tensor.dims) };
    Ok(dims)
}

/// The tensor's type is known and its data, which may be in one of `files`, is as long as its shape says.
pub(in crate::compile) fn check(tensor: &pb::TensorProto, files: &WeightFiles) -> Result<()> {
    let dtype = supported(tensor.data_type).map_err(|e| crate::Error::Unsupported(format!("tensor '{}': {e}", tensor.name)))?;
    let shape = shape_of(tensor)?;
    let count = element_count(&shape)?;
    let (stored, expected, unit) = if weight_files::is_external(tensor) {
        ensure!(dtype != DType::String, InvalidModel, "tensor '{}' has strings in another file", tensor.name);
        let expected = count * dtype.size();
        (files.of_tensor(tensor, expected)?.bytes().len(), expected, "bytes")
    } else if !tensor.raw_data.is_empty() {
        ensure!(dtype != DType::String, InvalidModel, "tensor '{}' has strings as raw bytes", tensor.name);
        (tensor.raw_data.len(), count * dtype.size(), "bytes")
    } else {
        let n = match dtype {
            DType::F32 => tensor.float_data.len(),
            DType::F64 => tensor.double_data.len(),
            DType::I64 => tensor.int64_data.len(),
            // tract reads these from the fields of the signed types; checked for what it reads.
            DType::U64 => tensor.int64_data.len().max(tensor.uint64_data.len()),
            DType::U32 => tensor.int32_data.len().max(tensor.uint64_data.len()),
            DType::String => tensor.string_data.len(),
            _ => tensor.int32_data.len(),
        };
        (n, count, "elements")
    };
    ensure!(
        stored == expected,
        InvalidModel,
        "tensor '{}' of shape {shape:?} has {stored} {unit} instead of {expected}",
        tensor.name
    );
    Ok(())
}

/// The tensor's elements, taken out of the message.
fn take(tensor: &mut pb::TensorProto) -> Result<Tensor> {
    let dtype = supported(tensor.data_type)?;
    let shape = shape_of(tensor)?;
    let raw = core::mem::take(&mut tensor.raw_data);
    if !raw.is_empty() {
        let mut out = Tensor::from_bytes(dtype, &shape, &raw)?;
        if dtype == DType::Bool {
            out.bytes_mut().iter_mut().for_each(|b| *b = u8::from(*b != 0));
        }
        return Ok(out);
    }
    let ints = core::mem::take(&mut tensor.int32_data);
    match dtype {
        DType::F32 => Tensor::from_slice(&shape, &core::mem::take(&mut tensor.float_data)),
        DType::F64 => Tensor::from_slice(&shape, &core::mem::take(&mut tensor.double_data)),
        DType::I64 => Tensor::from_slice(&shape, &core::mem::take(&mut tensor.int64_data)),
        DType::I32 => Tensor::from_slice(&shape, &ints),
        DType::I8 => Tensor::from_slice(&shape, &ints.iter().map(|&v| v as i8).collect::<Vec<_>>()),
        DType::U8 => Tensor::from_slice(&shape, &ints.iter().map(|&v| v as u8).collect::<Vec<_>>()),
        DType::I16 => Tensor::from_slice(&shape, &ints.iter().map(|&v| v as i16).collect::<Vec<_>>()),
        DType::U16 => Tensor::from_slice(&shape, &ints.iter().map(|&v| v as u16).collect::<Vec<_>>()),
        DType::F16 => {
            let bits: Vec<u16> = ints.iter().map(|&v| v as u16).collect();
            Tensor::from_bytes(DType::F16, &shape, bytemuck::cast_slice(&bits))
        }
        // These two share a field.
        DType::U64 => Tensor::from_slice(&shape, &core::mem::take(&mut tensor.uint64_data)),
        DType::U32 => {
            let values: Vec<u32> = core::mem::take(&mut tensor.uint64_data).iter().map(|&v| v as u32).collect();
            Tensor::from_slice(&shape, &values)
        }
        DType::Bool => {
            let bytes: Vec<u8> = ints.iter().map(|&v| u8::from(v != 0)).collect();
            Tensor::from_bytes(DType::Bool, &shape, &bytes)
        }
        DType::String => bail!(Unsupported, "tensor '{}' holds strings", tensor.name),
    }
}

/// How many bytes the tensor's elements take, by its type and shape; `None` for those that we do not know.
pub(super) fn byte_len(tensor: &pb::TensorProto) -> Option<usize> {
    let count = element_count(&shape_of(tensor).ok()?).ok()?;
    let packed = narrow::byte_len(tensor.data_type, count);
    packed.or_else(|| Some(count * supported(tensor.data_type).ok()?.size()))
}

/// Takes a tensor's bytes from another file into the message.
pub(in crate::compile) fn inline(tensor: &mut pb::TensorProto, files: &WeightFiles) -> Result<()> {
    tensor.raw_data = files.of_tensor(tensor, byte_len(tensor).unwrap_or_default())?.bytes().to_vec();
    tensor.data_location = None;
    tensor.external_data.clear();
    Ok(())
}

/// Takes what is left in other files into the model, for tract knows nothing of them.
pub(super) fn inline_all(graph: &mut pb::GraphProto, files: &WeightFiles) -> Result<()> {
    graph.initializer.iter_mut().filter(|t| weight_files::is_external(t)).try_for_each(|tensor| inline(tensor, files))
}

/// The tensor's elements.
pub(in crate::compile) fn tensor(tensor: &pb::TensorProto) -> Result<Tensor> {
    take(&mut tensor.clone())
}

/// Reads a file that holds a single ONNX tensor, as the data of ONNX's backend tests is stored.
pub fn read_tensor(bytes: &[u8]) -> Result<Tensor> {
    let mut tensor = pb::TensorProto::decode(bytes).map_err(|e| {
        crate::Error::InvalidModel(format!("the bytes are not an ONNX tensor, or it is truncated or damaged ({e})"))
    })?;
    narrow::hold(&mut tensor);
    check(&tensor, &WeightFiles::default())?;
    take(&mut tensor)
}

/// The number of an element type in ONNX's messages (`TensorProto.DataType`).
pub fn element_type(dtype: DType) -> i32 {
    let code = match dtype {
        DType::F32 => DataType::Float,
        DType::F64 => DataType::Double,
        DType::F16 => DataType::Float16,
        DType::I8 => DataType::Int8,
        DType::U8 => DataType::Uint8,
        DType::I16 => DataType::Int16,
        DType::U16 => DataType::Uint16,
        DType::I32 => DataType::Int32,
        DType::U32 => DataType::Uint32,
        DType::I64 => DataType::Int64,
        DType::U64 => DataType::Uint64,
        DType::Bool => DataType::Bool,
        DType::String => DataType::String,
    };
    code as i32
}

/// The tensor as a message of this name.
pub(in crate::compile) fn message(name: &str, tensor: &Tensor) -> pb::TensorProto {
    let dims = tensor.shape().iter().map(|&d| d as i64).collect();
    let data_type = element_type(tensor.dtype());
    pb::TensorProto { name: name.into(), dims, data_type, raw_data: tensor.bytes().to_vec(), ..Default::default() }
}

pub(super) fn is_detachable(tensor: &pb::TensorProto) -> bool {
    let size = |dtype: DType| tensor.dims.iter().map(|d| usize::try_from(*d).unwrap_or(0)).product::<usize>() * dtype.size();
    match supported(tensor.data_type) {
        Ok(DType::String | DType::U32 | DType::U64) | Err(_) => false,
        Ok(dtype) => size(dtype) >= DETACH_FROM,
    }
}

/// Replaces large initializers and constants of the top-level graph by [`WEIGHT_OP`] nodes and returns them.
pub(super) fn detach(graph: &mut pb::GraphProto, files: &WeightFiles) -> Result<Vec<Weight>> {
    let mut weights = Vec::new();
    let mut nodes = Vec::new();
    for mut tensor in core::mem::take(&mut graph.initializer) {
        if is_detachable(&tensor) {
            let name = tensor.name.clone();
            graph.input.retain(|i| i.name != name);
            nodes.push(stub(&name, &name, weights.len(), &tensor));
            weights.push(weight(name, &mut tensor, files)?);
        } else {
            graph.initializer.push(tensor);
        }
    }
    for node in &mut graph.node {
        if node.op_type != "Constant" {
            continue;
        }
        if let Some(tensor) = node.attribute.iter_mut().find(|a| a.name == "value").and_then(|a| a.t.as_mut())
            && is_detachable(tensor)
            && let [output] = node.output.as_slice()
        {
            let new = stub(&node.name, output, weights.len(), tensor);
            weights.push(weight(output.clone(), tensor, files)?);
            *node = new;
        }
    }
    nodes.append(&mut graph.node);
    graph.node = nodes;
    Ok(weights)
}

fn weight(name: String, tensor: &mut pb::TensorProto, files: &WeightFiles) -> Result<Weight> {
    let (dtype, shape) = (supported(tensor.data_type)?, shape_of(tensor)?);
    // bool has to be made of zeros and ones.
    if weight_files::is_external(tensor) && dtype != DType::Bool {
        let bytes = files.of_tensor(tensor, element_count(&shape)? * dtype.size())?;
        return Ok(Weight { name, dtype, shape, bytes });
    }
    if weight_files::is_external(tensor) {
        inline(tensor, files)?;
    }
    let bytes = Blob::new(take(tensor)?.into_bytes());
    Ok(Weight { name, dtype, shape, bytes })
}

fn stub(name: &str, output: &str, index: usize, tensor: &pb::TensorProto) -> pb::NodeProto {
    pb::NodeProto {
        name: name.into(),
        attribute: alloc::vec![
            attribute("meta", alloc::vec![index as i64, i64::from(tensor.data_type)]),
            attribute("dims", tensor.dims.clone()),
        ],
        ..write::node(WEIGHT_OP, &[], output)
    }
}
