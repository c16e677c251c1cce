//! The closed set of operators. They say what is computed on real numbers; how numbers are represented is the value types' business.
//!
//! A value whose type carries a [`Quant`](super::Quant) stands for the real numbers `(stored − zero_point) · scale`.
//! An operator with quantized inputs and output computes on the integers, by the formulas of ONNX's QLinear operators:
//! exact i32 accumulation, one f32 multiplier, round half to even, saturate.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Dim;

/// An operator with its attributes. Shapes are not attributes: they are those of the node's output values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// 2-D convolution. Inputs: x `[N,H,W,C]`, weight `[O,KH,KW,C/groups]`, then bias `[O]` if `bias`,
    /// then the scale and zero point of x (both scalar) if `dynamic`. Output `[N,OH,OW,O]`.
    ///
    /// Weight of a quantized convolution: i8, per tensor or per axis 0. Bias: i32 in units of x's scale · weight's scale when x has a
    /// static [`Quant`](super::Quant), else f32. Output: quantized u8, f32, or i32 (raw accumulators; zero points subtracted).
    Conv(Conv),
    /// Matrix product `a[…,M,K] · b[…,K,N]`, leading dimensions broadcast. Inputs: a, b, then bias `[N]` if `bias`,
    /// then the scale and zero point of a (both scalar) if `dynamic`. Quantization as for [`Op::Conv`], with b's per-axis axis being N's.
    MatMul(MatMul),
    /// Max or average pooling of x `[N,H,W,C]`.
    Pool(Pool),
    /// Elementwise function of two broadcast inputs.
    Binary(Binary),
    /// Elementwise function of one input. Between two u8-quantized values any of them is a 256-entry table.
    Unary(Unary),
    /// Elementwise `cond ? a : b`, broadcast. Inputs: cond (bool), a, b.
    Where,
    /// Conversion to the output's type, with ONNX's Cast rules (saturating float → integer).
    Cast,
    /// Reduction over `axes` (sorted). The output keeps them with size 1 if `keep_dims`.
    Reduce {
        /// What is computed.
        op: ReduceOp,
        /// Axes that are reduced.
        axes: Vec<usize>,
        /// Whether reduced axes stay, with size 1.
        keep_dims: bool,
    },
    /// Softmax over one axis.
    Softmax {
        /// The axis whose entries sum to 1.
        axis: usize,
        /// Log-softmax instead.
        log: bool,
    },
    /// `(x − mean) / sqrt(variance + epsilon) · scale + bias` over the axes from `axis` on. Inputs: x, scale, bias if `bias`.
    LayerNorm {
        /// First normalised axis.
        axis: usize,
        /// Added to the variance.
        epsilon: f32,
        /// Whether a bias follows the scale.
        bias: bool,
    },
    /// The same elements under the output's shape. Never moves data.
    Reshape,
    /// Output axis `i` is input axis `perm[i]`.
    Transpose {
        /// The permutation.
        perm: Vec<usize>,
    },
    /// Broadcast to the output's shape.
    Expand,
    /// Concatenation along `axis`; quantized inputs are rescaled to the output's quantization.
    Concat {
        /// The axis along which inputs are joined.
        axis: usize,
    },
    /// Strided slice along one axis: `start, start+step, …`, as many as the output has.
    Slice {
        /// The axis.
        axis: usize,
        /// First index; not negative.
        start: Dim,
        /// Step; negative to reverse.
        step: i64,
    },
    /// Constant padding.
    Pad {
        /// Elements added before and after, per axis.
        pads: Vec<(Dim, Dim)>,
        /// The real value that fills them.
        value: f32,
    },
    /// `data` indexed by `indices` (i64 or i32, negative from the end) along `axis`. Inputs: data, indices.
    Gather {
        /// The indexed axis of data.
        axis: usize,
    },
    /// f32 → quantized integers, by the output's [`Quant`](super::Quant).
    Quantize,
    /// Quantized integers → f32, by the input's [`Quant`](super::Quant).
    Dequantize,
    /// ONNX's DynamicQuantizeLinear. Outputs: u8 values, f32 scale, u8 zero point.
    DynamicQuantize,
    /// The same stored integers under the output's [`Quant`](super::Quant). Never moves data.
    Reinterpret,
    /// `start, start+step, …`, as many as the output has (i64, i32 or f32). Inputs: start, step (scalars).
    Range,
    /// Any function of one 8-bit value, looked up. Inputs: x, then a constant u8 `[256]` that holds the output's byte for every byte of x.
    Table,
    /// A recurrent cell over a sequence, in one direction. Inputs: the input's share of the gates `[T,B,G·H]` (input biases included),
    /// recurrent weight `[G·H,H]`, initial state `[B,H]`, initial cell `[B,H]` for an LSTM, then recurrent bias `[G·H]` if `bias`, peepholes
    /// `[3·H]` if `peepholes`, lengths `[B]` (i32) if `lengths`. Outputs: all states `[T,B,H]` (0 beyond a row's length), the last state
    /// `[B,H]`, and the last cell `[B,H]` for an LSTM. Gates and formulas are those of ONNX's RNN, GRU and LSTM.
    Recurrent(Recurrent),
    /// Decision trees. Inputs: x `[N,F]`, and constants: four integers (i32) per node, namely its [`NodeMode`] (plus 256 where NaN goes the
    /// way of true), the feature, the next nodes if the test holds and if not (of a leaf: start and end of its weights); a threshold
    /// per node; the roots (i32); targets (i32) and weights of the leaves. Output `[N, targets]`.
    TreeEnsemble {
        /// How the weights of a target come together.
        aggregate: Aggregate,
    },
}

/// See [`Op::TreeEnsemble`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

/// What a node of a tree asks of its feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NodeMode {
    Leaf = 0,
    LessOrEqual = 1,
    Less = 2,
    Greater = 3,
    GreaterOrEqual = 4,
    Equal = 5,
    NotEqual = 6,
}

impl NodeMode {
    const ALL: [(NodeMode, &'static str); 7] = [
        (NodeMode::Leaf, "LEAF"),
        (NodeMode::LessOrEqual, "BRANCH_LEQ"),
        (NodeMode::Less, "BRANCH_LT"),
        (NodeMode::Greater, "BRANCH_GT"),
        (NodeMode::GreaterOrEqual, "BRANCH_GTE"),
        (NodeMode::Equal, "BRANCH_EQ"),
        (NodeMode::NotEqual, "BRANCH_NEQ"),
    ];

    /// By ONNX's name.
    pub fn from_name(name: &str) -> Option<NodeMode> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(mode, _)| *mode)
    }

    /// By its number.
    pub fn from_code(code: i32) -> Option<NodeMode> {
        Self::ALL.iter().find(|(mode, _)| *mode as i32 == code).map(|(mode, _)| *mode)
    }

    /// Whether the test holds.
    pub fn holds(self, value: f32, threshold: f32) -> bool {
        match self {
            NodeMode::Leaf => false,
            NodeMode::LessOrEqual => value <= threshold,
            NodeMode::Less => value < threshold,
            NodeMode::Greater => value > threshold,
            NodeMode::GreaterOrEqual => value >= threshold,
            NodeMode::Equal => value == threshold,
            NodeMode::NotEqual => value != threshold,
        }
    }
}

/// See [`Op::Recurrent`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recurrent {
    /// Which formulas.
    pub cell: Cell,
    /// From the end of each row to its start.
    pub reverse: bool,
    /// The activations f, g, h, as many as the cell has.
    pub activations: Vec<Unary>,
    /// Bound of what goes into the activations; infinite for none.
    pub clip: f32,
    /// Whether a bias of the recurrent product follows (GRU).
    pub bias: bool,
    /// Whether peephole weights follow (LSTM).
    pub peepholes: bool,
    /// Whether the rows' lengths follow.
    pub lengths: bool,
}

/// The kinds of recurrent cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cell {
    /// One gate.
    Rnn,
    /// Update, reset and candidate.
    Gru {
        /// The reset gate is applied to the product, not to the state before it.
        reset_after: bool,
    },
    /// Input, output, forget and cell.
    Lstm,
}

impl Cell {
    /// Number of gates.
    pub fn gates(self) -> usize {
        match self {
            Cell::Rnn => 1,
            Cell::Gru { .. } => 3,
            Cell::Lstm => 4,
        }
    }

    /// Number of activations.
    pub fn activations(self) -> usize {
        match self {
            Cell::Rnn => 1,
            Cell::Gru { .. } => 2,
            Cell::Lstm => 3,
        }
    }
}

/// See [`Op::Conv`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conv {
    /// Kernel, strides, dilations and padding.
    pub window: Window,
    /// Channel groups; equal to C for a depthwise convolution.
    pub groups: usize,
    /// Whether a bias follows the weight.
    pub bias: bool,
    /// Whether x's scale and zero point follow as inputs.
    pub dynamic: bool,
    /// Applied to the real result.
    pub activation: Activation,
}

/// See [`Op::MatMul`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MatMul {
    /// b is stored `[…,N,K]`.
    pub transpose_b: bool,
    /// Whether a bias follows b.
    pub bias: bool,
    /// Whether a's scale and zero point follow as inputs.
    pub dynamic: bool,
    /// Applied to the real result.
    pub activation: Activation,
}

/// A sliding window over the two spatial axes, height first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Kernel size.
    pub kernel: [usize; 2],
    /// Strides.
    pub strides: [usize; 2],
    /// Dilations.
    pub dilations: [usize; 2],
    /// Padding: `[[top, bottom], [left, right]]`.
    pub pads: [[usize; 2]; 2],
    /// Round the output size up instead of down (pooling only).
    pub ceil: bool,
}

/// See [`Op::Pool`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Maximum or average.
    pub kind: PoolKind,
    /// Kernel, strides, dilations and padding.
    pub window: Window,
}

/// What a pooling window gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoolKind {
    /// The maximum.
    Max,
    /// The mean.
    Average {
        /// Whether padding counts as zeros in the divisor.
        count_include_pad: bool,
    },
}

/// A clamp that is fused into the operator before it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Activation {
    /// Nothing.
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, lo), hi)`.
    Clamp {
        /// Lower bound.
        lo: f32,
        /// Upper bound.
        hi: f32,
    },
}

impl Activation {
    /// Lower and upper bound of the real result.
    pub fn bounds(self) -> (f32, f32) {
        match self {
            Activation::None => (f32::NEG_INFINITY, f32::INFINITY),
            Activation::Relu => (0.0, f32::INFINITY),
            Activation::Clamp { lo, hi } => (lo, hi),
        }
    }
}

/// See [`Op::Binary`].
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

impl Op {
    /// The operator's name, for messages and listings.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Conv(_) => "Conv",
            Op::MatMul(_) => "MatMul",
            Op::Pool(p) => match p.kind {
                PoolKind::Max => "MaxPool",
                PoolKind::Average { .. } => "AveragePool",
            },
            Op::Binary(b) => binary_name(b.op),
            Op::Unary(u) => unary_name(*u),
            Op::Where => "Where",
            Op::Cast => "Cast",
            Op::Reduce { op, .. } => reduce_name(*op),
            Op::Softmax { log: false, .. } => "Softmax",
            Op::Softmax { log: true, .. } => "LogSoftmax",
            Op::LayerNorm { .. } => "LayerNorm",
            Op::Reshape => "Reshape",
            Op::Transpose { .. } => "Transpose",
            Op::Expand => "Expand",
            Op::Concat { .. } => "Concat",
            Op::Slice { .. } => "Slice",
            Op::Pad { .. } => "Pad",
            Op::Gather { .. } => "Gather",
            Op::Quantize => "Quantize",
            Op::Dequantize => "Dequantize",
            Op::DynamicQuantize => "DynamicQuantize",
            Op::Reinterpret => "Reinterpret",
            Op::Range => "Range",
            Op::Table => "Table",
            Op::TreeEnsemble { .. } => "TreeEnsemble",
            Op::Recurrent(r) => match r.cell {
                Cell::Rnn => "Rnn",
                Cell::Gru { .. } => "Gru",
                Cell::Lstm => "Lstm",
            },
        }
    }

    /// Number of inputs; `None` for operators that take any number.
    pub fn arity(&self) -> Option<usize> {
        Some(match self {
            Op::Conv(Conv { bias, dynamic, .. }) | Op::MatMul(MatMul { bias, dynamic, .. }) => {
                2 + usize::from(*bias) + 2 * usize::from(*dynamic)
            }
            Op::Binary(_) | Op::Gather { .. } | Op::Range | Op::Table => 2,
            Op::Where => 3,
            Op::LayerNorm { bias, .. } => 2 + usize::from(*bias),
            Op::Recurrent(r) => {
                3 + [r.cell == Cell::Lstm, r.bias, r.peepholes, r.lengths].into_iter().map(usize::from).sum::<usize>()
            }
            Op::TreeEnsemble { .. } => 6,
            Op::Concat { .. } => return None,
            _ => 1,
        })
    }

    /// Number of outputs.
    pub fn output_count(&self) -> usize {
        match self {
            Op::DynamicQuantize => 3,
            Op::Recurrent(r) if r.cell == Cell::Lstm => 3,
            Op::Recurrent(_) => 2,
            _ => 1,
        }
    }

    /// Whether the operator only moves elements, so that it commutes with any elementwise function.
    pub fn is_data_movement(&self) -> bool {
        matches!(self, Op::Reshape | Op::Transpose { .. } | Op::Expand | Op::Slice { .. })
    }
}

impl BinaryOp {
    /// Whether the result is bool.
    pub fn is_predicate(self) -> bool {
        use BinaryOp::*;
        matches!(self, Equal | Less | LessOrEqual | Greater | GreaterOrEqual | And | Or | Xor)
    }
}

fn binary_name(op: BinaryOp) -> &'static str {
    match op {
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
    }
}

fn unary_name(op: Unary) -> &'static str {
    match op {
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
    }
}

fn reduce_name(op: ReduceOp) -> &'static str {
    match op {
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
