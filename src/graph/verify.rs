//! Structural checks of a graph, so that nothing behind them has to check again: references, order, arity, types of constants.

use alloc::{vec, vec::Vec};

use super::{
    Graph, Init, Node, Op, Port, Value,
    ops::{Conv, Pool, Unary, Window},
};
use crate::{
    error::{Error, Result, bail, ensure},
    tensor::element_count,
};

const MAX_RANK: usize = 8;

/// Checks the whole graph; the error names the node or value.
pub fn verify(graph: &Graph) -> Result<()> {
    for value in &graph.values {
        verify_value(value)?;
    }
    let mut defined = vec![false; graph.values.len()];
    for (i, value) in graph.values.iter().enumerate() {
        defined[i] = value.init.is_some();
    }
    for port in &graph.inputs {
        let slot = port_slot(&mut defined, port)?;
        // An input that refers to a constant takes this value alone.
        let fixed = matches!(graph.value(port.value).init, Some(Init::Data(_)));
        ensure!(!*slot || fixed, InvalidModel, "input '{}' is defined twice", port.name);
        *slot = true;
    }
    for node in &graph.nodes {
        verify_node(graph, node, &mut defined).map_err(|e| e.at_node(node.op.name(), &node.name))?;
    }
    for port in &graph.outputs {
        ensure!(*port_slot(&mut defined, port)?, InvalidModel, "output '{}' is computed by no node", port.name);
    }
    Ok(())
}

fn port_slot<'a>(defined: &'a mut [bool], port: &Port) -> Result<&'a mut bool> {
    defined
        .get_mut(port.value.index())
        .ok_or_else(|| Error::InvalidModel(alloc::format!("'{}' refers to a value that does not exist", port.name)))
}

#[cfg_attr(small, optimize(size))]
fn verify_value(value: &Value) -> Result<()> {
    let name = &value.name;
    let ty = &value.ty;
    ensure!(ty.shape.len() <= MAX_RANK, Limit, "'{name}' has rank {}, the limit is {MAX_RANK}", ty.shape.len());
    if let Some(q) = &ty.quant {
        ensure!(
            q.scale.len() == q.zero_point.len(),
            InvalidModel,
            "'{name}' has {} scales and {} zero points",
            q.scale.len(),
            q.zero_point.len()
        );
        ensure!(
            q.scale.iter().all(|s| s.is_finite() && *s > 0.0),
            InvalidModel,
            "'{name}' has a scale that is not a positive number"
        );
        match q.axis {
            None => ensure!(q.scale.len() == 1, InvalidModel, "'{name}' has {} scales and no axis", q.scale.len()),
            Some(axis) => {
                let dim = ty.shape.get(axis).and_then(|d| d.as_fixed());
                ensure!(
                    dim == Some(q.scale.len()),
                    InvalidModel,
                    "'{name}' has {} scales along axis {axis} of another size",
                    q.scale.len()
                );
            }
        }
    }
    match &value.init {
        None => Ok(()),
        Some(Init::Dims(dims)) => {
            let fixed = ty.fixed_shape();
            ensure!(
                fixed.as_deref() == Some(&[dims.len()]),
                InvalidModel,
                "constant '{name}' has {} dimensions under another shape",
                dims.len()
            );
            Ok(())
        }
        Some(Init::Data(blob)) => {
            let Some(shape) = ty.fixed_shape() else { bail!(InvalidModel, "constant '{name}' has a symbolic shape") };
            let expected = element_count(&shape)?.checked_mul(ty.dtype.size());
            ensure!(
                expected == Some(blob.bytes().len()),
                InvalidModel,
                "constant '{name}' of shape {shape:?} has {} bytes",
                blob.bytes().len()
            );
            Ok(())
        }
    }
}

#[cfg_attr(small, optimize(size))]
fn verify_node(graph: &Graph, node: &Node, defined: &mut [bool]) -> Result<()> {
    if let Some(arity) = node.op.arity() {
        ensure!(node.inputs.len() == arity, InvalidModel, "needs {arity} inputs, has {}", node.inputs.len());
    } else {
        ensure!(!node.inputs.is_empty(), InvalidModel, "needs at least one input");
    }
    let outputs = node.op.output_count();
    ensure!(node.outputs.len() == outputs, InvalidModel, "has {} outputs instead of {outputs}", node.outputs.len());
    for v in &node.inputs {
        ensure!(defined.get(v.index()) == Some(&true), InvalidModel, "reads a value that no earlier node computes");
    }
    for v in &node.outputs {
        match defined.get_mut(v.index()) {
            Some(slot) if !*slot => *slot = true,
            _ => bail!(InvalidModel, "writes a value that is already defined"),
        }
    }
    if matches!(node.op, Op::Reshape | Op::Reinterpret) {
        // Both are the same bytes.
        let (from, to) = (graph.value(node.inputs[0]).ty.dtype, graph.value(node.outputs[0]).ty.dtype);
        ensure!(from.size() == to.size(), InvalidModel, "gives {from} as {to}, whose elements have another size");
    }
    let rank = |i: usize| graph.value(node.inputs[i]).ty.shape.len();
    let out_rank = graph.value(node.outputs[0]).ty.shape.len();
    verify_attributes(&node.op, rank(0), out_rank)
}

#[cfg_attr(small, optimize(size))]
fn verify_attributes(op: &Op, rank: usize, out_rank: usize) -> Result<()> {
    let axis_in = |axis: usize, rank: usize| -> Result<()> {
        ensure!(axis < rank, InvalidModel, "axis {axis} is out of range for rank {rank}");
        Ok(())
    };
    match op {
        Op::Conv(Conv { window, groups, .. }) => {
            ensure!(*groups > 0, InvalidModel, "has no channel groups");
            ensure!(rank == 4 && out_rank == 4, InvalidModel, "needs rank 4 operands");
            verify_window(window)
        }
        Op::Pool(Pool { window, .. }) => {
            ensure!(rank == 4 && out_rank == 4, InvalidModel, "needs rank 4 operands");
            verify_window(window)
        }
        Op::Softmax { axis, .. }
        | Op::Concat { axis }
        | Op::Gather { axis }
        | Op::TopK { axis, .. }
        | Op::Cumulate { axis, .. } => axis_in(*axis, rank),
        Op::Scatter { .. } => axis_in(0, rank),
        Op::Unary(Unary::RoundTo(format)) => {
            let known = (1..23).contains(&format.mantissa) && (-126..=0).contains(&format.lowest) && format.largest > 0.0;
            ensure!(known, InvalidModel, "rounds to a format that no number has");
            Ok(())
        }
        Op::Slice { axis, step, .. } => {
            ensure!(*step != 0, InvalidModel, "has step 0");
            axis_in(*axis, rank)
        }
        Op::LayerNorm { axis, .. } => axis_in(*axis, rank.max(1)),
        Op::Reduce { axes, keep_dims, .. } => {
            let left = if *keep_dims { rank } else { rank.saturating_sub(axes.len()) };
            ensure!(out_rank == left, InvalidModel, "gives rank {left}, not {out_rank}");
            ensure!(axes.is_sorted_by(|a, b| a < b), InvalidModel, "has axes that are not in order");
            axes.iter().try_for_each(|&a| axis_in(a, rank))
        }
        Op::Transpose { perm } => {
            let mut sorted: Vec<usize> = perm.clone();
            sorted.sort_unstable();
            ensure!(sorted.iter().copied().eq(0..rank), InvalidModel, "{perm:?} is not a permutation of {rank} axes");
            ensure!(out_rank == rank, InvalidModel, "gives rank {rank}, not {out_rank}");
            Ok(())
        }
        Op::Pad { pads, .. } => {
            ensure!(pads.len() == rank, InvalidModel, "pads {} axes of a tensor of rank {rank}", pads.len());
            Ok(())
        }
        _ => Ok(()),
    }
}

fn verify_window(w: &Window) -> Result<()> {
    const LIMIT: usize = 1 << 16;
    let sizes = w.kernel.iter().chain(&w.strides).chain(&w.dilations);
    ensure!(sizes.clone().all(|&v| (1..LIMIT).contains(&v)), InvalidModel, "has a kernel, stride or dilation out of range");
    ensure!(w.pads.iter().flatten().all(|&v| v < LIMIT), InvalidModel, "has padding out of range");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        graph::{Dim, Quant, ValueId, ValueType},
        tensor::DType,
    };

    fn ty() -> ValueType {
        ValueType::new(DType::F32, vec![Dim::fixed(2), Dim::fixed(2)])
    }

    fn message(graph: &Graph) -> alloc::string::String {
        verify(graph).unwrap_err().to_string()
    }

    #[test]
    fn broken_references_are_named() {
        let mut g = Graph::default();
        let x = g.add_input("x", ty());
        g.add_node("n", Op::Unary(Unary::Neg), &[ValueId(99)], ty());
        assert_eq!(message(&g), "Neg 'n': reads a value that no earlier node computes");
        g.nodes[0].inputs = vec![x, x];
        assert_eq!(message(&g), "Neg 'n': needs 1 inputs, has 2");
        g.nodes[0].inputs = vec![x];
        g.add_output("y", ValueId(77));
        assert_eq!(message(&g), "'y' refers to a value that does not exist");
    }

    #[test]
    fn bad_attributes_are_named() {
        let mut g = Graph::default();
        let x = g.add_input("x", ty());
        g.add_node("t", Op::Transpose { perm: vec![0, 0] }, &[x], ty());
        assert_eq!(message(&g), "Transpose 't': [0, 0] is not a permutation of 2 axes");
        g.nodes[0].op = Op::Reshape;
        g.values[1].ty.dtype = DType::U8;
        assert_eq!(message(&g), "Reshape 't': gives float32 as uint8, whose elements have another size");
        g.values[1].ty.dtype = DType::F32;
        g.nodes[0].op = Op::Softmax { axis: 2, log: false };
        assert_eq!(message(&g), "Softmax 't': axis 2 is out of range for rank 2");
    }

    #[test]
    fn views_of_another_size_are_named() {
        let mut g = Graph::default();
        let x = g.add_input("x", ty());
        g.add_node("bits", Op::Reinterpret, &[x], ValueType { dtype: DType::I32, ..ty() });
        verify(&g).unwrap();
        g.add_node("wide", Op::Reinterpret, &[x], ValueType { dtype: DType::I64, ..ty() });
        assert_eq!(message(&g), "Reinterpret 'wide': gives float32 as int64, whose elements have another size");
    }

    #[test]
    fn bad_scales_are_named() {
        let mut g = Graph::default();
        let quant = Some(Quant::per_tensor(f32::NAN, 0));
        g.add_input("x", ValueType { quant, ..ty() });
        assert_eq!(message(&g), "'x' has a scale that is not a positive number");
    }
}
