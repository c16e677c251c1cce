//! Element types that JavaScript has no array for: held as wider ones, in which they are exact.
//!
//! bfloat16, float8 and float4 numbers are float32; int4 and int2, unpacked, are int8 (unsigned ones uint8). Conversion to such a type
//! rounds to its numbers: a [`NARROW_OP`] behind the conversion, which becomes arithmetic on the wider type.

use alloc::{collections::BTreeMap, format, string::String, vec, vec::Vec};

use tract_onnx::pb::{self, tensor_proto::DataType};

use super::{
    lower::{Call, Lower, Lowering},
    node::OnnxNode,
    write::{self, attribute},
};
use crate::{
    error::{Result, bail, ensure},
    graph::{
        Op, ValueId, ValueType,
        ops::{BinaryOp, FloatFormat, Unary},
    },
    tensor::{DType, Tensor},
};

/// The operator that rounds to the numbers of a type.
const NARROW_OP: &str = "nearside.Narrow";

pub(super) const NAMES: &[&str] = &[NARROW_OP];

/// A type that is held as a wider one.
#[derive(Clone, Copy)]
enum Narrow {
    Float(Float),
    /// With this many bits.
    Int {
        bits: u32,
        signed: bool,
    },
}

/// A sign, bits of exponent and bits of mantissa.
#[derive(Clone, Copy)]
struct Float {
    exponent: u32,
    mantissa: u32,
    bias: i32,
    special: Special,
}

/// What a float's patterns stand for that are not numbers.
#[derive(Clone, Copy, PartialEq)]
enum Special {
    /// As IEEE has it, infinities and NaN.
    Ieee,
    /// NaN is what has all bits set; there is no infinity.
    Top,
    /// NaN is what would be −0; there is no infinity.
    NegativeZero,
    None,
    /// A power of two and nothing else; NaN is what has all bits set.
    Power,
}

impl Narrow {
    /// By ONNX's code of an element type.
    fn of(code: i32) -> Option<Narrow> {
        let float = |exponent, mantissa, bias, special| Narrow::Float(Float { exponent, mantissa, bias, special });
        Some(match code {
            16 => float(8, 7, 127, Special::Ieee),
            17 => float(4, 3, 7, Special::Top),
            18 => float(4, 3, 8, Special::NegativeZero),
            19 => float(5, 2, 15, Special::Ieee),
            20 => float(5, 2, 16, Special::NegativeZero),
            21 => Narrow::Int { bits: 4, signed: false },
            22 => Narrow::Int { bits: 4, signed: true },
            23 => float(2, 1, 1, Special::None),
            24 => float(8, 0, 127, Special::Power),
            25 => Narrow::Int { bits: 2, signed: false },
            26 => Narrow::Int { bits: 2, signed: true },
            _ => return None,
        })
    }

    /// The type that holds it.
    fn held(self) -> DataType {
        match self {
            Narrow::Float(_) => DataType::Float,
            Narrow::Int { signed: true, .. } => DataType::Int8,
            Narrow::Int { signed: false, .. } => DataType::Uint8,
        }
    }

    fn bits(self) -> u32 {
        match self {
            Narrow::Float(f) => u32::from(f.special != Special::Power) + f.exponent + f.mantissa,
            Narrow::Int { bits, .. } => bits,
        }
    }
}

impl Float {
    /// The number with these bits.
    fn decode(self, bits: u32) -> f32 {
        if self.special == Special::Power {
            return if bits == 255 { f32::NAN } else { 2f64.powi(bits as i32 - self.bias) as f32 };
        }
        let all = 1 << (self.exponent + self.mantissa);
        let (negative, magnitude) = (bits & all != 0, bits & (all - 1));
        let (exponent, mantissa) = (magnitude >> self.mantissa, magnitude & ((1 << self.mantissa) - 1));
        let top = (1 << self.exponent) - 1;
        let value = match self.special {
            Special::Ieee if exponent == top && mantissa == 0 => f64::INFINITY,
            Special::Ieee if exponent == top => f64::NAN,
            Special::Top if magnitude == all - 1 => f64::NAN,
            Special::NegativeZero if negative && magnitude == 0 => f64::NAN,
            _ if exponent == 0 => f64::from(mantissa) * 2f64.powi(1 - self.bias - self.mantissa as i32),
            _ => f64::from(mantissa + (1 << self.mantissa)) * 2f64.powi(exponent as i32 - self.bias - self.mantissa as i32),
        };
        if negative { -value as f32 } else { value as f32 }
    }

    /// What rounding to these numbers is, with what is too large becoming the largest, or what the type has for it.
    fn format(self, saturate: bool) -> FloatFormat {
        let all = 1u32 << (self.exponent + self.mantissa);
        let largest = (0..all).rev().map(|bits| self.decode(bits)).find(|v| v.is_finite()).unwrap_or(0.0);
        let beyond = match self.special {
            _ if saturate => largest,
            Special::Ieee => f32::INFINITY,
            Special::Top | Special::NegativeZero => f32::NAN,
            Special::None | Special::Power => largest,
        };
        FloatFormat { mantissa: self.mantissa as u8, lowest: (1 - self.bias) as i16, largest, overflow: beyond, infinity: beyond }
    }
}

/// ONNX's code of the type that a type is held as; the type itself if it needs no other.
pub(super) fn held(code: i32) -> i32 {
    Narrow::of(code).map_or(code, |narrow| narrow.held() as i32)
}

/// Bytes that `count` elements take in a file, if the type is a narrow one.
pub(super) fn byte_len(code: i32, count: usize) -> Option<usize> {
    Some((count * Narrow::of(code)?.bits() as usize).div_ceil(8))
}

/// The tensor as its wider type. A wrong number of bytes stays wrong, for the check that follows.
pub(in crate::compile) fn hold(tensor: &mut pb::TensorProto) {
    let Some(narrow) = Narrow::of(tensor.data_type) else { return };
    let count = tensor.dims.iter().try_fold(1usize, |n, &d| n.checked_mul(usize::try_from(d).ok()?));
    let bits = narrow.bits();
    let raw = core::mem::take(&mut tensor.raw_data);
    let ints = core::mem::take(&mut tensor.int32_data);
    // Numbers of less than a byte are packed, the first one in the lowest bits, also in the entries of the list.
    let unit = bits.div_ceil(8) as usize;
    let (words, stray): (Vec<u32>, usize) = if raw.is_empty() {
        (ints.iter().map(|&v| v as u32).collect(), 0)
    } else {
        let pieces = raw.chunks_exact(unit);
        let stray = pieces.remainder().len();
        (pieces.map(|b| b.iter().rev().fold(0, |n, &b| n << 8 | u32::from(b))).collect(), stray)
    };
    let per_word = (8 * unit as u32 / bits).max(1) as usize;
    let mut patterns: Vec<u32> =
        words.iter().flat_map(|w| (0..per_word as u32).map(move |i| w >> (i * bits) & ((1 << bits) - 1))).collect();
    if let Some(count) = count
        && words.len() == count.div_ceil(per_word)
    {
        patterns.truncate(count);
    }
    tensor.data_type = narrow.held() as i32;
    match narrow {
        Narrow::Float(f) => tensor.raw_data = patterns.iter().flat_map(|&b| f.decode(b).to_le_bytes()).collect(),
        Narrow::Int { signed, .. } => {
            let sign = if signed { 1 << (bits - 1) } else { 0 };
            tensor.raw_data = patterns.iter().map(|&b| ((b ^ sign).wrapping_sub(sign)) as u8).collect();
        }
    }
    tensor.raw_data.extend(core::iter::repeat_n(0, stray));
}

/// Adds a [`NARROW_OP`] behind every conversion to a narrow type. Must see the graph before its types are widened.
pub(super) fn mark(graph: &mut pb::GraphProto) {
    let mut types: BTreeMap<String, i32> = graph.initializer.iter().map(|t| (t.name.clone(), t.data_type)).collect();
    for input in &graph.input {
        if let Some(pb::type_proto::Value::TensorType(t)) = input.r#type.as_ref().and_then(|t| t.value.as_ref()) {
            types.insert(input.name.clone(), t.elem_type);
        }
    }
    let outputs: Vec<String> = graph.output.iter().map(|o| o.name.clone()).collect();
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut node in core::mem::take(&mut graph.node) {
        let int = |name: &str| node.attribute.iter().find(|a| a.name == name).map(|a| a.i);
        let of = |i: usize| node.input.get(i).and_then(|v| types.get(v)).copied();
        let quantizes = node.op_type == "QuantizeLinear";
        let to = match node.op_type.as_str() {
            "Cast" => int("to").and_then(|to| i32::try_from(to).ok()),
            "CastLike" => of(1),
            "QuantizeLinear" => of(2).or(int("output_dtype").and_then(|to| i32::try_from(to).ok())),
            "Constant" => node.attribute.iter().find_map(|a| a.t.as_ref()).map(|t| t.data_type),
            "Identity" | "Reshape" | "Transpose" | "Squeeze" | "Unsqueeze" | "Flatten" | "Slice" | "Concat" | "Gather" => of(0),
            _ => None,
        };
        let Some(output) = node.output.first().cloned() else {
            nodes.push(node);
            continue;
        };
        if let Some(code) = to {
            types.insert(output.clone(), code);
        }
        // bfloat16 stands for float32 inside a model; callers see its numbers.
        let converts = matches!(node.op_type.as_str(), "Cast" | "CastLike" | "QuantizeLinear");
        let narrow = to.filter(|code| converts && Narrow::of(*code).is_some() && (*code != 16 || outputs.contains(&output)));
        let saturate = int("saturate").unwrap_or(1);
        let Some(code) = narrow else {
            nodes.push(node);
            continue;
        };
        let wide = format!("{output}.wide");
        node.output[0] = wide.clone();
        if !quantizes && let Some(Narrow::Int { .. }) = Narrow::of(code) {
            // Their own bits are what is left of a wider integer's, also of a negative one's.
            node.op_type = "Cast".into();
            node.input.truncate(1);
            node.attribute = vec![attribute("to", DataType::Int64 as i64)];
        }
        let attributes =
            [("format", i64::from(code)), ("saturate", saturate), ("clamp", i64::from(quantizes))].map(|(k, v)| attribute(k, v));
        nodes.push(node);
        nodes.push(pb::NodeProto {
            name: format!("{output}.narrow"),
            attribute: attributes.to_vec(),
            ..write::node(NARROW_OP, &[&wide], &output)
        });
    }
    graph.node = nodes;
}

/// The type of a [`NARROW_OP`]'s result.
pub(super) fn result(node: &OnnxNode) -> Option<DataType> {
    Narrow::of(i32::try_from(node.int("format")?).ok()?).map(Narrow::held)
}

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    (op_type == NARROW_OP).then_some(narrow)
}

fn narrow(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let x = c.input(0)?;
    let x = l.raw(x);
    let code = c.node.int("format").and_then(|code| i32::try_from(code).ok());
    let (bits, signed) = match code.and_then(Narrow::of) {
        Some(Narrow::Float(float)) => {
            ensure!(float.special != Special::Power, Unsupported, "conversion to float8e8m0 is not supported");
            let saturate = c.node.flag("saturate", true) && code != Some(16);
            let y = l.unary(c, Unary::RoundTo(float.format(saturate)), x);
            if float.special != Special::None {
                return Ok(vec![y]);
            }
            // Without a pattern for NaN it becomes zero.
            let nan = l.unary(c, Unary::IsNan, x);
            let zero = l.f32_scalar(c.name(), 0.0);
            let ty = ValueType::new(DType::F32, l.shape(y));
            return Ok(vec![l.emit(c, Op::Where, &[nan, zero, y], ty)]);
        }
        Some(Narrow::Int { bits, signed }) => (bits, signed),
        None => bail!(InvalidModel, "has no format"),
    };
    let dtype = c.out()?.dtype;
    let mut y = l.cast(c, x, DType::I64);
    let constant = |l: &mut Lower, v: i64| l.graph.add_const(c.name(), &Tensor::scalar(v));
    let sign = if signed { 1i64 << (bits - 1) } else { 0 };
    if c.node.flag("clamp", false) {
        let (lo, hi) = (constant(l, -sign), constant(l, (1 << bits) - 1 - sign));
        y = l.binary(c, BinaryOp::Max, y, lo);
        y = l.binary(c, BinaryOp::Min, y, hi);
    } else {
        let (mask, sign) = (constant(l, (1 << bits) - 1), constant(l, sign));
        y = l.binary(c, BinaryOp::BitAnd, y, mask);
        y = l.binary(c, BinaryOp::BitXor, y, sign);
        y = l.binary(c, BinaryOp::Sub, y, sign);
    }
    Ok(vec![l.cast(c, y, dtype)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(code: i32, dims: &[i64], raw: &[u8], ints: &[i32]) -> pb::TensorProto {
        let mut t = pb::TensorProto {
            data_type: code,
            dims: dims.to_vec(),
            raw_data: raw.to_vec(),
            int32_data: ints.to_vec(),
            ..Default::default()
        };
        hold(&mut t);
        t
    }

    #[test]
    fn packed_integers_are_unpacked() {
        let t = tensor(22, &[3], &[0x87, 0x0F], &[]);
        assert_eq!((t.data_type, t.raw_data), (DataType::Int8 as i32, vec![7, -8i8 as u8, -1i8 as u8]));
        assert_eq!(tensor(21, &[2], &[], &[0x21]).raw_data, [1, 2]);
        assert_eq!(tensor(26, &[4], &[0b11_10_01_00], &[]).raw_data, [0, 1, -2i8 as u8, -1i8 as u8]);
        // Too many bytes stay too many.
        assert_eq!(tensor(22, &[1], &[0, 0], &[]).raw_data.len(), 4);
    }

    #[test]
    fn floats_have_their_largest_numbers() {
        let largest = |code: i32| match Narrow::of(code) {
            Some(Narrow::Float(f)) => f.format(true).largest,
            _ => 0.0,
        };
        assert_eq!([17, 18, 19, 20, 23].map(largest), [448.0, 240.0, 57344.0, 57344.0, 6.0]);
        let decoded = tensor(17, &[4], &[0x01, 0x38, 0xB8, 0x7F], &[]).raw_data;
        let floats: Vec<f32> = decoded.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        assert_eq!(floats[..3], [2f32.powi(-9), 1.0, -1.0]);
        assert!(floats[3].is_nan());
        assert_eq!(tensor(16, &[1], &[0xC0, 0x3F], &[]).raw_data, 1.5f32.to_le_bytes());
    }
}
