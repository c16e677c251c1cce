//! The passes: rewrites that turn the front-end's literal graph into one that runs fast, in the order of [`run_all`].
//!
//! Every rewrite keeps the model's numbers: exactly, or within the bound that its file states. A pass that finds a place
//! where it would like to act but must not says so in its report.

mod activation;
mod attention;
mod bias;
mod canonical;
mod common;
mod constants;
mod dynamic;
mod evaluate;
mod flatten;
mod gate;
mod gelu;
mod identity;
mod join_products;
mod layer_norm;
mod layout;
mod linear;
mod product;
mod qdq_fold;
mod qdq_linear;
mod qdq_move;
mod reshape;
mod rewrite;
mod scale;
mod share;
mod softmax;
mod tables;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod testing;

use alloc::{string::String, vec::Vec};

use serde::Serialize;

use crate::{
    error::Result,
    graph::{Graph, verify},
};

/// A rewrite of the whole graph.
pub trait Pass {
    /// Short name, for reports.
    fn name(&self) -> &'static str;

    /// Rewrites the graph and adds a sentence per change, or per change that had to be left undone.
    fn run(&self, graph: &mut Graph, changes: &mut Vec<String>) -> Result<()>;
}

/// What a pass did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PassReport {
    /// The pass.
    pub name: &'static str,
    /// A sentence per change.
    pub changes: Vec<String>,
}

/// The passes in order. Some come again after others have made room for them.
fn passes() -> Vec<&'static dyn Pass> {
    alloc::vec![
        &identity::RemoveIdentities,
        &constants::FoldConstants { dequantize: false },
        &share::ShareEqualNodes,
        // Patterns of float nodes, before layout permutes the constants inside them.
        &layer_norm::FuseLayerNorm,
        &gelu::FuseGelu,
        &gate::FuseGate,
        &softmax::FuseSoftmax,
        // Transposes go first, so that everything behind sees operators that touch.
        &layout::SinkTransposes,
        &flatten::AbsorbFlattenedTransposes,
        &identity::RemoveIdentities,
        &qdq_move::MoveQuantization,
        &constants::FoldConstants { dequantize: false },
        &dynamic::FuseDynamicQuantization,
        &canonical::CanonicalQuantizedTypes,
        // Neighbours of the operators that do the work become part of them.
        &scale::FoldScales,
        &bias::FuseBias,
        &activation::FuseActivation,
        &qdq_fold::FoldQuantization { report_refusals: false },
        // Folding leaves Dequantize nodes behind operators that still stand before data movement.
        &qdq_move::MoveQuantization,
        &layout::SinkTransposes,
        &identity::RemoveIdentities,
        &qdq_fold::FoldQuantization { report_refusals: true },
        &constants::FoldConstants { dequantize: true },
        &scale::FoldScales,
        &bias::FuseBias,
        &activation::FuseActivation,
        &share::ShareEqualNodes,
        &identity::RemoveIdentities,
        // Once scales have become a part of weights.
        &attention::FuseAttention,
        &identity::RemoveIdentities,
        &join_products::JoinProducts,
        // Last: what a table holds, no other pass can see.
        &tables::MakeTables,
    ]
}

/// Runs all passes in order; reports those that did something.
pub fn run_all(graph: &mut Graph) -> Result<Vec<PassReport>> {
    graph.sort()?;
    graph.remove_dead();
    verify::verify(graph)?;
    let mut reports = Vec::new();
    for pass in passes() {
        let mut changes = Vec::new();
        pass.run(graph, &mut changes)?;
        verify::verify(graph)?;
        if !changes.is_empty() {
            reports.push(PassReport { name: pass.name(), changes });
        }
    }
    Ok(reports)
}
