//! Folds `Dequantize → operator → Quantize` into operators on integers.
//!
//! What changes numerically, against computing the float operator between the two:
//! * Conv and MatMul: the integer sum is exact, where the float one rounds at each step; it is multiplied by `sx·sw/sy`, rounded
//!   once in f32. Both results are within a few ulp of the real number before they are rounded to an integer, so that they
//!   differ by at most one unit of the output's scale, and only where the real number lies that close to a tie.
//!   A bias that is not in units of `sx·sw` is rounded to them: at most half a unit, `sx·sw/(2·sy)` of an output unit.
//! * Averages and sums: as Conv.
//! * Everything else computes the same real function of the same dequantized numbers and rounds it once: equal bits.
//!
//! Conv and MatMul whose result is not quantized become integer products that give f32.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{
    Pass,
    common::{byte_range, dequantized, label, scalar},
    linear::Linear,
    qdq_linear,
    rewrite::Rewrite,
};
use crate::{
    error::Result,
    graph::{
        Graph, Node, Op, Quant, ValueId,
        ops::{BinaryOp, PoolKind, ReduceOp, Unary},
    },
    tensor::{DType, Tensor},
};

/// See the module's documentation.
pub(super) struct FoldQuantization {
    /// Whether to say which operators stay float: once, after the last chance.
    pub report_refusals: bool,
}

/// Why an operator stays as it is; `None` if nobody would expect anything else.
pub(super) type Refusal = Option<String>;

impl Pass for FoldQuantization {
    fn name(&self) -> &'static str {
        "fold-quantization"
    }

    fn run(&self, graph: &mut Graph, changes: &mut Vec<String>) -> Result<()> {
        let mut rw = Rewrite::new(graph);
        for i in 0..rw.len() {
            let Some(node) = rw.node(i) else { continue };
            let name = label(node);
            let outcome = match node.op {
                Op::Quantize => requantize(&mut rw, i),
                Op::Conv(_) | Op::MatMul(_) => match Linear::of(&rw, i) {
                    Some(linear) => qdq_linear::fold(&mut rw, i, linear)?,
                    None => continue,
                },
                _ => fold(&mut rw, i)?,
            };
            match outcome {
                Ok(what) => changes.push(format!("{name}: {what}")),
                Err(Some(reason)) if self.report_refusals => changes.push(format!("{name} stays float: {reason}")),
                Err(_) => {}
            }
        }
        rw.finish()
    }
}

/// Scale and zero point of an 8-bit value that is quantized per tensor.
pub(super) fn quant8(rw: &Rewrite, v: ValueId) -> Option<(f32, i32)> {
    byte_range(rw.dtype(v))?;
    rw.quant(v)?.as_per_tensor()
}

/// The Quantize that is all that reads `v`, and gives 8 bits per tensor.
pub(super) fn quantizer(rw: &Rewrite, v: ValueId) -> Option<usize> {
    let user = rw.only_user(v)?;
    let node = rw.node(user)?;
    (node.op == Op::Quantize && quant8(rw, node.outputs[0]).is_some()).then_some(user)
}

/// `Dequantize → Quantize`: nothing, or a change of scale.
fn requantize(rw: &mut Rewrite, i: usize) -> core::result::Result<String, Refusal> {
    let node = rw.node(i).ok_or(None)?;
    let (x, y) = (node.inputs[0], node.outputs[0]);
    let q = dequantized(rw, x).ok_or(None)?;
    let same = rw.dtype(q) == rw.dtype(y) && rw.quant(q) == rw.quant(y);
    // Each graph output needs a node of its own that writes it.
    if same && (!rw.is_output(y) || (rw.producer(q).is_some() && !rw.is_output(q))) {
        rw.redirect(y, q);
        return Ok("removed, it undoes a Dequantize".into());
    }
    if quant8(rw, q).is_none() || quant8(rw, y).is_none() {
        return Err(None);
    }
    rw.update(i, Op::Unary(Unary::Identity), Vec::from([q]));
    Ok("changes the scale of integers directly".into())
}

fn fold(rw: &mut Rewrite, i: usize) -> Result<core::result::Result<String, Refusal>> {
    let Some(node) = rw.node(i) else { return Ok(Err(None)) };
    let node = node.clone();
    let reads_integers = node.inputs.iter().any(|v| dequantized(rw, *v).is_some());
    if !reads_integers || !can_be_integer(&node.op) {
        return Ok(Err(None));
    }
    let output = node.outputs[0];
    let target = quantizer(rw, output);
    // A function of one byte is a table, whatever it gives.
    let is_table = matches!(node.op, Op::Unary(f) if !matches!(f, Unary::Not | Unary::IsNan | Unary::IsInf | Unary::Identity));
    if target.is_none() && !is_table {
        return Ok(Err(Some("its result is not quantized".to_string())));
    }
    let mut inputs = Vec::with_capacity(node.inputs.len());
    for &v in &node.inputs {
        match integers(rw, &node, v)? {
            Ok(q) => inputs.push(q),
            Err(reason) => return Ok(Err(Some(reason))),
        }
    }
    rw.update(i, node.op, inputs);
    if let Some(target) = target {
        rw.take_output(i, target);
        return Ok(Ok("computes on integers".into()));
    }
    Ok(Ok("reads integers directly".into()))
}

/// Operators, beside Conv and MatMul, that have a kernel from quantized inputs to a quantized output.
fn can_be_integer(op: &Op) -> bool {
    match op {
        Op::Binary(b) => {
            use BinaryOp::*;
            matches!(b.op, Add | Sub | Mul | Div | Min | Max | Pow)
        }
        Op::Unary(_) | Op::Softmax { .. } | Op::Concat { .. } => true,
        Op::Pool(p) => matches!(p.kind, PoolKind::Average { .. }),
        Op::Reduce { op, .. } => matches!(op, ReduceOp::Mean),
        _ => false,
    }
}

/// The quantized value behind operand `v`, which must be one.
fn integers(rw: &mut Rewrite, node: &Node, v: ValueId) -> Result<core::result::Result<ValueId, String>> {
    if let Some(q) = dequantized(rw, v) {
        let usable = quant8(rw, q).is_some();
        return Ok(if usable { Ok(q) } else { Err(format!("'{}' is not quantized to 8 bits per tensor", rw.name(q))) });
    }
    // One number c is exactly (1 − 0)·c or, if negative, (0 − 1)·|c|.
    if let (Op::Binary(_), Some(c)) = (&node.op, scalar(rw, v))
        && c.is_finite()
        && (c == 0.0 || c.abs() >= f32::MIN_POSITIVE)
    {
        let shape = rw.ty(v).fixed_shape().unwrap_or_default();
        let scale = if c == 0.0 { 1.0 } else { c.abs() };
        let (stored, zero) = if c < 0.0 { (0u8, 1) } else { (u8::from(c > 0.0), 0) };
        let tensor = Tensor::from_slice(&shape, &[stored])?;
        let name = String::from(rw.name(v));
        return Ok(Ok(rw.add_values(|g| g.add_quantized_const(name, &tensor, Some(Quant::per_tensor(scale, zero))))));
    }
    Ok(Err(match rw.dtype(v) {
        DType::F32 => format!("its operand '{}' is float32", rw.name(v)),
        other => format!("its operand '{}' is {other}", rw.name(v)),
    }))
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "qdq_fold_tests.rs"]
mod tests;
