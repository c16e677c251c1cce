//! Convolution, matrix product, attention, pooling and normalisation: windows, and the clamp that is fused into the operator before it.

use serde::{Deserialize, Serialize};

/// See [`Op::Conv`](super::Op::Conv).
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

/// See [`Op::MatMul`](super::Op::MatMul).
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

/// See [`Op::Attention`](super::Op::Attention).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attention {
    /// Number of heads; what leading dimensions count is beside them.
    pub heads: usize,
    /// Elements of a head in q and k.
    pub depth: usize,
    /// The first column of the first head in q, k and v.
    pub columns: [usize; 3],
    /// Multiplies the scores before the mask is added, or divides them if `divide`.
    pub scale: f32,
    /// See `scale`.
    pub divide: bool,
    /// Whether a mask follows v.
    pub mask: bool,
}

/// See [`Op::InstanceNorm`](super::Op::InstanceNorm).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceNorm {
    /// Added to the variance.
    pub epsilon: f32,
    /// Applied to the result.
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

/// See [`Op::Pool`](super::Op::Pool).
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
