//! Element types that have no arrays of their own: 8-bit and 4-bit floats, integers of 4 and 2 bits.
//!
//! Before anything looks at types, their tensors become tensors of codes, one byte each (int8 for the signed integers), and attributes that
//! ask for such a type get another name, under which the mixed executor finds it.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};

use tract_onnx::pb::{self, tensor_proto::DataType, type_proto};

use crate::{
    error::{Result, ensure},
    tensor::{DType, element_count},
};

/// What an attribute that names a narrow type is called afterwards: `narrow_to`.
pub(in crate::compile) const PREFIX: &str = "narrow_";

/// A narrow element type; the numbers are ONNX's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Narrow {
    E4M3Fn = 17,
    E4M3FnUz = 18,
    E5M2 = 19,
    E5M2FnUz = 20,
    Uint4 = 21,
    Int4 = 22,
    E2M1 = 23,
    E8M0 = 24,
    Uint2 = 25,
    Int2 = 26,
}

impl Narrow {
    /// The type of an ONNX code.
    pub(in crate::compile) fn of_code(code: i32) -> Option<Narrow> {
        use Narrow::*;
        [E4M3Fn, E4M3FnUz, E5M2, E5M2FnUz, Uint4, Int4, E2M1, E8M0, Uint2, Int2].into_iter().find(|n| *n as i32 == code)
    }

    /// Bits of one element.
    pub(in crate::compile) fn bits(self) -> usize {
        match self {
            Narrow::Uint4 | Narrow::Int4 | Narrow::E2M1 => 4,
            Narrow::Uint2 | Narrow::Int2 => 2,
            _ => 8,
        }
    }

    /// The type of the tensors that hold the codes.
    pub fn storage(self) -> DType {
        if matches!(self, Narrow::Int4 | Narrow::Int2) { DType::I8 } else { DType::U8 }
    }
}

/// The codes of packed elements, the lowest bits first.
fn unpack(kind: Narrow, packed: &[u8], count: usize) -> Vec<u8> {
    let bits = kind.bits();
    let per_byte = 8 / bits;
    let code = |i: usize| {
        let field = packed[i / per_byte] >> (i % per_byte * bits) & ((1u16 << bits) - 1) as u8;
        let shift = 8 - bits;
        if kind.storage() == DType::I8 { ((field << shift) as i8 >> shift) as u8 } else { field }
    };
    (0..count).map(code).collect()
}

/// A narrow tensor as one of codes; whether it was one.
pub(in crate::compile) fn lift_tensor(tensor: &mut pb::TensorProto) -> Result<Option<Narrow>> {
    let Some(kind) = Narrow::of_code(tensor.data_type) else { return Ok(None) };
    let dims: Vec<usize> = tensor.dims.iter().map(|&d| usize::try_from(d).unwrap_or(usize::MAX)).collect();
    let count = element_count(&dims)?;
    let raw = core::mem::take(&mut tensor.raw_data);
    let ints = core::mem::take(&mut tensor.int32_data);
    let packed: Vec<u8> = if raw.is_empty() { ints.into_iter().map(|v| v as u8).collect() } else { raw };
    let expected = count.div_ceil(8 / kind.bits());
    ensure!(
        packed.len() == expected,
        InvalidModel,
        "tensor '{}' of shape {dims:?} has {} bytes instead of {expected}",
        tensor.name,
        packed.len()
    );
    tensor.raw_data = unpack(kind, &packed, count);
    tensor.data_type = if kind.storage() == DType::I8 { DataType::Int8 } else { DataType::Uint8 } as i32;
    Ok(Some(kind))
}

/// Lifts every narrow type of a graph; says which names had one.
pub(super) fn lift(graph: &mut pb::GraphProto, found: &mut BTreeMap<String, Narrow>) -> Result<()> {
    for tensor in &mut graph.initializer {
        if let Some(kind) = lift_tensor(tensor)? {
            found.insert(tensor.name.clone(), kind);
        }
    }
    for port in graph.input.iter_mut().chain(&mut graph.output) {
        if let Some(type_proto::Value::TensorType(t)) = port.r#type.as_mut().and_then(|t| t.value.as_mut())
            && let Some(kind) = Narrow::of_code(t.elem_type)
        {
            t.elem_type = if kind.storage() == DType::I8 { DataType::Int8 } else { DataType::Uint8 } as i32;
            found.insert(port.name.clone(), kind);
        }
    }
    for node in &mut graph.node {
        for attribute in &mut node.attribute {
            let named = matches!(attribute.name.as_str(), "to" | "dtype" | "output_dtype");
            if named && i32::try_from(attribute.i).ok().and_then(Narrow::of_code).is_some() {
                attribute.name = format!("{PREFIX}{}", attribute.name);
            }
            for tensor in attribute.t.iter_mut().chain(&mut attribute.tensors) {
                if let (Some(kind), "Constant", Some(output)) = (lift_tensor(tensor)?, node.op_type.as_str(), node.output.first())
                {
                    found.insert(output.to_string(), kind);
                }
            }
            for body in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                lift(body, found)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_elements_come_apart() {
        assert_eq!(unpack(Narrow::Uint4, &[0x21, 0x0F], 3), [1, 2, 15]);
        assert_eq!(unpack(Narrow::Int4, &[0x8F], 2), [0xFF, 0xF8]);
        assert_eq!(unpack(Narrow::Int2, &[0b11_10_01_00], 4), [0, 1, 0xFE, 0xFF]);
        assert_eq!(unpack(Narrow::E5M2, &[7, 9], 2), [7, 9]);
    }

    #[test]
    fn a_wrong_length_is_an_error() {
        let mut tensor = pb::TensorProto { dims: alloc::vec![3], data_type: 22, raw_data: alloc::vec![1], ..Default::default() };
        assert!(lift_tensor(&mut tensor).is_err());
    }
}
