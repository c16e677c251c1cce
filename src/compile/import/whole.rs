//! ONNX operators as tract sees them: kept whole.
//!
//! tract's own builders expand an operator into several of tract's; undoing that is harder than lowering the ONNX operator.
//! [`Whole`] borrows the builder's inference rules (and its evaluation, for the arithmetic on shapes that exporters write), and otherwise
//! stays one opaque node. Operators that tract does not know are inferred like one that it knows ([`Like`]), or by rules of ours (`own.rs`).

use alloc::{boxed::Box, format, string::String, sync::Arc, vec::Vec};
use std::sync::OnceLock;

use tract_onnx::{
    Onnx,
    model::ParsingContext,
    pb,
    tract_core::internal::*,
    tract_hir::{
        infer::{InferenceFact, InferenceModel, InferenceNode, InferenceOp},
        internal::GenericFactoid,
    },
};

use super::{
    node::OnnxNode,
    own,
    quant_ops::{self, Like, OutType},
    rules,
    weights::{self, WEIGHT_OP},
};
use crate::compile::fallback;

/// tract with its own builders.
pub(super) fn pristine() -> &'static Onnx {
    static ONNX: OnceLock<Onnx> = OnceLock::new();
    ONNX.get_or_init(tract_onnx::onnx)
}

/// tract with every operator that we lower kept whole.
pub(super) fn keeping_all() -> Onnx {
    let mut onnx = quantized_only();
    for name in pristine().op_register.0.keys() {
        let whole = super::lowering(name).is_some() || rules::CHECKED.contains(&name.as_str());
        if whole && Like::of(name).is_none() && own::rule(name).is_none() {
            onnx.op_register.0.insert(name.clone(), build_native);
        }
    }
    onnx.op_register.insert(WEIGHT_OP, build_weight);
    onnx
}

/// tract with the quantized operators and softmax kept whole: everything else is its own.
pub(super) fn quantized_only() -> Onnx {
    let mut onnx = tract_onnx::onnx();
    for name in quant_ops::NAMES {
        onnx.op_register.insert(name, build_like);
    }
    for name in own::names().filter(|n| super::lowering(n).is_some()) {
        onnx.op_register.insert(name, build_own);
    }
    // tract takes a softmax for a function of single elements and moves slices and tables in front of it.
    for name in [EQUAL, "Softmax", "LogSoftmax"] {
        onnx.op_register.insert(name, build_native);
    }
    onnx.ignore_value_info = true;
    onnx
}

/// The one operator of tract's own that must not be folded as tract does: it takes dimensions for different that merely look different.
const EQUAL: &str = "Equal";

/// Dimensions as the numbers that they are in this run.
fn numbers(ctx: &EvalContext, value: TValue) -> TractResult<TValue> {
    if value.datum_type() != DatumType::TDim {
        return Ok(value);
    }
    let mut tensor = value.into_tensor();
    for dim in tensor.try_as_plain_ram_mut()?.as_slice_mut::<TDim>()? {
        *dim = dim.eval(ctx.symbols);
    }
    Ok(tensor.cast_to_dt(DatumType::I64)?.into_owned().into_tvalue())
}

/// Whether two tensors are known to be equal or not, element by element, whatever the sizes of their dimensions.
fn equality_is_known(inputs: &[TValue]) -> TractResult<bool> {
    let [a, b] = inputs else { return Ok(true) };
    if a.datum_type() != DatumType::TDim && b.datum_type() != DatumType::TDim {
        return Ok(true);
    }
    let dims = |t: &TValue| -> TractResult<Vec<TDim>> {
        let t = t.cast_to_dt(DatumType::TDim)?;
        Ok(t.try_as_plain_ram()?.as_slice::<TDim>()?.to_vec())
    };
    let (a, b) = (dims(a)?, dims(b)?);
    let known = |(a, b): (&TDim, &TDim)| {
        let negative = |d: &TDim| d.to_i64().is_ok_and(|v| v < 0);
        a == b || (a.clone() - b).to_i64().is_ok() || (negative(a) && is_size(b)) || (negative(b) && is_size(a))
    };
    Ok(match (a.as_slice(), b.as_slice()) {
        ([a], b) => b.iter().all(|b| known((a, b))),
        (a, [b]) => a.iter().all(|a| known((a, b))),
        (a, b) if a.len() == b.len() => a.iter().zip(b).all(known),
        _ => false,
    })
}

/// Whether the dimension cannot be negative: sizes, and what sums, products and quotients make of them.
fn is_size(dim: &TDim) -> bool {
    match dim {
        TDim::Sym(_) => true,
        TDim::Val(v) => *v >= 0,
        TDim::Add(terms) | TDim::Mul(terms) | TDim::Min(terms) | TDim::Max(terms) | TDim::Broadcast(terms) => {
            terms.iter().all(is_size)
        }
        TDim::MulInt(factor, term) => *factor >= 0 && is_size(term),
        TDim::Div(term, _) => is_size(term),
        TDim::Ge(..) | TDim::Eq(..) => true,
    }
}

type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

fn build_native(ctx: &ParsingContext, node: &pb::NodeProto) -> Built {
    let (inner, closures) = original(ctx, node)?;
    let node = Arc::new(OnnxNode::new(node, ctx.onnx_operator_set_version));
    Ok((Box::new(Whole { node, rules: Rules::Native(inner) }), closures))
}

fn build_like(ctx: &ParsingContext, node: &pb::NodeProto) -> Built {
    let onnx_node = OnnxNode::new(node, ctx.onnx_operator_set_version);
    let like = Like::of(&node.op_type).with_context(|| format!("{} is not one of the quantized operators", node.op_type))?;
    let inputs = like.inputs(&onnx_node).with_context(|| format!("{} lacks inputs", node.op_type))?;
    let twin = pb::NodeProto {
        name: node.name.clone(),
        op_type: like.op_type.into(),
        input: inputs.iter().map(|i| format!("{i}")).collect(),
        output: node.output.clone(),
        attribute: node.attribute.clone(),
        ..Default::default()
    };
    let (inner, _) = original(ctx, &twin)?;
    Ok((Box::new(Whole { node: Arc::new(onnx_node), rules: Rules::Like(inner, like, inputs) }), Vec::new()))
}

fn build_own(ctx: &ParsingContext, node: &pb::NodeProto) -> Built {
    let rule = own::rule(&node.op_type).with_context(|| format!("there is no rule for {}", node.op_type))?;
    let node = Arc::new(OnnxNode::new(node, ctx.onnx_operator_set_version));
    Ok((Box::new(Whole { node, rules: Rules::Own(rule) }), Vec::new()))
}

fn original(ctx: &ParsingContext, node: &pb::NodeProto) -> Built {
    let builder = pristine().op_register.0.get(&node.op_type);
    builder.with_context(|| format!("tract has no builder for {}", node.op_type))?(ctx, node)
}

/// One ONNX node, in tract's graphs before and after typing.
#[derive(Debug, Clone)]
pub(super) struct Whole {
    pub node: Arc<OnnxNode>,
    rules: Rules,
}

/// Where the types and shapes of a node's results come from.
#[derive(Debug, Clone)]
enum Rules {
    /// tract's operator of the same name.
    Native(Box<dyn InferenceOp>),
    /// For a quantized operator: another one of tract's, and which of the inputs that one sees.
    Like(Box<dyn InferenceOp>, Like, Vec<usize>),
    /// A rule of ours.
    Own(own::Rule),
}

impl PartialEq for Whole {
    fn eq(&self, other: &Whole) -> bool {
        Arc::ptr_eq(&self.node, &other.node)
    }
}
impl Eq for Whole {}

type Facts = TVec<InferenceFact>;

/// Elements of a result up to which it is computed while the model is read: the arithmetic on shapes is far below.
const MAX_FOLDED: usize = 1 << 16;

impl Whole {
    /// Whether the results are known to have few elements, so that no model can make tract compute large ones.
    fn is_small(&self, inputs: &[TValue]) -> bool {
        // tract's kernels divide by sizes.
        if inputs.iter().any(|t| t.len() == 0) {
            return false;
        }
        let inputs: Facts = inputs.iter().map(|t| InferenceFact::from((**t).clone())).collect();
        let small = |f: &InferenceFact| {
            let shape = f.shape.as_concrete_finite().ok().flatten();
            shape.is_some_and(|s| s.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).is_some_and(|n| n <= MAX_FOLDED))
        };
        let blank = InferenceFact::default();
        let outputs = (0..self.nboutputs().unwrap_or(0)).map(|_| &blank).collect();
        let found = self.clone().infer_facts(inputs.iter().collect(), outputs, tvec!());
        found.is_ok_and(|(_, outputs, _)| outputs.iter().all(small))
    }

    /// The operands, lists of one as scalars where those are wanted.
    fn scalars(&self, inputs: TVec<TValue>) -> TVec<TValue> {
        let wanted = rules::scalars(&self.node.op_type);
        let scalar = |(i, value): (usize, TValue)| {
            if wanted.contains(&i) && value.shape() == [1] {
                let mut tensor = (*value).clone();
                if tensor.set_shape(&[]).is_ok() {
                    return tensor.into_tvalue();
                }
            }
            value
        };
        inputs.into_iter().enumerate().map(scalar).collect()
    }

    fn infer_like(&mut self, inputs: &[&InferenceFact], outputs: usize) -> TractResult<Facts> {
        let Rules::Like(inner, like, selected) = &mut self.rules else { bail!("{} has rules of its own", self.node.op_type) };
        let mut twin_inputs: Facts = TVec::new();
        for &i in selected.iter() {
            let fact = inputs.get(i).with_context(|| format!("{} lacks input {i}", self.node.op_type))?;
            let datum_type = if fact.datum_type == DatumType::Bool.into() { DatumType::Bool } else { DatumType::F32 };
            twin_inputs.push(InferenceFact::dt(datum_type).with_shape(like.operand_shape(&self.node, i, &fact.shape)));
        }
        let blank = InferenceFact::default();
        let twin_outputs: TVec<&InferenceFact> = (0..outputs).map(|_| &blank).collect();
        let (_, mut found, _) = inner.infer_facts(twin_inputs.iter().collect(), twin_outputs, tvec!())?;
        for fact in found.iter_mut() {
            fact.value = GenericFactoid::Any;
            fact.datum_type = match like.out(&self.node) {
                OutType::Fixed(dtype) => weights::datum_of(dtype).into(),
                OutType::LikeInput(i) => match inputs.get(i) {
                    Some(f) => f.datum_type,
                    None => bail!("{} lacks input {i}", self.node.op_type),
                },
                OutType::Inferred => continue,
            };
        }
        Ok(found)
    }
}

impl Op for Whole {
    fn name(&self) -> StaticName {
        self.node.op_type.clone().into()
    }

    op_as_typed_op!();
}

impl EvalOp for Whole {
    fn eval(&self, ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let inputs = inputs.into_iter().map(|t| numbers(ctx, t)).collect::<TractResult<TVec<TValue>>>()?;
        // tract's own operators have kernels for types that ours lack.
        if let Rules::Native(inner) = &self.rules
            && self.node.op_type != EQUAL
        {
            return inner
                .eval_out_of_plan(self.scalars(inputs))?
                .with_context(|| format!("{} cannot be evaluated", self.node.op_type));
        }
        let facts: TVec<TypedFact> = inputs.iter().map(|t| t.datum_type().fact(t.shape())).collect();
        let outputs = self.output_facts(&facts.iter().collect::<TVec<_>>())?;
        let data = match &self.rules {
            Rules::Native(_) => &[0, 1][..],
            Rules::Like(_, _, inputs) => inputs,
            Rules::Own(_) => &[0],
        };
        let result = fallback::eval_node(&self.node, data, &inputs, &outputs);
        match (&self.rules, result) {
            // For types that no kernel of ours takes, tract's own is there.
            (Rules::Native(inner), Err(error)) => inner.eval_out_of_plan(inputs)?.ok_or(error),
            (_, result) => result,
        }
    }

    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        // Quantized operators stay: folding them would turn integer weights into floats.
        match &self.rules {
            Rules::Native(_) if self.node.op_type == EQUAL && !equality_is_known(&inputs)? => Ok(None),
            Rules::Native(inner) if self.is_small(&inputs) => inner.eval_out_of_plan(self.scalars(inputs)),
            _ => Ok(None),
        }
    }
}

impl InferenceOp for Whole {
    fn infer_facts(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(Facts, Facts, Facts)> {
        let found = match &mut self.rules {
            Rules::Native(inner) => {
                rules::check(&self.node, &inputs)?;
                let scalars = rules::scalars(&self.node.op_type);
                let single: Vec<(usize, InferenceFact)> = inputs
                    .iter()
                    .enumerate()
                    .filter_map(|(i, f)| Some((i, rules::as_scalar(f).filter(|_| scalars.contains(&i))?)))
                    .collect();
                if !single.is_empty() {
                    let mut relaxed: TVec<&InferenceFact> = inputs.iter().copied().collect();
                    single.iter().for_each(|(i, fact)| relaxed[*i] = fact);
                    let (_, found, seen) = inner.infer_facts(relaxed, outputs, observed)?;
                    return Ok((inputs.into_iter().cloned().collect(), found, seen));
                }
                match rules::of(&self.node, &inputs) {
                    Some(fact) => tvec!(fact),
                    None => {
                        let found = inner.infer_facts(inputs.clone(), outputs, observed.clone());
                        match (found, self.node.op_type == "Concat") {
                            // tract gives up where dimensions only look different.
                            (Err(error), true) => tvec!(rules::concat(&self.node, &inputs).ok_or(error)?),
                            (found, _) => return found,
                        }
                    }
                }
            }
            Rules::Like(..) => {
                rules::check(&self.node, &inputs)?;
                self.infer_like(&inputs, outputs.len())?
            }
            Rules::Own(rule) => rule(&self.node, &inputs)?,
        };
        Ok((inputs.into_iter().cloned().collect(), found, observed.into_iter().cloned().collect()))
    }

    fn nboutputs(&self) -> TractResult<usize> {
        match &self.rules {
            Rules::Native(inner) | Rules::Like(inner, ..) => inner.nboutputs(),
            Rules::Own(_) => Ok(self.node.outputs.iter().flatten().count()),
        }
    }

    fn to_typed(
        &self,
        _source: &InferenceModel,
        node: &InferenceNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        let inputs: TVec<OutletId> = node.inputs.iter().map(|i| mapping[i]).collect();
        target.wire_node(&node.name, self.clone(), &inputs)
    }

    as_op!();
}

impl TypedOp for Whole {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let inputs: Facts = inputs.iter().map(|f| InferenceFact::from(*f)).collect();
        let blank = InferenceFact::default();
        let mut op = self.clone();
        let outputs = (0..self.nboutputs()?).map(|_| &blank).collect();
        let (_, outputs, _) = op.infer_facts(inputs.iter().collect(), outputs, tvec!())?;
        outputs
            .iter()
            .map(|f| TypedFact::try_from(&InferenceFact { value: GenericFactoid::Any, ..f.clone() }))
            .collect::<TractResult<_>>()
            .with_context(|| format!("the output's shape is not known: {outputs:?}"))
    }

    as_op!();
}

/// A constant that was taken out of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Detached {
    pub index: usize,
    datum_type: DatumType,
    shape: TVec<usize>,
}

fn build_weight(_ctx: &ParsingContext, node: &pb::NodeProto) -> Built {
    let ints = |name: &str| node.attribute.iter().find(|a| a.name == name).map(|a| a.ints.as_slice());
    let (Some([index, code]), Some(dims)) = (ints("meta"), ints("dims")) else { bail!("a weight lacks its description") };
    let datum_type = weights::datum_of(weights::supported(*code as i32).map_err(|e| format_err!("{e}"))?);
    let op = Detached { index: *index as usize, datum_type, shape: dims.iter().map(|&d| d as usize).collect() };
    Ok((Box::new(op), Vec::new()))
}

impl Op for Detached {
    fn name(&self) -> StaticName {
        WEIGHT_OP.into()
    }

    op_as_typed_op!();
}

impl EvalOp for Detached {
    not_out_of_plan!();
}

impl InferenceOp for Detached {
    fn infer_facts(
        &mut self,
        inputs: TVec<&InferenceFact>,
        _outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(Facts, Facts, Facts)> {
        let fact = InferenceFact::dt_shape(self.datum_type, &self.shape);
        Ok((inputs.into_iter().cloned().collect(), tvec!(fact), observed.into_iter().cloned().collect()))
    }

    fn to_typed(
        &self,
        _source: &InferenceModel,
        node: &InferenceNode,
        target: &mut TypedModel,
        _mapping: &HashMap<OutletId, OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        target.wire_node(&node.name, self.clone(), &[])
    }

    as_op!();
}

impl TypedOp for Detached {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(self.datum_type.fact(&self.shape)))
    }

    as_op!();
}
