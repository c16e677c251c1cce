//! What an interpreted operator gets: its node, its arguments, a source of randomness.

use alloc::{format, string::String, vec::Vec};

use super::{random::Random, value::Value};
use crate::{
    compile::import::OnnxNode,
    error::{Error, Result, bail, ensure},
    tensor::{DType, Tensor},
};

/// An interpreted operator.
pub(super) type Builtin = fn(&mut Call<'_>) -> Result<Vec<Value>>;

/// One application of an operator.
pub(super) struct Call<'a> {
    pub node: &'a OnnxNode,
    pub args: Vec<Option<Value>>,
    pub random: &'a mut Random,
}

impl Call<'_> {
    /// How many outputs the node has, those without a name included.
    pub fn outputs(&self) -> usize {
        self.node.outputs.len()
    }

    /// An argument that may be left out.
    pub fn given(&self, i: usize) -> Option<&Value> {
        self.args.get(i).and_then(Option::as_ref)
    }

    /// An argument.
    pub fn arg(&self, i: usize) -> Result<&Value> {
        self.given(i).ok_or_else(|| Error::InvalidModel(format!("input {i} is missing")))
    }

    /// An argument, moved out.
    pub fn take(&mut self, i: usize) -> Result<Value> {
        let value = self.args.get_mut(i).and_then(Option::take);
        value.ok_or_else(|| Error::InvalidModel(format!("input {i} is missing")))
    }

    /// A tensor of numbers.
    pub fn tensor(&self, i: usize) -> Result<&Tensor> {
        self.arg(i)?.tensor()
    }

    /// The integers of a tensor.
    pub fn ints(&self, i: usize) -> Result<Vec<i64>> {
        integers(self.tensor(i)?)
    }

    /// The numbers of a tensor.
    pub fn floats(&self, i: usize) -> Result<Vec<f64>> {
        numbers(self.tensor(i)?)
    }

    /// A tensor of one integer.
    pub fn int(&self, i: usize) -> Result<i64> {
        match self.ints(i)?.as_slice() {
            [one] => Ok(*one),
            many => bail!(InvalidInput, "input {i} has {} elements, it must have one", many.len()),
        }
    }

    /// A tensor of one number.
    pub fn float(&self, i: usize) -> Result<f64> {
        match self.floats(i)?.as_slice() {
            [one] => Ok(*one),
            many => bail!(InvalidInput, "input {i} has {} elements, it must have one", many.len()),
        }
    }

    /// Integers of an argument, or of an attribute where older operator sets have them.
    pub fn ints_or_attribute(&self, i: usize, name: &str) -> Result<Option<Vec<i64>>> {
        match self.given(i) {
            Some(_) => self.ints(i).map(Some),
            None => Ok(self.node.ints(name).map(<[i64]>::to_vec)),
        }
    }

    /// Fails unless the node has this attribute.
    pub fn text(&self, name: &str) -> Result<String> {
        self.node.string(name).map(String::from).ok_or_else(|| Error::InvalidModel(format!("the attribute '{name}' is missing")))
    }
}

/// `axis` counted from the front.
pub(super) fn axis_of(axis: i64, rank: usize) -> Result<usize> {
    let from_front = if axis < 0 { axis + rank as i64 } else { axis };
    let found = usize::try_from(from_front).ok().filter(|a| *a < rank);
    found.ok_or_else(|| Error::InvalidInput(format!("axis {axis} is out of range for a tensor of rank {rank}")))
}

/// Elements of whatever number type, as `f64`.
pub(super) fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(match tensor.dtype() {
        DType::F32 => tensor.as_slice::<f32>()?.iter().map(|&v| f64::from(v)).collect(),
        DType::F64 => tensor.as_slice::<f64>()?.to_vec(),
        _ => integers(tensor)?.into_iter().map(|v| v as f64).collect(),
    })
}

/// Elements of an integer or boolean type, as `i64`; those of u64 beyond its range wrap around.
pub(super) fn integers(tensor: &Tensor) -> Result<Vec<i64>> {
    fn all<T: crate::tensor::Element>(tensor: &Tensor, one: impl Fn(T) -> i64) -> Result<Vec<i64>> {
        Ok(tensor.as_slice::<T>()?.iter().map(|&v| one(v)).collect())
    }
    match tensor.dtype() {
        DType::I64 => Ok(tensor.as_slice::<i64>()?.to_vec()),
        DType::I32 => all(tensor, |v: i32| v.into()),
        DType::I16 => all(tensor, |v: i16| v.into()),
        DType::I8 => all(tensor, |v: i8| v.into()),
        DType::U8 | DType::Bool => all(tensor, |v: u8| v.into()),
        DType::U16 => all(tensor, |v: u16| v.into()),
        DType::U32 => all(tensor, |v: u32| v.into()),
        DType::U64 => all(tensor, |v: u64| v as i64),
        other => bail!(InvalidInput, "{other} is where integers are needed"),
    }
}

/// Numbers as a tensor of whatever number type; beyond its range they saturate.
pub(super) fn of_numbers(dtype: DType, shape: &[usize], data: &[f64]) -> Result<Tensor> {
    macro_rules! cast {
        ($t:ty) => {
            Tensor::from_slice(shape, &data.iter().map(|&v| v as $t).collect::<Vec<$t>>())
        };
    }
    match dtype {
        DType::F32 => cast!(f32),
        DType::F64 => Tensor::from_slice(shape, data),
        DType::I8 => cast!(i8),
        DType::U8 => cast!(u8),
        DType::I16 => cast!(i16),
        DType::U16 => cast!(u16),
        DType::I32 => cast!(i32),
        DType::U32 => cast!(u32),
        DType::I64 => cast!(i64),
        DType::U64 => cast!(u64),
        DType::Bool => Tensor::from_bytes(DType::Bool, shape, &data.iter().map(|v| u8::from(*v != 0.0)).collect::<Vec<u8>>()),
        other => bail!(Unsupported, "results of type {other} are not supported"),
    }
}

/// Integers as a tensor of whatever integer type; beyond its range they wrap around.
pub(super) fn of_integers(dtype: DType, shape: &[usize], data: &[i64]) -> Result<Tensor> {
    let size = dtype.size();
    ensure!(
        !matches!(dtype, DType::F32 | DType::F64 | DType::F16 | DType::String),
        Unsupported,
        "{dtype} is not an integer type"
    );
    let bytes: Vec<u8> = data.iter().flat_map(|v| v.to_le_bytes().into_iter().take(size)).collect();
    Tensor::from_bytes(dtype, shape, &bytes)
}
