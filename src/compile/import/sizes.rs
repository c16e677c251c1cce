//! Memory that a model asks for, known before anything of it is computed.

use tract_onnx::tract_core::internal::{SymbolValues, TypedFact, TypedModel};

use crate::{
    error::{Result, ensure},
    limits::Limits,
};

/// Fails if a result is larger than the limit; dimensions that `symbols` leaves open are passed over.
pub(in crate::compile) fn check_sizes(model: &TypedModel, symbols: &SymbolValues, limits: &Limits) -> Result<()> {
    for node in model.nodes() {
        for outlet in &node.outputs {
            check(&outlet.fact, symbols, limits.tensor_bytes).map_err(|e| e.at_node(&node.op().name(), &node.name))?;
        }
    }
    Ok(())
}

fn check(fact: &TypedFact, symbols: &SymbolValues, limit: usize) -> Result<()> {
    let mut bytes = fact.datum_type.size_of() as i128;
    for dim in fact.shape.iter() {
        let Ok(n) = dim.eval_to_i64(symbols) else { return Ok(()) };
        bytes = bytes.saturating_mul(n.max(0).into());
    }
    ensure!(
        bytes <= limit as i128,
        Limit,
        "its result of {:?} takes {bytes} bytes, the limit is {limit} (tensorBytes); raise it, or use a smaller input",
        fact.shape
    );
    Ok(())
}
