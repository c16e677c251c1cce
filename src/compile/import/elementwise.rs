//! Functions applied to each element.

use alloc::{vec, vec::Vec};

use super::{
    dims::broadcast_shapes,
    lower::{Call, Lower, Lowering},
};
use crate::{
    error::{Result, bail, ensure},
    graph::{
        Dim, Op, ValueId, ValueType,
        ops::{Activation, Binary, BinaryOp, Unary},
    },
    tensor::{DType, Tensor},
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    Some(match op_type {
        "Add" => |l, c| arithmetic(l, c, BinaryOp::Add),
        "Sub" => |l, c| arithmetic(l, c, BinaryOp::Sub),
        "Mul" => |l, c| arithmetic(l, c, BinaryOp::Mul),
        "Div" => |l, c| arithmetic(l, c, BinaryOp::Div),
        "Pow" => |l, c| arithmetic(l, c, BinaryOp::Pow),
        "PRelu" => prelu,
        "Mod" => |l, c| arithmetic(l, c, if c.node.flag("fmod", false) { BinaryOp::Rem } else { BinaryOp::Mod }),
        "And" => |l, c| arithmetic(l, c, BinaryOp::And),
        "Or" => |l, c| arithmetic(l, c, BinaryOp::Or),
        "Xor" => |l, c| arithmetic(l, c, BinaryOp::Xor),
        "Equal" => |l, c| arithmetic(l, c, BinaryOp::Equal),
        "Less" => |l, c| arithmetic(l, c, BinaryOp::Less),
        "LessOrEqual" => |l, c| arithmetic(l, c, BinaryOp::LessOrEqual),
        "Greater" => |l, c| arithmetic(l, c, BinaryOp::Greater),
        "GreaterOrEqual" => |l, c| arithmetic(l, c, BinaryOp::GreaterOrEqual),
        "Sum" => |l, c| variadic(l, c, BinaryOp::Add),
        "Max" => |l, c| variadic(l, c, BinaryOp::Max),
        "Min" => |l, c| variadic(l, c, BinaryOp::Min),
        "Mean" => mean,
        "Where" => select,
        "Cast" | "CastLike" => |l, c| {
            let (x, ty) = (c.input(0)?, c.out()?);
            ensure!(
                l.dtype(x) != DType::String && ty.dtype != DType::String,
                Unsupported,
                "conversion from and to strings is not supported"
            );
            Ok(vec![l.cast(c, x, ty.dtype)])
        },
        "Clip" => clip,
        "Relu" => |l, c| {
            let (x, dtype) = (c.input(0)?, c.out()?.dtype);
            if dtype == DType::F32 {
                return Ok(vec![l.unary(c, RELU, x)]);
            }
            let zero = l.scalar_of(c.name(), dtype, 0.0)?;
            Ok(vec![l.binary(c, BinaryOp::Max, x, zero)])
        },
        "BiasGelu" => |l, c| gelu(l, c, Unary::Gelu),
        "FastGelu" => |l, c| gelu(l, c, Unary::GeluTanh),
        "BiasAdd" => |l, c| {
            let (x, bias, skip) = (c.input(0)?, c.input(1)?, c.input(2)?);
            let x = l.binary(c, BinaryOp::Add, x, bias);
            Ok(vec![l.binary(c, BinaryOp::Add, x, skip)])
        },
        "BiasSplitGelu" => bias_split_gelu,
        "ImageScaler" => image_scaler,
        "QuickGelu" => |l, c| {
            let alpha = c.node.float("alpha").unwrap_or(1.702);
            swish(l, c, alpha)
        },
        "Swish" => |l, c| {
            let alpha = c.node.float("alpha").unwrap_or(1.0);
            swish(l, c, alpha)
        },
        "SwiGLU" => |l, c| {
            let gate = swish(l, c, c.node.float("alpha").unwrap_or(1.0))?[0];
            Ok(vec![l.binary(c, BinaryOp::Mul, gate, c.input(1)?)])
        },
        "Celu" => |l, c| {
            // max(0, x) + min(0, α·(exp(x/α) − 1)), which is α·elu(x/α) of slope 1.
            let (x, alpha) = (c.input(0)?, c.node.float("alpha").unwrap_or(1.0));
            ensure!(
                alpha.is_finite() && alpha.is_sign_positive() && alpha != 0.0,
                Unsupported,
                "alpha = {alpha} is not supported"
            );
            let alpha = l.f32_scalar(c.name(), alpha);
            let scaled = l.binary(c, BinaryOp::Div, x, alpha);
            let y = l.unary(c, Unary::Elu { alpha: 1.0 }, scaled);
            Ok(vec![l.binary(c, BinaryOp::Mul, y, alpha)])
        },
        "Shrink" => shrink,
        "ThresholdedRelu" => |l, c| {
            let x = c.input(0)?;
            let threshold = l.f32_scalar(c.name(), c.node.float("alpha").unwrap_or(1.0));
            let zero = l.f32_scalar(c.name(), 0.0);
            let above = l.binary(c, BinaryOp::Greater, x, threshold);
            let ty = c.out()?;
            Ok(vec![l.emit(c, Op::Where, &[above, x, zero], ty)])
        },
        "Rsqrt" => |l, c| {
            let x = c.input(0)?;
            let root = l.unary(c, Unary::Sqrt, x);
            Ok(vec![l.unary(c, Unary::Reciprocal, root)])
        },
        "Identity" => |_, c| Ok(vec![c.input(0)?]),
        "Dropout" => dropout,
        "Neg" | "Abs" | "Sign" | "Exp" | "Log" | "Sqrt" | "Reciprocal" | "Floor" | "Ceil" | "Round" | "Sin" | "Cos" | "Tan"
        | "Asin" | "Acos" | "Atan" | "Sinh" | "Cosh" | "Asinh" | "Acosh" | "Atanh" | "Tanh" | "Sigmoid" | "Erf" | "Gelu"
        | "HardSwish" | "HardSigmoid" | "LeakyRelu" | "Elu" | "Selu" | "Softplus" | "Softsign" | "Mish" | "Not" | "IsNaN"
        | "IsInf" => |l, c| {
            let op = unary(c)?;
            let x = c.input(0)?;
            let sign = |name: &str| c.node.flag(name, true);
            match (op, sign("detect_negative"), sign("detect_positive")) {
                (Unary::IsInf, false, true) => one_infinity(l, c, x, f32::INFINITY),
                (Unary::IsInf, true, false) => one_infinity(l, c, x, f32::NEG_INFINITY),
                (Unary::IsInf, false, false) => bail!(Unsupported, "no infinity is asked for"),
                _ => Ok(vec![l.unary(c, op, x)]),
            }
        },
        _ => return None,
    })
}

pub(super) const RELU: Unary = Unary::Clamp { lo: 0.0, hi: f32::INFINITY };

fn unary(c: &Call) -> Result<Unary> {
    let float = |name: &str, default: f32| c.node.float(name).unwrap_or(default);
    Ok(match c.node.op_type.as_str() {
        "Neg" => Unary::Neg,
        "Abs" => Unary::Abs,
        "Sign" => Unary::Sign,
        "Exp" => Unary::Exp,
        "Log" => Unary::Log,
        "Sqrt" => Unary::Sqrt,
        "Reciprocal" => Unary::Reciprocal,
        "Floor" => Unary::Floor,
        "Ceil" => Unary::Ceil,
        "Round" => Unary::Round,
        "Sin" => Unary::Sin,
        "Cos" => Unary::Cos,
        "Tan" => Unary::Tan,
        "Asin" => Unary::Asin,
        "Acos" => Unary::Acos,
        "Atan" => Unary::Atan,
        "Sinh" => Unary::Sinh,
        "Cosh" => Unary::Cosh,
        "Asinh" => Unary::Asinh,
        "Acosh" => Unary::Acosh,
        "Atanh" => Unary::Atanh,
        "Tanh" => Unary::Tanh,
        "Sigmoid" => Unary::Sigmoid,
        "Erf" => Unary::Erf,
        "Gelu" if c.node.string("approximate") == Some("tanh") => Unary::GeluTanh,
        "Gelu" => Unary::Gelu,
        "HardSwish" => Unary::HardSwish,
        "HardSigmoid" => Unary::HardSigmoid { alpha: float("alpha", 0.2), beta: float("beta", 0.5) },
        "LeakyRelu" => Unary::LeakyRelu { alpha: float("alpha", 0.01) },
        "Elu" => Unary::Elu { alpha: float("alpha", 1.0) },
        "Selu" => Unary::Selu { alpha: float("alpha", 1.673_263_2), gamma: float("gamma", 1.050_701) },
        "Softplus" => Unary::Softplus,
        "Softsign" => Unary::Softsign,
        "Mish" => Unary::Mish,
        "Not" => Unary::Not,
        "IsNaN" => Unary::IsNan,
        "IsInf" => Unary::IsInf,
        other => bail!(Internal, "{other} is not a function of one number"),
    })
}

fn arithmetic(l: &mut Lower, c: &Call, op: BinaryOp) -> Result<Vec<ValueId>> {
    let (a, mut b) = operands(l, c)?;
    // Only Pow may have operands of two types; dimensions and i64 are one type already.
    if l.dtype(a) != l.dtype(b) {
        let dtype = l.dtype(a);
        b = l.cast(c, b, dtype);
    }
    Ok(vec![integers(l, c, op, a, b)])
}

/// Small integers are computed as larger ones, which have kernels; casting back wraps, as their own arithmetic does.
fn integers(l: &mut Lower, c: &Call, op: BinaryOp, a: ValueId, b: ValueId) -> ValueId {
    let dtype = l.dtype(a);
    let wide = match dtype {
        DType::I8 | DType::U8 | DType::I16 | DType::U16 => DType::I32,
        DType::U32 => DType::I64,
        DType::U64 => return unsigned64(l, c, op, a, b),
        _ => return l.binary(c, op, a, b),
    };
    let (a, b) = (l.cast(c, a, wide), l.cast(c, b, wide));
    let y = l.binary(c, op, a, b);
    if op.is_predicate() { y } else { l.cast(c, y, dtype) }
}

/// The arithmetic of uint64 in int64, which has the same bits: sums and products are the same, order is once the top bit is flipped.
fn unsigned64(l: &mut Lower, c: &Call, op: BinaryOp, a: ValueId, b: ValueId) -> ValueId {
    let [a, b] = [a, b].map(|v| l.cast(c, v, DType::I64));
    let constant = |l: &mut Lower, v: i64| l.graph.add_const(c.name(), &Tensor::scalar(v));
    let choose = |l: &mut Lower, condition: ValueId, a: ValueId, b: ValueId| {
        let (yes, no) = (l.shape(a), l.shape(b));
        let shape = broadcast_shapes(&broadcast_shapes(&yes, &no), &l.shape(condition));
        l.emit(c, Op::Where, &[condition, a, b], ValueType::new(DType::I64, shape))
    };
    let top = constant(l, i64::MIN);
    let order = |l: &mut Lower, op: BinaryOp, a: ValueId, b: ValueId| {
        let [a, b] = [a, b].map(|v| l.binary(c, BinaryOp::BitXor, v, top));
        l.binary(c, op, a, b)
    };
    let y = match op {
        _ if op.is_predicate() => return order(l, op, a, b),
        BinaryOp::Min | BinaryOp::Max => {
            let y = order(l, op, a, b);
            l.binary(c, BinaryOp::BitXor, y, top)
        }
        BinaryOp::Div | BinaryOp::Mod | BinaryOp::Rem => {
            // Half of a, divided and doubled, is the quotient or one less. A divisor with its top bit set goes in at most once.
            let (one, rest, zero) = (constant(l, 1), constant(l, i64::MAX), constant(l, 0));
            let half = l.binary(c, BinaryOp::ShiftRight, a, one);
            let half = l.binary(c, BinaryOp::BitAnd, half, rest);
            let part = l.binary(c, BinaryOp::Div, half, b);
            let large = l.binary(c, BinaryOp::Less, b, zero);
            let double = l.binary(c, BinaryOp::ShiftLeft, part, one);
            let quotient = choose(l, large, zero, double);
            let product = l.binary(c, BinaryOp::Mul, quotient, b);
            let left = l.binary(c, BinaryOp::Sub, a, product);
            let again = order(l, BinaryOp::GreaterOrEqual, left, b);
            let step = if op == BinaryOp::Div { one } else { b };
            let more = choose(l, again, step, zero);
            match op {
                BinaryOp::Div => l.binary(c, BinaryOp::Add, quotient, more),
                _ => l.binary(c, BinaryOp::Sub, left, more),
            }
        }
        op => l.binary(c, op, a, b),
    };
    l.cast(c, y, DType::U64)
}

fn operands(l: &mut Lower, c: &Call) -> Result<(ValueId, ValueId)> {
    let (a, b) = legacy_broadcast(l, c)?;
    Ok((l.raw(a), l.raw(b)))
}

/// Before operator set 7, `axis` says where the second operand's axes go.
fn legacy_broadcast(l: &mut Lower, c: &Call) -> Result<(ValueId, ValueId)> {
    let (a, b) = (c.input(0)?, c.input(1)?);
    let Some(axis) = c.node.int("axis").filter(|_| c.node.opset < 7) else { return Ok((a, b)) };
    let rank = l.rank(a);
    let axis = l.axis(axis, rank)?;
    let mut shape = l.shape(b);
    let trailing = rank.saturating_sub(axis + shape.len());
    shape.extend((0..trailing).map(|_| Dim::fixed(1)));
    let b = l.reshape(c.name(), b, shape);
    Ok((a, b))
}

fn variadic(l: &mut Lower, c: &Call, op: BinaryOp) -> Result<Vec<ValueId>> {
    let mut values = c.inputs.iter().copied();
    let Some(mut sum) = values.next() else { bail!(InvalidModel, "has no inputs") };
    for v in values {
        sum = integers(l, c, op, sum, v);
    }
    Ok(vec![sum])
}

fn mean(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let sum = variadic(l, c, BinaryOp::Add)?[0];
    let share = l.f32_scalar(c.name(), 1.0 / c.inputs.len() as f32);
    Ok(vec![l.binary(c, BinaryOp::Mul, sum, share)])
}

fn select(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (cond, a, b) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let (a, b) = (l.raw(a), l.raw(b));
    let ty = c.out()?;
    Ok(vec![l.emit(c, Op::Where, &[cond, a, b], ty)])
}

fn one_infinity(l: &mut Lower, c: &Call, x: ValueId, infinity: f32) -> Result<Vec<ValueId>> {
    let infinity = l.scalar_of(c.name(), l.dtype(x), f64::from(infinity))?;
    Ok(vec![l.binary(c, BinaryOp::Equal, x, infinity)])
}

/// `x + bias` below −lambd, `x − bias` above lambd, else 0.
fn shrink(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, ty) = (c.input(0)?, c.out()?);
    let (bias, lambd) = (c.node.float("bias").unwrap_or(0.0), c.node.float("lambd").unwrap_or(0.5));
    let mut scalar = |v: f32| l.scalar_of(c.name(), ty.dtype, f64::from(v));
    let (bias, low, high, zero) = (scalar(bias)?, scalar(-lambd)?, scalar(lambd)?, scalar(0.0)?);
    let (below, above) = (l.binary(c, BinaryOp::Less, x, low), l.binary(c, BinaryOp::Greater, x, high));
    let (raised, lowered) = (l.binary(c, BinaryOp::Add, x, bias), l.binary(c, BinaryOp::Sub, x, bias));
    let upper = l.emit(c, Op::Where, &[above, lowered, zero], ty.clone());
    Ok(vec![l.emit(c, Op::Where, &[below, raised, upper], ty)])
}

/// Nothing is dropped; the mask, if it is wanted, says so.
fn dropout(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let x = c.input(0)?;
    let training =
        c.optional(2).map(|v| l.const_ints(v).or(l.graph.const_tensor(v).map(|t| t.bytes().iter().map(|&b| b.into()).collect())));
    let ratio = c.optional(1).map_or(Some(0.5), |v| l.const_scalar(v));
    let active = training.is_some_and(|t| t.is_none_or(|t| t.iter().any(|v| *v != 0))) && ratio != Some(0.0);
    ensure!(!active, Unsupported, "dropout in training mode is not supported");
    if !c.wants(1) {
        return Ok(vec![x]);
    }
    let Some(mask) = c.outputs.get(1).cloned() else { bail!(InvalidModel, "has no mask") };
    let one = l.graph.add_const(c.name(), &Tensor::from_bytes(DType::Bool, &[], &[1])?);
    let one = l.cast(c, one, mask.dtype);
    Ok(vec![x, l.emit(c, Op::Expand, &[one], mask)])
}

/// `max(x, 0) + slope · min(x, 0)`.
fn prelu(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, slope) = (c.input(0)?, c.input(1)?);
    if let Some(alpha) = l.const_scalar(slope) {
        return Ok(vec![l.unary(c, Unary::LeakyRelu { alpha }, x)]);
    }
    // Before operator set 7 a list of slopes was one per channel.
    let (rank, count) = (l.rank(x), l.shape(slope));
    let slope = if c.node.opset < 7 && rank > 2 && count.len() == 1 && count[0] == l.shape(x)[1] {
        let mut shape = vec![Dim::fixed(1); rank - 1];
        shape[0] = count[0].clone();
        l.reshape(c.name(), slope, shape)
    } else {
        slope
    };
    let positive = l.unary(c, RELU, x);
    let negative = l.unary(c, Unary::Clamp { lo: f32::NEG_INFINITY, hi: 0.0 }, x);
    // A slope per channel is unidirectionally broadcast, from the right.
    let scaled = l.binary(c, BinaryOp::Mul, negative, slope);
    Ok(vec![l.binary(c, BinaryOp::Add, positive, scaled)])
}

fn clip(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, dtype) = (c.input(0)?, c.out()?.dtype);
    let x = l.raw(x);
    let bound = |l: &Lower, i: usize, name: &str, default: f32| match c.optional(i) {
        Some(v) => l.const_scalar(v),
        None => Some(c.node.float(name).unwrap_or(default)),
    };
    let lo = bound(l, 1, "min", f32::NEG_INFINITY);
    let hi = bound(l, 2, "max", f32::INFINITY);
    if dtype == DType::F32
        && let (Some(lo), Some(hi)) = (lo, hi)
    {
        return Ok(vec![l.unary(c, Unary::Clamp { lo, hi }, x)]);
    }
    let mut y = x;
    for (i, name, op) in [(1, "min", BinaryOp::Max), (2, "max", BinaryOp::Min)] {
        let bound = match (c.optional(i), c.node.float(name)) {
            (None, Some(bound)) => Some(l.scalar_of(c.name(), dtype, f64::from(bound))?),
            (bound, _) => bound,
        };
        if let Some(v) = bound {
            y = integers(l, c, op, y, v);
        }
    }
    Ok(vec![y])
}

fn gelu(l: &mut Lower, c: &Call, op: Unary) -> Result<Vec<ValueId>> {
    let mut x = c.input(0)?;
    if let Some(bias) = c.optional(1) {
        let bias = repeated(l, c, bias)?;
        x = l.binary(c, BinaryOp::Add, x, bias);
    }
    Ok(vec![l.unary(c, op, x)])
}

/// A bias whose length is not that of the last axis goes on where it ended, from one row to the next.
fn repeated(l: &mut Lower, c: &Call, bias: ValueId) -> Result<ValueId> {
    let ty = c.out()?;
    let (Some(sizes), Some(&[n])) = (ty.fixed_shape(), l.ty(bias).fixed_shape().as_deref()) else { return Ok(bias) };
    let count = sizes.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|count| *count <= 1 << 24);
    let (Some(count), true) = (count, n > 1 && sizes.last() != Some(&n)) else { return Ok(bias) };
    let places: Vec<i64> = (0..count).map(|i| (i % n) as i64).collect();
    let places = l.graph.add_const(c.name(), &Tensor::from_slice(&sizes, &places)?);
    Ok(l.emit(c, Op::Gather { axis: 0 }, &[bias, places], ty))
}

/// The first half of `x + bias`, along the last axis, times the Gelu of the second.
fn bias_split_gelu(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, ty) = (c.input(0)?, c.out()?);
    let x = l.binary(c, BinaryOp::Add, x, c.input(1)?);
    let Some(half) = ty.shape.last().cloned() else { bail!(InvalidModel, "has a scalar input") };
    let axis = ty.shape.len() - 1;
    let part = |l: &mut Lower, start: Dim| l.emit(c, Op::Slice { axis, start, step: 1 }, &[x], ty.clone());
    let (left, right) = (part(l, Dim::fixed(0)), part(l, half));
    let gate = l.unary(c, Unary::Gelu, right);
    Ok(vec![l.binary(c, BinaryOp::Mul, left, gate)])
}

/// `x · scale + bias` with a bias per channel.
fn image_scaler(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, bias) = (c.input(0)?, c.node.floats("bias").unwrap_or(&[]));
    ensure!(l.rank(x) == 4, InvalidModel, "has an input of rank {}", l.rank(x));
    let scale = l.f32_scalar(c.name(), c.node.float("scale").unwrap_or(1.0));
    let y = l.binary(c, BinaryOp::Mul, x, scale);
    if bias.iter().all(|b| *b == 0.0) {
        return Ok(vec![y]);
    }
    let bias = l.graph.add_const(c.name(), &Tensor::from_slice(&[bias.len(), 1, 1], bias)?);
    Ok(vec![l.binary(c, BinaryOp::Add, y, bias)])
}

/// `x · sigmoid(alpha · x)`.
fn swish(l: &mut Lower, c: &Call, alpha: f32) -> Result<Vec<ValueId>> {
    let x = c.input(0)?;
    if alpha == 1.0 {
        return Ok(vec![l.unary(c, Unary::Silu, x)]);
    }
    let factor = l.f32_scalar(c.name(), alpha);
    let scaled = l.binary(c, BinaryOp::Mul, x, factor);
    let gate = l.unary(c, Unary::Sigmoid, scaled);
    Ok(vec![l.binary(c, BinaryOp::Mul, x, gate)])
}

/// A function of two operands with a given result type, for quantized arithmetic.
pub(super) fn binary_as(l: &mut Lower, c: &Call, op: BinaryOp, a: ValueId, b: ValueId, ty: ValueType) -> ValueId {
    l.emit(c, Op::Binary(Binary { op, activation: Activation::None }), &[a, b], ty)
}
