//! Element types, owned tensors and borrowed views. Data is little-endian, row-major, 64-byte aligned when owned.

use alloc::{format, string::String, vec, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Result, ensure};

/// Element type of a tensor, with ONNX's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum DType {
    F32,
    F64,
    F16,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    Bool,
    String,
}

impl DType {
    /// Bytes of one element; 0 for strings, which have no fixed size.
    pub fn size(self) -> usize {
        match self {
            DType::I8 | DType::U8 | DType::Bool => 1,
            DType::F16 | DType::I16 | DType::U16 => 2,
            DType::F32 | DType::I32 | DType::U32 => 4,
            DType::F64 | DType::I64 | DType::U64 => 8,
            DType::String => 0,
        }
    }

    /// The name used in the JavaScript API and by onnxruntime-web (`float32`, `int64`, …).
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "float32",
            DType::F64 => "float64",
            DType::F16 => "float16",
            DType::I8 => "int8",
            DType::U8 => "uint8",
            DType::I16 => "int16",
            DType::U16 => "uint16",
            DType::I32 => "int32",
            DType::U32 => "uint32",
            DType::I64 => "int64",
            DType::U64 => "uint64",
            DType::Bool => "bool",
            DType::String => "string",
        }
    }

    /// The inverse of [`DType::name`].
    pub fn from_name(name: &str) -> Option<DType> {
        use DType::*;
        [F32, F64, F16, I8, U8, I16, U16, I32, U32, I64, U64, Bool, String].into_iter().find(|d| d.name() == name)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A Rust type that tensors can be viewed as.
pub trait Element: bytemuck::Pod + Send + Sync {
    /// The element type that has this representation.
    const DTYPE: DType;
}
macro_rules! elements {
    ($($t:ty => $d:ident),*) => { $( impl Element for $t { const DTYPE: DType = DType::$d; } )* };
}
elements!(f32 => F32, f64 => F64, i8 => I8, u8 => U8, i16 => I16, u16 => U16, i32 => I32, u32 => U32, i64 => I64, u64 => U64);

/// Bytes whose start is aligned to 64, so that any element type and any vector can be read from them.
#[derive(Clone, Default)]
pub struct AlignedBytes {
    chunks: Vec<Chunk>,
    len: usize,
}

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Chunk([u8; 64]);

impl AlignedBytes {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        AlignedBytes { chunks: vec![Chunk([0; 64]); len.div_ceil(64)], len }
    }

    /// `len` zero bytes, or an error where there is no memory for them.
    pub fn try_zeroed(len: usize) -> Result<Self> {
        Self::try_zeroed_with_room(len, 0)
    }

    /// As [`AlignedBytes::try_zeroed`], in an allocation with room for `room` bytes more.
    pub(crate) fn try_zeroed_with_room(len: usize, room: usize) -> Result<Self> {
        let mut chunks = Vec::new();
        let count = len.div_ceil(64);
        chunks
            .try_reserve_exact(count + room.div_ceil(64))
            .map_err(|_| crate::Error::Limit(format!("there is no memory for {len} bytes; free some or use a smaller input")))?;
        chunks.resize(count, Chunk([0; 64]));
        Ok(AlignedBytes { chunks, len })
    }

    /// A copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut out = Self::zeroed(bytes.len());
        out.copy_from_slice(bytes);
        out
    }
}

impl core::ops::Deref for AlignedBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.chunks)[..self.len]
    }
}

impl core::ops::DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.chunks)[..self.len]
    }
}

impl fmt::Debug for AlignedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBytes({})", self.len)
    }
}

/// Number of elements of a shape, or an error if it does not fit in memory.
pub fn element_count(shape: &[usize]) -> Result<usize> {
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    match count {
        Some(n) if n <= isize::MAX as usize / 8 => Ok(n),
        _ => Err(crate::Error::Limit(format!("a tensor of shape {shape:?} does not fit in memory"))),
    }
}

/// An owned tensor.
#[derive(Debug, Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    data: AlignedBytes,
}

impl Tensor {
    /// A tensor of zeros.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Tensor> {
        let bytes = element_count(shape)? * dtype.size();
        Ok(Tensor { dtype, shape: shape.to_vec(), data: AlignedBytes::try_zeroed(bytes)? })
    }

    /// A tensor holding a copy of `data`; fails unless the shape's element count is `data.len()`.
    pub fn from_slice<T: Element>(shape: &[usize], data: &[T]) -> Result<Tensor> {
        Self::from_bytes(T::DTYPE, shape, bytemuck::cast_slice(data))
    }

    /// A tensor holding a copy of little-endian `bytes`; fails unless the length fits shape and type.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Tensor> {
        let expected = element_count(shape)? * dtype.size();
        ensure!(
            bytes.len() == expected,
            InvalidInput,
            "a {dtype} tensor of shape {shape:?} needs {expected} bytes, {} were given",
            bytes.len()
        );
        Ok(Tensor { dtype, shape: shape.to_vec(), data: AlignedBytes::copy_of(bytes) })
    }

    /// A zero-dimensional tensor.
    pub fn scalar<T: Element>(value: T) -> Tensor {
        Tensor { dtype: T::DTYPE, shape: Vec::new(), data: AlignedBytes::copy_of(bytemuck::bytes_of(&value)) }
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The data as little-endian bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.data
    }

    /// The data, without a copy.
    pub fn into_bytes(self) -> AlignedBytes {
        self.data
    }

    /// The data as mutable little-endian bytes.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    /// The elements; fails unless the type is `T`'s (bool may be viewed as `u8`).
    pub fn as_slice<T: Element>(&self) -> Result<&[T]> {
        self.view().as_slice()
    }

    /// The elements, mutable; fails unless the type is `T`'s (bool may be viewed as `u8`).
    pub fn as_mut_slice<T: Element>(&mut self) -> Result<&mut [T]> {
        check_element::<T>(self.dtype)?;
        Ok(bytemuck::cast_slice_mut(&mut self.data))
    }

    /// The same data under another shape with the same number of elements.
    pub fn reshaped(mut self, shape: &[usize]) -> Result<Tensor> {
        ensure!(element_count(shape)? == self.len(), InvalidInput, "cannot view {:?} as {shape:?}", self.shape);
        self.shape = shape.to_vec();
        Ok(self)
    }

    /// A borrowed view of the whole tensor.
    pub fn view(&self) -> TensorView<'_> {
        TensorView { dtype: self.dtype, shape: &self.shape, data: &self.data }
    }
}

/// A borrowed tensor.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    /// Element type.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub shape: &'a [usize],
    /// Little-endian elements.
    pub data: &'a [u8],
}

impl<'a> TensorView<'a> {
    /// A view of `data`; fails unless its length fits the shape.
    pub fn from_slice<T: Element>(shape: &'a [usize], data: &'a [T]) -> Result<Self> {
        ensure!(
            element_count(shape)? == data.len(),
            InvalidInput,
            "shape {shape:?} needs {} elements, {} were given",
            element_count(shape)?,
            data.len()
        );
        Ok(TensorView { dtype: T::DTYPE, shape, data: bytemuck::cast_slice(data) })
    }

    /// The elements; fails unless the type is `T`'s (bool may be viewed as `u8`) and the data is aligned for it.
    pub fn as_slice<T: Element>(&self) -> Result<&'a [T]> {
        check_element::<T>(self.dtype)?;
        bytemuck::try_cast_slice(self.data)
            .map_err(|e| crate::Error::InvalidInput(format!("tensor data cannot be read as {}: {e}", T::DTYPE)))
    }

    /// An owned copy.
    pub fn to_tensor(&self) -> Tensor {
        Tensor { dtype: self.dtype, shape: self.shape.to_vec(), data: AlignedBytes::copy_of(self.data) }
    }

    /// `float32 1×28×28`, for messages.
    pub fn describe(&self) -> String {
        format!("{} {}", self.dtype, describe_shape(self.shape))
    }
}

fn check_element<T: Element>(dtype: DType) -> Result<()> {
    let same = T::DTYPE == dtype || (dtype == DType::Bool && T::DTYPE == DType::U8);
    ensure!(same, InvalidInput, "a {dtype} tensor cannot be read as {}", T::DTYPE);
    Ok(())
}

/// `1×28×28`, or `scalar`.
pub fn describe_shape(shape: &[usize]) -> String {
    if shape.is_empty() {
        return "scalar".into();
    }
    let mut out = String::new();
    for (i, d) in shape.iter().enumerate() {
        if i > 0 {
            out.push('×');
        }
        out.push_str(&format!("{d}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_checked() {
        let error = Tensor::from_slice(&[2, 3], &[0f32; 5]).unwrap_err();
        assert_eq!(error.to_string(), "a float32 tensor of shape [2, 3] needs 24 bytes, 20 were given");
        assert!(element_count(&[usize::MAX, 2]).is_err());
    }

    #[test]
    fn owned_data_is_aligned() {
        let t = Tensor::from_slice(&[3], &[1i64, 2, 3]).unwrap();
        assert_eq!(t.bytes().as_ptr() as usize % 64, 0);
        assert_eq!(t.as_slice::<i64>().unwrap(), [1, 2, 3]);
        assert!(t.as_slice::<f32>().is_err());
    }
}
