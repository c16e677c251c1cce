//! Operators that tract does not know at all: the types and shapes of their results.

use alloc::vec::Vec;

use tract_onnx::{
    tract_core::internal::*,
    tract_hir::{
        infer::{Factoid, InferenceFact},
        internal::GenericFactoid,
    },
};

use super::{narrow, node::OnnxNode, own_shapes, weights};

pub(super) type Facts = TVec<InferenceFact>;

/// Results' facts from operands' facts.
pub(super) type Rule = fn(&OnnxNode, &[&InferenceFact]) -> TractResult<Facts>;

/// Those that have their rule in this file.
const NAMES: &[&str] = &[
    "NegativeLogLikelihoodLoss",
    "SoftmaxCrossEntropyLoss",
    "Compress",
    "Upsample",
    "ReverseSequence",
    "Scaler",
    "TreeEnsembleRegressor",
    "DynamicQuantizeLSTM",
];

/// All of them.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().chain(own_shapes::NAMES).chain(narrow::NAMES).copied()
}

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "NegativeLogLikelihoodLoss" | "SoftmaxCrossEntropyLoss" => loss,
        "Compress" => compress,
        "Upsample" => upsample,
        "Scaler" => |_, inputs| Ok(tvec!(InferenceFact::dt(DatumType::F32).with_shape(at(inputs, 0)?.shape.clone()))),
        "TreeEnsembleRegressor" => |node, inputs| rows(inputs, node.int("n_targets").unwrap_or(1)),
        "ReverseSequence" => |_, inputs| Ok(tvec!(InferenceFact { value: GenericFactoid::Any, ..at(inputs, 0)?.clone() })),
        "DynamicQuantizeLSTM" => recurrent,
        other if narrow::NAMES.contains(&other) => |node, inputs| {
            let code = narrow::result(node).context("a format that is not known")? as i32;
            let dtype = weights::supported(code).map_err(|e| format_err!("{e}"))?;
            Ok(tvec!(InferenceFact::dt(weights::datum_of(dtype)).with_shape(at(inputs, 0)?.shape.clone())))
        },
        other => return own_shapes::rule(other),
    })
}

fn at<'a>(inputs: &[&'a InferenceFact], i: usize) -> TractResult<&'a InferenceFact> {
    inputs.get(i).copied().with_context(|| format!("input {i} is missing"))
}

/// An operand by its position among the operator's inputs, if it is there.
pub(super) fn operand<'a>(node: &OnnxNode, inputs: &[&'a InferenceFact], i: usize) -> Option<&'a InferenceFact> {
    inputs.get(node.inputs.get(i).copied().flatten()?).copied()
}

pub(super) fn typed_like(fact: &InferenceFact) -> InferenceFact {
    InferenceFact { datum_type: fact.datum_type, shape: Default::default(), value: GenericFactoid::Any }
}

/// A scalar, or one number per target; the log-probabilities may follow.
fn loss(node: &OnnxNode, inputs: &[&InferenceFact]) -> TractResult<Facts> {
    let (scores, target) = (at(inputs, 0)?, at(inputs, 1)?);
    let mut out = typed_like(scores);
    out.shape = match node.string("reduction") {
        Some("none") => target.shape.clone(),
        _ => TVec::<TDim>::new().into(),
    };
    let mut all = tvec!(out);
    if node.outputs.len() > 1 {
        all.push(InferenceFact { value: GenericFactoid::Any, ..scores.clone() });
    }
    Ok(all)
}

fn compress(node: &OnnxNode, inputs: &[&InferenceFact]) -> TractResult<Facts> {
    let (x, condition) = (at(inputs, 0)?, at(inputs, 1)?);
    let mut out = typed_like(x);
    if let (Some(mut shape), Some(condition)) = (x.shape.concretize(), condition.value.concretize()) {
        let count = TDim::from(condition.as_bytes().iter().filter(|b| **b != 0).count());
        out.shape = match node.int("axis") {
            Some(axis) => {
                let index = if axis < 0 { axis + shape.len() as i64 } else { axis };
                *usize::try_from(index).ok().and_then(|i| shape.get_mut(i)).context("the axis is out of range")? = count;
                shape.into()
            }
            None => tvec!(count).into(),
        };
    }
    Ok(tvec!(out))
}

fn upsample(node: &OnnxNode, inputs: &[&InferenceFact]) -> TractResult<Facts> {
    let x = at(inputs, 0)?;
    let mut out = typed_like(x);
    let scales: Option<Vec<f32>> = match (node.floats("scales"), inputs.get(1).and_then(|f| f.value.concretize())) {
        (Some(scales), _) => Some(scales.to_vec()),
        (None, Some(tensor)) => Some(tensor.try_as_plain_ram()?.as_slice::<f32>()?.to_vec()),
        (None, None) => None,
    };
    if let (Some(shape), Some(scales)) = (x.shape.concretize(), scales) {
        ensure!(shape.len() == scales.len(), "{} scales for {} axes", scales.len(), shape.len());
        let scaled = shape.iter().zip(&scales).map(|(d, s)| match d.to_i64() {
            Ok(d) => Ok(TDim::from((d as f64 * f64::from(*s)).floor() as i64)),
            Err(_) if s.fract() == 0.0 && *s >= 1.0 => Ok(d.clone() * (*s as i64)),
            Err(_) => bail!("a size that is not known cannot be scaled by {s}"),
        });
        out.shape = scaled.collect::<TractResult<TVec<TDim>>>()?.into();
    }
    Ok(tvec!(out))
}

/// `[N, columns]` of f32 for an input `[N, …]`.
fn rows(inputs: &[&InferenceFact], columns: i64) -> TractResult<Facts> {
    let mut out = InferenceFact::dt(DatumType::F32);
    if let Some(shape) = at(inputs, 0)?.shape.concretize() {
        let n = shape.first().cloned().unwrap_or_else(|| 1.to_dim());
        out.shape = tvec!(n, columns.to_dim()).into();
    }
    Ok(tvec!(out))
}

/// `Y [T, D, B, H]`, and `Y_h`, `Y_c` `[D, B, H]`, as far as they are there.
fn recurrent(node: &OnnxNode, inputs: &[&InferenceFact]) -> TractResult<Facts> {
    let hidden = node.int("hidden_size").context("hidden_size is missing")?.to_dim();
    let weight = operand(node, inputs, 1).context("the weight is missing")?;
    let x = at(inputs, 0)?;
    let whole = match (x.shape.concretize(), weight.shape.concretize()) {
        (Some(x), Some(w)) => match (x.as_slice(), w.first()) {
            ([t, b, _], Some(d)) => Some([t.clone(), d.clone(), b.clone(), hidden]),
            _ => bail!("the input has rank {} instead of 3", x.len()),
        },
        _ => None,
    };
    let present = node.outputs.iter().enumerate().filter(|(_, o)| o.is_some());
    Ok(present
        .map(|(i, _)| {
            let mut out = InferenceFact::dt(DatumType::F32);
            if let Some(whole) = &whole {
                out.shape = TVec::from_iter(whole.iter().skip(usize::from(i > 0)).cloned()).into();
            }
            out
        })
        .collect())
}
