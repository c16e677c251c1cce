//! What ONNX demands of single nodes, checked before tract sees them: it divides by strides and indexes by counts as they come, and a
//! panic would end a WebAssembly instance.

use alloc::vec::Vec;

use tract_onnx::pb::{self, attribute_proto::AttributeType};

use super::weights;
use crate::error::{Error, Result, bail, ensure};

/// Sizes of kernels, strides and the like stay below this.
const MAX_SIZE: i64 = 1 << 16;
/// No tensor has as many axes.
const MAX_RANK: i64 = 64;

/// Checks every node of the graph and of the graphs inside it.
pub(super) fn check_nodes(graph: &pb::GraphProto) -> Result<()> {
    for node in &graph.node {
        check_node(node).map_err(|e| e.at_node(&node.op_type, &node.name))?;
        for body in node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)) {
            check_nodes(body)?;
        }
    }
    Ok(())
}

fn check_node(node: &pb::NodeProto) -> Result<()> {
    if let Some(Arity { least, most, outputs }) = arity(&node.op_type) {
        // Optional inputs at the end may be left out or be empty names.
        let given = node.input.iter().rposition(|i| !i.is_empty()).map_or(0, |i| i + 1);
        ensure!(node.input.len() >= least && given >= least, InvalidModel, "needs {least} inputs, has {given}");
        ensure!(given <= most, InvalidModel, "takes at most {most} inputs, has {given}");
        let written = node.output.iter().rposition(|o| !o.is_empty()).map_or(0, |i| i + 1);
        ensure!(written <= outputs, InvalidModel, "gives at most {outputs} outputs, {written} are named");
        ensure!(written > 0, InvalidModel, "has no output");
        ensure!(
            node.input.iter().take(required(&node.op_type, least)).all(|i| !i.is_empty()),
            InvalidModel,
            "lacks one of its first {least} inputs"
        );
    }
    for (i, attribute) in node.attribute.iter().enumerate() {
        let name = &attribute.name;
        ensure!(node.attribute[..i].iter().all(|a| a.name != *name), InvalidModel, "has the attribute '{name}' twice");
        check_attribute(&node.op_type, attribute)?;
    }
    check_bodies(node)?;
    for tensor in node.attribute.iter().filter_map(|a| a.t.as_ref()) {
        ensure!(tensor.dims.len() as i64 <= MAX_RANK, InvalidModel, "has a tensor of rank {}", tensor.dims.len());
    }
    Ok(())
}

/// Operators that hold graphs have those that they need, with as many outputs as they give.
fn check_bodies(node: &pb::NodeProto) -> Result<()> {
    let needed: &[&str] = match node.op_type.as_str() {
        "If" => &["then_branch", "else_branch"],
        "Loop" | "Scan" | "SequenceMap" => &["body"],
        _ => return Ok(()),
    };
    let mut counts = Vec::new();
    for name in needed {
        let body = node.attribute.iter().find(|a| a.name == *name).and_then(|a| a.g.as_ref());
        let Some(body) = body else { bail!(InvalidModel, "lacks its {name}") };
        counts.push(body.output.len());
    }
    let given = node.output.len();
    let fits = node.op_type != "If" || counts.iter().all(|n| *n == counts[0] && *n >= given);
    ensure!(fits, InvalidModel, "gives {given} outputs, its branches {counts:?}");
    Ok(())
}

/// Inputs of which none may be an empty name.
fn required(op_type: &str, least: usize) -> usize {
    if op_type == "Resize" { 1 } else { least }
}

fn check_attribute(op_type: &str, attribute: &pb::AttributeProto) -> Result<()> {
    let name = attribute.name.as_str();
    ensure!(attribute.ref_attr_name.is_empty(), Unsupported, "takes '{name}' from a function's caller; inline functions first");
    let Some(rule) = rule(op_type, name) else { return Ok(()) };
    let found = AttributeType::try_from(attribute.r#type).unwrap_or(AttributeType::Undefined);
    let expected = rule.attribute_type();
    // Files of the first ONNX versions do not give the type.
    ensure!(
        found == expected || found == AttributeType::Undefined,
        InvalidModel,
        "has an attribute '{name}' of type {}, it must be {}",
        found.as_str_name(),
        expected.as_str_name()
    );
    let (one, list) = (attribute.i, &attribute.ints);
    let wrong = |what: &str| -> Result<()> {
        if expected == AttributeType::Int {
            bail!(InvalidModel, "has {name} {one}, which {what}");
        }
        bail!(InvalidModel, "has {name} {list:?}, which {what}");
    };
    let all =
        |accept: &dyn Fn(i64) -> bool| if expected == AttributeType::Int { accept(one) } else { list.iter().all(|&v| accept(v)) };
    match rule {
        Rule::Sizes | Rule::Size if !all(&|v| (1..MAX_SIZE).contains(&v)) => wrong("is not a size from 1 to 65535"),
        Rule::Axis | Rule::Axes if !all(&|v| (-MAX_RANK..MAX_RANK).contains(&v)) => wrong("is out of range for any tensor"),
        Rule::Pads if !all(&|v| (-MAX_SIZE..MAX_SIZE).contains(&v)) => wrong("is out of range"),
        Rule::Counts if !all(&|v| (0..=i64::from(i32::MAX)).contains(&v)) => wrong("holds a number that is not a count"),
        Rule::Flag if !all(&|v| v == 0 || v == 1) => wrong("is neither 0 nor 1"),
        Rule::Permutation => {
            let mut sorted: Vec<i64> = list.clone();
            sorted.sort_unstable();
            let complete = sorted.iter().copied().eq(0..list.len() as i64);
            if complete && (list.len() as i64) < MAX_RANK { Ok(()) } else { wrong("is not a permutation") }
        }
        Rule::Type => {
            let known = i32::try_from(one).map_err(|_| Error::InvalidModel("".into())).and_then(weights::supported);
            if known.is_ok() || (one == 0 && name != "to") { Ok(()) } else { wrong("is not an element type that is supported") }
        }
        _ => Ok(()),
    }
}

/// What an attribute must be.
#[derive(Clone, Copy)]
enum Rule {
    Size,
    Sizes,
    Axis,
    Axes,
    Pads,
    Counts,
    Permutation,
    Type,
    Flag,
    Number,
}

impl Rule {
    fn attribute_type(self) -> AttributeType {
        match self {
            Rule::Size | Rule::Axis | Rule::Type | Rule::Flag => AttributeType::Int,
            Rule::Sizes | Rule::Axes | Rule::Pads | Rule::Counts | Rule::Permutation => AttributeType::Ints,
            Rule::Number => AttributeType::Float,
        }
    }
}

/// The rule of an attribute, where its name means the same in every operator that has it.
fn rule(op_type: &str, name: &str) -> Option<Rule> {
    Some(match name {
        "group" | "groups" | "num_groups" | "blocksize" | "num_heads" | "q_num_heads" | "hidden_size" => Rule::Size,
        "kernel_shape" | "strides" | "dilations" => Rule::Sizes,
        "kv_num_heads" if op_type != "Attention" => Rule::Size,
        "axis" | "batch_axis" | "time_axis" => Rule::Axis,
        "axes" => Rule::Axes,
        "pads" | "paddings" | "output_padding" => Rule::Pads,
        "split" if op_type == "Split" => Rule::Counts,
        "perm" => Rule::Permutation,
        "to" | "output_dtype" => Rule::Type,
        "dtype" if op_type != "SequenceEmpty" => Rule::Type,
        "keepdims"
        | "ceil_mode"
        | "transA"
        | "transB"
        | "count_include_pad"
        | "noop_with_empty_axes"
        | "select_last_index"
        | "fmod"
        | "largest"
        | "sorted"
        | "exclusive"
        | "reverse"
        | "align_corners" => Rule::Flag,
        "epsilon" | "momentum" => Rule::Number,
        "size" if op_type == "LRN" => Rule::Size,
        _ => return None,
    })
}

/// How many inputs and outputs an operator may have, over all of its versions.
struct Arity {
    least: usize,
    most: usize,
    outputs: usize,
}

fn arity(op_type: &str) -> Option<Arity> {
    const MANY: usize = usize::MAX;
    let (least, most, outputs) = match op_type {
        "Abs"
        | "Acos"
        | "Acosh"
        | "Asin"
        | "Asinh"
        | "Atan"
        | "Atanh"
        | "BitwiseNot"
        | "Cast"
        | "Ceil"
        | "Celu"
        | "Cos"
        | "Cosh"
        | "ConstantOfShape"
        | "DepthToSpace"
        | "Elu"
        | "Erf"
        | "Exp"
        | "EyeLike"
        | "Flatten"
        | "Floor"
        | "GlobalAveragePool"
        | "GlobalMaxPool"
        | "GlobalLpPool"
        | "HardSigmoid"
        | "HardSwish"
        | "Hardmax"
        | "Identity"
        | "IsInf"
        | "IsNaN"
        | "LRN"
        | "LeakyRelu"
        | "Log"
        | "LogSoftmax"
        | "LpNormalization"
        | "LpPool"
        | "AveragePool"
        | "MeanVarianceNormalization"
        | "Mish"
        | "Neg"
        | "NonZero"
        | "Not"
        | "Reciprocal"
        | "Relu"
        | "Round"
        | "Selu"
        | "Shape"
        | "Shrink"
        | "Sigmoid"
        | "Sign"
        | "Sin"
        | "Sinh"
        | "Size"
        | "Softmax"
        | "Softplus"
        | "Softsign"
        | "SpaceToDepth"
        | "Sqrt"
        | "Tan"
        | "Tanh"
        | "ThresholdedRelu"
        | "Transpose"
        | "ArgMax"
        | "ArgMin" => (1, 1, 1),
        "Add" | "And" | "BitShift" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" | "CastLike" | "CumSum" | "Div" | "Equal"
        | "Expand" | "Gather" | "GatherElements" | "GatherND" | "Greater" | "GreaterOrEqual" | "GridSample" | "Less"
        | "LessOrEqual" | "MatMul" | "Mod" | "Mul" | "Or" | "PRelu" | "Pow" | "Sub" | "Xor" => (2, 2, 1),
        "InstanceNormalization" | "GroupNormalization" | "OneHot" | "Range" | "Scatter" | "Where" => (3, 3, 1),
        "ScatterElements" | "ScatterND" => (3, 3, 1),
        "Conv" | "ConvTranspose" | "Gemm" | "QuantizeLinear" | "DequantizeLinear" => (2, 3, 1),
        "ConvInteger" | "MatMulInteger" => (2, 4, 1),
        "QLinearConv" => (8, 9, 1),
        "QLinearMatMul" => (8, 8, 1),
        "DynamicQuantizeLinear" => (1, 1, 3),
        "Concat" | "Max" | "Mean" | "Min" | "Sum" | "Einsum" => (1, MANY, 1),
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax" | "ReduceMean" | "ReduceMin"
        | "ReduceProd" | "ReduceSum" | "ReduceSumSquare" | "Reshape" | "Squeeze" | "Unsqueeze" | "Upsample" | "Trilu"
        | "Gelu" | "Swish" => (1, 2, 1),
        "Clip" => (1, 3, 1),
        "Pad" | "Resize" => (1, 4, 1),
        "Slice" => (1, 5, 1),
        "Tile" => (2, 3, 1),
        "Split" => (1, 2, MANY),
        "TopK" => (1, 2, 2),
        "MaxPool" => (1, 1, 2),
        "Dropout" => (1, 3, 2),
        "BatchNormalization" => (5, 5, 5),
        "LayerNormalization" => (2, 3, 3),
        "RMSNormalization" => (2, 2, 1),
        "NonMaxSuppression" => (2, 5, 1),
        "RNN" | "GRU" => (3, 6, 2),
        "LSTM" => (3, 8, 3),
        "If" => (1, 1, MANY),
        "Constant" => (0, 0, 1),
        _ => return None,
    };
    Some(Arity { least, most, outputs })
}

#[cfg(test)]
mod tests {
    use super::{super::write::attribute, *};

    fn message(op: &str, inputs: usize, attributes: Vec<pb::AttributeProto>) -> alloc::string::String {
        let node = pb::NodeProto {
            op_type: op.into(),
            name: "n".into(),
            input: (0..inputs).map(|i| alloc::format!("i{i}")).collect(),
            output: alloc::vec!["o".into()],
            attribute: attributes,
            ..Default::default()
        };
        let graph = pb::GraphProto { node: alloc::vec![node], ..Default::default() };
        check_nodes(&graph).err().map(|e| alloc::format!("{e}")).unwrap_or_default()
    }

    #[test]
    fn wrong_nodes_are_named() {
        assert_eq!(message("Conv", 2, alloc::vec![attribute("strides", alloc::vec![1, 2])]), "");
        assert_eq!(message("Add", 1, Vec::new()), "Add 'n': needs 2 inputs, has 1");
        assert_eq!(message("Relu", 3, Vec::new()), "Relu 'n': takes at most 1 inputs, has 3");
        assert_eq!(
            message("Conv", 2, alloc::vec![attribute("strides", alloc::vec![0, 1])]),
            "Conv 'n': has strides [0, 1], which is not a size from 1 to 65535"
        );
        assert_eq!(
            message("Softmax", 1, alloc::vec![attribute("axis", 1 << 40)]),
            "Softmax 'n': has axis 1099511627776, which is out of range for any tensor"
        );
        assert_eq!(
            message("Softmax", 1, alloc::vec![attribute("axis", alloc::vec![1])]),
            "Softmax 'n': has an attribute 'axis' of type INTS, it must be INT"
        );
        assert_eq!(
            message("Transpose", 1, alloc::vec![attribute("perm", alloc::vec![0, 0])]),
            "Transpose 'n': has perm [0, 0], which is not a permutation"
        );
        assert_eq!(
            message("Cast", 1, alloc::vec![attribute("to", 77)]),
            "Cast 'n': has to 77, which is not an element type that is supported"
        );
        let twice = alloc::vec![attribute("axis", 0), attribute("axis", 1)];
        assert_eq!(message("Softmax", 1, twice), "Softmax 'n': has the attribute 'axis' twice");
    }
}
