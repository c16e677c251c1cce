//! Computes at compile time what depends on constants only.

use alloc::{format, string::String, vec::Vec};

use super::{
    Pass,
    evaluate::{constant, evaluate},
    rewrite::Rewrite,
};
use crate::{
    error::Result,
    graph::{Blob, Graph, Init, Node, Op},
    tensor::{AlignedBytes, DType},
};

/// A result may be this much larger than its inputs, or [`SMALL`]: a plan should not carry what a node makes in passing.
const GROWTH: usize = 8;
const SMALL: usize = 1 << 20;

/// See the module's documentation.
pub(super) struct FoldConstants {
    /// Whether quantized constants become floats. Not before integer operators had their chance to read them as they are.
    pub dequantize: bool,
}

impl Pass for FoldConstants {
    fn name(&self) -> &'static str {
        "fold-constants"
    }

    fn run(&self, graph: &mut Graph, changes: &mut Vec<String>) -> Result<()> {
        let mut rw = Rewrite::new(graph);
        let mut folded = 0;
        for i in 0..rw.len() {
            let Some(node) = rw.node(i) else { continue };
            if node.inputs.is_empty() || !node.inputs.iter().all(|v| rw.is_const(*v)) || !self.wants(&rw, node) {
                continue;
            }
            // A graph output needs a node that writes it.
            if node.outputs.iter().any(|v| rw.is_output(*v)) {
                continue;
            }
            let Ok(tensors) = evaluate(rw.graph(), node) else { continue };
            let outputs = node.outputs.clone();
            rw.remove(i);
            for (v, tensor) in outputs.into_iter().zip(&tensors) {
                rw.set_init(v, Init::Data(Blob::new(AlignedBytes::copy_of(tensor.bytes()))));
            }
            folded += 1;
        }
        if folded > 0 {
            changes.push(format!("Computed {folded} constants"));
        }
        rw.finish()
    }
}

impl FoldConstants {
    fn wants(&self, rw: &Rewrite, node: &Node) -> bool {
        if node.op == Op::Dequantize && !self.dequantize && !is_small_float_parameter(rw, node) {
            return false;
        }
        let bytes = |v: &crate::graph::ValueId| -> usize {
            let ty = rw.ty(*v);
            let count = ty.fixed_shape().and_then(|s| s.iter().try_fold(1usize, |n, &d| n.checked_mul(d)));
            count.and_then(|n| n.checked_mul(ty.dtype.size())).unwrap_or(usize::MAX)
        };
        let before = node.inputs.iter().map(bytes).fold(0, usize::saturating_add);
        let after = node.outputs.iter().map(bytes).fold(0, usize::saturating_add);
        after <= SMALL.max(before.saturating_mul(GROWTH))
    }
}

/// Whether a Dequantize makes a single number, which integer operators read as a float as well as quantized.
fn is_small_float_parameter(rw: &Rewrite, node: &Node) -> bool {
    let ty = rw.ty(node.outputs[0]);
    ty.dtype == DType::F32 && ty.shape.iter().all(|d| d.as_fixed() == Some(1)) && constant(rw.graph(), node.inputs[0]).is_some()
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::{
        compile::passes::testing::{Build, Noise, apply, difference, ops, run},
        graph::{Quant, ops::BinaryOp},
    };

    fn example() -> Graph {
        let mut b = Build::default();
        let x = b.input(&[3, 2]);
        let c = b.constant(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let c = b.transpose(c, &[1, 0]);
        let c = b.reshape(c, &[3, 2]);
        let q = b.dq_const(&Noise(1).bytes(DType::I8, &[3, 2]), Quant::per_tensor(0.5, 3));
        let y = b.binary(BinaryOp::Add, x, c);
        let y = b.binary(BinaryOp::Mul, y, q);
        b.finish(y)
    }

    #[test]
    fn constants_are_computed_and_quantized_ones_wait() {
        let mut g = example();
        let data = [Noise(2).floats(&[3, 2], 1.0)];
        let before = run(&g, &data);
        assert_eq!(apply(&FoldConstants { dequantize: false }, &mut g), ["Computed 2 constants"]);
        assert_eq!(ops(&g), "Add×1 Dequantize×1 Mul×1");
        apply(&FoldConstants { dequantize: true }, &mut g);
        assert_eq!(ops(&g), "Add×1 Mul×1");
        assert_eq!(difference(&before, &run(&g, &data)), 0.0);
    }

    #[test]
    fn expansions_are_not_stored() {
        let mut b = Build::default();
        let x = b.input(&[4096, 4096]);
        let c = b.constant(&[1, 1], &[1.0]);
        let c = b.node("expand", Op::Expand, &[c], DType::F32, &[4096, 4096]);
        let y = b.binary(BinaryOp::Add, x, c);
        let mut g = b.finish(y);
        apply(&FoldConstants { dequantize: true }, &mut g);
        assert_eq!(ops(&g), "Add×1 Expand×1");
    }
}
