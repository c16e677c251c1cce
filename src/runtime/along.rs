//! What a product computes and stores along with its own operator, so that whole tensors need not pass through memory once more: a clamp
//! or a change of scale, and its part of a concatenation.

use alloc::vec::Vec;

use crate::{
    graph::{Graph, Node, Op, ValueId, ops::Unary},
    kernels::{self, Follower, Operand, Placement},
};

/// What a node's kernel does beyond the node's operator.
pub(super) struct Along<'a> {
    /// The node whose operator is computed as well.
    pub absorbed: Option<usize>,
    pub then: Option<Follower>,
    /// The value in whose memory the results go, and how the kernel sees them.
    pub result: ValueId,
    pub output: Operand<'a>,
    /// The Concat that need not copy them, and which of its inputs they are.
    pub joined: Option<(usize, usize)>,
    /// Where in that Concat's result they go.
    pub place: Option<Placement>,
}

/// `None` if node `i` is computed by itself. `readers` are as [`only_readers`] gives them.
pub(super) fn along<'a>(
    graph: &Graph,
    readers: &[Option<usize>],
    i: usize,
    node: &Node,
    operand: &dyn Fn(ValueId) -> Operand<'a>,
) -> Option<Along<'a>> {
    let [result] = node.outputs.as_slice() else { return None };
    let output = operand(*result);
    let mut along = Along { absorbed: None, then: None, result: *result, output, joined: None, place: None };
    if let Some(reader) = readers[i]
        && let Some(then) = follower(node, &graph.nodes[reader], operand)
    {
        let result = graph.nodes[reader].outputs[0];
        along = Along { absorbed: Some(reader), then: Some(then), result, output: operand(result), ..along };
    }
    if let Some(concat) = readers[along.absorbed.unwrap_or(i)] {
        join(graph, node, concat, &mut along, operand);
    }
    (along.absorbed.is_some() || along.joined.is_some()).then_some(along)
}

/// `reader` as a part of `node`, whose result nobody else reads.
fn follower<'a>(node: &Node, reader: &Node, operand: &dyn Fn(ValueId) -> Operand<'a>) -> Option<Follower> {
    let inputs: Vec<Operand<'_>> = reader.inputs.iter().map(|v| operand(*v)).collect();
    let reads_it = reader.inputs.first() == node.outputs.first();
    reads_it.then(|| kernels::follower(&node.op, &reader.op, &inputs, &operand(*reader.outputs.first()?)))?
}

/// Makes `along` store its results where the Concat `reader`, the only one to read them, would copy them. That is possible along the
/// last axis, where a part is some columns of every row.
fn join<'a>(graph: &Graph, node: &Node, reader: usize, along: &mut Along<'a>, operand: &dyn Fn(ValueId) -> Operand<'a>) {
    let concat = &graph.nodes[reader];
    let Op::Concat { axis } = concat.op else { return };
    let part = &along.output;
    if axis + 1 != part.shape.len() || !kernels::can_place(&node.op, part) {
        return;
    }
    let whole = operand(concat.outputs[0]);
    let then = if part.stores_like(&whole) {
        None
    } else if along.then.is_none() {
        let rescaled = Operand { quant: whole.quant, dtype: whole.dtype, ..part.clone() };
        match kernels::follower(&node.op, &Op::Unary(Unary::Identity), core::slice::from_ref(part), &rescaled) {
            Some(then) => Some(then),
            None => return,
        }
    } else {
        return;
    };
    let Some(index) = concat.inputs.iter().position(|v| *v == along.result) else { return };
    let columns = |v: &ValueId| operand(*v).shape.last().copied().unwrap_or(0);
    along.place =
        Some(Placement { offset: concat.inputs[..index].iter().map(columns).sum(), stride: columns(&concat.outputs[0]) });
    along.joined = Some((reader, index));
    along.then = then.or_else(|| along.then.take());
    along.result = concat.outputs[0];
    along.output = Operand { shape: along.output.shape.clone(), ..whole };
}

/// For every node, the one node that reads its result, if there is just one. `reads` counts, for every value, its readers, and names the
/// last of them.
pub(super) fn only_readers(graph: &Graph, reads: &[(usize, usize)]) -> Vec<Option<usize>> {
    let is_output = |value: ValueId| graph.outputs.iter().any(|port| port.value == value);
    let only = |node: &Node| match node.outputs.as_slice() {
        [result] if reads[result.index()].0 == 1 => Some(reads[result.index()].1).filter(|_| !is_output(*result)),
        _ => None,
    };
    graph.nodes.iter().map(only).collect()
}
