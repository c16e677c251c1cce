//! Rules of [`own`](super::own) for attention, vision and other newer operators.

use alloc::{vec, vec::Vec};

use tract_onnx::{
    tract_core::internal::*,
    tract_hir::{
        infer::{Factoid, InferenceFact},
        internal::GenericFactoid,
    },
};

use super::{
    gather_blocks,
    node::OnnxNode,
    own::{Facts, Rule, operand, typed_like},
    weights,
};

/// All of them.
pub(super) const NAMES: &[&str] = &[
    "Attention",
    "GroupQueryAttention",
    "RotaryEmbedding",
    "BiasAdd",
    "MatMulNBits",
    "GatherBlockQuantized",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
    "BatchNormalization",
    "BiasSplitGelu",
    "ImageScaler",
    "CumProd",
    "SwiGLU",
    "TensorScatter",
    "RoiAlign",
    "DeformConv",
    "AffineGrid",
    "MaxUnpool",
    "Col2Im",
    "CenterCropPad",
    "BitCast",
    "CausalConvWithState",
    "Det",
];

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Attention" => attention,
        "GroupQueryAttention" => grouped,
        "CumProd" | "SwiGLU" | "TensorScatter" | "RotaryEmbedding" | "BiasAdd" | "ImageScaler" => |node, inputs| {
            let fact = needed(node, inputs, 0)?;
            Ok(tvec!(InferenceFact { value: GenericFactoid::Any, ..fact.clone() }))
        },
        "BatchNormalization" => |node, inputs| {
            let x = needed(node, inputs, 0)?;
            let statistics = InferenceFact { value: GenericFactoid::Any, ..needed(node, inputs, 3)?.clone() };
            let y = InferenceFact { value: GenericFactoid::Any, ..x.clone() };
            Ok(present(node, core::iter::once(y).chain(core::iter::repeat_n(statistics, 4))))
        },
        "GatherBlockQuantized" => |node, inputs| {
            let mut out = typed_like(needed(node, inputs, 2)?);
            let table = needed(node, inputs, 0)?.shape.concretize();
            if let (Some(table), Some(indices)) = (table, needed(node, inputs, 1)?.shape.concretize()) {
                let mut shape: TVec<TDim> = table.into_iter().collect();
                let axis = node.int("gather_axis").unwrap_or(0);
                let axis = usize::try_from(if axis < 0 { axis + shape.len() as i64 } else { axis }).ok();
                let axis = axis.filter(|a| *a < shape.len()).context("an axis is out of range")?;
                let last = shape.last_mut().context("a scalar table")?;
                *last = last.clone() * gather_blocks::per_byte(node);
                out.shape =
                    shape[..axis].iter().chain(&indices).chain(&shape[axis + 1..]).cloned().collect::<TVec<TDim>>().into();
            }
            Ok(tvec!(out))
        },
        "MatMulNBits" => |node, inputs| {
            one(node, inputs, |x| {
                let mut out: TVec<TDim> = x.iter().cloned().collect();
                *out.last_mut().context("a scalar")? =
                    node.int("N").filter(|n| *n > 0).context("the size 'N' is missing")?.to_dim();
                Ok(Some(out))
            })
        },
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => |node, inputs| {
            let x = needed(node, inputs, 0)?;
            let like = || InferenceFact { value: GenericFactoid::Any, ..x.clone() };
            Ok(present(node, [like(), typed_like(x), typed_like(x), like()]))
        },
        "BiasSplitGelu" => |node, inputs| {
            one(node, inputs, |x| {
                let mut out: TVec<TDim> = x.iter().cloned().collect();
                let last = out.last_mut().context("a scalar")?;
                *last = last.clone() / 2;
                Ok(Some(out))
            })
        },
        "RoiAlign" => |node, inputs| {
            one(node, inputs, |x| {
                let boxes = needed(node, inputs, 1)?.shape.concretize();
                let size = |name: &str| node.int(name).unwrap_or(1).to_dim();
                Ok(boxes.map(|b| [b.first().cloned(), x.get(1).cloned()]).and_then(|ends| match ends {
                    [Some(count), Some(channels)] => Some(tvec!(count, channels, size("output_height"), size("output_width"))),
                    _ => None,
                }))
            })
        },
        "DeformConv" => |node, inputs| {
            one(node, inputs, |x| {
                let Some(w) = needed(node, inputs, 1)?.shape.concretize() else { return Ok(None) };
                let (rank, n) = (x.len(), x.len().saturating_sub(2));
                ensure!(w.len() == rank && n > 0, "a weight of rank {} for an input of rank {rank}", w.len());
                let (strides, dilations, pads) =
                    (list(node, "strides", n, 1)?, list(node, "dilations", n, 1)?, list(node, "pads", 2 * n, 0)?);
                let mut out = tvec!(x[0].clone(), w[0].clone());
                for i in 0..n {
                    let span = (w[i + 2].clone() - 1) * dilations[i] + 1;
                    out.push((x[i + 2].clone() + (pads[i] + pads[n + i]) - span) / strides[i] + 1);
                }
                Ok(Some(out))
            })
        },
        "AffineGrid" => |node, inputs| {
            one(node, inputs, |theta| {
                let Some(size) = constant(node, inputs, 1)? else { return Ok(None) };
                ensure!(size.len() > 2 && !theta.is_empty(), "a size of {} numbers", size.len());
                let mut out = tvec!(theta[0].clone());
                out.extend(size[2..].iter().map(|d| d.to_dim()));
                out.push((size.len() - 2).to_dim());
                Ok(Some(out))
            })
        },
        "MaxUnpool" => |node, inputs| {
            one(node, inputs, |x| {
                if operand(node, inputs, 2).is_some() {
                    return Ok(constant(node, inputs, 2)?.map(|s| s.iter().map(|d| d.to_dim()).collect()));
                }
                let n = x.len().saturating_sub(2);
                let (kernel, strides, pads) =
                    (list(node, "kernel_shape", n, 1)?, list(node, "strides", n, 1)?, list(node, "pads", 2 * n, 0)?);
                let mut out: TVec<TDim> = x.iter().take(2).cloned().collect();
                for i in 0..n {
                    out.push((x[i + 2].clone() - 1) * strides[i] + (kernel[i] - pads[i] - pads[n + i]));
                }
                Ok(Some(out))
            })
        },
        "Col2Im" => |node, inputs| {
            one(node, inputs, |x| {
                let (Some(image), Some(block)) = (constant(node, inputs, 1)?, constant(node, inputs, 2)?) else {
                    return Ok(None);
                };
                let area = block.iter().try_fold(1i64, |a, &b| a.checked_mul(b)).filter(|a| *a > 0);
                ensure!(x.len() == 3, "an input of rank {}", x.len());
                let area = area.context("a block without size")?;
                let mut out = tvec!(x[0].clone(), x[1].clone() / area);
                out.extend(image.iter().map(|d| d.to_dim()));
                Ok(Some(out))
            })
        },
        "CenterCropPad" => |node, inputs| {
            one(node, inputs, |x| {
                let Some(sizes) = constant(node, inputs, 1)? else { return Ok(None) };
                let rank = x.len() as i64;
                let axes = node.ints("axes").map_or_else(|| (0..rank).collect(), <[i64]>::to_vec);
                ensure!(axes.len() == sizes.len(), "{} sizes for {} axes", sizes.len(), axes.len());
                let mut out: TVec<TDim> = x.iter().cloned().collect();
                for (axis, size) in axes.iter().zip(&sizes) {
                    let index = usize::try_from(if *axis < 0 { axis + rank } else { *axis }).ok();
                    ensure!(*size >= 0, "a size of {size}");
                    *index.and_then(|i| out.get_mut(i)).context("an axis is out of range")? = size.to_dim();
                }
                Ok(Some(out))
            })
        },
        "BitCast" => |node, inputs| {
            let dtype = i32::try_from(node.int("to").unwrap_or(0)).ok().and_then(|code| weights::supported(code).ok());
            let dtype = dtype.context("a type that is not supported")?;
            Ok(tvec!(InferenceFact::dt(weights::datum_of(dtype)).with_shape(needed(node, inputs, 0)?.shape.clone())))
        },
        "CausalConvWithState" => |node, inputs| {
            let x = needed(node, inputs, 0)?;
            let mut state = typed_like(x);
            if let (Some(x), Some(w)) = (x.shape.concretize(), needed(node, inputs, 1)?.shape.concretize()) {
                ensure!(x.len() == 3 && w.len() == 3, "operands of rank {} and {}", x.len(), w.len());
                state.shape = tvec!(x[0].clone(), x[1].clone(), w[2].clone() - 1).into();
            }
            Ok(present(node, [InferenceFact { value: GenericFactoid::Any, ..x.clone() }, state]))
        },
        "Det" => |node, inputs| {
            one(node, inputs, |x| {
                ensure!(x.len() >= 2, "an input of rank {}", x.len());
                Ok(Some(x[..x.len() - 2].iter().cloned().collect()))
            })
        },
        _ => return None,
    })
}

fn needed<'a>(node: &OnnxNode, inputs: &[&'a InferenceFact], i: usize) -> TractResult<&'a InferenceFact> {
    operand(node, inputs, i).with_context(|| format!("input {i} is missing"))
}

/// The facts of those outputs that the node has.
fn present(node: &OnnxNode, facts: impl IntoIterator<Item = InferenceFact>) -> Facts {
    let there = |i: usize| node.outputs.get(i).copied().flatten().is_some();
    facts.into_iter().enumerate().filter(|(i, _)| there(*i)).map(|(_, f)| f).collect()
}

/// One output of the first operand's type, whose shape follows from that operand's.
fn one(
    node: &OnnxNode,
    inputs: &[&InferenceFact],
    shape: impl FnOnce(&[TDim]) -> TractResult<Option<TVec<TDim>>>,
) -> TractResult<Facts> {
    let x = needed(node, inputs, 0)?;
    let mut out = typed_like(x);
    if let Some(found) = x.shape.concretize().map(|x| shape(&x)).transpose()?.flatten() {
        out.shape = found.into();
    }
    Ok(tvec!(out))
}

/// An operand's integers, if they are known.
fn constant(node: &OnnxNode, inputs: &[&InferenceFact], i: usize) -> TractResult<Option<Vec<i64>>> {
    let Some(value) = needed(node, inputs, i)?.value.concretize() else { return Ok(None) };
    let value = value.cast_to_dt(DatumType::I64)?;
    let values = value.try_as_plain_ram()?.as_slice::<i64>()?.to_vec();
    ensure!(values.iter().all(|v| v.unsigned_abs() < 1 << 31), "{values:?} are not sizes");
    Ok(Some(values))
}

fn list(node: &OnnxNode, name: &str, len: usize, default: i64) -> TractResult<Vec<i64>> {
    let values = node.ints(name).filter(|v| !v.is_empty()).map_or(vec![default; len], <[i64]>::to_vec);
    ensure!(values.len() == len, "{} {name} instead of {len}", values.len());
    Ok(values)
}

/// Y, the keys and values so far, and the scores.
fn attention(node: &OnnxNode, inputs: &[&InferenceFact]) -> TractResult<Facts> {
    let shapes: Vec<Option<TVec<TDim>>> =
        (0..3).map(|i| Ok(needed(node, inputs, i)?.shape.concretize())).collect::<TractResult<_>>()?;
    let blank = || typed_like(inputs[0]);
    let (Some(q), Some(k), Some(v)) = (&shapes[0], &shapes[1], &shapes[2]) else {
        return Ok(present(node, [blank(), blank(), blank(), blank()]));
    };
    let split = |x: &[TDim], heads: &str| -> TractResult<[TDim; 4]> {
        match x {
            [batch, steps, width] => {
                let heads = node.int(heads).filter(|h| *h > 0).with_context(|| format!("{heads} is missing"))?;
                Ok([batch.clone(), heads.to_dim(), steps.clone(), width.clone() / heads])
            }
            [b, h, s, d] => Ok([b.clone(), h.clone(), s.clone(), d.clone()]),
            _ => bail!("operands of rank {} instead of 3 or 4", x.len()),
        }
    };
    let [batch, heads, steps, _] = split(q, "q_num_heads")?;
    let (mut key, mut value) = (split(k, "kv_num_heads")?, split(v, "kv_num_heads")?);
    for (i, joined) in [(4, &mut key), (5, &mut value)] {
        if let Some(past) = operand(node, inputs, i) {
            let Some(past) = past.shape.concretize() else { return Ok(present(node, [blank(), blank(), blank(), blank()])) };
            joined[2] = joined[2].clone() + past.get(2).context("a cache of another rank than 4")?;
        }
    }
    let width = value[3].clone();
    let y: TVec<TDim> = if q.len() == 3 {
        let count = heads.to_i64().context("the number of heads is not known")?;
        tvec!(batch.clone(), steps.clone(), width * count)
    } else {
        tvec!(batch.clone(), heads.clone(), steps.clone(), width)
    };
    let scores = tvec!(batch, heads, steps, key[2].clone());
    let cache = |x: [TDim; 4]| TVec::from_iter(x);
    let all = [y, cache(key), cache(value), scores].map(|shape| {
        let mut fact = blank();
        fact.shape = shape.into();
        fact
    });
    Ok(present(node, all))
}

/// Y, and the cache of keys and of values: as long as it was, or as the total length, if that is more.
fn grouped(node: &OnnxNode, inputs: &[&InferenceFact]) -> TractResult<Facts> {
    let query = needed(node, inputs, 0)?;
    let blank = || typed_like(query);
    let total = match needed(node, inputs, 6)?.value.concretize() {
        Some(value) => value.cast_to_dt(DatumType::TDim)?.try_as_plain_ram()?.as_slice::<TDim>()?.first().cloned(),
        None => None,
    };
    let Some(q) = query.shape.concretize() else { return Ok(present(node, [blank(), blank(), blank()])) };
    let heads = |name: &str| node.int(name).filter(|h| *h > 0).with_context(|| format!("{name} is missing"));
    let (many, few) = (heads("num_heads")?, heads("kv_num_heads")?);
    let [batch, steps, width] = q.as_slice() else { bail!("a query of rank {} instead of 3", q.len()) };
    let packed = operand(node, inputs, 1).is_none();
    let size = width.clone() / if packed { many + 2 * few } else { many };
    let mut y = blank();
    y.shape = tvec!(batch.clone(), steps.clone(), size.clone() * many).into();
    let (mut key, mut value) = (blank(), blank());
    for (i, fact) in [(3, &mut key), (4, &mut value)] {
        let past = match operand(node, inputs, i).map(|p| p.shape.concretize()) {
            Some(Some(past)) => past.get(2).context("a cache of another rank than 4")?.clone(),
            Some(None) => continue,
            None => TDim::from(0),
        };
        let Some(total) = total.clone() else { continue };
        let more = total.clone() - &past;
        let length = match more.to_i64() {
            Ok(more) if more < 0 => past,
            Ok(_) => total,
            Err(_) => TDim::Max(vec![past, total]),
        };
        fact.shape = tvec!(batch.clone(), few.to_dim(), length, size.clone()).into();
    }
    Ok(present(node, [y, key, value]))
}
