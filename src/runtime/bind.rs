//! Binding: from the shapes of the inputs to concrete shapes, a memory plan and prepared kernels.

use alloc::{boxed::Box, vec, vec::Vec};

use super::{
    arena::{Lifetime, place},
    frame::{Done, Frame, constant_bytes, has_fixed_inputs, reads},
    pace::Pace,
};
use crate::{
    error::{Result, bail},
    graph::{Graph, Init, Node, Op, ValueId},
    kernels::{self, Choice, Io, Kernel, Made, PackedWeights, Region, Team},
    tensor::AlignedBytes,
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
    pub pace: Pace,
}

/// One kernel call.
pub(super) struct Step {
    /// Index of the node, for messages.
    pub node: usize,
    pub kernel: Box<dyn Kernel>,
    /// What the kernel was prepared to do.
    pub made: Made,
    pub operands: Vec<ValueId>,
    pub results: Vec<ValueId>,
    scratch: Place,
    pub inputs: Vec<Region>,
    pub outputs: Vec<Region>,
    scratch_region: Region,
}

impl Step {
    /// A step that is not laid out yet.
    pub fn new(node: usize, kernel: Box<dyn Kernel>, made: Made, operands: Vec<ValueId>, results: Vec<ValueId>) -> Step {
        Step {
            node,
            kernel,
            made,
            scratch: Place::Arena { offset: 0, len: 0 },
            inputs: vec![Region::EMPTY; operands.len()],
            outputs: vec![Region::EMPTY; results.len()],
            operands,
            results,
            scratch_region: Region::EMPTY,
        }
    }

    /// Where its own kernel's scratch space is.
    pub fn scratch(&self) -> Region {
        self.scratch_region
    }

    /// Computes the step with `kernel`, its own or another for the same node.
    ///
    /// # Safety
    /// The regions must be those of one memory, laid out so that what lives at the same time does not overlap, and nobody else may touch
    /// it; `scratch` must not overlap them and have [`kernels::scratch_len`] bytes for `kernel` and `team`.
    pub unsafe fn run(&self, kernel: &dyn Kernel, scratch: Region, team: &Team) -> Result<()> {
        // SAFETY: as the caller promises.
        let mut io = unsafe { Io::new(kernel, &self.inputs, &self.outputs, scratch, team) };
        kernel.run(&mut io)
    }
}

impl Binding {
    /// Binds `graph` to the shapes of its inputs, given in the order of `graph.inputs`, for runs by `team`. `limit` is the most bytes that
    /// its arena may take, `choices` says of each node how to go about it. Weights that are packed and that no other binding will ask for
    /// are given back one by one.
    pub fn new(
        graph: &mut Graph,
        packed: &mut PackedWeights,
        input_shapes: &[&[usize]],
        choices: &dyn Fn(usize) -> Choice,
        limit: usize,
        team: &Team,
    ) -> Result<Binding> {
        let frame = Frame::new(graph, input_shapes)?;
        let releasable = releasable_weights(graph, &reads(graph));
        let (mut done, mut steps) = (Done::nothing(graph), Vec::new());
        for (i, releasable) in releasable.into_iter().enumerate() {
            let Some(call) = frame.call(graph, &mut done, i)? else { continue };
            steps.push(frame.prepare(graph, packed, &call, choices(i))?);
            if let Some(weight) = releasable.filter(|weight| packed.holds(*weight))
                && let Some(Init::Data(blob)) = &mut graph.value_mut(weight).init
            {
                blob.release();
            }
        }
        let Frame { shapes, dims, roots, .. } = frame;
        let mut binding =
            Binding { shapes, places: Vec::new(), dims, steps, arena_len: 0, resolved_for: 0, last_used: 0, pace: Pace::NEW };
        binding.lay_out(graph, &roots, limit, team)?;
        Ok(binding)
    }

    /// Plans the arena: every root value from its definition to its last use, and every kernel's scratch during its step.
    #[inline(never)]
    #[cfg_attr(small, optimize(size))]
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

/// For every node, the weight that needs no memory of its own once the node's kernel has packed it: nobody else reads it, and the node is
/// prepared only once, as all shapes are fixed, or packs its weight the same way whatever the shapes are.
fn releasable_weights(graph: &Graph, reads: &[(usize, usize)]) -> Vec<Option<ValueId>> {
    let fixed = has_fixed_inputs(graph);
    let weight = |node: &Node| {
        let packs = matches!(node.op, Op::MatMul(_)) || fixed && matches!(node.op, Op::Conv(_));
        node.inputs.get(1).copied().filter(|weight| packs && reads[weight.index()].0 == 1)
    };
    graph.nodes.iter().map(weight).collect()
}

/// Fails unless a port of this name exists.
pub(super) fn unknown_input(graph: &Graph, name: &str) -> Result<()> {
    let names: Vec<&str> = graph.inputs.iter().map(|p| p.name.as_str()).collect();
    bail!(InvalidInput, "the model has no input '{name}'; its inputs are: {}", names.join(", "))
}

#[cfg(test)]
#[path = "bind_tests.rs"]
mod tests;
