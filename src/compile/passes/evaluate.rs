//! Computes a node whose inputs are constants, with the runtime's own kernels.

use alloc::{borrow::Cow, vec::Vec};

use crate::{
    error::{Error, Result},
    graph::{Graph, Init, Node, Op, ValueId},
    kernels::{Operand, PackedWeights, Prepare, once::run_once, prepare},
    tensor::{DType, Tensor},
};

/// Bytes of a constant; `None` if it is not one, or not yet known.
fn constant_bytes(graph: &Graph, v: ValueId) -> Option<Cow<'_, [u8]>> {
    match graph.value(v).init.as_ref()? {
        Init::Data(blob) => Some(Cow::Borrowed(blob.bytes())),
        Init::Dims(dims) => {
            let numbers: Vec<i64> = dims.iter().map(|d| d.as_fixed().map(|d| d as i64)).collect::<Option<_>>()?;
            Some(Cow::Owned(bytemuck::cast_slice(&numbers).to_vec()))
        }
    }
}

/// The constant's contents, dimensions included when all of them are numbers.
pub(super) fn constant(graph: &Graph, v: ValueId) -> Option<Tensor> {
    let ty = &graph.value(v).ty;
    if ty.dtype == DType::String {
        return None;
    }
    Tensor::from_bytes(ty.dtype, &ty.fixed_shape()?, &constant_bytes(graph, v)?).ok()
}

/// The node's results; an error if an input is not constant, a shape is symbolic, or no kernel can run it.
pub(super) fn evaluate(graph: &Graph, node: &Node) -> Result<Vec<Tensor>> {
    let unknown = || Error::Unsupported("an operand is not known at compile time".into());
    let inputs: Vec<Tensor> = node.inputs.iter().map(|v| constant(graph, *v)).collect::<Option<_>>().ok_or_else(unknown)?;
    let shapes: Option<Vec<Vec<usize>>> = node.outputs.iter().map(|v| graph.value(*v).ty.fixed_shape()).collect();
    compute(graph, node, &inputs, &shapes.ok_or_else(unknown)?)
}

/// The node's results of these shapes for other operands than the graph's, which must have the same types.
pub(super) fn compute(graph: &Graph, node: &Node, inputs: &[Tensor], shapes: &[Vec<usize>]) -> Result<Vec<Tensor>> {
    let outputs = node.outputs.iter().zip(shapes).map(|(v, shape)| Tensor::zeros(graph.value(*v).ty.dtype, shape));
    let mut outputs = outputs.collect::<Result<Vec<Tensor>>>()?;
    if matches!(node.op, Op::Reshape | Op::Reinterpret) {
        let shape = outputs[0].shape().to_vec();
        return Ok(alloc::vec![Tensor::from_bytes(outputs[0].dtype(), &shape, inputs[0].bytes())?]);
    }
    let operand = |v: ValueId, t: &Tensor| Operand {
        id: v,
        dtype: t.dtype(),
        shape: t.shape().to_vec(),
        quant: graph.value(v).ty.quant.as_ref(),
        data: None,
    };
    let mut packed = PackedWeights::default();
    let operands = node.inputs.iter().zip(inputs).map(|(v, t)| Operand { data: Some(t.bytes()), ..operand(*v, t) }).collect();
    let results = node.outputs.iter().zip(&outputs).map(|(v, t)| operand(*v, t)).collect();
    let kernel = prepare(&mut Prepare::new(node, operands, results, &mut packed))?;
    run_once(&*kernel, inputs, &mut outputs)?;
    Ok(outputs)
}
