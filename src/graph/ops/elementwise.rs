//! Functions of elements, and reductions.

use serde::{Deserialize, Serialize};

use super::Activation;

/// See [`Op::Binary`](super::Op::Binary).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Binary {
    /// The function.
    pub op: BinaryOp,
    /// Applied to the real result.
    pub activation: Activation,
}

/// Functions of two numbers. Comparisons and logic give bool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Min,
    Max,
    /// Remainder with the sign of the divisor (ONNX Mod with fmod=0).
    Mod,
    /// Remainder with the sign of the dividend (ONNX Mod with fmod=1).
    Rem,
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
    Xor,
    /// The sum of two quantized tensors with the rounding of ONNX Runtime's operator of this name; [`BinaryOp::Add`] rounds the
    /// real sum. They differ only at ties, but deep models with many sums show it.
    QLinearAdd,
    /// Of the bits of integers.
    BitAnd,
    BitOr,
    BitXor,
    /// Shifts of integers; all bits are gone if the second is as large as the first is long.
    ShiftLeft,
    /// Keeps the sign.
    ShiftRight,
}

/// Functions of one number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Unary {
    /// The number itself; between different quantizations, a requantization.
    Identity,
    Clamp {
        lo: f32,
        hi: f32,
    },
    Neg,
    Abs,
    Sign,
    Exp,
    Log,
    Sqrt,
    Reciprocal,
    Floor,
    Ceil,
    /// Half to even.
    Round,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Asinh,
    Acosh,
    Atanh,
    Tanh,
    Sigmoid,
    Erf,
    /// `x·Φ(x)` with the error function.
    Gelu,
    /// Gelu's tanh approximation.
    GeluTanh,
    /// `x·sigmoid(x)`.
    Silu,
    HardSwish,
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    LeakyRelu {
        alpha: f32,
    },
    Elu {
        alpha: f32,
    },
    Selu {
        alpha: f32,
        gamma: f32,
    },
    Softplus,
    Softsign,
    Mish,
    /// Logical, on bool.
    Not,
    IsNan,
    IsInf,
    /// The nearest number that a narrower format has, half to even.
    RoundTo(FloatFormat),
}

/// A floating-point format with fewer bits than float32.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FloatFormat {
    /// Bits of the mantissa that are stored; 1 to 22.
    pub mantissa: u8,
    /// Exponent of the smallest normal number; −126 to 0.
    pub lowest: i16,
    /// The largest number.
    pub largest: f32,
    /// What numbers that round to more than the largest become, but for the sign.
    pub overflow: f32,
    /// What an infinite number becomes, but for the sign.
    pub infinity: f32,
}

/// What a reduction computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ReduceOp {
    Sum,
    Mean,
    Min,
    Max,
    Prod,
    SumSquare,
    L1,
    L2,
    LogSum,
    LogSumExp,
    /// Index of the first maximum, i64; one axis.
    ArgMax,
    /// Index of the first minimum, i64; one axis.
    ArgMin,
}

impl BinaryOp {
    /// Whether the result is bool.
    pub fn is_predicate(self) -> bool {
        use BinaryOp::*;
        matches!(self, Equal | Less | LessOrEqual | Greater | GreaterOrEqual | And | Or | Xor)
    }
}

impl BinaryOp {
    pub(super) fn name(self) -> &'static str {
        match self {
            BinaryOp::Add => "Add",
            BinaryOp::Sub => "Sub",
            BinaryOp::Mul => "Mul",
            BinaryOp::Div => "Div",
            BinaryOp::Pow => "Pow",
            BinaryOp::Min => "Min",
            BinaryOp::Max => "Max",
            BinaryOp::Mod => "Mod",
            BinaryOp::Rem => "Rem",
            BinaryOp::Equal => "Equal",
            BinaryOp::Less => "Less",
            BinaryOp::LessOrEqual => "LessOrEqual",
            BinaryOp::Greater => "Greater",
            BinaryOp::GreaterOrEqual => "GreaterOrEqual",
            BinaryOp::And => "And",
            BinaryOp::Or => "Or",
            BinaryOp::Xor => "Xor",
            BinaryOp::QLinearAdd => "QLinearAdd",
            BinaryOp::BitAnd => "BitAnd",
            BinaryOp::BitOr => "BitOr",
            BinaryOp::BitXor => "BitXor",
            BinaryOp::ShiftLeft => "ShiftLeft",
            BinaryOp::ShiftRight => "ShiftRight",
        }
    }
}

impl Unary {
    pub(super) fn name(self) -> &'static str {
        match self {
            Unary::Identity => "Identity",
            Unary::Clamp { .. } => "Clamp",
            Unary::Neg => "Neg",
            Unary::Abs => "Abs",
            Unary::Sign => "Sign",
            Unary::Exp => "Exp",
            Unary::Log => "Log",
            Unary::Sqrt => "Sqrt",
            Unary::Reciprocal => "Reciprocal",
            Unary::Floor => "Floor",
            Unary::Ceil => "Ceil",
            Unary::Round => "Round",
            Unary::Sin => "Sin",
            Unary::Cos => "Cos",
            Unary::Tan => "Tan",
            Unary::Asin => "Asin",
            Unary::Acos => "Acos",
            Unary::Atan => "Atan",
            Unary::Sinh => "Sinh",
            Unary::Cosh => "Cosh",
            Unary::Asinh => "Asinh",
            Unary::Acosh => "Acosh",
            Unary::Atanh => "Atanh",
            Unary::Tanh => "Tanh",
            Unary::Sigmoid => "Sigmoid",
            Unary::Erf => "Erf",
            Unary::Gelu => "Gelu",
            Unary::GeluTanh => "GeluTanh",
            Unary::Silu => "Silu",
            Unary::HardSwish => "HardSwish",
            Unary::HardSigmoid { .. } => "HardSigmoid",
            Unary::LeakyRelu { .. } => "LeakyRelu",
            Unary::Elu { .. } => "Elu",
            Unary::Selu { .. } => "Selu",
            Unary::Softplus => "Softplus",
            Unary::Softsign => "Softsign",
            Unary::Mish => "Mish",
            Unary::Not => "Not",
            Unary::IsNan => "IsNan",
            Unary::IsInf => "IsInf",
            Unary::RoundTo(_) => "RoundTo",
        }
    }
}

impl ReduceOp {
    pub(super) fn name(self) -> &'static str {
        match self {
            ReduceOp::Sum => "ReduceSum",
            ReduceOp::Mean => "ReduceMean",
            ReduceOp::Min => "ReduceMin",
            ReduceOp::Max => "ReduceMax",
            ReduceOp::Prod => "ReduceProd",
            ReduceOp::SumSquare => "ReduceSumSquare",
            ReduceOp::L1 => "ReduceL1",
            ReduceOp::L2 => "ReduceL2",
            ReduceOp::LogSum => "ReduceLogSum",
            ReduceOp::LogSumExp => "ReduceLogSumExp",
            ReduceOp::ArgMax => "ArgMax",
            ReduceOp::ArgMin => "ArgMin",
        }
    }
}
