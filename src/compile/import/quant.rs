//! QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear and the integer products that keep their accumulators.

use alloc::{vec, vec::Vec};

use super::{
    conv, elementwise,
    lower::{Call, Lower, Lowering},
    matmul, movement,
};
use crate::{
    error::{Result, bail, ensure},
    graph::{
        Dim, Op, Quant, ValueId, ValueType,
        ops::{BinaryOp, Unary},
    },
    tensor::DType,
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    Some(match op_type {
        "QuantizeLinear" => |l, c| {
            let (x, ty) = (c.input(0)?, c.out()?);
            let axis = c.node.int("axis").unwrap_or(1);
            let params = Params::read(c, 1, 2)?;
            match blocks(l, c, x, params, axis)? {
                Some(each) => quantize_by(l, c, x, ty.dtype, each).map(|v| vec![v]),
                None => quantize(l, c, x, ty.dtype, params, axis).map(|v| vec![v]),
            }
        },
        "DequantizeLinear" => |l, c| {
            let x = c.input(0)?;
            let axis = c.node.int("axis").unwrap_or(1);
            let params = Params::read(c, 1, 2)?;
            match blocks(l, c, x, params, axis)? {
                Some(each) => Ok(vec![dequantize_by(l, c, x, each)]),
                None => dequantize(l, c, x, params, axis).map(|v| vec![v]),
            }
        },
        "DynamicQuantizeLinear" => |l, c| {
            let x = c.input(0)?;
            Ok(dynamic_quantize(l, c, x).to_vec())
        },
        "MatMulInteger" => matmul_integer,
        "ConvInteger" => conv_integer,
        "DynamicQuantizeMatMul" => dynamic_matmul,
        "MatMulIntegerToFloat" => matmul_to_float,
        _ => return None,
    })
}

/// The scale and zero point of every element, where each block of elements along an axis has its own.
fn blocks(l: &mut Lower, c: &Call, x: ValueId, params: Params, axis: i64) -> Result<Option<Params>> {
    let Ok(size) = usize::try_from(c.node.int("block_size").unwrap_or(0)) else {
        bail!(InvalidModel, "has a negative block_size")
    };
    if size == 0 {
        return Ok(None);
    }
    let shape = l.shape(x);
    let axis = l.axis(axis, shape.len())?;
    let mut each = |v: ValueId| -> Result<ValueId> {
        ensure!(l.rank(v) == shape.len(), InvalidModel, "has scales of rank {} for rank {}", l.rank(v), shape.len());
        let mut times = vec![Dim::fixed(1); shape.len()];
        times[axis] = Dim::fixed(size);
        let v = movement::repeat(l, c, v, &times, true)?;
        let mut cut = l.shape(v);
        if cut[axis] == shape[axis] {
            return Ok(v);
        }
        // The last block may be shorter.
        cut[axis] = shape[axis].clone();
        let ty = ValueType::new(l.dtype(v), cut);
        Ok(l.emit(c, Op::Slice { axis, start: Dim::fixed(0), step: 1 }, &[v], ty))
    };
    Ok(Some(Params { scale: each(params.scale)?, zero: params.zero.map(each).transpose()? }))
}

/// The scale and zero point that stand for a tensor's numbers, as operands.
#[derive(Clone, Copy)]
pub(super) struct Params {
    pub scale: ValueId,
    pub zero: Option<ValueId>,
}

impl Params {
    /// From the call's inputs.
    pub(super) fn read(c: &Call, scale: usize, zero: usize) -> Result<Params> {
        Ok(Params { scale: c.input(scale)?, zero: c.optional(zero) })
    }

    /// As a constant quantization; `axis` counts if there are several scales. `None` if they are computed.
    pub(super) fn constant(&self, l: &Lower, shape: &[Dim], axis: i64) -> Result<Option<Quant>> {
        let Some(scale) = l.const_floats(self.scale) else { return Ok(None) };
        let zero_point = match self.zero {
            None => vec![0; scale.len()],
            Some(v) => match l.const_ints(v) {
                Some(z) => z.into_iter().map(|z| z as i32).collect(),
                None => return Ok(None),
            },
        };
        Ok(Some(quantization(l, scale, zero_point, shape, axis)?))
    }
}

/// A checked quantization.
pub(super) fn quantization(l: &Lower, scale: Vec<f32>, zero: Vec<i32>, shape: &[Dim], axis: i64) -> Result<Quant> {
    if let Some(s) = scale.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
        bail!(InvalidModel, "has the scale {s}; scales must be positive numbers");
    }
    ensure!(!scale.is_empty(), InvalidModel, "has no scale");
    let zero = if zero.len() == 1 && scale.len() > 1 { vec![zero[0]; scale.len()] } else { zero };
    let scale = if scale.len() == 1 && zero.len() > 1 { vec![scale[0]; zero.len()] } else { scale };
    ensure!(scale.len() == zero.len(), InvalidModel, "has {} scales and {} zero points", scale.len(), zero.len());
    let same = scale.iter().all(|s| s.to_bits() == scale[0].to_bits()) && zero.iter().all(|z| *z == zero[0]);
    if scale.len() == 1 || (same && shape.is_empty()) {
        return Ok(Quant::per_tensor(scale[0], zero[0]));
    }
    let axis = l.axis(axis, shape.len())?;
    ensure!(shape[axis].as_fixed() == Some(scale.len()), InvalidModel, "has {} scales for an axis of another size", scale.len());
    Ok(Quant { scale, zero_point: zero, axis: Some(axis) })
}

/// Checks that zero points fit the element type they belong to.
fn check_zero_point(quant: &Quant, dtype: DType) -> Result<()> {
    let range = match dtype {
        DType::U8 => 0..=255,
        DType::I8 => -128..=127,
        DType::I32 => i32::MIN..=i32::MAX,
        other => bail!(Unsupported, "quantization to {other} is not supported"),
    };
    ensure!(quant.zero_point.iter().all(|z| range.contains(z)), InvalidModel, "has a zero point that {dtype} cannot hold");
    Ok(())
}

/// f32 to integers.
pub(super) fn quantize(l: &mut Lower, c: &Call, x: ValueId, dtype: DType, params: Params, axis: i64) -> Result<ValueId> {
    let x = l.cast(c, x, DType::F32);
    let shape = l.shape(x);
    if matches!(dtype, DType::U8 | DType::I8)
        && let Some(quant) = params.constant(l, &shape, axis)?
    {
        check_zero_point(&quant, dtype)?;
        return Ok(l.emit(c, Op::Quantize, &[x], ValueType { dtype, shape, quant: Some(quant) }));
    }
    let each = spread(l, c, params, axis, shape.len())?;
    quantize_by(l, c, x, dtype, each)
}

/// The parameters as tensors that broadcast to one of this rank.
fn spread(l: &mut Lower, c: &Call, params: Params, axis: i64, rank: usize) -> Result<Params> {
    let zero = params.zero.map(|zero| along(l, c, zero, axis, rank)).transpose()?;
    Ok(Params { scale: along(l, c, params.scale, axis, rank)?, zero })
}

/// Quantization in float arithmetic, which is exact for up to 16 bits. Narrow floats, which float32 holds, are not rounded here.
fn quantize_by(l: &mut Lower, c: &Call, x: ValueId, dtype: DType, params: Params) -> Result<ValueId> {
    let (lo, hi) = match dtype {
        DType::U8 => (0.0, 255.0),
        DType::I8 => (-128.0, 127.0),
        DType::U16 => (0.0, 65535.0),
        DType::I16 => (-32768.0, 32767.0),
        DType::F32 => (f32::NEG_INFINITY, f32::INFINITY),
        other => bail!(Unsupported, "quantization to {other} is not supported; use 8-bit integers"),
    };
    let (x, scale) = (l.cast(c, x, DType::F32), l.cast(c, params.scale, DType::F32));
    let mut y = l.binary(c, BinaryOp::Div, x, scale);
    if dtype != DType::F32 {
        y = l.unary(c, Unary::Round, y);
    }
    if let Some(zero) = params.zero {
        let zero = l.cast(c, zero, DType::F32);
        y = l.binary(c, BinaryOp::Add, y, zero);
    }
    if dtype != DType::F32 {
        y = l.unary(c, Unary::Clamp { lo, hi }, y);
    }
    Ok(l.cast(c, y, dtype))
}

/// Integers to f32.
pub(super) fn dequantize(l: &mut Lower, c: &Call, x: ValueId, params: Params, axis: i64) -> Result<ValueId> {
    let shape = l.shape(x);
    let dtype = l.dtype(x);
    if let Some(zero) = params.zero {
        let zero = l.dtype(zero);
        ensure!(zero == dtype, InvalidModel, "has a zero point of type {zero} for values of type {dtype}; they must be the same");
    }
    if matches!(dtype, DType::U8 | DType::I8 | DType::I32)
        && let Some(quant) = params.constant(l, &shape, axis)?
    {
        check_zero_point(&quant, dtype)?;
        let x = l.reinterpret(x, Some(quant));
        return Ok(l.emit(c, Op::Dequantize, &[x], ValueType::new(DType::F32, shape)));
    }
    let each = spread(l, c, params, axis, shape.len())?;
    Ok(dequantize_by(l, c, x, each))
}

/// As [`dequantize`], in float arithmetic.
fn dequantize_by(l: &mut Lower, c: &Call, x: ValueId, params: Params) -> ValueId {
    let x = l.raw(x);
    let mut y = l.cast(c, x, DType::F32);
    if let Some(zero) = params.zero {
        let zero = l.cast(c, zero, DType::F32);
        y = l.binary(c, BinaryOp::Sub, y, zero);
    }
    l.binary(c, BinaryOp::Mul, y, params.scale)
}

/// A vector laid along `axis` of a tensor of this rank.
fn along(l: &mut Lower, c: &Call, v: ValueId, axis: i64, rank: usize) -> Result<ValueId> {
    if l.rank(v) != 1 || l.shape(v)[0].as_fixed() == Some(1) {
        return Ok(l.reshape(c.name(), v, Vec::new()));
    }
    let axis = l.axis(axis, rank)?;
    let mut shape = vec![Dim::fixed(1); rank - axis];
    shape[0] = l.shape(v)[0].clone();
    Ok(l.reshape(c.name(), v, shape))
}

/// The u8 values, scale and zero point.
pub(super) fn dynamic_quantize(l: &mut Lower, c: &Call, x: ValueId) -> [ValueId; 3] {
    let x = l.raw(x);
    let types =
        [ValueType::new(DType::U8, l.shape(x)), ValueType::new(DType::F32, Vec::new()), ValueType::new(DType::U8, Vec::new())];
    let outputs = types.map(|ty| l.graph.add_value(c.name(), ty));
    l.graph.nodes.push(crate::graph::Node {
        name: c.name().into(),
        op: Op::DynamicQuantize,
        inputs: vec![x],
        outputs: outputs.to_vec(),
    });
    outputs
}

/// The integers of an operand with scale 1 and the given zero points; `None` if those are computed.
fn unscaled(l: &mut Lower, v: ValueId, zero: Option<ValueId>, axis: i64) -> Result<Option<ValueId>> {
    let zero_point = match zero {
        None => vec![0],
        Some(z) => match l.const_ints(z) {
            Some(z) => z.into_iter().map(|z| z as i32).collect(),
            None => return Ok(None),
        },
    };
    let quant = quantization(l, vec![1.0; zero_point.len()], zero_point, &l.shape(v), axis)?;
    check_zero_point(&quant, l.dtype(v))?;
    Ok(Some(l.reinterpret(v, Some(quant))))
}

/// The left operand of an integer product: its integers, and scale 1 with its zero point if that is computed.
fn left(l: &mut Lower, c: &Call, x: ValueId, zero: Option<ValueId>) -> Result<(ValueId, Option<(ValueId, ValueId)>)> {
    if let Some(z) = zero
        && l.const_ints(z).is_none()
    {
        ensure!(
            l.shape(z).iter().all(|d| d.as_fixed() == Some(1)),
            Unsupported,
            "a computed zero point per row is not supported"
        );
        let zero = l.reshape(c.name(), z, Vec::new());
        let one = l.f32_scalar(c.name(), 1.0);
        return Ok((l.raw(x), Some((one, zero))));
    }
    match unscaled(l, x, zero, -2)? {
        Some(x) if l.ty(x).quant.as_ref().is_some_and(|q| q.axis.is_none()) => Ok((x, None)),
        _ => bail!(Unsupported, "zero points per row are not supported"),
    }
}

fn matmul_integer(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (a, b) = (c.input(0)?, c.input(1)?);
    let (a, dynamic) = left(l, c, a, c.optional(2))?;
    let Some(b) = unscaled(l, b, c.optional(3), -1)? else { return float_product(l, c) };
    let operands = matmul::Operands { a, b, transpose_b: false, bias: None, dynamic, dtype: DType::I32, quant: None };
    Ok(vec![matmul::emit(l, c, operands)?])
}

/// With computed zero points on both sides: in floats, which is exact as long as sums stay below 2^24.
fn float_product(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let depth = l.shape(c.input(0)?).last().and_then(Dim::as_fixed);
    ensure!(
        depth.is_some_and(|k| k <= (1 << 24) / (255 * 255)),
        Unsupported,
        "zero points that are computed for both operands are not supported for products this deep"
    );
    let mut sides = Vec::new();
    for i in 0..2 {
        let v = c.input(i)?;
        let mut v = l.cast(c, v, DType::F32);
        if let Some(zero) = c.optional(i + 2) {
            let zero = l.cast(c, zero, DType::F32);
            v = l.binary(c, BinaryOp::Sub, v, zero);
        }
        sides.push(v);
    }
    let operands = matmul::Operands {
        a: sides[0],
        b: sides[1],
        transpose_b: false,
        bias: None,
        dynamic: None,
        dtype: DType::F32,
        quant: None,
    };
    let y = matmul::emit(l, c, operands)?;
    Ok(vec![l.cast(c, y, DType::I32)])
}

fn conv_integer(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, weight) = (c.input(0)?, c.input(1)?);
    let (x, dynamic) = left(l, c, x, c.optional(2))?;
    let Some(weight) = unscaled(l, weight, c.optional(3), 0)? else {
        bail!(Unsupported, "a computed zero point of the weight is not supported");
    };
    let operands = conv::Operands { x, weight, bias: None, dynamic, dtype: DType::I32, quant: None };
    Ok(vec![conv::emit(l, c, operands)?])
}

/// `dequantize(quantize(A)) · dequantize(B) + bias`.
fn dynamic_matmul(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, b) = (c.input(0)?, c.input(1)?);
    let [a, scale, zero] = dynamic_quantize(l, c, x);
    let b = weight(l, b, Params::read(c, 2, 3)?)?;
    product_with_bias(l, c, a, b, Some((scale, zero)), c.optional(4))
}

fn matmul_to_float(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (a, b) = (c.input(0)?, c.input(1)?);
    let params = Params::read(c, 2, 4)?;
    let b = weight(l, b, Params::read(c, 3, 5)?)?;
    if let Some(quant) = params.constant(l, &l.shape(a), -2)? {
        ensure!(quant.axis.is_none(), Unsupported, "scales per row are not supported");
        let a = l.reinterpret(a, Some(quant));
        return product_with_bias(l, c, a, b, None, c.optional(6));
    }
    let zero = match params.zero {
        Some(z) => z,
        None => l.scalar_of(c.name(), l.dtype(a), 0.0)?,
    };
    let (scale, zero) = (l.reshape(c.name(), params.scale, Vec::new()), l.reshape(c.name(), zero, Vec::new()));
    let a = l.raw(a);
    product_with_bias(l, c, a, b, Some((scale, zero)), c.optional(6))
}

/// A constant right operand under its quantization.
fn weight(l: &mut Lower, b: ValueId, params: Params) -> Result<ValueId> {
    let Some(quant) = params.constant(l, &l.shape(b), -1)? else {
        bail!(Unsupported, "a computed scale of the weight is not supported");
    };
    check_zero_point(&quant, l.dtype(b))?;
    Ok(l.reinterpret(b, Some(quant)))
}

fn product_with_bias(
    l: &mut Lower,
    c: &Call,
    a: ValueId,
    b: ValueId,
    dynamic: Option<(ValueId, ValueId)>,
    bias: Option<ValueId>,
) -> Result<Vec<ValueId>> {
    let operands = matmul::Operands { a, b, transpose_b: false, bias: None, dynamic, dtype: DType::F32, quant: None };
    let y = matmul::emit(l, c, operands)?;
    Ok(vec![match bias {
        Some(bias) => {
            let ty = c.out()?;
            elementwise::binary_as(l, c, BinaryOp::Add, y, bias, ty)
        }
        None => y,
    }])
}
