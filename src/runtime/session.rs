//! A loaded model: runs a plan on inputs of any shape that fits it.

use alloc::vec::Vec;

use super::{
    arena::Arena,
    bind::{self, Binding},
    info::{NodeInfo, PortInfo, dims_of},
    tune::Choices,
};
use crate::{
    error::{Error, Result, ensure},
    graph::{
        Graph, Init, Node,
        plan::{Meta, Origin, Plan},
    },
    kernels::{Choice, PackedWeights, Team},
    limits::Limits,
    tensor::TensorView,
};

/// Bindings that are kept, so that alternating between a few shapes costs nothing.
const MAX_BINDINGS: usize = 8;

/// Memory that a session holds, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Constants as stored in the plan; the kernels' copies of weights take their place.
    pub weights: usize,
    /// Intermediate results, inputs and outputs.
    pub arena: usize,
}

/// A plan that is ready to run.
pub struct Session {
    graph: Graph,
    meta: Meta,
    inputs: Vec<PortInfo>,
    outputs: Vec<PortInfo>,
    packed: PackedWeights,
    bindings: Vec<Binding>,
    arena: Arena,
    runs: u64,
    pub(super) tensor_bytes: usize,
    pub(super) team: Team,
    choices: Option<Choices>,
}

impl Session {
    /// Prepares a plan. A model whose input shapes are all fixed is bound at once, so that its first run is like any other.
    pub fn new(plan: Plan) -> Result<Session> {
        Session::with_limits(plan, &Limits::default())
    }

    /// As [`Session::new`]; of the limits `tensor_bytes` is meant.
    pub fn with_limits(plan: Plan, limits: &Limits) -> Result<Session> {
        Session::with_team(plan, limits, Team::ALONE)
    }

    /// As [`Session::with_limits`], for a session whose work `team` shares. Results are the same for every team.
    pub fn with_team(plan: Plan, limits: &Limits, team: Team) -> Result<Session> {
        Session::with_choices(plan, limits, team, None)
    }

    /// As [`Session::with_team`], with the ways in which nodes are computed for inputs of certain shapes (see [`super::Tuner`]).
    #[inline(never)]
    pub fn with_choices(plan: Plan, limits: &Limits, team: Team, choices: Option<Choices>) -> Result<Session> {
        let Plan { graph, meta } = plan;
        let mut session = Session {
            meta,
            inputs: PortInfo::list(&graph, &graph.inputs),
            outputs: PortInfo::list(&graph, &graph.outputs),
            packed: PackedWeights::default(),
            bindings: Vec::new(),
            arena: Arena::default(),
            runs: 0,
            tensor_bytes: limits.tensor_bytes,
            team,
            choices,
            graph,
        };
        let fixed: Option<Vec<Vec<usize>>> =
            session.graph.inputs.iter().map(|p| session.graph.value(p.value).ty.fixed_shape()).collect();
        if let Some(shapes) = fixed {
            session.bind(&shapes.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        }
        Ok(session)
    }

    /// The model's inputs.
    pub fn inputs(&self) -> &[PortInfo] {
        &self.inputs
    }

    /// The model's outputs.
    pub fn outputs(&self) -> &[PortInfo] {
        &self.outputs
    }

    /// Where the plan came from.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The graph that runs. Weights that were packed for the kernels are no longer in it.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The graph's nodes, in the order in which they run.
    pub fn nodes(&self) -> impl Iterator<Item = NodeInfo<'_>> {
        self.graph.nodes.iter().enumerate().map(|(i, node)| {
            let result = node.outputs[0];
            NodeInfo {
                name: &node.name,
                op: node.op.name(),
                dtype: self.graph.value(result).ty.dtype,
                shape: dims_of(&self.graph, result),
                origins: self.origins(i),
            }
        })
    }

    /// The ONNX nodes that became part of a node of the graph; none if unknown.
    pub fn origins(&self, node: usize) -> &[Origin] {
        self.meta.origins.get(node).map_or(&[], Vec::as_slice)
    }

    /// Memory that the session holds.
    pub fn memory(&self) -> Memory {
        Memory { weights: self.graph.constant_bytes(), arena: self.arena.len() }
    }

    /// Prepares for inputs of these shapes, in the order of [`Session::inputs`]. `run` does so by itself when it must.
    #[inline(never)]
    #[cfg_attr(small, optimize(size))]
    pub fn bind(&mut self, shapes: &[&[usize]]) -> Result<()> {
        ensure!(
            shapes.len() == self.inputs.len(),
            InvalidInput,
            "{} shapes were given, the model has {} inputs",
            shapes.len(),
            self.inputs.len()
        );
        if self.find_binding(|i| shapes.get(i).copied()).is_some() {
            return Ok(());
        }
        let binding = {
            let choices = self.choices.as_ref().filter(|choices| choices.are_for(shapes));
            let choice = |node: usize| choices.map_or(Choice::AUTO, |choices| choices.of(node));
            Binding::new(&mut self.graph, &mut self.packed, shapes, &choice, self.tensor_bytes, &self.team)?
        };
        self.arena.reserve(binding.arena_len)?;
        if self.bindings.len() == MAX_BINDINGS
            && let Some(oldest) = (0..MAX_BINDINGS).min_by_key(|&i| self.bindings[i].last_used)
        {
            self.bindings.swap_remove(oldest);
        }
        self.bindings.push(binding);
        Ok(())
    }

    /// Index of the binding for these input shapes.
    fn find_binding<'s>(&self, shape: impl Fn(usize) -> Option<&'s [usize]>) -> Option<usize> {
        self.bindings.iter().position(|b| {
            self.graph.inputs.iter().enumerate().all(|(i, port)| shape(i) == Some(b.shapes[port.value.index()].as_slice()))
        })
    }

    /// Runs the model. Inputs may come in any order; each must be there once, with the model's type and a shape that fits.
    ///
    /// The outputs are borrowed from the session's memory until the next run. With shapes that were bound before, nothing is allocated.
    pub fn run(&mut self, inputs: &[(&str, TensorView<'_>)]) -> Result<Outputs<'_>> {
        self.run_observed(inputs, |_, _| ())
    }

    /// As [`Session::run`]; `observe` is called after each node, with its place in the graph, so that a caller with a clock can measure what each one takes.
    pub fn run_observed(&mut self, inputs: &[(&str, TensorView<'_>)], observe: impl FnMut(usize, &Node)) -> Result<Outputs<'_>> {
        self.check_inputs(inputs)?;
        let view = |name: &str| inputs.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        let found = self.find_binding(|i| view(&self.inputs[i].name).map(|v| v.shape));
        let index = match found {
            Some(index) => index,
            None => {
                let shapes: Vec<&[usize]> = self.inputs.iter().filter_map(|p| view(&p.name).map(|v| v.shape)).collect();
                self.bind(&shapes)?;
                self.bindings.len() - 1
            }
        };
        self.runs += 1;
        let binding = &mut self.bindings[index];
        binding.last_used = self.runs;
        for port in &self.graph.inputs {
            if let (Some(view), bind::Place::Arena { offset, len }) = (view(&port.name), binding.places[port.value.index()]) {
                self.arena.bytes_mut()[offset..offset + len].copy_from_slice(view.data);
            }
        }
        self.run_steps(index, observe)?;
        Ok(Outputs { session: self, binding: index })
    }

    /// Repeats the last run on whatever its inputs' memory holds now: what a benchmark of kernels measures, without copies of inputs.
    #[doc(hidden)]
    pub fn run_again(&mut self, observe: impl FnMut(usize, &Node)) -> Result<()> {
        match (0..self.bindings.len()).max_by_key(|&i| self.bindings[i].last_used) {
            Some(index) => self.run_steps(index, observe),
            None => Ok(()),
        }
    }

    fn run_steps(&mut self, index: usize, mut observe: impl FnMut(usize, &Node)) -> Result<()> {
        let binding = &mut self.bindings[index];
        binding.resolve(&self.graph, self.arena.bytes_mut());
        let start = self.team.now();
        self.team.leave_out_helpers(start.is_some_and(|now| binding.pace.goes_alone(now)));
        for step in &binding.steps {
            let node = &self.graph.nodes[step.node];
            // SAFETY: the regions point into the arena (borrowed mutably here, laid out so that what lives at the same time does
            // not overlap, which holds for all operands and the scratch of one step) and into the graph's constants, only read.
            let result = unsafe { step.run(&*step.kernel, step.scratch(), &self.team) };
            result.map_err(|e| e.at_node(node.op.name(), &node.name))?;
            observe(step.node, node);
        }
        if let (Some(start), Some(end)) = (start, self.team.now()) {
            binding.pace.enter(end - start, end);
        }
        Ok(())
    }

    /// The binding for these input shapes, made if there is none, and what it runs with.
    #[cold]
    #[inline(never)]
    pub(super) fn bound(&mut self, shapes: &[Vec<usize>]) -> Result<Bound<'_>> {
        self.bind(&shapes.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        let index = self.find_binding(|i| shapes.get(i).map(Vec::as_slice)).unwrap_or_default();
        self.team.leave_out_helpers(false);
        Ok(Bound { graph: &self.graph, binding: &mut self.bindings[index], team: &self.team })
    }

    /// How nodes are computed for inputs of certain shapes, if not by the kernels' own rules.
    pub fn choices(&self) -> Option<&Choices> {
        self.choices.as_ref()
    }

    #[inline(never)]
    #[cfg_attr(small, optimize(size))]
    pub(super) fn check_inputs(&self, inputs: &[(&str, TensorView<'_>)]) -> Result<()> {
        for (i, (name, view)) in inputs.iter().enumerate() {
            let Some(index) = self.inputs.iter().position(|p| p.name == *name) else {
                return bind::unknown_input(&self.graph, name);
            };
            let port = &self.inputs[index];
            ensure!(!inputs[..i].iter().any(|(n, _)| n == name), InvalidInput, "input '{name}' is given twice");
            ensure!(
                view.dtype == port.dtype,
                InvalidInput,
                "input '{name}' is {}, the model expects {}; convert it before the call",
                view.dtype,
                port.dtype
            );
            let bytes = crate::tensor::element_count(view.shape)? * view.dtype.size();
            ensure!(
                bytes == view.data.len(),
                InvalidInput,
                "input '{name}' of shape {} needs {bytes} bytes, {} were given",
                crate::tensor::describe_shape(view.shape),
                view.data.len()
            );
            // An input that refers to a constant was given when the model was compiled.
            let value = self.graph.value(self.graph.inputs[index].value);
            if let Some(Init::Data(blob)) = &value.init {
                ensure!(
                    blob.bytes() == view.data,
                    InvalidInput,
                    "input '{name}' must be {}, for which the plan was compiled; give that, or compile another plan with yours",
                    value.name
                );
            }
        }
        match self.inputs.iter().find(|p| !inputs.iter().any(|(n, _)| *n == p.name)) {
            None => Ok(()),
            Some(missing) => Err(Error::InvalidInput(alloc::format!("input '{}' is missing", missing.name))),
        }
    }
}

/// A binding and what it runs with.
pub(super) struct Bound<'a> {
    pub graph: &'a Graph,
    pub binding: &'a mut Binding,
    pub team: &'a Team,
}

/// The results of a run, borrowed from the session.
pub struct Outputs<'a> {
    session: &'a Session,
    binding: usize,
}

impl<'a> Outputs<'a> {
    /// The graph that ran, and the shapes of its values.
    pub(super) fn bound(&self) -> (&'a Graph, &'a [Vec<usize>]) {
        (&self.session.graph, &self.session.bindings[self.binding].shapes)
    }

    /// The output with this name.
    pub fn get(&self, name: &str) -> Option<TensorView<'a>> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// All outputs in the model's order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, TensorView<'a>)> + use<'a> {
        let session = self.session;
        let binding = &session.bindings[self.binding];
        session.graph.outputs.iter().map(move |port| {
            let view = TensorView {
                dtype: session.graph.value(port.value).ty.dtype,
                shape: &binding.shapes[port.value.index()],
                data: binding.bytes(&session.graph, session.arena.bytes(), port.value),
            };
            (port.name.as_str(), view)
        })
    }
}
