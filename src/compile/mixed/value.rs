//! What goes through a model of the mixed executor: tensors, strings, sequences, maps.

use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use prost::Message;
use tract_onnx::pb::{self, tensor_proto::DataType};

use crate::{
    compile::{WeightFiles, import, weight_files::is_external},
    error::{Error, Result, bail, ensure},
    tensor::{DType, Element, Tensor, describe_shape, element_count},
};

/// Bytes of one result of an interpreted operator, whatever the options allow.
const MAX_BYTES: usize = 1 << 30;

/// What an input or output of a model may be. An optional that has an element is that element.
#[derive(Debug, Clone)]
pub enum Value {
    /// A tensor of numbers or booleans.
    Tensor(Arc<Tensor>),
    /// A tensor of strings.
    Strings(Arc<Strings>),
    /// A list of values of one type.
    Sequence(Vec<Value>),
    /// Values by key.
    Map(Arc<Map>),
    /// An optional without an element.
    None,
}

/// The outermost kind of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A tensor, of numbers or strings.
    Tensor,
    /// A list of values.
    Sequence,
    /// A value that may be missing.
    Optional,
    /// Values by key.
    Map,
}

impl Kind {
    /// The kind in ONNX's words.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Tensor => "tensor",
            Kind::Sequence => "sequence",
            Kind::Optional => "optional",
            Kind::Map => "map",
        }
    }
}

/// A tensor of strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strings {
    shape: Vec<usize>,
    data: Vec<String>,
}

impl Strings {
    /// Strings of a shape; fails unless there are as many as the shape says.
    pub fn new(shape: Vec<usize>, data: Vec<String>) -> Result<Strings> {
        ensure!(
            element_count(&shape)? == data.len(),
            InvalidInput,
            "a string tensor of shape {shape:?} needs {} elements, {} were given",
            element_count(&shape)?,
            data.len()
        );
        Ok(Strings { shape, data })
    }

    /// Dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements, row-major.
    pub fn data(&self) -> &[String] {
        &self.data
    }
}

/// Keys of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// Integers.
    Ints(Vec<i64>),
    /// Strings.
    Strings(Vec<String>),
}

impl Keys {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Keys::Ints(keys) => keys.len(),
            Keys::Strings(keys) => keys.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A map: the `i`-th key has the `i`-th element of `values`, which has one axis.
#[derive(Debug, Clone)]
pub struct Map {
    /// The keys.
    pub keys: Keys,
    /// The values.
    pub values: Value,
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Value {
        Value::Tensor(Arc::new(tensor))
    }
}

impl Value {
    /// A tensor of numbers.
    pub(super) fn numbers<T: Element>(shape: &[usize], data: &[T]) -> Result<Value> {
        Ok(Tensor::from_slice(shape, data)?.into())
    }

    /// A scalar.
    pub(super) fn scalar<T: Element>(value: T) -> Value {
        Tensor::scalar(value).into()
    }

    /// A tensor of booleans.
    pub(super) fn booleans(shape: &[usize], data: &[u8]) -> Result<Value> {
        Ok(Tensor::from_bytes(DType::Bool, shape, data)?.into())
    }

    /// A tensor of strings.
    pub(super) fn strings(shape: &[usize], data: Vec<String>) -> Result<Value> {
        Ok(Value::Strings(Arc::new(Strings::new(shape.to_vec(), data)?)))
    }

    /// The tensor; fails for anything else.
    pub fn tensor(&self) -> Result<&Tensor> {
        match self {
            Value::Tensor(tensor) => Ok(tensor),
            other => bail!(InvalidInput, "{} is where a tensor of numbers is needed", other.describe()),
        }
    }

    /// The strings; fails for anything else.
    pub fn as_strings(&self) -> Result<&Strings> {
        match self {
            Value::Strings(strings) => Ok(strings),
            other => bail!(InvalidInput, "{} is where a string tensor is needed", other.describe()),
        }
    }

    /// The shape of a tensor of whatever type; fails for anything else.
    pub fn shape(&self) -> Result<&[usize]> {
        match self {
            Value::Tensor(tensor) => Ok(tensor.shape()),
            Value::Strings(strings) => Ok(strings.shape()),
            other => bail!(InvalidInput, "{} is where a tensor is needed", other.describe()),
        }
    }

    /// What the value is, for messages.
    pub fn describe(&self) -> String {
        match self {
            Value::Tensor(tensor) => format!("a tensor ({})", tensor.view().describe()),
            Value::Strings(strings) => format!("a string tensor ({})", describe_shape(strings.shape())),
            Value::Sequence(items) => format!("a sequence of {}", items.len()),
            Value::Map(map) => format!("a map of {}", map.keys.len()),
            Value::None => "an empty optional".into(),
        }
    }

    /// Bytes that the value holds, roughly.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Value::Tensor(tensor) => tensor.bytes().len(),
            Value::Strings(strings) => strings.data.iter().map(|s| s.len() + size_of::<String>()).sum(),
            Value::Sequence(items) => items.iter().map(|v| v.bytes() + size_of::<Value>()).sum(),
            Value::Map(map) => map.values.bytes(),
            Value::None => 0,
        }
    }

    /// The same elements under another shape with as many.
    pub(super) fn reshaped(self, shape: &[usize]) -> Result<Value> {
        let unwrap = |tensor: Arc<Tensor>| Arc::try_unwrap(tensor).unwrap_or_else(|shared| (*shared).clone());
        Ok(match self {
            Value::Tensor(tensor) => unwrap(tensor).reshaped(shape)?.into(),
            Value::Strings(strings) => {
                let strings = Arc::try_unwrap(strings).unwrap_or_else(|shared| (*shared).clone());
                Value::strings(shape, strings.data)?
            }
            other => bail!(InvalidInput, "{} has no shape", other.describe()),
        })
    }

    /// The elements at these positions, as a tensor of `shape`; `None` stands for a zero or an empty string.
    pub(super) fn pick(&self, shape: &[usize], at: &mut dyn Iterator<Item = Option<usize>>) -> Result<Value> {
        let count = checked_count(shape)?;
        let missing = || Error::Internal("an element is out of range".into());
        let tensor = |tensor: &Tensor, at: &mut dyn Iterator<Item = Option<usize>>| -> Result<Tensor> {
            let size = tensor.dtype().size();
            ensure_bytes(count, size)?;
            let mut out = Tensor::zeros(tensor.dtype(), shape)?;
            let bytes = tensor.bytes();
            for (to, from) in out.bytes_mut().chunks_exact_mut(size.max(1)).zip(&mut *at) {
                if let Some(from) = from {
                    to.copy_from_slice(bytes.get(from * size..(from + 1) * size).ok_or_else(missing)?);
                }
            }
            Ok(out)
        };
        Ok(match self {
            Value::Tensor(t) => tensor(t, at)?.into(),
            Value::Strings(s) => {
                ensure_bytes(count, size_of::<String>())?;
                let (mut data, mut bytes) = (Vec::new(), 0);
                for from in at.take(count) {
                    let word = from.map_or(Ok(""), |i| s.data.get(i).map(String::as_str).ok_or_else(missing))?;
                    bytes += word.len();
                    ensure_bytes(bytes, 1)?;
                    data.push(word.to_string());
                }
                Value::strings(shape, data)?
            }
            other => bail!(InvalidInput, "{} is where a tensor is needed", other.describe()),
        })
    }
}

/// Number of elements, or an error if an output of the shape would be beyond the memory limit even at a byte per element.
pub(super) fn checked_count(shape: &[usize]) -> Result<usize> {
    let count = element_count(shape)?;
    ensure_bytes(count, 1)?;
    Ok(count)
}

fn ensure_bytes(count: usize, size: usize) -> Result<()> {
    ensure!(
        count.saturating_mul(size) <= MAX_BYTES,
        Limit,
        "a result of {count} elements is beyond {MAX_BYTES} bytes, the limit for the results of interpreted operators"
    );
    Ok(())
}

/// A weight, whose bytes may be in one of these files.
pub(super) fn of_weight(message: &pb::TensorProto, files: &WeightFiles) -> Result<Value> {
    if !is_external(message) {
        return of_message(message);
    }
    let mut message = message.clone();
    import::inline_weight(&mut message, files)?;
    of_message(&message)
}

/// A tensor of the protobuf, of any type. Types without arrays become wider ones.
pub(super) fn of_message(message: &pb::TensorProto) -> Result<Value> {
    let mut message = message.clone();
    import::hold(&mut message);
    import::check_tensor(&message, &WeightFiles::default())?;
    if message.data_type == DataType::String as i32 {
        let data = message.string_data.iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect();
        return Value::strings(&message.dims.iter().map(|&d| d as usize).collect::<Vec<_>>(), data);
    }
    Ok(import::tensor(&message)?.into())
}

/// Reads a file that holds a single ONNX tensor of any type. Types without arrays (bfloat16, float8, int4) become wider ones.
pub fn read_value(bytes: &[u8]) -> Result<Value> {
    let message = pb::TensorProto::decode(bytes)
        .map_err(|e| Error::InvalidModel(format!("the bytes are not an ONNX tensor, or it is truncated or damaged ({e})")))?;
    of_message(&message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_picked_by_position() {
        let numbers = Value::numbers(&[3], &[1i64, 2, 3]).unwrap();
        let picked = numbers.pick(&[2, 2], &mut [Some(2), None, Some(0), Some(2)].into_iter()).unwrap();
        assert_eq!(picked.tensor().unwrap().as_slice::<i64>().unwrap(), [3, 0, 1, 3]);
        let words = Value::strings(&[2], ["a".into(), "b".into()].into()).unwrap();
        let picked = words.pick(&[3], &mut [Some(1), None, Some(0)].into_iter()).unwrap();
        assert_eq!(picked.as_strings().unwrap().data(), ["b", "", "a"]);
        assert!(words.pick(&[1], &mut [Some(2)].into_iter()).is_err());
        assert!(matches!(words.pick(&[1 << 31], &mut core::iter::empty()), Err(Error::Limit(_))));
    }
}
