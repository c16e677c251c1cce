//! Quantized operators that tract must not see inside, and what their outputs' shapes and types are like.

use alloc::{vec, vec::Vec};

use tract_onnx::tract_hir::infer::{Factoid, ShapeFactoid};

use super::node::OnnxNode;
use crate::tensor::DType;

/// Quantized operators of ONNX, quantized and fused ones of `com.microsoft`, and others that have a twin.
pub(super) const NAMES: &[&str] = &[
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
    "QLinearAdd",
    "QLinearMul",
    "QLinearSigmoid",
    "QLinearLeakyRelu",
    "QLinearSoftmax",
    "QLinearConcat",
    "QLinearWhere",
    "QLinearAveragePool",
    "QLinearGlobalAveragePool",
    "QLinearReduceMean",
    "QGemm",
    "DynamicQuantizeMatMul",
    "MatMulIntegerToFloat",
    "FusedConv",
    "FusedGemm",
    "FusedMatMul",
    "LpPool",
];

/// Element type of an output.
pub(super) enum OutType {
    Fixed(DType),
    LikeInput(usize),
    /// What the other operator's rules say.
    Inferred,
}

/// The operator of tract's whose shape rules apply.
#[derive(Debug, Clone)]
pub(super) struct Like {
    pub op_type: &'static str,
    name: &'static str,
}

impl Like {
    pub(super) fn of(name: &str) -> Option<Like> {
        let name = NAMES.iter().find(|n| **n == name)?;
        let op_type = match *name {
            "QLinearConv" | "ConvInteger" | "FusedConv" => "Conv",
            "QLinearMatMul" | "MatMulInteger" | "DynamicQuantizeMatMul" | "MatMulIntegerToFloat" | "FusedMatMul" => "MatMul",
            "QLinearAdd" | "QLinearMul" => "Add",
            "QLinearConcat" => "Concat",
            "QLinearWhere" => "Where",
            "QLinearAveragePool" | "LpPool" => "AveragePool",
            "QLinearGlobalAveragePool" => "GlobalAveragePool",
            "QLinearReduceMean" => "ReduceMean",
            "QGemm" | "FusedGemm" => "Gemm",
            "DynamicQuantizeLinear" => "DynamicQuantizeLinear",
            _ => "Identity",
        };
        Some(Like { op_type, name })
    }

    /// Which of the node's inputs (counting those that are there) the other operator sees.
    pub(super) fn inputs(&self, node: &OnnxNode) -> Option<Vec<usize>> {
        let at = |i: usize| node.inputs.get(i).copied().flatten();
        let positions: Vec<usize> = match self.name {
            "QLinearConv" | "QLinearMatMul" | "QLinearAdd" | "QLinearMul" | "QGemm" => vec![0, 3],
            "ConvInteger"
            | "MatMulInteger"
            | "DynamicQuantizeMatMul"
            | "MatMulIntegerToFloat"
            | "FusedConv"
            | "FusedMatMul"
            | "FusedGemm" => vec![0, 1],
            "QLinearWhere" => vec![0, 1, 4],
            "QLinearConcat" => (2..node.inputs.len()).step_by(3).collect(),
            _ => vec![0],
        };
        positions.into_iter().map(at).collect()
    }

    /// The shape in which the other operator sees an input.
    pub(super) fn operand_shape(&self, node: &OnnxNode, input: usize, shape: &ShapeFactoid) -> ShapeFactoid {
        let transposed = self.name == "FusedMatMul" && node.flag(if input == 0 { "transA" } else { "transB" }, false);
        match shape.concretize() {
            Some(mut dims) if transposed && dims.len() >= 2 => {
                let rank = dims.len();
                dims.swap(rank - 1, rank - 2);
                dims.into()
            }
            None if transposed => ShapeFactoid::default(),
            _ => shape.clone(),
        }
    }

    pub(super) fn out(&self, node: &OnnxNode) -> OutType {
        let like = |i: usize, default: DType| match node.inputs.get(i).copied().flatten() {
            Some(i) => OutType::LikeInput(i),
            None => OutType::Fixed(default),
        };
        match self.name {
            "QuantizeLinear" => match node.int("output_dtype").filter(|d| *d != 0) {
                Some(code) if node.inputs.len() < 3 => {
                    OutType::Fixed(super::weights::supported(code as i32).unwrap_or(DType::U8))
                }
                _ => like(2, DType::U8),
            },
            "DequantizeLinear" => like(1, DType::F32),
            "DynamicQuantizeLinear" => OutType::Inferred,
            "QLinearConv" | "QLinearMatMul" => like(7, DType::U8),
            "QLinearConcat" => like(2, DType::U8),
            "QLinearWhere" => like(1, DType::U8),
            "QGemm" if node.inputs.get(7).copied().flatten().is_none() => OutType::Fixed(DType::F32),
            "ConvInteger" | "MatMulInteger" => OutType::Fixed(DType::I32),
            "DynamicQuantizeMatMul" | "MatMulIntegerToFloat" | "FusedConv" | "FusedMatMul" | "FusedGemm" => {
                OutType::Fixed(DType::F32)
            }
            _ => like(0, DType::U8),
        }
    }
}
