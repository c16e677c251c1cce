//! RNN, GRU and LSTM: per direction one product of the whole input, and one recurrent operator.

use alloc::{vec, vec::Vec};

use super::{
    lower::{Call, Lower, Lowering},
    matmul,
    quant::{dynamic_quantize, quantization},
};
use crate::{
    error::{Result, bail, ensure},
    graph::{
        Dim, Node, Op, ValueId, ValueType,
        ops::{BinaryOp, Cell, Recurrent, Unary},
    },
    tensor::{DType, Tensor},
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    Some(match op_type {
        "RNN" => |l, c| recurrent(l, c, Cell::Rnn),
        "GRU" => |l, c| {
            let reset_after = c.node.flag("linear_before_reset", false);
            recurrent(l, c, Cell::Gru { reset_after })
        },
        "LSTM" | "DynamicQuantizeLSTM" => |l, c| recurrent(l, c, Cell::Lstm),
        _ => return None,
    })
}

/// What all directions share.
struct Shared {
    cell: Cell,
    /// `[T,B,I]`.
    x: ValueId,
    steps: Dim,
    batch: Dim,
    hidden: usize,
    lengths: Option<ValueId>,
    clip: f32,
}

fn recurrent(l: &mut Lower, c: &Call, cell: Cell) -> Result<Vec<ValueId>> {
    let mut x = c.input(0)?;
    ensure!(l.dtype(x) == DType::F32 && l.rank(x) == 3, Unsupported, "needs a float32 input of rank 3");
    ensure!(!c.node.flag("input_forget", false), Unsupported, "coupled input and forget gates are not supported");
    let batch_first = c.node.flag("layout", false);
    if batch_first {
        x = l.transpose(c.name(), x, &[1, 0, 2]);
    }
    let shape = l.shape(x);
    let Some(hidden) = c.node.int("hidden_size").and_then(|h| usize::try_from(h).ok()) else {
        bail!(InvalidModel, "has no hidden_size");
    };
    let lengths = c.optional(4).map(|v| l.cast(c, v, DType::I32));
    let clip = c.node.float("clip").filter(|v| *v > 0.0).unwrap_or(f32::INFINITY);
    let shared = Shared { cell, x, steps: shape[0].clone(), batch: shape[1].clone(), hidden, lengths, clip };
    let reversed: &[bool] = match c.node.string("direction").unwrap_or("forward") {
        "forward" => &[false],
        "reverse" => &[true],
        "bidirectional" => &[false, true],
        other => bail!(InvalidModel, "has the direction '{other}'"),
    };
    let mut parts: [Vec<ValueId>; 3] = Default::default();
    for (d, &reverse) in reversed.iter().enumerate() {
        for (list, value) in parts.iter_mut().zip(direction(l, c, &shared, d, reverse, batch_first)?) {
            list.push(value);
        }
    }
    let mut results = Vec::new();
    for (i, list) in parts.iter().enumerate().filter(|(i, _)| c.wants(*i)) {
        // All states get the axis of directions behind time, the last ones in front.
        let axis = usize::from(i == 0);
        let joined = join(l, c, list, axis)?;
        results.push(match (batch_first, i) {
            (false, _) => joined,
            (true, 0) => l.transpose(c.name(), joined, &[2, 0, 1, 3]),
            (true, _) => l.transpose(c.name(), joined, &[1, 0, 2]),
        });
    }
    Ok(results)
}

fn join(l: &mut Lower, c: &Call, parts: &[ValueId], axis: usize) -> Result<ValueId> {
    let mut lifted = Vec::new();
    for &part in parts {
        let mut shape = l.shape(part);
        shape.insert(axis, Dim::fixed(1));
        lifted.push(l.reshape(c.name(), part, shape));
    }
    let Some(&first) = lifted.first() else { bail!(Internal, "a result has no direction") };
    if lifted.len() == 1 {
        return Ok(first);
    }
    let mut shape = l.shape(first);
    shape[axis] = Dim::fixed(lifted.len());
    Ok(l.emit(c, Op::Concat { axis }, &lifted, ValueType::new(DType::F32, shape)))
}

/// A direction's share of an operand, without the axis of directions.
fn share(l: &mut Lower, c: &Call, v: ValueId, d: usize) -> Result<ValueId> {
    let shape = l.shape(v);
    let (Some(count), rest) = (shape.first().and_then(Dim::as_fixed), shape.get(1..).unwrap_or_default().to_vec()) else {
        bail!(InvalidModel, "an operand has no axis of directions");
    };
    ensure!(d < count, InvalidModel, "an operand has {count} directions");
    if count == 1 {
        return Ok(l.reshape(c.name(), v, rest));
    }
    let dtype = l.dtype(v);
    let one = [&[Dim::fixed(1)], &rest[..]].concat();
    let part = l.emit(c, Op::Slice { axis: 0, start: Dim::fixed(d), step: 1 }, &[v], ValueType::new(dtype, one));
    Ok(l.reshape(c.name(), part, rest))
}

/// Part of a vector.
fn part(l: &mut Lower, c: &Call, v: ValueId, start: usize, len: usize) -> ValueId {
    let ty = ValueType::new(DType::F32, vec![Dim::fixed(len)]);
    l.emit(c, Op::Slice { axis: 0, start: Dim::fixed(start), step: 1 }, &[v], ty)
}

fn direction(l: &mut Lower, c: &Call, s: &Shared, d: usize, reverse: bool, batch_first: bool) -> Result<Vec<ValueId>> {
    let width = s.cell.gates() * s.hidden;
    let bias = match c.optional(3) {
        Some(v) => Some(share(l, c, v, d)?),
        None => None,
    };
    ensure!(
        bias.is_none_or(|b| l.shape(b) == [Dim::fixed(2 * width)]),
        InvalidModel,
        "the bias does not have {} elements per direction",
        2 * width
    );
    let mut recurrent_bias = None;
    let bias = bias.map(|b| {
        let (input, recurrent) = (part(l, c, b, 0, width), part(l, c, b, width, width));
        if matches!(s.cell, Cell::Gru { .. }) {
            recurrent_bias = Some(recurrent);
            input
        } else {
            l.binary(c, BinaryOp::Add, input, recurrent)
        }
    });
    let (gates, weight) = products(l, c, s, d, bias)?;
    let mut inputs = vec![gates, weight];
    inputs.push(state(l, c, s, c.optional(5), d, batch_first)?);
    if s.cell == Cell::Lstm {
        inputs.push(state(l, c, s, c.optional(6), d, batch_first)?);
    }
    inputs.extend(recurrent_bias);
    let peepholes = match c.optional(7).filter(|_| s.cell == Cell::Lstm) {
        Some(v) => Some(share(l, c, v, d)?),
        None => None,
    };
    inputs.extend(peepholes);
    inputs.extend(s.lengths);
    let op = Recurrent {
        cell: s.cell,
        reverse,
        activations: activations(c, s.cell, d)?,
        clip: s.clip,
        bias: recurrent_bias.is_some(),
        peepholes: peepholes.is_some(),
        lengths: s.lengths.is_some(),
    };
    let last = vec![s.batch.clone(), Dim::fixed(s.hidden)];
    let all = [core::slice::from_ref(&s.steps), &last[..]].concat();
    let op = Op::Recurrent(op);
    let mut outputs = vec![l.graph.add_value(c.name(), ValueType::new(DType::F32, all))];
    for _ in 1..op.output_count() {
        outputs.push(l.graph.add_value(c.name(), ValueType::new(DType::F32, last.clone())));
    }
    l.graph.nodes.push(Node { name: c.name().into(), op, inputs, outputs: outputs.clone() });
    Ok(outputs)
}

/// The input's share of the gates, and the recurrent weight `[G·H,H]`.
fn products(l: &mut Lower, c: &Call, s: &Shared, d: usize, bias: Option<ValueId>) -> Result<(ValueId, ValueId)> {
    let (w, r) = (c.input(1)?, c.input(2)?);
    let operands = |a, b| matmul::Operands { a, b, transpose_b: true, bias, dynamic: None, dtype: DType::F32, quant: None };
    if c.node.op_type != "DynamicQuantizeLSTM" {
        let (w, r) = (share(l, c, w, d)?, share(l, c, r, d)?);
        return Ok((matmul::emit(l, c, operands(s.x, w))?, r));
    }
    // Stored [I,G·H]: the input is quantized as a whole; the state, which changes in every step, stays float.
    let [a, scale, zero] = dynamic_quantize(l, c, s.x);
    let w = quantized(l, c, w, d, 8)?;
    let gates = matmul::Operands { transpose_b: false, dynamic: Some((scale, zero)), ..operands(a, w) };
    let gates = matmul::emit(l, c, gates)?;
    let r = quantized(l, c, r, d, 10)?;
    let ty = ValueType::new(DType::F32, l.shape(r));
    let r = l.emit(c, Op::Dequantize, &[r], ty);
    Ok((gates, l.transpose(c.name(), r, &[1, 0])))
}

/// A direction's constant integers under the quantization that inputs `scale` and `scale + 1` give.
fn quantized(l: &mut Lower, c: &Call, v: ValueId, d: usize, scale: usize) -> Result<ValueId> {
    let Some(tensor) = l.graph.const_tensor(v) else { bail!(Unsupported, "a weight that is not constant is not supported") };
    let &[directions, rows, columns] = tensor.shape() else { bail!(InvalidModel, "a weight has rank {}", tensor.shape().len()) };
    ensure!(d < directions, InvalidModel, "a weight has {directions} directions");
    let (Some(scales), Some(zeros)) = (l.const_floats(c.input(scale)?), l.const_ints(c.input(scale + 1)?)) else {
        bail!(Unsupported, "a computed scale of the weight is not supported");
    };
    fn own<T: Clone>(list: &[T], d: usize, directions: usize) -> Vec<T> {
        let n = list.len() / directions;
        list.get(d * n..(d + 1) * n).unwrap_or_default().to_vec()
    }
    let zeros = own(&zeros, d, directions).into_iter().map(|z| z as i32).collect();
    let bytes = &tensor.bytes()[d * rows * columns..(d + 1) * rows * columns];
    let name = l.graph.value(v).name.clone();
    let value = l.graph.add_const(name, &Tensor::from_bytes(tensor.dtype(), &[rows, columns], bytes)?);
    let quant = quantization(l, own(&scales, d, directions), zeros, &l.shape(value), 1)?;
    Ok(l.reinterpret(value, Some(quant)))
}

/// A direction's initial state `[B,H]`; zeros if the model gives none.
fn state(l: &mut Lower, c: &Call, s: &Shared, v: Option<ValueId>, d: usize, batch_first: bool) -> Result<ValueId> {
    match v {
        Some(v) if batch_first => {
            let v = l.transpose(c.name(), v, &[1, 0, 2]);
            share(l, c, v, d)
        }
        Some(v) => share(l, c, v, d),
        None => {
            let zero = l.f32_scalar(c.name(), 0.0);
            let ty = ValueType::new(DType::F32, vec![s.batch.clone(), Dim::fixed(s.hidden)]);
            Ok(l.emit(c, Op::Expand, &[zero], ty))
        }
    }
}

/// The activations of a direction.
fn activations(c: &Call, cell: Cell, d: usize) -> Result<Vec<Unary>> {
    let n = cell.activations();
    let names: Vec<&str> = c.node.strings("activations");
    if names.is_empty() {
        return Ok(match cell {
            Cell::Rnn => vec![Unary::Tanh],
            Cell::Gru { .. } => vec![Unary::Sigmoid, Unary::Tanh],
            Cell::Lstm => vec![Unary::Sigmoid, Unary::Tanh, Unary::Tanh],
        });
    }
    // Alphas and betas are listed for those activations only that have them, over all directions.
    let mut alphas = c.node.floats("activation_alpha").unwrap_or(&[]).iter().copied();
    let mut betas = c.node.floats("activation_beta").unwrap_or(&[]).iter().copied();
    let mut all = Vec::new();
    for name in names {
        let lower = name.to_ascii_lowercase();
        all.push(match lower.as_str() {
            "relu" => Unary::Clamp { lo: 0.0, hi: f32::INFINITY },
            "tanh" => Unary::Tanh,
            "sigmoid" => Unary::Sigmoid,
            "softsign" => Unary::Softsign,
            "softplus" => Unary::Softplus,
            "leakyrelu" => Unary::LeakyRelu { alpha: alphas.next().unwrap_or(0.01) },
            "elu" => Unary::Elu { alpha: alphas.next().unwrap_or(1.0) },
            "hardsigmoid" => Unary::HardSigmoid { alpha: alphas.next().unwrap_or(0.2), beta: betas.next().unwrap_or(0.5) },
            _ => bail!(Unsupported, "the activation {name} is not supported"),
        });
    }
    match all.get(d * n..(d + 1) * n) {
        Some(own) => Ok(own.to_vec()),
        None => bail!(InvalidModel, "has {} activations instead of {n} per direction", all.len()),
    }
}
