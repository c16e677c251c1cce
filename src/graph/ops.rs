//! The closed set of operators. They say what is computed on real numbers; how numbers are represented is the value types' business.
//!
//! A value whose type carries a [`Quant`](super::Quant) stands for the real numbers `(stored − zero_point) · scale`.
//! An operator with quantized inputs and output computes on the integers, by the formulas of ONNX's QLinear operators:
//! exact i32 accumulation, one f32 multiplier, round half to even, saturate.

mod elementwise;
mod indexing;
mod products;
mod recurrent;
mod trees;

use alloc::vec::Vec;

pub use elementwise::{Binary, BinaryOp, FloatFormat, ReduceOp, Unary};
pub use indexing::{Combine, GridSample, Interpolation, Outside, RoiAlign};
pub use products::{Activation, Attention, Conv, InstanceNorm, MatMul, Pool, PoolKind, Window};
pub use recurrent::{Cell, Recurrent};
use serde::{Deserialize, Serialize};
pub use trees::{Aggregate, NodeMode};

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
    /// The same bytes under the output's [`Quant`](super::Quant), or as another type of the same size. Never moves data.
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
    /// Rows of `data [R,…]` replaced by, or combined with, rows of `updates`, one after the other. Inputs: data, the rows' numbers (i64 or
    /// i32, any shape, not negative), updates (the shape of the numbers, then that of a row).
    Scatter {
        /// What becomes of a row and its update.
        combine: Combine,
    },
    /// The largest or smallest entries along `axis`, sorted, as many as the output has; of equal ones the first comes first, and NaN is
    /// larger than any number. Outputs: the entries, their indices (i64).
    TopK {
        /// The axis.
        axis: usize,
        /// The largest instead of the smallest.
        largest: bool,
    },
    /// Running sum or product along `axis`.
    Cumulate {
        /// The axis.
        axis: usize,
        /// The product instead of the sum.
        product: bool,
        /// An entry is not part of its own result.
        exclusive: bool,
        /// From the end to the start.
        reverse: bool,
    },
    /// x `[N,S…,C]` between its pixels. Inputs: x, positions `[N,P…,D]` in pixels from the centre of the first one, along the last of the
    /// D spatial axes first. Output `[N,P…,C]`.
    GridSample(GridSample),
    /// The pooled contents of boxes in x `[N,H,W,C]`, as ONNX's RoiAlign. Inputs: x, boxes `[R,4]`, the image of each (i64 `[R]`).
    /// Output `[R,OH,OW,C]`.
    RoiAlign(RoiAlign),
    /// `softmax(q·kᵀ · scale + mask) · v` for each of some heads, which lie side by side in the rows of all three: q `[…,M,·]`, k `[…,N,·]`,
    /// v `[…,N,·]`, leading dimensions broadcast; then a mask that broadcasts to `[…,heads,M,N]`, with N for its last axis, if `mask`.
    /// Output `[…,M,heads·E]`, all f32 (Vaswani et al., 2017, 3.2.1).
    Attention(Attention),
    /// `(x − mean) / sqrt(variance + epsilon) · scale + bias` over the positions of each channel of each sample. Inputs: x `[N,…,C]`, scale
    /// `[C]`, bias `[C]`, all f32.
    InstanceNorm(InstanceNorm),
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
            Op::Binary(b) => b.op.name(),
            Op::Unary(u) => u.name(),
            Op::Where => "Where",
            Op::Cast => "Cast",
            Op::Reduce { op, .. } => op.name(),
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
            Op::Scatter { .. } => "Scatter",
            Op::TopK { .. } => "TopK",
            Op::Cumulate { product: false, .. } => "CumSum",
            Op::Cumulate { product: true, .. } => "CumProd",
            Op::GridSample(_) => "GridSample",
            Op::RoiAlign(_) => "RoiAlign",
            Op::Attention(_) => "Attention",
            Op::InstanceNorm(_) => "InstanceNorm",
        }
    }

    /// Number of inputs; `None` for operators that take any number.
    pub fn arity(&self) -> Option<usize> {
        Some(match self {
            Op::Conv(Conv { bias, dynamic, .. }) | Op::MatMul(MatMul { bias, dynamic, .. }) => {
                2 + usize::from(*bias) + 2 * usize::from(*dynamic)
            }
            Op::Binary(_) | Op::Gather { .. } | Op::Range | Op::Table | Op::GridSample(_) => 2,
            Op::Where | Op::Scatter { .. } | Op::RoiAlign(_) | Op::InstanceNorm(_) => 3,
            Op::LayerNorm { bias, .. } => 2 + usize::from(*bias),
            Op::Recurrent(r) => {
                3 + [r.cell == Cell::Lstm, r.bias, r.peepholes, r.lengths].into_iter().map(usize::from).sum::<usize>()
            }
            Op::Attention(a) => 3 + usize::from(a.mask),
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
            Op::Recurrent(_) | Op::TopK { .. } => 2,
            _ => 1,
        }
    }

    /// Whether the operator only moves elements, so that it commutes with any elementwise function.
    pub fn is_data_movement(&self) -> bool {
        matches!(self, Op::Reshape | Op::Transpose { .. } | Op::Expand | Op::Slice { .. })
    }
}
