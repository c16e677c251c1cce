//! Normalisations.

use alloc::{vec, vec::Vec};

use super::{
    dims::{to_first, to_last},
    lower::{Call, Lower, Lowering},
};
use crate::{
    error::{Result, bail, ensure},
    graph::{
        Dim, Op, ValueId, ValueType,
        ops::{Activation, BinaryOp, InstanceNorm, ReduceOp, Unary},
    },
    tensor::{DType, Tensor},
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    Some(match op_type {
        "BatchNormalization" => batch_norm,
        "InstanceNormalization" => instance_norm,
        "LayerNormalization" => |l, c| {
            let axis = c.node.int("axis").unwrap_or(-1);
            if c.wants(1) || c.wants(2) {
                return with_statistics(l, c, axis);
            }
            let (x, scale, bias) = (c.input(0)?, c.input(1)?, c.optional(2));
            layer_norm(l, c, x, scale, bias, axis).map(|v| vec![v])
        },
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => skip_norm,
        "SimplifiedLayerNormalization" | "RMSNormalization" => |l, c| {
            ensure!(!c.wants(1), Unsupported, "the deviation as output is not supported");
            let (x, scale) = (c.input(0)?, c.input(1)?);
            rms_norm(l, c, x, scale).map(|v| vec![v])
        },
        "LpNormalization" => lp_norm,
        "GroupNormalization" => group_norm,
        "MeanVarianceNormalization" => mean_variance,
        "LRN" => response_norm,
        _ => return None,
    })
}

/// `(x − mean) / sqrt(var + epsilon) · scale + bias` per channel, as one multiplication and one addition.
fn batch_norm(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    ensure!(!c.node.flag("training_mode", false), Unsupported, "training mode is not supported");
    ensure!((1..5).all(|i| !c.wants(i)), Unsupported, "the statistics as outputs are not supported");
    let x = c.input(0)?;
    let rank = l.rank(x);
    let epsilon = c.node.float("epsilon").unwrap_or(1e-5);
    let parameters: Vec<ValueId> = (1..5).map(|i| c.input(i)).collect::<Result<_>>()?;
    let constants: Option<Vec<Vec<f32>>> = parameters.iter().map(|&v| l.const_floats(v)).collect();
    // Before operator set 9 there may be parameters for every element of a sample.
    let each = l.shape(parameters[0]);
    let per_channel = |n: Dim| -> Vec<Dim> {
        if !c.node.flag("spatial", true) {
            return each.clone();
        }
        let mut shape = vec![Dim::fixed(1); rank.saturating_sub(1).max(1)];
        shape[0] = n;
        shape
    };
    let (factor, offset) = match constants.as_deref() {
        Some([scale, bias, mean, var]) => {
            let n = scale.len();
            ensure!([bias, mean, var].iter().all(|v| v.len() == n), InvalidModel, "has parameters of different sizes");
            let factor: Vec<f32> = scale.iter().zip(var).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
            let offset: Vec<f32> = (0..n).map(|i| bias[i] - mean[i] * factor[i]).collect();
            let shape: Vec<usize> = per_channel(Dim::fixed(n)).iter().filter_map(Dim::as_fixed).collect();
            let factor = l.graph.add_const(c.name(), &Tensor::from_slice(&shape, &factor)?);
            (factor, l.graph.add_const(c.name(), &Tensor::from_slice(&shape, &offset)?))
        }
        _ => {
            let epsilon = l.f32_scalar(c.name(), epsilon);
            let shifted = l.binary(c, BinaryOp::Add, parameters[3], epsilon);
            let deviation = l.unary(c, Unary::Sqrt, shifted);
            let factor = l.binary(c, BinaryOp::Div, parameters[0], deviation);
            let centre = l.binary(c, BinaryOp::Mul, parameters[2], factor);
            let offset = l.binary(c, BinaryOp::Sub, parameters[1], centre);
            let Some(n) = l.shape(factor).first().cloned() else { bail!(InvalidModel, "has scalar parameters") };
            (l.reshape(c.name(), factor, per_channel(n.clone())), l.reshape(c.name(), offset, per_channel(n)))
        }
    };
    let scaled = l.binary(c, BinaryOp::Mul, x, factor);
    Ok(vec![l.binary(c, BinaryOp::Add, scaled, offset)])
}

/// Each channel of each sample normalised over its spatial axes.
fn instance_norm(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, scale, bias) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let rank = l.rank(x);
    ensure!(rank >= 2 && l.rank(scale) == 1 && l.rank(bias) == 1, InvalidModel, "has operands of unfit ranks");
    let epsilon = c.node.float("epsilon").unwrap_or(1e-5);
    let per_channel = |v: ValueId| l.dtype(v) == DType::F32 && l.shape(v)[0] == l.shape(x)[1];
    if rank > 2 && l.dtype(x) == DType::F32 && per_channel(scale) && per_channel(bias) {
        let x = l.transpose(c.name(), x, &to_last(rank));
        let op = Op::InstanceNorm(InstanceNorm { epsilon, activation: Activation::None });
        let ty = ValueType::new(DType::F32, l.shape(x));
        let y = l.emit(c, op, &[x, scale, bias], ty);
        return Ok(vec![l.transpose(c.name(), y, &to_first(rank))]);
    }
    let axes: Vec<usize> = (2..rank).collect();
    let mean = reduce(l, c, ReduceOp::Mean, x, &axes);
    let centred = l.binary(c, BinaryOp::Sub, x, mean);
    let square = l.binary(c, BinaryOp::Mul, centred, centred);
    let variance = reduce(l, c, ReduceOp::Mean, square, &axes);
    let normal = normalised(l, c, centred, variance, epsilon);
    let channels = |l: &mut Lower, v: ValueId| {
        let mut shape = vec![Dim::fixed(1); rank - 1];
        shape[0] = l.shape(v)[0].clone();
        l.reshape(c.name(), v, shape)
    };
    let (scale, bias) = (channels(l, scale), channels(l, bias));
    let scaled = l.binary(c, BinaryOp::Mul, normal, scale);
    Ok(vec![l.binary(c, BinaryOp::Add, scaled, bias)])
}

fn reduce(l: &mut Lower, c: &Call, op: ReduceOp, x: ValueId, axes: &[usize]) -> ValueId {
    let mut shape = l.shape(x);
    axes.iter().for_each(|&a| shape[a] = Dim::fixed(1));
    let ty = ValueType::new(l.dtype(x), shape);
    l.emit(c, Op::Reduce { op, axes: axes.to_vec(), keep_dims: true }, &[x], ty)
}

/// `x / sqrt(variance + epsilon)`.
fn normalised(l: &mut Lower, c: &Call, x: ValueId, variance: ValueId, epsilon: f32) -> ValueId {
    let epsilon = l.f32_scalar(c.name(), epsilon);
    let shifted = l.binary(c, BinaryOp::Add, variance, epsilon);
    let deviation = l.unary(c, Unary::Sqrt, shifted);
    l.binary(c, BinaryOp::Div, x, deviation)
}

fn layer_norm(l: &mut Lower, c: &Call, x: ValueId, scale: ValueId, bias: Option<ValueId>, axis: i64) -> Result<ValueId> {
    let dtype = l.dtype(x);
    ensure!(dtype == DType::F32, Unsupported, "layer normalisation of {dtype} is not supported");
    let axis = l.axis(axis, l.rank(x))?;
    let tail = l.shape(x)[axis..].to_vec();
    let same = |v: ValueId| l.ty(v).shape == tail;
    ensure!(
        same(scale) && bias.is_none_or(same),
        Unsupported,
        "a scale or bias of another shape than the normalised axes is not supported"
    );
    let mut inputs = vec![x, scale];
    inputs.extend(bias);
    let epsilon = c.node.float("epsilon").unwrap_or(default_epsilon(c));
    let ty = ValueType::new(dtype, l.shape(x));
    Ok(l.emit(c, Op::LayerNorm { axis, epsilon, bias: bias.is_some() }, &inputs, ty))
}

/// Layer normalisation in its parts, for models that want the mean and the inverse deviation, too.
fn with_statistics(l: &mut Lower, c: &Call, axis: i64) -> Result<Vec<ValueId>> {
    let (x, rank) = (c.input(0)?, l.rank(c.input(0)?));
    ensure!(l.dtype(x) == DType::F32, Unsupported, "layer normalisation of {} is not supported", l.dtype(x));
    let axes: Vec<usize> = (l.axis(axis, rank)?..rank).collect();
    let mean = reduce(l, c, ReduceOp::Mean, x, &axes);
    let centred = l.binary(c, BinaryOp::Sub, x, mean);
    let square = l.binary(c, BinaryOp::Mul, centred, centred);
    let variance = reduce(l, c, ReduceOp::Mean, square, &axes);
    let epsilon = l.f32_scalar(c.name(), c.node.float("epsilon").unwrap_or(1e-5));
    let shifted = l.binary(c, BinaryOp::Add, variance, epsilon);
    let deviation = l.unary(c, Unary::Sqrt, shifted);
    let inverse = l.unary(c, Unary::Reciprocal, deviation);
    let normal = l.binary(c, BinaryOp::Mul, centred, inverse);
    let mut y = l.binary(c, BinaryOp::Mul, normal, c.input(1)?);
    if let Some(bias) = c.optional(2) {
        y = l.binary(c, BinaryOp::Add, y, bias);
    }
    let wanted = [(1, mean), (2, inverse)].into_iter().filter(|(i, _)| c.wants(*i)).map(|(_, v)| v);
    Ok([y].into_iter().chain(wanted).collect())
}

/// Groups of channels of each sample normalised together; scale and bias are per channel, before operator set 21 per group.
fn group_norm(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, scale, bias) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let shape = l.shape(x);
    let groups = c.node.int("num_groups").and_then(|g| usize::try_from(g).ok()).unwrap_or(0);
    ensure!(
        groups > 0 && shape.len() >= 2 && l.rank(scale) == 1 && l.rank(bias) == 1,
        InvalidModel,
        "has operands of unfit ranks"
    );
    let per_group = shape[1].clone() / Dim::fixed(groups);
    let apart = [&[shape[0].clone(), Dim::fixed(groups), per_group.clone()], &shape[2..]].concat();
    let x = l.reshape(c.name(), x, apart);
    let axes: Vec<usize> = (2..l.rank(x)).collect();
    let mean = reduce(l, c, ReduceOp::Mean, x, &axes);
    let centred = l.binary(c, BinaryOp::Sub, x, mean);
    let square = l.binary(c, BinaryOp::Mul, centred, centred);
    let variance = reduce(l, c, ReduceOp::Mean, square, &axes);
    let mut y = normalised(l, c, centred, variance, c.node.float("epsilon").unwrap_or(1e-5));
    let rank = l.rank(y);
    for (v, op) in [(scale, BinaryOp::Mul), (bias, BinaryOp::Add)] {
        let mut along = vec![Dim::fixed(1); rank - 1];
        along[0] = Dim::fixed(groups);
        if l.shape(v)[0] == shape[1] && shape[1].as_fixed() != Some(groups) {
            along[1] = per_group.clone();
        }
        let v = l.reshape(c.name(), v, along);
        y = l.binary(c, op, y, v);
    }
    Ok(vec![l.reshape(c.name(), y, shape)])
}

/// `(x − mean) / deviation` over the given axes.
fn mean_variance(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let x = c.input(0)?;
    let axes = l.axes(Some(c.node.ints("axes").unwrap_or(&[0, 2, 3])), l.rank(x))?;
    let mean = reduce(l, c, ReduceOp::Mean, x, &axes);
    let centred = l.binary(c, BinaryOp::Sub, x, mean);
    let square = l.binary(c, BinaryOp::Mul, centred, centred);
    let variance = reduce(l, c, ReduceOp::Mean, square, &axes);
    Ok(vec![normalised(l, c, centred, variance, 1e-9)])
}

/// `x / (bias + alpha/size · Σ x²)^beta`, the sum being over neighbouring channels.
fn response_norm(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let x = c.input(0)?;
    let size = c.node.int("size").and_then(|s| usize::try_from(s).ok()).unwrap_or(0);
    ensure!((1..=64).contains(&size), Unsupported, "a size of {size} is not supported");
    ensure!(l.rank(x) >= 2 && l.dtype(x) == DType::F32, Unsupported, "needs a float32 input with channels");
    let square = l.binary(c, BinaryOp::Mul, x, x);
    let mut pads = vec![(Dim::fixed(0), Dim::fixed(0)); l.rank(x)];
    pads[1] = (Dim::fixed((size - 1) / 2), Dim::fixed(size / 2));
    let shape = l.shape(x);
    let mut wide = shape.clone();
    wide[1] = wide[1].clone() + Dim::fixed(size - 1);
    let padded = l.emit(c, Op::Pad { pads, value: 0.0 }, &[square], ValueType::new(DType::F32, wide));
    let mut sum = None;
    for i in 0..size {
        let ty = ValueType::new(DType::F32, shape.clone());
        let part = l.emit(c, Op::Slice { axis: 1, start: Dim::fixed(i), step: 1 }, &[padded], ty);
        sum = Some(match sum {
            Some(sum) => l.binary(c, BinaryOp::Add, sum, part),
            None => part,
        });
    }
    let float = |name: &str, default: f32| c.node.float(name).unwrap_or(default);
    let share = l.f32_scalar(c.name(), float("alpha", 1e-4) / size as f32);
    let (bias, beta) = (l.f32_scalar(c.name(), float("bias", 1.0)), l.f32_scalar(c.name(), float("beta", 0.75)));
    let scaled = l.binary(c, BinaryOp::Mul, sum.unwrap_or(square), share);
    let base = l.binary(c, BinaryOp::Add, scaled, bias);
    let divisor = l.binary(c, BinaryOp::Pow, base, beta);
    Ok(vec![l.binary(c, BinaryOp::Div, x, divisor)])
}

/// onnxruntime's operators have another one than ONNX's.
fn default_epsilon(c: &Call) -> f32 {
    if c.node.op_type.starts_with("Skip") { 1e-12 } else { 1e-5 }
}

/// The normalised sum of input, skip and bias; the fourth output is the sum.
fn skip_norm(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    ensure!(!c.wants(1) && !c.wants(2), Unsupported, "the mean and deviation as outputs are not supported");
    let simplified = c.node.op_type == "SkipSimplifiedLayerNormalization";
    let (x, skip, scale) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let mut sum = l.binary(c, BinaryOp::Add, x, skip);
    if let Some(bias) = c.optional(if simplified { 3 } else { 4 }) {
        sum = l.binary(c, BinaryOp::Add, sum, bias);
    }
    let y = if simplified { rms_norm(l, c, sum, scale)? } else { layer_norm(l, c, sum, scale, c.optional(3), -1)? };
    Ok(if c.wants(3) { vec![y, sum] } else { vec![y] })
}

/// `x / sqrt(mean(x²) + epsilon) · scale`.
fn rms_norm(l: &mut Lower, c: &Call, x: ValueId, scale: ValueId) -> Result<ValueId> {
    let rank = l.rank(x);
    let axis = l.axis(c.node.int("axis").unwrap_or(-1), rank)?;
    let axes: Vec<usize> = (axis..rank).collect();
    let square = l.binary(c, BinaryOp::Mul, x, x);
    let mean = reduce(l, c, ReduceOp::Mean, square, &axes);
    let normal = normalised(l, c, x, mean, c.node.float("epsilon").unwrap_or(default_epsilon(c)));
    Ok(l.binary(c, BinaryOp::Mul, normal, scale))
}

fn lp_norm(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let x = c.input(0)?;
    let axis = l.axis(c.node.int("axis").unwrap_or(-1), l.rank(x))?;
    let op = if c.node.int("p") == Some(1) { ReduceOp::L1 } else { ReduceOp::L2 };
    let norm = reduce(l, c, op, x, &[axis]);
    // Zeros stay zeros.
    let (zero, one) = (l.f32_scalar(c.name(), 0.0), l.f32_scalar(c.name(), 1.0));
    let none = l.binary(c, BinaryOp::Equal, norm, zero);
    let ty = ValueType::new(DType::F32, l.shape(norm));
    let norm = l.emit(c, Op::Where, &[none, one, norm], ty);
    Ok(vec![l.binary(c, BinaryOp::Div, x, norm)])
}
