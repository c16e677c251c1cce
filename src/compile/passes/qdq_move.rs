//! Brings Dequantize and Quantize next to the operators that can work on integers.
//!
//! A Dequantize sinks, and a Quantize rises, through what only moves, selects or bounds elements. The same elements come out, because
//! moving commutes with any function of one element and selecting with any monotone one; where a constant comes in (padding,
//! a clamp's bounds) it must be a number that the quantized type holds exactly. Exact, and the data moved is a quarter.

use alloc::{format, string::String, vec::Vec};

use super::{
    Pass,
    common::{byte_range, dequantized, representable},
    reshape::kept_axis,
    rewrite::Rewrite,
};
use crate::{
    error::Result,
    graph::{
        Dim, Graph, Op, Quant, ValueId, ValueType,
        ops::{Pool, PoolKind, ReduceOp, Unary},
    },
    tensor::DType,
};

/// See the module's documentation.
pub(super) struct MoveQuantization;

impl Pass for MoveQuantization {
    fn name(&self) -> &'static str {
        "move-quantization"
    }

    fn run(&self, graph: &mut Graph, changes: &mut Vec<String>) -> Result<()> {
        let mut rw = Rewrite::new(graph);
        let (mut sunk, mut risen) = (0, 0);
        for i in 0..rw.len() {
            sunk += usize::from(sink_dequantize(&mut rw, i).is_some());
        }
        for i in (0..rw.len()).rev() {
            let mut open = Vec::from([i]);
            while let Some(raised) = open.pop().and_then(|q| raise_quantize(&mut rw, q)) {
                risen += 1;
                open.extend(raised);
            }
        }
        if sunk + risen > 0 {
            changes.push(format!("Moved {sunk} Dequantize down and {risen} Quantize up, past operators that commute with them"));
        }
        rw.finish()
    }
}

/// Makes node `i` work on the integers before its Dequantize, and puts the Dequantize behind it.
fn sink_dequantize(rw: &mut Rewrite, i: usize) -> Option<()> {
    let node = rw.node(i)?;
    let (op, output) = (node.op.clone(), *node.outputs.first()?);
    let mut inputs = node.inputs.clone();
    let q = dequantized(rw, *inputs.first()?)?;
    let stored = rw.ty(q).clone();
    let quant = stored.quant?;
    let axis = moved_axis(rw, i, &op, q, stored.dtype, &quant)?;
    match op {
        Op::Concat { .. } => {
            for v in &mut inputs {
                *v = dequantized(rw, *v).filter(|v| rw.dtype(*v) == stored.dtype && rw.quant(*v) == Some(&quant))?;
            }
        }
        _ => inputs[0] = q,
    }
    let shape = rw.ty(output).shape.clone();
    let name = rw.node(i)?.name.clone();
    let ty = ValueType { dtype: stored.dtype, shape, quant: Some(Quant { axis, ..quant }) };
    let (old, new) = rw.detach_output(i, 0, ty);
    rw.update(i, op, inputs);
    rw.insert_into(i, &name, Op::Dequantize, &[new], old);
    Some(())
}

/// The axis of the scales behind node `i` if a Dequantize may sink through it.
fn moved_axis(rw: &Rewrite, i: usize, op: &Op, q: ValueId, dtype: DType, quant: &Quant) -> Option<Option<usize>> {
    let output = rw.node(i)?.outputs[0];
    let byte = byte_range(dtype).is_some() && quant.axis.is_none();
    let reader_quantizes = rw.only_user(output).and_then(|u| rw.node(u)).is_some_and(|n| n.op == Op::Quantize);
    let (from, to) = (&rw.ty(q).shape, &rw.ty(output).shape);
    let kept = match op {
        Op::Reshape => match quant.axis {
            Some(axis) => Some(kept_axis(from, to, axis)?),
            None => None,
        },
        Op::Transpose { perm } => match quant.axis {
            Some(axis) => Some(perm.iter().position(|&p| p == axis)?),
            None => None,
        },
        Op::Slice { axis, .. } if quant.axis != Some(*axis) => quant.axis,
        Op::Gather { axis } => match quant.axis {
            Some(a) if a >= *axis => return None,
            other => other,
        },
        Op::Pool(Pool { kind: PoolKind::Max, .. }) | Op::Reduce { op: ReduceOp::Min | ReduceOp::Max, .. } if byte => None,
        Op::Pad { value, .. } if byte && representable(*value, dtype, quant) => None,
        // A Quantize behind makes one table of all three.
        Op::Unary(Unary::Clamp { lo, hi }) if byte && !reader_quantizes && clamps_exactly([*lo, *hi], dtype, quant) => None,
        Op::Concat { .. } if byte && !reader_quantizes => None,
        _ => return None,
    };
    Some(kept)
}

/// Whether clamping the stored integers gives exactly the clamped real numbers.
fn clamps_exactly(bounds: [f32; 2], dtype: DType, quant: &Quant) -> bool {
    let (Some((lo, hi)), Some((scale, zero))) = (byte_range(dtype), quant.as_per_tensor()) else { return false };
    let real = |q: i32| (q - zero) as f32 * scale;
    let [from, to] = bounds;
    let lower = from <= real(lo) || representable(from, dtype, quant);
    let upper = to >= real(hi) || representable(to, dtype, quant);
    lower && upper && from <= to
}

/// Puts the Quantize `i` before the node whose result it reads. Returns the nodes that now quantize.
fn raise_quantize(rw: &mut Rewrite, i: usize) -> Option<Vec<usize>> {
    let node = rw.node(i)?;
    let (x, output, name) = (*node.inputs.first()?, *node.outputs.first()?, node.name.clone());
    let ty = rw.ty(output).clone();
    let quant = ty.quant.clone().filter(|q| q.axis.is_none() && byte_range(ty.dtype).is_some())?;
    if node.op != Op::Quantize || rw.only_user(x) != Some(i) {
        return None;
    }
    let mover = rw.producer(x)?;
    let before = rw.node(mover)?;
    let op = before.op.clone();
    let sources: Vec<ValueId> = before.inputs.clone();
    let is_own = |v: &ValueId| rw.only_user(*v) == Some(mover) || rw.is_input(*v);
    let moves = match &op {
        Op::Reshape | Op::Transpose { .. } | Op::Expand => is_own(&sources[0]),
        Op::Pool(Pool { kind: PoolKind::Max, .. }) | Op::Reduce { op: ReduceOp::Min | ReduceOp::Max, .. } => is_own(&sources[0]),
        Op::Pad { value, .. } => is_own(&sources[0]) && representable(*value, ty.dtype, &quant),
        Op::Unary(Unary::Clamp { lo, hi }) => {
            let bounded = |b: &f32| b.is_infinite() || representable(*b, ty.dtype, &quant);
            is_own(&sources[0]) && dequantized(rw, sources[0]).is_none() && bounded(lo) && bounded(hi)
        }
        // All of them dequantized: the Concat itself will be an integer operator.
        Op::Concat { .. } => sources.iter().all(|v| is_own(v) || dequantized(rw, *v).is_some()) && !all_dequantized(rw, &sources),
        _ => false,
    };
    if !moves || sources.iter().take(1).any(|v| rw.is_const(*v)) {
        return None;
    }
    let mut quantizers = Vec::new();
    let mut inputs = Vec::new();
    for v in sources {
        let shape: Vec<Dim> = rw.ty(v).shape.clone();
        let stored = rw.insert(mover, &name, Op::Quantize, &[v], ValueType { shape, ..ty.clone() });
        quantizers.extend(rw.producer(stored));
        inputs.push(stored);
    }
    rw.update(i, op, inputs);
    Some(quantizers)
}

fn all_dequantized(rw: &Rewrite, values: &[ValueId]) -> bool {
    values.iter().all(|v| dequantized(rw, *v).is_some())
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::compile::passes::testing::{Build, Noise, TO_LAST, apply, difference, run};

    fn kinds(g: &Graph) -> Vec<&'static str> {
        g.nodes.iter().map(|n| n.op.name()).collect()
    }

    #[test]
    fn dequantize_sinks_through_movement_and_exact_bounds() {
        let mut b = Build::default();
        let x = b.input(&[1, 2, 4, 4]);
        let y = b.qdq(x, 0.05, 100);
        let y = b.max_pool(y);
        let y = b.relu(y);
        let pads: Vec<(Dim, Dim)> = (0..4).map(|_| (Dim::fixed(1), Dim::fixed(0))).collect();
        let y = b.node("pad", Op::Pad { pads, value: 0.0 }, &[y], DType::F32, &[2, 3, 3, 3]);
        let y = b.reshape(y, &[6, 9]);
        let mut g = b.finish(y);
        let data = [Noise(1).floats(&[1, 2, 4, 4], 4.0)];
        let before = run(&g, &data);
        apply(&MoveQuantization, &mut g);
        assert_eq!(kinds(&g), ["Quantize", "Transpose", "MaxPool", "Transpose", "Clamp", "Pad", "Reshape", "Dequantize"]);
        assert_eq!(difference(&before, &run(&g, &data)), 0.0);
    }

    #[test]
    fn bound_between_two_integers_stays_a_float_clamp() {
        let mut b = Build::default();
        let x = b.input(&[64]);
        let y = b.qdq(x, 0.05, 100);
        let y = b.unary(Unary::Clamp { lo: 0.0, hi: 6.02 }, y);
        let mut g = b.finish(y);
        apply(&MoveQuantization, &mut g);
        assert_eq!(kinds(&g), ["Quantize", "Dequantize", "Clamp"]);
    }

    #[test]
    fn quantize_rises_to_the_operator_that_computes() {
        let mut b = Build::default();
        let x = b.input(&[1, 2, 4, 4]);
        let y = b.unary(Unary::Exp, x);
        let z = b.unary(Unary::Neg, x);
        let y = b.concat(&[y, z], 1);
        let y = b.max_pool(y);
        let y = b.transpose(y, &TO_LAST);
        let y = b.quantize(y, DType::U8, 0.05, 10);
        let mut g = b.finish(y);
        let data = [Noise(2).floats(&[1, 2, 4, 4], 4.0)];
        let before = run(&g, &data);
        apply(&MoveQuantization, &mut g);
        let expected = ["Exp", "Neg", "Quantize", "Quantize", "Concat", "Transpose", "MaxPool", "Transpose", "Transpose"];
        assert_eq!(kinds(&g), expected);
        assert_eq!(difference(&before, &run(&g, &data)), 0.0);
    }

    #[test]
    fn scales_per_channel_move_with_their_axis() {
        let mut b = Build::default();
        let x = b.input(&[5]);
        let quant = Quant { scale: Vec::from([0.1, 0.2, 0.3]), zero_point: Vec::from([0, 1, 2]), axis: Some(0) };
        let w = b.dq_const(&Noise(3).bytes(DType::I8, &[3, 5]), quant);
        let w = b.transpose(w, &[1, 0]);
        let w = b.reshape(w, &[1, 5, 3]);
        let x = b.reshape(x, &[1, 1, 5]);
        let y = b.matmul(x, w);
        let mut g = b.finish(y);
        let data = [Noise(4).floats(&[5], 1.0)];
        let before = run(&g, &data);
        apply(&MoveQuantization, &mut g);
        let dq = g.nodes.iter().find(|n| n.op == Op::Dequantize).unwrap();
        assert_eq!(g.value(dq.inputs[0]).ty.quant.as_ref().unwrap().axis, Some(2));
        assert_eq!(difference(&before, &run(&g, &data)), 0.0);
    }
}
