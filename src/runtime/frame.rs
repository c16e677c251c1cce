//! What is known of a graph once the shapes of its inputs are: all shapes, and of each node what its kernel is prepared from.

use alloc::{borrow::Cow, boxed::Box, vec, vec::Vec};

use super::{
    along::{Along, along, only_readers},
    bind::Step,
};
use crate::{
    error::{Result, ensure},
    graph::{Blob, Dim, Graph, Init, Node, Op, Port, ValueId, dim, shape},
    kernels::{self, Choice, Inner, Kernel, Operand, PackedWeights, Prepare},
    tensor::{AlignedBytes, DType, describe_shape, element_count},
};

/// What is known of a graph when the shapes of its inputs are.
pub(super) struct Frame {
    symbols: Vec<i64>,
    /// Concrete shape of every value.
    pub shapes: Vec<Vec<usize>>,
    pub dims: Vec<Option<AlignedBytes>>,
    pub roots: Vec<usize>,
    readers: Vec<Option<usize>>,
    /// Whether all inputs have fixed shapes, so that nothing will be prepared a second time.
    fixed: bool,
}

/// What steps of earlier nodes compute already.
pub(super) struct Done {
    /// Nodes that are computed as a whole.
    absorbed: Vec<bool>,
    /// The inputs that are where a Concat would copy them.
    joined: Vec<Vec<usize>>,
}

impl Done {
    /// Before the first node.
    pub fn nothing(graph: &Graph) -> Done {
        Done { absorbed: vec![false; graph.nodes.len()], joined: vec![Vec::new(); graph.nodes.len()] }
    }
}

/// A node that has to be computed, and what its kernel does beside.
pub(super) struct Call<'a> {
    index: usize,
    node: Cow<'a, Node>,
    along: Option<Along<'a>>,
    joined: Vec<usize>,
}

impl Frame {
    /// Evaluates all shapes.
    #[inline(never)]
    #[cfg_attr(small, optimize(size))]
    pub fn new(graph: &Graph, input_shapes: &[&[usize]]) -> Result<Frame> {
        let symbols = solve_symbols(graph, input_shapes)?;
        let fixed = has_fixed_inputs(graph);
        Ok(Frame {
            shapes: bind_shapes(graph, &symbols)?,
            dims: bind_all_dims(graph, &symbols)?,
            roots: alias_roots(graph),
            readers: only_readers(graph, &reads(graph)),
            symbols,
            fixed,
        })
    }

    fn operand<'a>(&'a self, graph: &'a Graph, id: ValueId) -> Operand<'a> {
        operand(graph, &self.dims, &self.roots, &self.shapes[id.index()], id)
    }

    /// Checks node `i`, whose turn comes after all before it; `None` if there is nothing to be computed.
    #[inline(never)]
    #[cfg_attr(small, optimize(size))]
    pub fn call<'a>(&'a self, graph: &'a Graph, done: &mut Done, i: usize) -> Result<Option<Call<'a>>> {
        let node = with_fixed_dims(&graph.nodes[i], &self.symbols)?;
        let shapes = |ids: &[ValueId]| ids.iter().map(|v| self.shapes[v.index()].as_slice()).collect::<Vec<_>>();
        let checked = shape::check(&node.op, &shapes(&node.inputs), &shapes(&node.outputs));
        checked.map_err(|e| e.at_node(node.op.name(), &node.name))?;
        let joined = core::mem::take(&mut done.joined[i]);
        if done.absorbed[i] || is_alias(&node.op) || !node.inputs.is_empty() && joined.len() == node.inputs.len() {
            return Ok(None);
        }
        let along = along(graph, &self.readers, i, &node, &|id| self.operand(graph, id));
        if let Some(absorbed) = along.as_ref().and_then(|a| a.absorbed) {
            done.absorbed[absorbed] = true;
        }
        if let Some((concat, input)) = along.as_ref().and_then(|a| a.joined) {
            done.joined[concat].push(input);
        }
        Ok(Some(Call { index: i, node, along, joined }))
    }

    /// The step of a node.
    #[inline(never)]
    #[cfg_attr(small, optimize(size))]
    pub fn prepare(&self, graph: &Graph, packed: &mut PackedWeights, call: &Call<'_>, mut choice: Choice) -> Result<Step> {
        let Call { index, node, along, joined } = call;
        let operand = |v: &ValueId| self.operand(graph, *v);
        let inputs = node.inputs.iter().map(operand).collect();
        let (results, outputs, then, place) = match along {
            Some(along) => (vec![along.result], vec![along.output.clone()], along.then.clone(), along.place),
            None => (node.outputs.clone(), node.outputs.iter().map(operand).collect(), None, None),
        };
        // For other shapes the weights must be packed the same way, as only their packed form is kept.
        if !self.fixed && choice.inner == Inner::Wide {
            choice.inner = Inner::Auto;
        }
        let mut prepare = Prepare { then, place, joined, choice, ..Prepare::new(node, inputs, outputs, packed) };
        let kernel = kernels::prepare(&mut prepare).map_err(|e| e.at_node(node.op.name(), &node.name))?;
        let made = prepare.made;
        let operands = node.inputs.iter().enumerate().filter(|(i, _)| !joined.contains(i)).map(|(_, v)| *v);
        Ok(Step::new(*index, kernel, made, operands.collect(), results))
    }
}

pub(super) fn has_fixed_inputs(graph: &Graph) -> bool {
    graph.inputs.iter().all(|port| graph.value(port.value).ty.fixed_shape().is_some())
}

/// Checks a node's shapes and prepares its kernel; `None` for an alias.
pub(super) fn prepare_node<'s>(
    graph: &Graph,
    packed: &mut PackedWeights,
    roots: &[usize],
    dims: &[Option<AlignedBytes>],
    shape: &dyn Fn(ValueId) -> &'s [usize],
    node: &Node,
) -> Result<Option<Box<dyn Kernel>>> {
    let shapes_of = |ids: &[ValueId]| ids.iter().map(|v| shape(*v)).collect::<Vec<_>>();
    shape::check(&node.op, &shapes_of(&node.inputs), &shapes_of(&node.outputs))?;
    if is_alias(&node.op) {
        return Ok(None);
    }
    let operand = |id: &ValueId| operand(graph, dims, roots, shape(*id), *id);
    let inputs = node.inputs.iter().map(operand).collect();
    let outputs = node.outputs.iter().map(operand).collect();
    kernels::prepare(&mut Prepare::new(node, inputs, outputs, packed)).map(Some)
}

fn operand<'a>(graph: &'a Graph, dims: &'a [Option<AlignedBytes>], roots: &[usize], shape: &[usize], id: ValueId) -> Operand<'a> {
    let ty = &graph.value(id).ty;
    let data = constant_bytes(graph, dims, roots[id.index()]);
    Operand { id, dtype: ty.dtype, shape: shape.to_vec(), quant: ty.quant.as_ref(), data }
}

/// For every value, how often it is read, as an output of the graph too, and the last node that reads it.
pub(super) fn reads(graph: &Graph) -> Vec<(usize, usize)> {
    let mut reads: Vec<(usize, usize)> = vec![(0, 0); graph.values.len()];
    for (i, node) in graph.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|v| reads[v.index()] = (reads[v.index()].0 + 1, i));
    }
    graph.outputs.iter().for_each(|port| reads[port.value.index()].0 += 1);
    reads
}

/// Whether the operator gives its input's memory another type.
fn is_alias(op: &Op) -> bool {
    matches!(op, Op::Reshape | Op::Reinterpret)
}

/// For every value, the value whose memory it shares; itself if none.
pub(super) fn alias_roots(graph: &Graph) -> Vec<usize> {
    let mut roots: Vec<usize> = (0..graph.values.len()).collect();
    for node in graph.nodes.iter().filter(|n| is_alias(&n.op)) {
        roots[node.outputs[0].index()] = roots[node.inputs[0].index()];
    }
    roots
}

pub(super) fn constant_bytes<'a>(graph: &'a Graph, dims: &'a [Option<AlignedBytes>], value: usize) -> Option<&'a [u8]> {
    match &graph.values[value].init {
        Some(Init::Data(blob)) => Some(Blob::bytes(blob)),
        Some(Init::Dims(_)) => dims[value].as_deref(),
        None => None,
    }
}

/// Values of the graph's symbols, from the shapes of its inputs.
fn solve_symbols(graph: &Graph, input_shapes: &[&[usize]]) -> Result<Vec<i64>> {
    let mut symbols = vec![dim::UNKNOWN; graph.symbols.len()];
    for (port, shape) in graph.inputs.iter().zip(input_shapes) {
        let dims = &graph.value(port.value).ty.shape;
        ensure!(
            dims.len() == shape.len(),
            InvalidInput,
            "input '{}' is {}, the model expects {} ({} dimensions)",
            port.name,
            describe_shape(shape),
            describe_dims(graph, port),
            dims.len()
        );
        for (d, &given) in dims.iter().zip(*shape) {
            if let Some(s) = d.as_symbol()
                && let Some(slot) = symbols.get_mut(s as usize)
                && *slot == dim::UNKNOWN
            {
                *slot = given as i64;
            }
        }
    }
    for (port, shape) in graph.inputs.iter().zip(input_shapes) {
        for (axis, (d, &given)) in graph.value(port.value).ty.shape.iter().zip(*shape).enumerate() {
            let expected = d.eval(&symbols)?;
            ensure!(
                expected == given,
                InvalidInput,
                "input '{}' is {}, the model expects {}: axis {axis} must be {expected}",
                port.name,
                describe_shape(shape),
                describe_dims(graph, port)
            );
        }
    }
    Ok(symbols)
}

fn describe_dims(graph: &Graph, port: &Port) -> alloc::string::String {
    let dims = &graph.value(port.value).ty.shape;
    if dims.is_empty() {
        return "a scalar".into();
    }
    dims.iter().map(|d| d.display(&graph.symbols)).collect::<Vec<_>>().join("×")
}

fn bind_shapes(graph: &Graph, symbols: &[i64]) -> Result<Vec<Vec<usize>>> {
    let mut shapes = Vec::with_capacity(graph.values.len());
    for value in &graph.values {
        let shape = value.ty.shape.iter().map(|d| d.eval(symbols)).collect::<Result<Vec<usize>>>()?;
        element_count(&shape)?;
        ensure!(
            value.ty.dtype != DType::String,
            Unsupported,
            "'{}' is a string tensor, which the light runtime does not hold",
            value.name
        );
        shapes.push(shape);
    }
    Ok(shapes)
}

/// Contents of the constants that depend on shapes.
fn bind_all_dims(graph: &Graph, symbols: &[i64]) -> Result<Vec<Option<AlignedBytes>>> {
    let values = graph.values.iter();
    values
        .map(|v| match &v.init {
            Some(Init::Dims(dims)) => bind_dims(dims, symbols).map(Some),
            _ => Ok(None),
        })
        .collect()
}

pub(super) fn bind_dims(dims: &[Dim], symbols: &[i64]) -> Result<AlignedBytes> {
    let numbers = dims.iter().map(|d| d.eval_signed(symbols)).collect::<Result<Vec<i64>>>()?;
    Ok(AlignedBytes::copy_of(bytemuck::cast_slice(&numbers)))
}

/// The node with the symbolic dimensions among its attributes replaced by numbers.
pub(super) fn with_fixed_dims<'a>(node: &'a Node, symbols: &[i64]) -> Result<Cow<'a, Node>> {
    let fix = |d: &Dim| d.eval_signed(symbols).map(Dim::constant);
    let op = match &node.op {
        Op::Slice { axis, start, step } => Op::Slice { axis: *axis, start: fix(start)?, step: *step },
        Op::Pad { pads, value } => {
            let pads = pads.iter().map(|(a, b)| Ok((fix(a)?, fix(b)?))).collect::<Result<_>>()?;
            Op::Pad { pads, value: *value }
        }
        _ => return Ok(Cow::Borrowed(node)),
    };
    Ok(Cow::Owned(Node { op, ..node.clone() }))
}
