//! Attention with its masks and caches, and rotary embeddings, as ONNX defines them from operator set 23 on.

use alloc::{vec, vec::Vec};

use super::{
    index::{iota, number},
    lower::{Call, Lower, Lowering},
    matmul,
};
use crate::{
    error::{Error, Result, bail, ensure},
    graph::{
        Dim, Op, ValueId, ValueType,
        ops::{BinaryOp, ReduceOp, Unary},
    },
    tensor::{DType, Tensor},
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    Some(match op_type {
        "Attention" => attention,
        "RotaryEmbedding" => rotary,
        _ => return None,
    })
}

/// `[B,S,H·D]` as `[B,H,S,D]`.
fn heads(l: &mut Lower, c: &Call, x: ValueId, attribute: &str) -> Result<ValueId> {
    if l.rank(x) == 4 {
        return Ok(x);
    }
    let Ok([batch, steps, width]) = <[Dim; 3]>::try_from(l.shape(x)) else {
        bail!(InvalidModel, "needs operands of rank 3 or 4, has {}", l.rank(x));
    };
    let Some(heads) = c.node.int(attribute).and_then(|h| usize::try_from(h).ok()).filter(|h| *h > 0) else {
        bail!(InvalidModel, "has operands of rank 3 and no {attribute}");
    };
    let x = l.reshape(c.name(), x, vec![batch, steps, Dim::fixed(heads), width / Dim::fixed(heads)]);
    Ok(l.transpose(c.name(), x, &[0, 2, 1, 3]))
}

pub(super) fn fixed(dim: &Dim, what: &str) -> Result<usize> {
    match dim.as_fixed() {
        Some(n) if n > 0 => Ok(n),
        _ => bail!(Unsupported, "the {what} is not known"),
    }
}

fn product(l: &mut Lower, c: &Call, a: ValueId, b: ValueId, transpose_b: bool) -> Result<ValueId> {
    matmul::emit(l, c, matmul::Operands { a, b, transpose_b, bias: None, dynamic: None, dtype: DType::F32, quant: None })
}

fn join(l: &mut Lower, c: &Call, past: Option<ValueId>, x: ValueId) -> ValueId {
    let Some(past) = past else { return x };
    let mut shape = l.shape(x);
    shape[2] = l.shape(past)[2].clone() + shape[2].clone();
    let ty = ValueType::new(l.dtype(x), shape);
    l.emit(c, Op::Concat { axis: 2 }, &[past, x], ty)
}

/// ONNX's operator.
fn attention(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let flat = l.rank(c.input(0)?) == 3;
    let out = c.out()?;
    ensure!(out.dtype == DType::F32, Unsupported, "attention of {} is not supported", out.dtype);
    let (q, k, v) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let q = heads(l, c, q, "q_num_heads")?;
    let (k, v) = (heads(l, c, k, "kv_num_heads")?, heads(l, c, v, "kv_num_heads")?);
    let caches = [4, 5].map(|i| c.optional(i).is_none_or(|p| l.rank(p) == 4));
    ensure!(caches == [true; 2], InvalidModel, "has a cache of another rank than 4");
    let past = c.optional(4).map(|p| l.shape(p)[2].clone());
    let (key, value) = (join(l, c, c.optional(4), k), join(l, c, c.optional(5), v));
    let (steps, keys) = (l.shape(q)[2].clone(), l.shape(key)[2].clone());
    let bias = bias(l, c, &steps, &keys, past)?;
    let found = attend(l, c, &Operands { q, key, value, bias, sink: None })?;
    let y = if flat { l.transpose(c.name(), found.y, &[0, 2, 1, 3]) } else { found.y };
    let y = l.reshape(c.name(), y, out.shape);
    let shown = match c.node.int("qk_matmul_output_mode").unwrap_or(0) {
        0 => found.raw,
        1 => found.capped,
        2 => found.scores,
        3 => found.weights,
        other => bail!(InvalidModel, "has qk_matmul_output_mode {other}"),
    };
    let all = [y, key, value, shown].into_iter().enumerate();
    Ok(all.filter(|(i, _)| c.wants(*i)).map(|(_, v)| v).collect())
}

/// Queries `[B,H,S,D]`, keys and values `[B,K,T,D]`, what is added to the scores, and a score per head that takes its share of the
/// weights and has no value.
pub(super) struct Operands {
    pub q: ValueId,
    pub key: ValueId,
    pub value: ValueId,
    pub bias: Option<ValueId>,
    pub sink: Option<ValueId>,
}

/// The result `[B,H,S,D]`, and the scores on their way to weights.
pub(super) struct Attended {
    pub y: ValueId,
    pub raw: ValueId,
    pub capped: ValueId,
    pub scores: ValueId,
    pub weights: ValueId,
}

/// `softmax(Q·Kᵀ·scale + bias)·V`. The heads that share a key are rows of one product, so that keys are not repeated.
pub(super) fn attend(l: &mut Lower, c: &Call, operands: &Operands) -> Result<Attended> {
    let &Operands { q, key, value, bias, sink } = operands;
    let ranks = [q, key, value].map(|v| l.rank(v));
    let Ok([batch, q_heads, steps, size]) = <[Dim; 4]>::try_from(l.shape(q)) else {
        bail!(InvalidModel, "has a query of rank {}", ranks[0])
    };
    ensure!(ranks == [4; 3], InvalidModel, "has keys and values of rank {} and {}", ranks[1], ranks[2]);
    let (keys, value_size) = (l.shape(key)[2].clone(), l.shape(value)[3].clone());
    let (many, few) = (fixed(&q_heads, "number of heads")?, fixed(&l.shape(key)[1], "number of heads")?);
    ensure!(many.is_multiple_of(few), InvalidModel, "has {many} heads of queries and {few} of keys");
    let rows = Dim::fixed(many / few) * steps.clone();
    let grouped = |last: &Dim| vec![batch.clone(), Dim::fixed(few), rows.clone(), last.clone()];
    let apart = vec![batch.clone(), q_heads, steps.clone(), keys.clone()];

    let scale = match c.node.float("scale") {
        Some(s) if s != 0.0 => s,
        _ => 1.0 / (fixed(&size, "size of a head")? as f32).sqrt(),
    };
    let scale = l.f32_scalar(c.name(), scale);
    let q = l.binary(c, BinaryOp::Mul, q, scale);
    let q = l.reshape(c.name(), q, grouped(&size));
    let raw = product(l, c, q, key, true)?;
    let raw = l.reshape(c.name(), raw, apart.clone());
    let softcap = c.node.float("softcap").unwrap_or(0.0);
    let mut capped = raw;
    if softcap > 0.0 {
        let cap = l.f32_scalar(c.name(), softcap);
        let small = l.binary(c, BinaryOp::Div, raw, cap);
        let bounded = l.unary(c, Unary::Tanh, small);
        capped = l.binary(c, BinaryOp::Mul, bounded, cap);
    }
    let scores = bias.map_or(capped, |b| l.binary(c, BinaryOp::Add, capped, b));
    let ty = ValueType::new(DType::F32, apart);
    let mut weights = match sink {
        Some(sink) => {
            let mut wider = l.shape(scores);
            wider[3] = keys.clone() + Dim::fixed(1);
            let wider = ValueType::new(DType::F32, wider);
            let all = l.emit(c, Op::Concat { axis: 3 }, &[scores, sink], wider.clone());
            let all = l.emit(c, Op::Softmax { axis: 3, log: false }, &[all], wider);
            l.emit(c, Op::Slice { axis: 3, start: Dim::fixed(0), step: 1 }, &[all], ty.clone())
        }
        None => l.emit(c, Op::Softmax { axis: 3, log: false }, &[scores], ty.clone()),
    };
    if let Some(bias) = bias.filter(|_| sink.is_none()) {
        // Where everything is masked, nothing is attended to.
        let mut narrow = l.shape(bias);
        let last = narrow.len() - 1;
        narrow[last] = Dim::fixed(1);
        let max = Op::Reduce { op: ReduceOp::Max, axes: vec![last], keep_dims: true };
        let best = l.emit(c, max, &[bias], ValueType::new(DType::F32, narrow));
        let (lowest, zero) = (l.f32_scalar(c.name(), f32::NEG_INFINITY), l.f32_scalar(c.name(), 0.0));
        let masked = l.binary(c, BinaryOp::Equal, best, lowest);
        weights = l.emit(c, Op::Where, &[masked, zero, weights], ty);
    }
    let shared = l.reshape(c.name(), weights, grouped(&keys));
    let y = product(l, c, shared, value, false)?;
    let y = l.reshape(c.name(), y, vec![batch, Dim::fixed(many), steps, value_size]);
    Ok(Attended { y, raw, capped, scores, weights })
}

/// What is added to the scores `[B,H,S,T]`: the mask, and −∞ for keys that come too late, are too far away, or are not there.
fn bias(l: &mut Lower, c: &Call, steps: &Dim, keys: &Dim, past: Option<Dim>) -> Result<Option<ValueId>> {
    let (zero, lowest) = (l.f32_scalar(c.name(), 0.0), l.f32_scalar(c.name(), f32::NEG_INFINITY));
    let choose = |l: &mut Lower, condition: ValueId| {
        let ty = ValueType::new(DType::F32, l.shape(condition));
        l.emit(c, Op::Where, &[condition, zero, lowest], ty)
    };
    let mut sum = None;
    let add = |l: &mut Lower, sum: &mut Option<ValueId>, bias: ValueId| {
        *sum = Some(match *sum {
            Some(other) => l.binary(c, BinaryOp::Add, other, bias),
            None => bias,
        });
    };
    if let Some(mask) = c.optional(3) {
        let mask = if l.dtype(mask) == DType::Bool { choose(l, mask) } else { l.cast(c, mask, DType::F32) };
        ensure!(l.rank(mask) > 0, InvalidModel, "has a scalar mask");
        let mask = lengthened(l, c, mask, keys);
        add(l, &mut sum, mask);
    }
    let lengths = match c.optional(6) {
        Some(v) => {
            let v = l.cast(c, v, DType::I64);
            let [batch] =
                <[Dim; 1]>::try_from(l.shape(v)).map_err(|_| Error::InvalidModel("has lengths that are no list".into()))?;
            Some(l.reshape(c.name(), v, vec![batch, Dim::fixed(1), Dim::fixed(1), Dim::fixed(1)]))
        }
        None => None,
    };
    let causal = c.node.flag("is_causal", false);
    let window = |name: &str| c.node.int(name).filter(|w| *w >= 0);
    let (left, right) = (window("left_window_size"), window("right_window_size"));
    if causal || left.is_some() || right.is_some() || lengths.is_some() {
        let at = iota(l, c, keys.clone(), 1, 2)?;
        let mut row = iota(l, c, steps.clone(), 0, 2)?;
        let first = match (past, lengths) {
            (Some(past), _) => Some(number(l, c, past)),
            (None, Some(lengths)) => {
                let steps = number(l, c, steps.clone());
                Some(l.binary(c, BinaryOp::Sub, lengths, steps))
            }
            (None, None) => None,
        };
        if let Some(first) = first {
            row = l.binary(c, BinaryOp::Add, row, first);
        }
        // How far a key lies before its query.
        let before = l.binary(c, BinaryOp::Sub, row, at);
        let right = if causal { Some(right.map_or(0, |r| r.min(0))) } else { right };
        for (bound, op) in [(right.map(|r| -r), BinaryOp::GreaterOrEqual), (left, BinaryOp::LessOrEqual)] {
            if let Some(bound) = bound {
                let bound = l.graph.add_const(c.name(), &Tensor::scalar(bound));
                let seen = l.binary(c, op, before, bound);
                let part = choose(l, seen);
                add(l, &mut sum, part);
            }
        }
        if let Some(lengths) = lengths {
            let there = l.binary(c, BinaryOp::Less, at, lengths);
            let part = choose(l, there);
            add(l, &mut sum, part);
        }
    }
    Ok(sum)
}

/// A mask over fewer keys than there are hides the others.
pub(super) fn lengthened(l: &mut Lower, c: &Call, mask: ValueId, keys: &Dim) -> ValueId {
    let mut shape = l.shape(mask);
    let last = shape.len() - 1;
    if shape[last] == *keys || shape[last].as_fixed() == Some(1) {
        return mask;
    }
    let mut pads = vec![(Dim::fixed(0), Dim::fixed(0)); shape.len()];
    pads[last].1 = keys.clone() - shape[last].clone();
    shape[last] = keys.clone();
    l.emit(c, Op::Pad { pads, value: f32::NEG_INFINITY }, &[mask], ValueType::new(DType::F32, shape))
}

/// Pairs of numbers turned by angles that depend on the position. A list of one position is that of the first step.
fn rotary(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, out) = (c.input(0)?, c.out()?);
    ensure!(out.dtype == DType::F32, Unsupported, "embeddings of {} are not supported", out.dtype);
    let flat = l.rank(x) == 3;
    let table_width = l.shape(c.input(1)?).last().and_then(Dim::as_fixed).unwrap_or(0);
    let partial = c.node.int("rotary_embedding_dim").is_some_and(|n| n != 0);
    let x = if flat {
        let Ok([batch, steps, width]) = <[Dim; 3]>::try_from(l.shape(x)) else { bail!(Internal, "rank 3") };
        let heads = match c.node.int("num_heads").and_then(|h| usize::try_from(h).ok()).filter(|h| *h > 0) {
            Some(heads) => Dim::fixed(heads),
            None if table_width > 0 && !partial => width.clone() / Dim::fixed(2 * table_width),
            None => bail!(InvalidModel, "has an input of rank 3 and no num_heads"),
        };
        l.reshape(c.name(), x, vec![batch, steps, heads.clone(), width / heads])
    } else {
        x
    };
    ensure!(l.rank(x) == 4, InvalidModel, "has an input of rank {}", l.rank(x));
    let heads_axis = if flat { 2 } else { 1 };
    let steps = l.shape(x)[3 - heads_axis].clone();
    let positions = match c.optional(3) {
        Some(positions) if l.rank(positions) < 2 => {
            let first = l.cast(c, positions, DType::I64);
            let first = l.reshape(c.name(), first, vec![Dim::fixed(1), Dim::fixed(1)]);
            let along = iota(l, c, steps, 1, 2)?;
            Some(l.binary(c, BinaryOp::Add, first, along))
        }
        positions => positions,
    };
    let y = turn(l, c, x, &Turn { tables: [c.input(1)?, c.input(2)?], positions, heads_axis })?;
    Ok(vec![l.reshape(c.name(), y, out.shape)])
}

/// Cosines and sines by position (or, without positions, by batch and step), the positions `[B,S]`, and where the heads are.
pub(super) struct Turn {
    pub tables: [ValueId; 2],
    pub positions: Option<ValueId>,
    pub heads_axis: usize,
}

/// Turns the pairs of each head of x, which has rank 4; the tables' width says how many.
pub(super) fn turn(l: &mut Lower, c: &Call, x: ValueId, how: &Turn) -> Result<ValueId> {
    let shape = l.shape(x);
    let size = fixed(&shape[3], "size of a head")?;
    let turned = match c.node.int("rotary_embedding_dim").unwrap_or(0) {
        0 if how.positions.is_some() => 2 * l.shape(how.tables[0]).last().and_then(Dim::as_fixed).unwrap_or(0),
        0 => size,
        n => usize::try_from(n).unwrap_or(usize::MAX),
    };
    ensure!(turned <= size && turned > 0 && turned.is_multiple_of(2), InvalidModel, "turns {turned} of {size} numbers");
    let half = turned / 2;
    let mut angles = Vec::new();
    for mut table in how.tables {
        ensure!(l.rank(table) > 0, InvalidModel, "has tables of unfit shapes");
        if let Some(positions) = how.positions {
            let positions = l.cast(c, positions, DType::I64);
            let ty = ValueType::new(DType::F32, [&l.shape(positions)[..], &l.shape(table)[1..]].concat());
            table = l.emit(c, Op::Gather { axis: 0 }, &[table, positions], ty);
        }
        let mut along = l.shape(table);
        ensure!(along.len() == 3 && along[2].as_fixed() == Some(half), InvalidModel, "has tables of unfit shapes");
        along.insert(how.heads_axis, Dim::fixed(1));
        angles.push(l.reshape(c.name(), table, along));
    }
    let part = |l: &mut Lower, x: ValueId, axis: usize, start: usize, count: usize| {
        let mut shape = l.shape(x);
        shape[axis] = Dim::fixed(count);
        let ty = ValueType::new(DType::F32, shape);
        l.emit(c, Op::Slice { axis, start: Dim::fixed(start), step: 1 }, &[x], ty)
    };
    let first = if turned == size { x } else { part(l, x, 3, 0, turned) };
    let interleaved = c.node.flag("interleaved", false) || c.node.flag("rotary_interleaved", false);
    let lead = &shape[..3];
    let with = |last: &[usize]| [lead.to_vec(), last.iter().map(|&d| Dim::fixed(d)).collect()].concat();
    let (real, imaginary) = if interleaved {
        let pairs = l.reshape(c.name(), first, with(&[half, 2]));
        let sides = [0, 1].map(|i| part(l, pairs, 4, i, 1));
        let [a, b] = sides.map(|s| l.reshape(c.name(), s, with(&[half])));
        (a, b)
    } else {
        (part(l, first, 3, 0, half), part(l, first, 3, half, half))
    };
    let mut rotate = |op: BinaryOp, a: ValueId, b: ValueId| {
        let (a, b) = (l.binary(c, BinaryOp::Mul, a, angles[0]), l.binary(c, BinaryOp::Mul, b, angles[1]));
        l.binary(c, op, a, b)
    };
    let (real, imaginary) = (rotate(BinaryOp::Sub, real, imaginary), rotate(BinaryOp::Add, imaginary, real));
    let y = if interleaved {
        let sides = [real, imaginary].map(|s| l.reshape(c.name(), s, with(&[half, 1])));
        let ty = ValueType::new(DType::F32, with(&[half, 2]));
        let y = l.emit(c, Op::Concat { axis: 4 }, &sides, ty);
        l.reshape(c.name(), y, with(&[turned]))
    } else {
        let ty = ValueType::new(DType::F32, with(&[turned]));
        l.emit(c, Op::Concat { axis: 3 }, &[real, imaginary], ty)
    };
    if turned == size {
        return Ok(y);
    }
    let rest = part(l, x, 3, turned, size - turned);
    Ok(l.emit(c, Op::Concat { axis: 3 }, &[y, rest], ValueType::new(DType::F32, shape)))
}
