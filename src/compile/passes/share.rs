//! Computes once what several nodes compute alike.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use super::{Pass, rewrite::Rewrite};
use crate::{
    error::{Error, Result},
    graph::{Graph, Op, ValueId, ValueType},
};

/// See the module's documentation.
pub(super) struct ShareEqualNodes;

impl Pass for ShareEqualNodes {
    fn name(&self) -> &'static str {
        "share-equal-nodes"
    }

    fn run(&self, graph: &mut Graph, changes: &mut Vec<String>) -> Result<()> {
        let mut rw = Rewrite::new(graph);
        let mut seen: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        let mut shared = 0;
        for i in 0..rw.len() {
            let Some(node) = rw.node(i) else { continue };
            let types: Vec<&ValueType> = node.outputs.iter().map(|v| rw.ty(*v)).collect();
            let key: (&Op, &[ValueId], Vec<&ValueType>) = (&node.op, &node.inputs, types);
            let key = postcard::to_allocvec(&key).map_err(|e| Error::Internal(format!("cannot serialize a node: {e}")))?;
            let Some(&first) = seen.get(&key) else {
                seen.insert(key, i);
                continue;
            };
            let Some(twin) = rw.node(first) else { continue };
            // Two graph outputs keep a writer each.
            if node.outputs.iter().any(|v| rw.is_output(*v)) {
                continue;
            }
            let pairs: Vec<(ValueId, ValueId)> = node.outputs.iter().copied().zip(twin.outputs.iter().copied()).collect();
            for (from, to) in pairs {
                rw.redirect(from, to);
            }
            shared += 1;
        }
        if shared > 0 {
            changes.push(format!("Removed {shared} nodes that repeat another"));
        }
        rw.finish()
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::{
        compile::passes::testing::{Build, Noise, apply, difference, ops, run},
        graph::ops::{BinaryOp, Unary},
    };

    #[test]
    fn equal_chains_are_computed_once() {
        let mut b = Build::default();
        let x = b.input(&[2, 3]);
        let chain = |b: &mut Build| {
            let y = b.unary(Unary::Exp, x);
            b.transpose(y, &[1, 0])
        };
        let (first, second) = (chain(&mut b), chain(&mut b));
        let y = b.binary(BinaryOp::Add, first, second);
        let mut g = b.finish(y);
        let data = [Noise(1).floats(&[2, 3], 1.0)];
        let before = run(&g, &data);
        assert_eq!(apply(&ShareEqualNodes, &mut g), ["Removed 2 nodes that repeat another"]);
        assert_eq!(ops(&g), "Add×1 Exp×1 Transpose×1");
        assert_eq!(difference(&before, &run(&g, &data)), 0.0);
    }
}
