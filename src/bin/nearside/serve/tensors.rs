//! The protocol's datatypes, and tensors as JSON numbers.

use nearside::{DType, Tensor};
use serde_json::Value;

use super::error::ApiError;

/// The protocol's name of an element type.
pub fn datatype(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "FP32",
        DType::F64 => "FP64",
        DType::F16 => "FP16",
        DType::I8 => "INT8",
        DType::U8 => "UINT8",
        DType::I16 => "INT16",
        DType::U16 => "UINT16",
        DType::I32 => "INT32",
        DType::U32 => "UINT32",
        DType::I64 => "INT64",
        DType::U64 => "UINT64",
        DType::Bool => "BOOL",
        DType::String => "BYTES",
    }
}

/// The inverse of [`datatype`].
pub fn dtype(name: &str) -> Option<DType> {
    use DType::*;
    [F32, F64, F16, I8, U8, I16, U16, I32, U32, I64, U64, Bool, String].into_iter().find(|d| datatype(*d) == name)
}

/// A tensor from JSON data, flat or nested in row-major order.
pub fn from_json(name: &str, dtype: DType, shape: &[usize], data: &Value) -> Result<Tensor, ApiError> {
    let mut bytes = Vec::new();
    push(name, dtype, data, &mut bytes)?;
    Tensor::from_bytes(dtype, shape, &bytes).map_err(|e| ApiError::bad_request(format!("input '{name}': {e}")))
}

fn push(name: &str, dtype: DType, data: &Value, out: &mut Vec<u8>) -> Result<(), ApiError> {
    if let Value::Array(items) = data {
        return items.iter().try_for_each(|item| push(name, dtype, item, out));
    }
    let wrong = || ApiError::bad_request(format!("input '{name}': {data} is not a {} element", datatype(dtype)));
    let integer = || data.as_i64().ok_or_else(wrong);
    macro_rules! checked {
        ($t:ty) => {
            out.extend(<$t>::try_from(integer()?).map_err(|_| wrong())?.to_le_bytes())
        };
    }
    match dtype {
        DType::F32 => out.extend((data.as_f64().ok_or_else(wrong)? as f32).to_le_bytes()),
        DType::F64 => out.extend(data.as_f64().ok_or_else(wrong)?.to_le_bytes()),
        DType::I8 => checked!(i8),
        DType::U8 => checked!(u8),
        DType::I16 => checked!(i16),
        DType::U16 => checked!(u16),
        DType::I32 => checked!(i32),
        DType::U32 => checked!(u32),
        DType::I64 => out.extend(integer()?.to_le_bytes()),
        DType::U64 => out.extend(data.as_u64().ok_or_else(wrong)?.to_le_bytes()),
        DType::Bool => out.push(u8::from(data.as_bool().ok_or_else(wrong)?)),
        DType::F16 | DType::String => {
            return Err(ApiError::bad_request(format!("input '{name}': {} data cannot be given as JSON", datatype(dtype))));
        }
    }
    Ok(())
}

/// A tensor's elements as a flat JSON array.
pub fn to_json(tensor: &Tensor) -> Result<Value, ApiError> {
    macro_rules! list {
        ($t:ty) => {
            tensor.as_slice::<$t>()?.iter().map(|&v| Value::from(v)).collect()
        };
    }
    Ok(match tensor.dtype() {
        DType::F32 => list!(f32),
        DType::F64 => list!(f64),
        DType::I8 => list!(i8),
        DType::U8 => list!(u8),
        DType::I16 => list!(i16),
        DType::U16 => list!(u16),
        DType::I32 => list!(i32),
        DType::U32 => list!(u32),
        DType::I64 => list!(i64),
        DType::U64 => list!(u64),
        DType::Bool => tensor.as_slice::<u8>()?.iter().map(|&v| Value::from(v != 0)).collect(),
        DType::F16 | DType::String => {
            return Err(ApiError::bad_request(format!("{} outputs need binary_data", datatype(tensor.dtype()))));
        }
    })
}
