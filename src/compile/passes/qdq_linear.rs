//! The part of quantization folding that concerns Conv and MatMul: weights, biases, and whether the sums fit in 32 bits.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use super::{
    common::dequantized,
    linear::Linear,
    qdq_fold::{Refusal, quant8, quantizer},
    rewrite::Rewrite,
};
use crate::{
    error::Result,
    graph::{Op, ValueId, ValueType, ops::Unary},
    tensor::{DType, Tensor},
};

type Outcome<T> = core::result::Result<T, Refusal>;

/// Makes the Conv or MatMul `i` compute on integers if it multiplies dequantized ones.
pub(super) fn fold(rw: &mut Rewrite, i: usize, linear: Linear) -> Result<Outcome<String>> {
    let (x, weight) = match operands(rw, &linear) {
        Ok(operands) => operands,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let target = quantizer(rw, linear.output).filter(|&t| rw.node(t).is_some_and(|n| rw.dtype(n.outputs[0]) == DType::U8));
    let Some((x_scale, x_zero)) = quant8(rw, x) else { return Ok(Err(None)) };
    let bias = match linear.bias.map(|v| integer_bias(rw, &linear, v, weight, x_scale)).transpose() {
        Ok(bias) => bias,
        Err(reason) => return Ok(Err(Some(reason))),
    };
    if !sums_fit(rw, &linear, weight, x_zero, bias.as_deref()) {
        return Ok(Err(Some("its sums may exceed 32 bits".to_string())));
    }
    let weight = signed(rw, i, weight);
    let bias = match (bias, linear.bias) {
        (Some(values), Some(v)) => {
            let tensor = Tensor::from_slice(&[values.len()], &values)?;
            let name = String::from(rw.name(v));
            Some(rw.add_values(|g| g.add_const(name, &tensor)))
        }
        _ => None,
    };
    let what = match (matches!(linear.op, Op::Conv(_)), target.is_some()) {
        (true, true) => "folded Dequantize of its operands and Quantize of its result into an int8 convolution",
        (true, false) => "folded Dequantize of its operands into an int8 convolution that gives float32",
        (false, true) => "folded Dequantize of its operands and Quantize of its result into an int8 matrix product",
        (false, false) => "folded Dequantize of its operands into an int8 matrix product that gives float32",
    };
    Linear { x, weight, bias, ..linear }.store(rw, i);
    if let Some(target) = target {
        rw.take_output(i, target);
    }
    Ok(Ok(what.into()))
}

/// The quantized values behind input and weight.
fn operands(rw: &Rewrite, linear: &Linear) -> Outcome<(ValueId, ValueId)> {
    if !linear.gives_f32(rw) || rw.dtype(linear.x) != DType::F32 || linear.dynamic.is_some() {
        return Err(None);
    }
    let (x, weight) = match (dequantized(rw, linear.x), dequantized(rw, linear.weight)) {
        (Some(x), Some(weight)) => (x, weight),
        (None, None) => return Err(None),
        (Some(_), None) => return Err(Some(format!("its weight '{}' is float32", rw.name(linear.weight)))),
        (None, Some(_)) => return Err(Some(format!("its input '{}' is float32", rw.name(linear.x)))),
    };
    if rw.dtype(x) != DType::U8 || quant8(rw, x).is_none() {
        return Err(Some(format!("its input '{}' is not quantized to 8 bits per tensor", rw.name(x))));
    }
    let quant = rw.quant(weight).ok_or(None)?;
    if rw.is_const(weight) {
        if rw.dtype(weight) != DType::I8 {
            return Err(Some(format!("its weight '{}' is {}", rw.name(weight), rw.dtype(weight))));
        }
        if quant.axis.is_some_and(|a| a != linear.channel_axis) {
            return Err(Some(format!("its weight '{}' is not quantized per output channel", rw.name(weight))));
        }
    } else if matches!(linear.op, Op::Conv(_)) || quant8(rw, weight).is_none() {
        return Err(Some(format!("its weight '{}' is computed at run time", rw.name(weight))));
    }
    Ok((x, weight))
}

/// The bias in units of x's scale · weight's scale.
fn integer_bias(
    rw: &Rewrite,
    linear: &Linear,
    bias: ValueId,
    weight: ValueId,
    x_scale: f32,
) -> core::result::Result<Vec<i32>, String> {
    let scales = rw.quant(weight).map(|q| q.scale.clone()).unwrap_or_default();
    let unit = |c: usize| f64::from(x_scale) * f64::from(scales[c % scales.len()]);
    let computed = || format!("its bias '{}' is computed at run time", rw.name(bias));
    let stored = dequantized(rw, bias);
    let source = stored.unwrap_or(bias);
    let tensor = rw.graph().const_tensor(source).ok_or_else(computed)?;
    let reals: Vec<f64> = match (tensor.dtype(), stored.and_then(|v| rw.quant(v))) {
        (DType::F32, None) => floats(&tensor),
        (DType::I32, Some(q)) => {
            let integers = tensor.as_slice::<i32>().map_err(|e| e.to_string())?;
            let same_units = q.zero_point.iter().all(|z| *z == 0)
                && (0..integers.len()).all(|c| (f64::from(q.scale[c % q.scale.len()]) / unit(c) - 1.0).abs() < 1e-5);
            if same_units {
                return Ok(integers.to_vec());
            }
            let real = |(c, v): (usize, &i32)| {
                let n = q.scale.len();
                (f64::from(*v) - f64::from(q.zero_point[c % n])) * f64::from(q.scale[c % n])
            };
            integers.iter().enumerate().map(real).collect()
        }
        (dtype, _) => return Err(format!("its bias '{}' is {dtype}", rw.name(bias))),
    };
    if linear.channels != Some(reals.len()) {
        return Err(format!("its bias '{}' has {} elements", rw.name(bias), reals.len()));
    }
    let rounded = reals.iter().enumerate().map(|(c, r)| {
        let q = (r / unit(c)).round_ties_even();
        (q.abs() <= f64::from(i32::MAX)).then_some(q as i32)
    });
    rounded.collect::<Option<_>>().ok_or_else(|| format!("its bias '{}' does not fit in 32 bits", rw.name(bias)))
}

fn floats(tensor: &Tensor) -> Vec<f64> {
    tensor.as_slice::<f32>().map(|s| s.iter().map(|v| f64::from(*v)).collect()).unwrap_or_default()
}

/// Whether no accumulator can leave the range of i32, whatever the input.
fn sums_fit(rw: &Rewrite, linear: &Linear, weight: ValueId, x_zero: i32, bias: Option<&[i32]>) -> bool {
    let largest_x = i64::from(x_zero.max(255 - x_zero));
    let largest_bias = |c: usize| bias.map_or(0, |b| i64::from(b[c % b.len()]).abs());
    let (Some(tensor), Some(quant)) = (rw.graph().const_tensor(weight), rw.quant(weight)) else {
        let depth = rw.ty(linear.x).shape.last().and_then(|d| d.as_fixed());
        return depth.is_some_and(|k| k as i64 * largest_x * 255 + largest_bias(0) <= i64::from(i32::MAX));
    };
    let shape = tensor.shape();
    let (channels, inner) = (shape[linear.channel_axis], shape[linear.channel_axis + 1..].iter().product::<usize>());
    let Ok(weights) = tensor.as_slice::<i8>() else { return false };
    let mut sums = vec![0i64; channels];
    for (k, w) in weights.iter().enumerate() {
        let c = (k / inner.max(1)) % channels.max(1);
        sums[c] += (i64::from(*w) - i64::from(quant.zero_point[c % quant.zero_point.len()])).abs();
    }
    sums.iter().enumerate().all(|(c, s)| s * largest_x + largest_bias(c) <= i64::from(i32::MAX))
}

/// A weight that is computed at run time, in the form of one that is not.
fn signed(rw: &mut Rewrite, i: usize, weight: ValueId) -> ValueId {
    let ty = rw.ty(weight).clone();
    if ty.dtype == DType::I8 {
        return weight;
    }
    let Some(mut quant) = ty.quant else { return weight };
    quant.zero_point.iter_mut().for_each(|z| *z -= 128);
    let name = String::from(rw.name(weight));
    let signed = ValueType { dtype: DType::I8, shape: ty.shape, quant: Some(quant) };
    rw.insert(i, &name, Op::Unary(Unary::Identity), &[weight], signed)
}
