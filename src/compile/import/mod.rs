//! ONNX to the graph, by way of tract.
//!
//! tract parses the model, infers types and symbolic shapes and folds the arithmetic on shapes that exporters write. The operators
//! themselves stay whole (`whole.rs`) and are lowered from their ONNX form, one file per family. The result is literal: the passes optimise it.

mod attention;
mod bits;
mod branches;
mod contrib;
mod conv;
mod conv_transpose;
mod deciding;
mod dims;
mod einsum;
mod elementwise;
mod emit;
mod expand;
mod gather_blocks;
mod grouped;
mod half;
mod index;
mod loss;
mod lower;
mod matmul;
mod ml;
mod movement;
mod narrow;
mod nbits;
mod node;
mod norm;
mod order;
mod own;
mod own_shapes;
mod ports;
mod proto;
mod qlinear;
mod quant;
mod quant_ops;
mod recurrent;
mod reduce;
mod resize;
mod rules;
mod sample;
mod scatter;
mod shape_math;
mod sizes;
mod spectral;
mod tract_ops;
mod trees;
mod validate;
mod volume;
mod weights;
mod whole;
mod write;

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

pub(super) use half::{Half, narrowed, widened};
pub(super) use narrow::hold;
pub(super) use node::OnnxNode;
pub(super) use ports::{TypedPort, typed_ports};
pub(super) use sizes::check_sizes;
use tract_onnx::{
    pb,
    tract_core::internal::{SymbolValues, TypedModel},
    tract_hir::infer::InferenceModelExt,
};
pub(super) use weights::{check as check_tensor, datum_of, dtype_of, inline as inline_weight, message, supported, tensor};
pub use weights::{element_type, read_tensor};

use self::{
    dims::SymbolNames,
    lower::{Lower, Lowering},
};
use super::{Needed, Options, Source};
use crate::{
    error::{Error, Result, bail, ensure},
    graph::{Graph, ValueType},
    limits::Limits,
    runtime::PortInfo,
    tensor::Tensor,
};

/// A model as our graph.
#[derive(Debug)]
pub struct Imported {
    /// The graph; incomplete if operators are missing.
    pub graph: Graph,
    /// Operators that the graph cannot express.
    pub missing_operators: Vec<String>,
    /// Where and why, a sentence each.
    pub missing_reasons: Vec<String>,
    /// What the user should know, as sentences.
    pub notes: Vec<String>,
    /// ONNX operators by node name.
    pub operators: BTreeMap<String, String>,
    /// The model's nodes.
    pub sources: Vec<Source>,
}

/// The lowering of an ONNX operator.
fn lowering(op_type: &str) -> Option<Lowering> {
    conv::lowering(op_type)
        .or_else(|| matmul::lowering(op_type))
        .or_else(|| elementwise::lowering(op_type))
        .or_else(|| movement::lowering(op_type))
        .or_else(|| reduce::lowering(op_type))
        .or_else(|| norm::lowering(op_type))
        .or_else(|| quant::lowering(op_type))
        .or_else(|| qlinear::lowering(op_type))
        .or_else(|| conv_transpose::lowering(op_type))
        .or_else(|| recurrent::lowering(op_type))
        .or_else(|| resize::lowering(op_type))
        .or_else(|| index::lowering(op_type))
        .or_else(|| loss::lowering(op_type))
        .or_else(|| ml::lowering(op_type))
        .or_else(|| scatter::lowering(op_type))
        .or_else(|| order::lowering(op_type))
        .or_else(|| bits::lowering(op_type))
        .or_else(|| attention::lowering(op_type))
        .or_else(|| grouped::lowering(op_type))
        .or_else(|| gather_blocks::lowering(op_type))
        .or_else(|| einsum::lowering(op_type))
        .or_else(|| sample::lowering(op_type))
        .or_else(|| spectral::lowering(op_type))
        .or_else(|| narrow::lowering(op_type))
        .or_else(|| nbits::lowering(op_type))
}

/// Whether the operator of `com.microsoft` is one that we or tract know.
fn is_known_contrib(op_type: &str) -> bool {
    quant_ops::NAMES.contains(&op_type)
        || matches!(
            op_type,
            "Gelu"
                | "BiasGelu"
                | "FastGelu"
                | "QuickGelu"
                | "SkipLayerNormalization"
                | "SimplifiedLayerNormalization"
                | "SkipSimplifiedLayerNormalization"
                | "MatMulNBits"
                | "GatherBlockQuantized"
                | "DynamicQuantizeLSTM"
                | "Trilu"
                | "GroupQueryAttention"
                | "BiasAdd"
                | "BiasSplitGelu"
        )
}

/// Decodes an ONNX model and lowers it. What cannot be lowered is listed, not an error.
pub fn import(onnx: &[u8], options: &Options) -> Result<Imported> {
    let mut model = proto::decode(onnx, options)?;
    branches::resolve(&mut model.proto, options);
    let Some(graph) = &mut model.proto.graph else { bail!(InvalidModel, "the model has no graph") };
    check_known(graph)?;
    let sources = graph.node.iter().map(source).collect();
    let weights = weights::detach(graph, &options.external_data)?;
    let operators = operators(graph);
    let outputs: Vec<String> = graph.output.iter().map(|o| o.name.clone()).collect();
    let typed = type_model(&whole::keeping_all(), &model.proto, &options.limits)?;
    drop(model.proto);
    let mut lower = Lower { names: model.symbols, half: model.half, ..Lower::default() };
    lower.model(&typed, weights, &operators, &outputs)?;
    let notes = lower.notes();
    let missing_operators = lower.missing.into_keys().collect();
    Ok(Imported { graph: lower.graph, missing_operators, missing_reasons: lower.reasons, notes, operators, sources })
}

/// A model in tract's own operators, the quantized ones apart.
pub(super) struct Reference {
    pub typed: TypedModel,
    pub output_names: Vec<String>,
    pub half: Half,
    symbols: SymbolNames,
}

impl Reference {
    pub(super) fn new(onnx: &[u8], options: &Options) -> Result<Reference> {
        let mut model = proto::decode(onnx, options)?;
        branches::resolve(&mut model.proto, options);
        let Some(graph) = &mut model.proto.graph else { bail!(InvalidModel, "the model has no graph") };
        check_known(graph)?;
        weights::inline_all(graph, &options.external_data)?;
        let output_names = graph.output.iter().map(|o| o.name.clone()).collect();
        let typed = type_model(&whole::quantized_only(), &model.proto, &options.limits)?;
        Ok(Reference { typed, output_names, half: model.half, symbols: model.symbols })
    }

    /// The model's name for a dimension that is not a number.
    pub(super) fn dimension(&self, dim: &tract_onnx::prelude::TDim) -> String {
        let mut scratch = Graph::default();
        match dims::lower_dim(&mut scratch, &self.symbols, dim) {
            Ok(dim) => dim.display(&scratch.symbols),
            Err(_) => format!("{dim}"),
        }
    }
}

/// Fails with what the file seems to be, if it begins as no ONNX model does.
pub(super) fn recognise(head: &[u8]) -> Result<()> {
    proto::recognise(head)
}

/// The parts of other files in which the model keeps weights.
pub(super) fn external_ranges(onnx: &[u8]) -> Result<Vec<Needed>> {
    proto::external_ranges(onnx)
}

/// A model for the mixed executor.
pub(super) struct MixedModel {
    pub proto: pb::ModelProto,
}

impl MixedModel {
    pub(super) fn decode(onnx: &[u8], options: &Options) -> Result<MixedModel> {
        proto::decode_mixed(onnx, options)
    }
}

/// Whether the graph or tract has the operator.
pub(super) fn is_known(op_type: &str) -> bool {
    lowering(op_type).is_some() || whole::pristine().op_register.0.contains_key(op_type)
}

/// Whether the graph has the operator.
pub(super) fn is_lowered(op_type: &str) -> bool {
    lowering(op_type).is_some()
}

/// The inputs of a part of a model whose values decide shapes.
pub(super) fn deciding_inputs(graph: &pb::GraphProto) -> Vec<String> {
    deciding::deciding_inputs(graph)
}

/// What a model says of its inputs and outputs.
pub(super) struct Ports {
    pub inputs: Vec<PortInfo>,
    pub outputs: Vec<PortInfo>,
}

impl Ports {
    /// The inputs and outputs as the model describes them; an error if it does not say what types they have.
    pub(super) fn read(onnx: &[u8]) -> Result<Ports> {
        proto::ports(onnx)
    }
}

/// The inputs whose values decide shapes.
pub(super) fn deciding(onnx: &[u8], options: &Options) -> Result<Vec<String>> {
    let model = proto::decode(onnx, options)?;
    let Some(graph) = &model.proto.graph else { bail!(InvalidModel, "the model has no graph") };
    check_known(graph)?;
    Ok(deciding::deciding_inputs(graph))
}

/// Lowers a single node whose operands are all given: `data` become graph inputs, the others constants.
pub(super) fn single_node(node: &OnnxNode, operands: &[Tensor], data: &[usize], outputs: Vec<ValueType>) -> Result<Graph> {
    let mut lower = Lower::default();
    let mut inputs = Vec::new();
    for (i, tensor) in operands.iter().enumerate() {
        let name = format!("input{i}");
        let ty = ValueType::new(tensor.dtype(), lower::fixed(tensor.shape()));
        inputs.push(if data.contains(&i) { lower.graph.add_input(&name, ty) } else { lower.graph.add_const(name, tensor) });
    }
    let results = lower.whole(&lower::Call { node, inputs, outputs })?;
    for (i, value) in results.into_iter().enumerate() {
        lower.graph.add_output(&format!("output{i}"), value);
    }
    Ok(lower.graph)
}

fn source(node: &pb::NodeProto) -> Source {
    let (inputs, outputs) = (node.input.clone(), node.output.clone());
    Source { name: node.name.clone(), op: node.op_type.clone(), inputs, outputs }
}

/// ONNX operators by node name.
fn operators(graph: &pb::GraphProto) -> BTreeMap<String, String> {
    graph.node.iter().map(|n| (n.name.clone(), n.op_type.clone())).collect()
}

/// Names the first operator that neither we nor tract know.
fn check_known(graph: &pb::GraphProto) -> Result<()> {
    for node in &graph.node {
        ensure!(
            is_known(&node.op_type),
            Unsupported,
            "node '{}' uses the operator {}, which is not supported; replace it in the model, or export the model without it",
            node.name,
            node.op_type
        );
        for body in node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)) {
            check_known(body)?;
        }
    }
    Ok(())
}

/// Parses and types a model; what tract panics at becomes an error.
fn type_model(onnx: &tract_onnx::Onnx, proto: &pb::ModelProto, limits: &Limits) -> Result<TypedModel> {
    guarded(|| {
        let parsed = onnx.parse(proto, None).map_err(|e| refused("cannot be read", &e))?;
        let typed = parsed.model.into_typed();
        let typed = typed.map_err(|e| refused("has types or shapes that do not fit together", &e))?;
        check_sizes(&typed, &SymbolValues::default(), limits)?;
        Ok(typed)
    })
}

fn refused(what: &str, error: &tract_onnx::prelude::TractError) -> Error {
    // What our own rules found is better than the places that it passed through.
    match error.chain().find_map(|cause| cause.downcast_ref::<Error>()) {
        Some(ours) => ours.clone(),
        None => Error::InvalidModel(format!("the model {what}: {error:#}")),
    }
}

/// Runs code of tract's; a panic inside becomes an error (in WebAssembly a panic ends the instance instead).
pub(super) fn guarded<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    match std::panic::catch_unwind(core::panic::AssertUnwindSafe(f)) {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            bail!(InvalidModel, "the model is inconsistent in a way that was not foreseen ({})", text.unwrap_or("no details"))
        }
    }
}
