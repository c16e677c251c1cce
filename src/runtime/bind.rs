//! Binding: from the shapes of the inputs to concrete shapes, a memory plan and prepared kernels.

use alloc::{borrow::Cow, boxed::Box, vec, vec::Vec};

use super::{
    along::{Along, along, only_readers},
    arena::{Lifetime, place},
};
use crate::{
    error::{Result, bail, ensure},
    graph::{Blob, Dim, Graph, Init, Node, Op, Port, ValueId, dim, shape},
    kernels::{self, Kernel, Operand, PackedWeights, Prepare, Region, Team},
    tensor::{AlignedBytes, DType, describe_shape, element_count},
};

/// Where a value lives while a binding runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// A range of the arena.
    Arena { offset: usize, len: usize },
    /// The constant with this value index.
    Constant(usize),
}

/// A graph bound to concrete input shapes.
pub(super) struct Binding {
    /// Concrete shape of every value.
    pub shapes: Vec<Vec<usize>>,
    /// Place of every value; values that nothing computes have an empty one.
    pub places: Vec<Place>,
    /// Contents of the constants that depend on shapes, by value index.
    dims: Vec<Option<AlignedBytes>>,
    pub steps: Vec<Step>,
    pub arena_len: usize,
    /// Address of the arena for which the steps' regions were resolved.
    resolved_for: usize,
    /// When it was used last, in runs.
    pub last_used: u64,
}

/// One kernel call.
pub(super) struct Step {
    /// Index of the node, for messages.
    pub node: usize,
    pub kernel: Box<dyn Kernel>,
    operands: Vec<ValueId>,
    results: Vec<ValueId>,
    scratch: Place,
    pub inputs: Vec<Region>,
    pub outputs: Vec<Region>,
    pub scratch_region: Region,
}

impl Binding {
    /// Binds `graph` to the shapes of its inputs, given in the order of `graph.inputs`, for runs by `team`. `limit` is the most bytes that
    /// its arena may take. Weights that are packed and that no other binding will ask for are given back one by one.
    pub fn new(
        graph: &mut Graph,
        packed: &mut PackedWeights,
        input_shapes: &[&[usize]],
        limit: usize,
        team: &Team,
    ) -> Result<Binding> {
        let symbols = solve_symbols(graph, input_shapes)?;
        let shapes = bind_shapes(graph, &symbols)?;
        let dims = bind_all_dims(graph, &symbols)?;
        let roots = alias_roots(graph);
        let mut binding =
            Binding { shapes, places: Vec::new(), dims, steps: Vec::new(), arena_len: 0, resolved_for: 0, last_used: 0 };
        let reads = reads(graph);
        let (absorbed, joined) = (vec![false; graph.nodes.len()], vec![Vec::new(); graph.nodes.len()]);
        let mut done = Done { readers: only_readers(graph, &reads), absorbed, joined };
        for (i, releasable) in releasable_weights(graph, &reads).into_iter().enumerate() {
            let node = with_fixed_dims(&graph.nodes[i], &symbols)?;
            let step = binding.step(graph, &roots, &mut done, packed, i, &node);
            let step = step.map_err(|e| e.at_node(node.op.name(), &node.name))?;
            binding.steps.extend(step);
            if let Some(weight) = releasable.filter(|weight| packed.holds(*weight))
                && let Some(Init::Data(blob)) = &mut graph.value_mut(weight).init
            {
                blob.release();
            }
        }
        binding.lay_out(graph, &roots, limit, team)?;
        Ok(binding)
    }

    /// The step of a node; `None` if it has none, as it is an alias or computed by another node's step.
    ///
    /// Not inlined: a loop around much code would make engines spend their time on optimising what runs once.
    #[inline(never)]
    fn step(
        &self,
        graph: &Graph,
        roots: &[usize],
        done: &mut Done,
        packed: &mut PackedWeights,
        index: usize,
        node: &Node,
    ) -> Result<Option<Step>> {
        let shapes = |ids: &[ValueId]| ids.iter().map(|v| self.shapes[v.index()].as_slice()).collect::<Vec<_>>();
        shape::check(&node.op, &shapes(&node.inputs), &shapes(&node.outputs))?;
        if done.absorbed[index] || is_alias(&node.op) || !node.inputs.is_empty() && done.joined[index].len() == node.inputs.len()
        {
            return Ok(None);
        }
        let operand = |id| operand(graph, &self.dims, roots, &self.shapes[ValueId::index(id)], id);
        let along = along(graph, &done.readers, index, node, &operand);
        if let Some(absorbed) = along.as_ref().and_then(|a| a.absorbed) {
            done.absorbed[absorbed] = true;
        }
        if let Some((concat, input)) = along.as_ref().and_then(|a| a.joined) {
            done.joined[concat].push(input);
        }
        prepare_step(packed, index, node, &operand, along, &done.joined[index]).map(Some)
    }

    /// Plans the arena: every root value from its definition to its last use, and every kernel's scratch during its step.
    #[inline(never)]
    fn lay_out(&mut self, graph: &Graph, roots: &[usize], limit: usize, team: &Team) -> Result<()> {
        // Time 0 is before the first step, `end` after the last: inputs are there from 0, outputs until `end`.
        let end = self.steps.len() + 1;
        let mut lives: Vec<Option<(usize, usize)>> = vec![None; graph.values.len()];
        let mut touch = |value: ValueId, time: usize| {
            let life = lives[roots[value.index()]].get_or_insert((time, time));
            *life = (life.0.min(time), life.1.max(time));
        };
        for port in &graph.inputs {
            touch(port.value, 0);
        }
        for (i, step) in self.steps.iter().enumerate() {
            step.operands.iter().chain(&step.results).for_each(|&v| touch(v, i + 1));
        }
        for port in &graph.outputs {
            touch(port.value, end);
        }

        let mut buffers = Vec::new();
        let mut slot = vec![None; graph.values.len()];
        for (i, life) in lives.iter().enumerate() {
            if let (Some((first, last)), None) = (*life, &graph.values[i].init) {
                slot[i] = Some(buffers.len());
                buffers.push(Lifetime { first, last, bytes: self.byte_len(graph, i) });
            }
        }
        let first_scratch = buffers.len();
        for (i, step) in self.steps.iter().enumerate() {
            buffers.push(Lifetime { first: i + 1, last: i + 1, bytes: kernels::scratch_len(&*step.kernel, team) });
        }
        let (offsets, total) = place(&buffers, limit)?;
        self.arena_len = total;
        self.places = (0..graph.values.len())
            .map(|i| {
                let root = roots[i];
                match slot[root] {
                    Some(b) => Place::Arena { offset: offsets[b], len: self.byte_len(graph, i) },
                    None if graph.values[root].init.is_some() => Place::Constant(root),
                    None => Place::Arena { offset: 0, len: 0 },
                }
            })
            .collect();
        for (i, step) in self.steps.iter_mut().enumerate() {
            let b = first_scratch + i;
            step.scratch = Place::Arena { offset: offsets[b], len: buffers[b].bytes };
        }
        Ok(())
    }

    fn byte_len(&self, graph: &Graph, value: usize) -> usize {
        self.shapes[value].iter().product::<usize>() * graph.values[value].ty.dtype.size()
    }

    /// Points every step at the arena. Cheap when the arena has not moved; never allocates.
    pub fn resolve(&mut self, graph: &Graph, arena: &mut [u8]) {
        let address = arena.as_ptr() as usize;
        if self.resolved_for == address {
            return;
        }
        self.resolved_for = address;
        let (places, dims) = (&self.places, &self.dims);
        let mut region = |place: Place| match place {
            Place::Arena { offset, len } => Region::of_mut(&mut arena[offset..offset + len]),
            Place::Constant(value) => constant_bytes(graph, dims, value).map_or(Region::EMPTY, Region::of),
        };
        for step in &mut self.steps {
            for (r, v) in step.inputs.iter_mut().zip(&step.operands) {
                *r = region(places[v.index()]);
            }
            for (r, v) in step.outputs.iter_mut().zip(&step.results) {
                *r = region(places[v.index()]);
            }
            step.scratch_region = region(step.scratch);
        }
    }

    /// The bytes of a value after a run.
    pub fn bytes<'a>(&'a self, graph: &'a Graph, arena: &'a [u8], value: ValueId) -> &'a [u8] {
        match self.places[value.index()] {
            Place::Arena { offset, len } => &arena[offset..offset + len],
            Place::Constant(root) => constant_bytes(graph, &self.dims, root).unwrap_or_default(),
        }
    }
}

/// What steps of other nodes compute already, and may compute.
struct Done {
    /// For every node, the one node that reads its result, if there is just one.
    readers: Vec<Option<usize>>,
    /// Whether a node is computed as a whole.
    absorbed: Vec<bool>,
    /// The inputs that are where a Concat would copy them.
    joined: Vec<Vec<usize>>,
}

/// The step of a node whose inputs `joined` need no copying.
fn prepare_step<'a>(
    packed: &mut PackedWeights,
    index: usize,
    node: &Node,
    operand: &dyn Fn(ValueId) -> Operand<'a>,
    along: Option<Along<'a>>,
    joined: &[usize],
) -> Result<Step> {
    let inputs = node.inputs.iter().map(|v| operand(*v)).collect();
    let (results, outputs, then, place) = match along {
        Some(along) => (vec![along.result], vec![along.output], along.then, along.place),
        None => (node.outputs.clone(), node.outputs.iter().map(|v| operand(*v)).collect(), None, None),
    };
    let kernel = kernels::prepare(&mut Prepare { node, inputs, outputs, packed, then, place, joined })?;
    let operands = node.inputs.iter().enumerate().filter(|(i, _)| !joined.contains(i)).map(|(_, v)| *v);
    let operands: Vec<ValueId> = operands.collect();
    Ok(Step {
        node: index,
        kernel,
        scratch: Place::Arena { offset: 0, len: 0 },
        inputs: vec![Region::EMPTY; operands.len()],
        outputs: vec![Region::EMPTY; results.len()],
        operands,
        results,
        scratch_region: Region::EMPTY,
    })
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
    kernels::prepare(&mut Prepare { node, inputs, outputs, packed, then: None, place: None, joined: &[] }).map(Some)
}

fn operand<'a>(graph: &'a Graph, dims: &'a [Option<AlignedBytes>], roots: &[usize], shape: &[usize], id: ValueId) -> Operand<'a> {
    let ty = &graph.value(id).ty;
    let data = constant_bytes(graph, dims, roots[id.index()]);
    Operand { id, dtype: ty.dtype, shape: shape.to_vec(), quant: ty.quant.as_ref(), data }
}

/// For every value, how often it is read, as an output of the graph too, and the last node that reads it.
fn reads(graph: &Graph) -> Vec<(usize, usize)> {
    let mut reads: Vec<(usize, usize)> = vec![(0, 0); graph.values.len()];
    for (i, node) in graph.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|v| reads[v.index()] = (reads[v.index()].0 + 1, i));
    }
    graph.outputs.iter().for_each(|port| reads[port.value.index()].0 += 1);
    reads
}

/// For every node, the weight that needs no memory of its own once the node's kernel has packed it: nobody else reads it, and the node is
/// prepared only once, as all shapes are fixed, or packs its weight the same way whatever the shapes are.
fn releasable_weights(graph: &Graph, reads: &[(usize, usize)]) -> Vec<Option<ValueId>> {
    let fixed = graph.inputs.iter().all(|port| graph.value(port.value).ty.fixed_shape().is_some());
    let weight = |node: &Node| {
        let packs = matches!(node.op, Op::MatMul(_)) || fixed && matches!(node.op, Op::Conv(_));
        node.inputs.get(1).copied().filter(|weight| packs && reads[weight.index()].0 == 1)
    };
    graph.nodes.iter().map(weight).collect()
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

fn constant_bytes<'a>(graph: &'a Graph, dims: &'a [Option<AlignedBytes>], value: usize) -> Option<&'a [u8]> {
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

/// Fails unless a port of this name exists.
pub(super) fn unknown_input(graph: &Graph, name: &str) -> Result<()> {
    let names: Vec<&str> = graph.inputs.iter().map(|p| p.name.as_str()).collect();
    bail!(InvalidInput, "the model has no input '{name}'; its inputs are: {}", names.join(", "))
}

#[cfg(test)]
#[path = "bind_tests.rs"]
mod tests;
