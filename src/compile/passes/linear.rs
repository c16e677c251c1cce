//! Conv and MatMul seen alike: operators whose last output axis has a weight column, and perhaps a bias, for each index.

use alloc::{vec, vec::Vec};

use super::rewrite::Rewrite;
use crate::{
    graph::{
        Op, ValueId,
        ops::{Activation, Conv, MatMul},
    },
    tensor::DType,
};

/// A Conv or MatMul node, taken apart.
pub(super) struct Linear {
    pub op: Op,
    pub x: ValueId,
    pub weight: ValueId,
    pub bias: Option<ValueId>,
    /// Scale and zero point of x.
    pub dynamic: Option<[ValueId; 2]>,
    pub output: ValueId,
    pub activation: Activation,
    /// Number of output channels, if known.
    pub channels: Option<usize>,
    /// The axis of the weight that counts output channels.
    pub channel_axis: usize,
}

impl Linear {
    pub fn of(rw: &Rewrite, i: usize) -> Option<Linear> {
        let node = rw.node(i)?;
        let (has_bias, is_dynamic, activation) = match &node.op {
            Op::Conv(c) => (c.bias, c.dynamic, c.activation),
            Op::MatMul(m) => (m.bias, m.dynamic, m.activation),
            _ => return None,
        };
        let mut inputs = node.inputs.iter().copied();
        let (x, weight) = (inputs.next()?, inputs.next()?);
        let bias = if has_bias { Some(inputs.next()?) } else { None };
        let dynamic = if is_dynamic { Some([inputs.next()?, inputs.next()?]) } else { None };
        let rank = rw.rank(weight);
        let channel_axis = match &node.op {
            Op::MatMul(MatMul { transpose_b, .. }) => rank.checked_sub(if *transpose_b { 2 } else { 1 })?,
            _ => 0,
        };
        let output = *node.outputs.first()?;
        let channels = rw.ty(output).shape.last()?.as_fixed();
        Some(Linear { op: node.op.clone(), x, weight, bias, dynamic, output, activation, channels, channel_axis })
    }

    /// Whether the result is f32.
    pub fn gives_f32(&self, rw: &Rewrite) -> bool {
        rw.dtype(self.output) == DType::F32
    }

    /// Writes the parts back to node `i`.
    pub fn store(self, rw: &mut Rewrite, i: usize) {
        let mut inputs: Vec<ValueId> = vec![self.x, self.weight];
        inputs.extend(self.bias);
        inputs.extend(self.dynamic.into_iter().flatten());
        let (bias, dynamic, activation) = (self.bias.is_some(), self.dynamic.is_some(), self.activation);
        let op = match self.op {
            Op::Conv(c) => Op::Conv(Conv { bias, dynamic, activation, ..c }),
            Op::MatMul(m) => Op::MatMul(MatMul { bias, dynamic, activation, ..m }),
            other => other,
        };
        rw.update(i, op, inputs);
    }
}
