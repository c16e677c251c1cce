//! GroupQueryAttention of `com.microsoft`: attention over a cache of keys and values that is kept in place.
//!
//! The cache may be longer than what is in it: `seqlens_k` says how much is. New keys are written behind that, whatever the cache's size,
//! and what lies behind them is hidden.

use alloc::{vec, vec::Vec};

use super::{
    attention::{Operands, Turn, attend, fixed, lengthened, turn},
    index::{iota, number, product},
    lower::{Call, Lower, Lowering},
};
use crate::{
    error::{Result, bail, ensure},
    graph::{
        Dim, Op, ValueId, ValueType,
        dim::Token,
        ops::{BinaryOp, Combine},
    },
    tensor::{DType, Tensor},
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    (op_type == "GroupQueryAttention").then_some(grouped)
}

fn grouped(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let out = c.out()?;
    ensure!(out.dtype == DType::F32, Unsupported, "attention of {} is not supported", out.dtype);
    ensure!(!c.wants(3), Unsupported, "the scores as output are not supported");
    ensure!(c.optional(12).is_none() && c.optional(13).is_none(), Unsupported, "quantized caches are not supported");
    let count = |name: &str| c.node.int(name).and_then(|h| usize::try_from(h).ok()).filter(|h| *h > 0);
    let (Some(many), Some(few)) = (count("num_heads"), count("kv_num_heads")) else {
        bail!(InvalidModel, "lacks num_heads or kv_num_heads");
    };
    let query = c.input(0)?;
    let Ok([batch, steps, width]) = <[Dim; 3]>::try_from(l.shape(query)) else {
        bail!(InvalidModel, "has a query of rank {}", l.rank(query));
    };
    let [q, k, v] = match (c.optional(1), c.optional(2)) {
        (Some(k), Some(v)) => [(query, many), (k, few), (v, few)].map(|(x, heads)| apart(l, c, x, heads)),
        (None, None) => {
            let width = fixed(&width, "width of the query")?;
            ensure!(width.is_multiple_of(many + 2 * few), InvalidModel, "has {width} numbers for {many} + 2 · {few} heads");
            let size = width / (many + 2 * few);
            let mut start = 0;
            [many, few, few].map(|heads| {
                let ty = ValueType::new(DType::F32, vec![batch.clone(), steps.clone(), Dim::fixed(heads * size)]);
                let part = l.emit(c, Op::Slice { axis: 2, start: Dim::fixed(start), step: 1 }, &[query], ty);
                start += heads * size;
                apart(l, c, part, heads)
            })
        }
        _ => bail!(InvalidModel, "has keys or values, not both"),
    };

    // How many steps there were before: the length so far without the steps of this run, which may be filled up at their end.
    let lengths = l.cast(c, c.input(5)?, DType::I64);
    let lengths = l.reshape(c.name(), lengths, vec![batch.clone(), Dim::fixed(1)]);
    let new = number(l, c, steps.clone() - Dim::fixed(1));
    let first = l.binary(c, BinaryOp::Sub, lengths, new);
    let zero = l.graph.add_const(c.name(), &Tensor::scalar(0i64));
    let first = l.binary(c, BinaryOp::Max, first, zero);

    let (mut q, mut k) = (q, k);
    if c.node.flag("do_rotary", false) {
        let positions = match c.optional(9) {
            Some(positions) => positions,
            None => {
                let along = iota(l, c, steps.clone(), 1, 2)?;
                l.binary(c, BinaryOp::Add, first, along)
            }
        };
        let how = Turn { tables: [c.input(7)?, c.input(8)?], positions: Some(positions), heads_axis: 2 };
        [q, k] = [turn(l, c, q, &how)?, turn(l, c, k, &how)?];
    }
    let [q, k, v] = [q, k, v].map(|x| l.transpose(c.name(), x, &[0, 2, 1, 3]));
    let past = [3, 4].map(|i| c.optional(i));
    let length = match c.outputs.get(1).filter(|_| c.wants(1)) {
        Some(present) if present.shape.len() == 4 => present.shape[2].clone(),
        _ => length(l, c, past[0])?,
    };
    let (key, value) = (cached(l, c, past[0], k, first, &length)?, cached(l, c, past[1], v, first, &length)?);

    let at = iota(l, c, length.clone(), 3, 4)?;
    let along = iota(l, c, steps.clone(), 2, 4)?;
    let first = l.reshape(c.name(), first, vec![batch.clone(), Dim::fixed(1), Dim::fixed(1), Dim::fixed(1)]);
    let row = l.binary(c, BinaryOp::Add, first, along);
    let before = l.binary(c, BinaryOp::Sub, row, at);
    let mut seen = l.binary(c, BinaryOp::GreaterOrEqual, before, zero);
    if let Some(window) = c.node.int("local_window_size").filter(|w| *w >= 0) {
        let window = l.graph.add_const(c.name(), &Tensor::scalar(window));
        let near = l.binary(c, BinaryOp::Less, before, window);
        seen = l.binary(c, BinaryOp::And, seen, near);
    }
    let (nothing, lowest) = (l.f32_scalar(c.name(), 0.0), l.f32_scalar(c.name(), f32::NEG_INFINITY));
    let ty = ValueType::new(DType::F32, l.shape(seen));
    let mut bias = l.emit(c, Op::Where, &[seen, nothing, lowest], ty);
    if let Some(given) = c.optional(10) {
        ensure!(l.rank(given) == 4, InvalidModel, "has an attention_bias of rank {}", l.rank(given));
        let given = lengthened(l, c, given, &length);
        bias = l.binary(c, BinaryOp::Add, bias, given);
    }
    let sink = match c.optional(11) {
        Some(sink) => Some(sink),
        None if c.node.flag("smooth_softmax", false) => Some(nothing),
        None => None,
    };
    let sink = sink.map(|sink| {
        let heads = if l.rank(sink) == 0 { 1 } else { many };
        let sink = l.reshape(c.name(), sink, vec![Dim::fixed(1), Dim::fixed(heads), Dim::fixed(1), Dim::fixed(1)]);
        let ty = ValueType::new(DType::F32, vec![batch.clone(), Dim::fixed(many), steps.clone(), Dim::fixed(1)]);
        l.emit(c, Op::Expand, &[sink], ty)
    });
    let found = attend(l, c, &Operands { q, key, value, bias: Some(bias), sink })?;
    let y = l.transpose(c.name(), found.y, &[0, 2, 1, 3]);
    let y = l.reshape(c.name(), y, out.shape);
    let all = [y, key, value].into_iter().enumerate();
    Ok(all.filter(|(i, _)| c.wants(*i)).map(|(_, v)| v).collect())
}

/// `[B,S,H·D]` as `[B,S,H,D]`.
fn apart(l: &mut Lower, c: &Call, x: ValueId, heads: usize) -> ValueId {
    let mut shape = l.shape(x);
    if let Some(width) = shape.pop() {
        shape.extend([Dim::fixed(heads), width / Dim::fixed(heads)]);
    }
    l.reshape(c.name(), x, shape)
}

/// Steps that the cache has room for afterwards: those that it had room for, or as many as there are, if that is more.
fn length(l: &Lower, c: &Call, past: Option<ValueId>) -> Result<Dim> {
    let Some([total]) = l.const_dims(c.input(6)?).and_then(|d| <[Dim; 1]>::try_from(d).ok()) else {
        bail!(Unsupported, "total_sequence_length does not follow from the shapes of inputs");
    };
    Ok(match past.map(|p| l.shape(p)) {
        Some(past) if past.len() == 4 && past[2] != total && past[2].as_fixed() != Some(0) => {
            past[2].clone().combine(Token::Max, total)
        }
        _ => total,
    })
}

/// The cache `[B,K,T,D]` with the new entries `[B,K,S,D]` from step `first` on.
fn cached(l: &mut Lower, c: &Call, past: Option<ValueId>, x: ValueId, first: ValueId, length: &Dim) -> Result<ValueId> {
    let mut shape = l.shape(x);
    let steps = core::mem::replace(&mut shape[2], length.clone());
    let past = past.filter(|&p| l.shape(p).get(2).and_then(Dim::as_fixed) != Some(0));
    let base = past.unwrap_or(x);
    ensure!(l.rank(base) == 4, InvalidModel, "has a cache of rank {}", l.rank(base));
    let room = l.shape(base)[2].clone();
    let ty = ValueType::new(DType::F32, shape.clone());
    let base = if room == *length {
        base
    } else {
        let mut pads = vec![(Dim::fixed(0), Dim::fixed(0)); 4];
        pads[2].1 = length.clone() - room;
        l.emit(c, Op::Pad { pads, value: 0.0 }, &[base], ty.clone())
    };
    if past.is_none() {
        return Ok(base);
    }
    // Rows of the cache, heads and batch included. A step without room has none, and fails when it is run.
    let one = Dim::fixed(1);
    let groups = product(&shape[..2]);
    let head = iota(l, c, groups, 0, 1)?;
    let head = l.reshape(c.name(), head, vec![shape[0].clone(), shape[1].clone(), one.clone()]);
    let room = number(l, c, length.clone());
    let start = l.binary(c, BinaryOp::Mul, head, room);
    let first = l.reshape(c.name(), first, vec![shape[0].clone(), one.clone(), one]);
    let along = iota(l, c, steps, 2, 3)?;
    let at = l.binary(c, BinaryOp::Add, first, along);
    let fits = l.binary(c, BinaryOp::Less, at, room);
    let row = l.binary(c, BinaryOp::Add, start, at);
    let nowhere = l.graph.add_const(c.name(), &Tensor::scalar(-1i64));
    let ty_rows = ValueType::new(DType::I64, l.shape(row));
    let row = l.emit(c, Op::Where, &[fits, row, nowhere], ty_rows);
    let flat = vec![product(&shape[..3]), shape[3].clone()];
    let data = l.reshape(c.name(), base, flat.clone());
    let all = l.emit(c, Op::Scatter { combine: Combine::Set }, &[data, row, x], ValueType::new(DType::F32, flat));
    Ok(l.reshape(c.name(), all, ty.shape))
}
