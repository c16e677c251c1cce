//! Cast, CastLike, QuantizeLinear and DequantizeLinear for what no kernel takes: strings, 16-bit integers, blocks.

use alloc::{vec, vec::Vec};

use super::{
    call::{Call, axis_of, integers, numbers, of_integers, of_numbers},
    text,
    value::Value,
};
use crate::{
    compile::import,
    error::{Result, bail, ensure},
    tensor::{DType, Tensor},
};

/// What is cast to.
enum Target {
    Plain(DType),
    Strings,
}

/// The type that an attribute names.
fn named(call: &Call<'_>, attribute: &str) -> Result<Option<Target>> {
    let Some(code) = call.node.int(attribute).filter(|c| *c != 0) else { return Ok(None) };
    Ok(Some(match import::supported(i32::try_from(code).unwrap_or(0))? {
        DType::String => Target::Strings,
        dtype => Target::Plain(dtype),
    }))
}

pub(super) fn cast(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let Some(target) = named(call, "to")? else { bail!(InvalidModel, "the attribute 'to' is missing") };
    convert(call, target)
}

pub(super) fn cast_like(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let target = match call.arg(1)? {
        Value::Strings(_) => Target::Strings,
        other => Target::Plain(other.tensor()?.dtype()),
    };
    convert(call, target)
}

fn convert(call: &Call<'_>, target: Target) -> Result<Vec<Value>> {
    let value = call.arg(0)?;
    let shape = value.shape()?;
    if let (Value::Tensor(tensor), Target::Plain(to)) = (value, &target)
        && !matches!(tensor.dtype(), DType::F32 | DType::F64)
        && !matches!(to, DType::F32 | DType::F64 | DType::Bool)
    {
        return Ok(vec![of_integers(*to, shape, &integers(tensor)?)?.into()]);
    }
    if let (Value::Tensor(tensor), Target::Strings) = (value, &target) {
        return Ok(vec![Value::strings(shape, text::to_strings(tensor)?)?]);
    }
    let data = match value {
        Value::Strings(strings) => text::to_numbers(strings.data())?,
        other => numbers(other.tensor()?)?,
    };
    Ok(vec![match target {
        Target::Plain(dtype) => of_numbers(dtype, shape, &data)?.into(),
        Target::Strings => match value {
            Value::Strings(_) => value.clone(),
            _ => Value::strings(shape, text::to_strings(&Tensor::from_slice(shape, &data)?)?)?,
        },
    }])
}

fn decoded(value: &Value) -> Result<Vec<f64>> {
    numbers(value.tensor()?)
}

/// The least and the largest number of an integer type.
fn integer_range(dtype: DType) -> Option<(f64, f64)> {
    Some(match dtype {
        DType::I8 => (-128.0, 127.0),
        DType::U8 => (0.0, 255.0),
        DType::I16 => (-32768.0, 32767.0),
        DType::U16 => (0.0, 65535.0),
        DType::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
        _ => return None,
    })
}

/// For each element of `shape`, its place in a tensor of scales: one for all, one per entry of an axis, or one per block of an axis.
fn places(call: &Call<'_>, shape: &[usize], scale: &[usize]) -> Result<Vec<usize>> {
    let count: usize = shape.iter().product();
    let scales: usize = scale.iter().product();
    if scale.len() < shape.len() && scales == 1 {
        return Ok(vec![0; count]);
    }
    if shape.is_empty() {
        ensure!(scales == 1, InvalidInput, "there are {scales} scales for a scalar");
        return Ok(vec![0]);
    }
    let axis = axis_of(call.node.int("axis").unwrap_or(1), shape.len())?;
    let inner: usize = shape[axis + 1..].iter().product();
    let block = match usize::try_from(call.node.int("block_size").unwrap_or(0)).unwrap_or(0) {
        0 => {
            ensure!(scale == [shape[axis]], InvalidInput, "scales of shape {scale:?} do not fit axis {axis} of {shape:?}");
            return Ok((0..count).map(|i| i / inner % shape[axis]).collect());
        }
        block => block,
    };
    let blocks = shape[axis].div_ceil(block);
    let fits =
        scale.len() == shape.len() && scale.iter().enumerate().all(|(i, d)| *d == if i == axis { blocks } else { shape[i] });
    ensure!(fits, InvalidInput, "scales of shape {scale:?} do not fit blocks of {block} along axis {axis} of {shape:?}");
    Ok((0..count).map(|i| (i / inner / shape[axis] * blocks + i / inner % shape[axis] / block) * inner + i % inner).collect())
}

pub(super) fn quantize(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let (data, scales) = (numbers(x)?, decoded(call.arg(1)?)?);
    let places = places(call, x.shape(), call.arg(1)?.shape()?)?;
    let zeros = call.given(2).map(decoded).transpose()?;
    ensure!(
        zeros.as_ref().is_none_or(|z| z.len() == scales.len()),
        InvalidInput,
        "there are {} scales and another number of zero points",
        scales.len()
    );
    let target = match call.given(2) {
        Some(other) => Target::Plain(other.tensor()?.dtype()),
        None => named(call, "output_dtype")?.unwrap_or(Target::Plain(DType::U8)),
    };
    let Target::Plain(dtype) = target else { bail!(InvalidModel, "numbers cannot be quantized to strings") };
    let range = integer_range(dtype);
    let at = |list: &[f64], i: usize| list.get(places[i]).copied().unwrap_or(0.0);
    let quantized = data.iter().enumerate().map(|(i, v)| {
        // In f32, as every runtime divides.
        let v = f64::from(*v as f32 / at(&scales, i) as f32);
        let zero = zeros.as_ref().map_or(0.0, |z| at(z, i));
        match range {
            Some((least, most)) => (v.round_ties_even() + zero).clamp(least, most),
            None => v + zero,
        }
    });
    let quantized: Vec<f64> = quantized.collect();
    Ok(vec![of_numbers(dtype, x.shape(), &quantized)?.into()])
}

pub(super) fn dequantize(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = call.arg(0)?;
    let (shape, data, scales) = (x.shape()?, decoded(x)?, decoded(call.arg(1)?)?);
    let places = places(call, shape, call.arg(1)?.shape()?)?;
    let zeros = call.given(2).map(decoded).transpose()?.unwrap_or_else(|| vec![0.0; scales.len()]);
    ensure!(zeros.len() == scales.len(), InvalidInput, "there are {} scales and {} zero points", scales.len(), zeros.len());
    let out: Vec<f32> = data.iter().zip(&places).map(|(v, p)| ((v - zeros[*p]) as f32) * (scales[*p] as f32)).collect();
    Ok(vec![Value::numbers(shape, &out)?])
}
