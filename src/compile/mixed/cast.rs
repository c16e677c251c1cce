//! Cast, CastLike, QuantizeLinear and DequantizeLinear for the types that no kernel takes: strings, narrow types, 16-bit integers, blocks.

use alloc::{sync::Arc, vec, vec::Vec};

use super::{
    call::{Call, axis_of, integers, numbers, of_integers, of_numbers},
    narrow::{Rounding, decode_all, encode, integer_range},
    text,
    value::Value,
};
use crate::{
    compile::import::{self, Narrow, PREFIX},
    error::{Result, bail, ensure},
    tensor::{DType, Tensor},
};

/// What is cast to.
enum Target {
    Plain(DType),
    Strings,
    Narrow(Narrow),
}

/// The type that an attribute names, under its own name or that of narrow types.
fn named(call: &Call<'_>, attribute: &str) -> Result<Option<Target>> {
    if let Some(code) = call.node.int(&alloc::format!("{PREFIX}{attribute}")) {
        return Ok(i32::try_from(code).ok().and_then(Narrow::of_code).map(Target::Narrow));
    }
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
        Value::Narrow(kind, _) => Target::Narrow(*kind),
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
        Value::Narrow(kind, codes) => decode_all(*kind, codes.bytes()),
        other => numbers(other.tensor()?)?,
    };
    Ok(vec![match target {
        Target::Plain(dtype) => of_numbers(dtype, shape, &data)?.into(),
        Target::Strings => match value {
            Value::Strings(_) => value.clone(),
            _ => Value::strings(shape, text::to_strings(&Tensor::from_slice(shape, &data)?)?)?,
        },
        Target::Narrow(kind) => {
            let rounding =
                Rounding { saturate: call.node.flag("saturate", true), mode: call.node.string("round_mode").unwrap_or("up") };
            codes(kind, shape, &data, rounding)?
        }
    }])
}

fn codes(kind: Narrow, shape: &[usize], data: &[f64], rounding: Rounding<'_>) -> Result<Value> {
    let codes: Vec<u8> = data.iter().map(|v| encode(kind, *v, rounding)).collect();
    Ok(Value::Narrow(kind, Arc::new(Tensor::from_bytes(kind.storage(), shape, &codes)?)))
}

fn decoded(value: &Value) -> Result<Vec<f64>> {
    match value {
        Value::Narrow(kind, codes) => Ok(decode_all(*kind, codes.bytes())),
        other => numbers(other.tensor()?),
    }
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
        Some(Value::Narrow(kind, _)) => Target::Narrow(*kind),
        Some(other) => Target::Plain(other.tensor()?.dtype()),
        None => named(call, "output_dtype")?.unwrap_or(Target::Plain(DType::U8)),
    };
    let range = integer_range(match target {
        Target::Plain(dtype) => Ok(dtype),
        Target::Narrow(kind) => Err(kind),
        Target::Strings => bail!(InvalidModel, "numbers cannot be quantized to strings"),
    });
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
    Ok(vec![match target {
        Target::Narrow(kind) => {
            codes(kind, x.shape(), &quantized, Rounding { saturate: call.node.flag("saturate", true), mode: "up" })?
        }
        Target::Plain(dtype) => of_numbers(dtype, x.shape(), &quantized)?.into(),
        Target::Strings => bail!(InvalidModel, "numbers cannot be quantized to strings"),
    }])
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
