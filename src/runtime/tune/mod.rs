//! Choosing by measuring: which of several ways computes each product of a model fastest, on the machine at hand and for the shapes of given
//! inputs.
//!
//! The model goes on as it is while a [`Tuner`] measures. A second copy of the plan gives the weights that other ways are packed from, one node
//! at a time. The model's own steps run in memory of the tuner's, so that every way meets real operands. What won node by node is then
//! run as a whole, in turns with the model as it was, and dropped unless it is faster.

mod record;
mod trials;
mod verdict;

use alloc::{string::String, vec, vec::Vec};

pub use record::Choices;

use super::{
    Session,
    arena::Arena,
    bind::Place,
    frame::{Done, Frame},
    session::Bound,
};
use crate::{
    error::{Result, ensure},
    graph::{
        Graph,
        plan::{Meta, Plan},
    },
    kernels::{Made, PackedWeights},
    tensor::{AlignedBytes, Tensor, TensorView},
};
use trials::Trials;
use verdict::Verdict;

/// What became of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct TunedNode {
    /// Its place among the graph's nodes, and so among [`Session::nodes`].
    pub index: usize,
    /// Shortest time in milliseconds by the way that the model had.
    pub before_ms: f64,
    /// Shortest time in milliseconds by the fastest way.
    pub after_ms: f64,
    /// The way that the model had.
    pub before: Made,
    /// The fastest way; the same as before if no other was faster by more than noise.
    pub after: Made,
}

/// What came of tuning.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tuned {
    /// Whether the whole model became faster by more than noise. If not, all stays as it was.
    pub kept: bool,
    /// Shortest time of a run in milliseconds as the model was; 0 if nothing was compared.
    pub before_ms: f64,
    /// Shortest time of a run with the fastest ways; 0 if nothing was compared.
    pub after_ms: f64,
    /// What became of each node that was measured, in the order of the graph.
    pub nodes: Vec<TunedNode>,
}

/// Runs of the model whose steps are measured, to see which are worth trying others for.
const SURVEYS: usize = 4;
/// Share of the model's time below which a node is left as it is.
const LEAST_SHARE: f64 = 0.004;
/// Part of the time that is for single nodes; the rest is for the whole model.
const FOR_NODES: f64 = 0.75;

/// Measures a model step by step; see [`Tuner::advance`].
pub struct Tuner {
    /// A second copy of the model's graph, with all weights.
    graph: Graph,
    meta: Meta,
    frame: Frame,
    shapes: Vec<Vec<usize>>,
    inputs: Vec<(String, Tensor)>,
    /// What the model's steps run in here.
    arena: Arena,
    scratch: AlignedBytes,
    budget_ms: f64,
    spent_ms: f64,
    /// Milliseconds from one tick of the clock to the next.
    tick_ms: f64,
    stage: Stage,
    /// The walk over the model's steps, and the next of them.
    walk: usize,
    at: usize,
    done: Done,
    packed: PackedWeights,
    /// Time of each step, summed over the surveys.
    times: Vec<f64>,
    /// By step: whether it is tried, and the step that is tried for it, whose shapes are the same.
    wanted: Vec<bool>,
    twins: Vec<Option<usize>>,
    trials: Trials,
    choices: Choices,
    report: Tuned,
}

enum Stage {
    Walking,
    Judging(Verdict),
    Over(Option<alloc::boxed::Box<Session>>),
}

impl Tuner {
    /// Prepares for tuning `session` for these inputs, in about `budget_ms` milliseconds. `plan` is another copy of what it was loaded from.
    #[cold]
    #[inline(never)]
    #[cfg_attr(small, optimize(size))]
    pub fn new(plan: Plan, session: &mut Session, inputs: &[(&str, TensorView<'_>)], budget_ms: f64) -> Result<Tuner> {
        session.check_inputs(inputs)?;
        let ports = session.inputs();
        let view = |name: &str| inputs.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        let shapes: Vec<Vec<usize>> = ports.iter().filter_map(|p| Some(view(&p.name)?.shape.to_vec())).collect();
        let inputs = inputs.iter().map(|(name, v)| Ok(((*name).into(), Tensor::from_bytes(v.dtype, v.shape, v.data)?)));
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        let slices: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
        let Plan { graph, meta } = plan;
        let same = graph.nodes.len() == session.graph().nodes.len() && graph.values.len() == session.graph().values.len();
        ensure!(same, InvalidInput, "the plan is not the one that the model was loaded from");
        let frame = Frame::new(&graph, &slices)?;
        let count = graph.nodes.len();
        let none = || Choices::none(&slices, count);
        let choices = session.choices().filter(|c| c.are_for(&slices)).cloned().unwrap_or_else(none);
        let steps = {
            let Bound { graph: own, binding, .. } = session.bound(&shapes)?;
            let types = own.values.iter().zip(&graph.values).all(|(a, b)| a.ty.dtype == b.ty.dtype);
            ensure!(
                types && binding.shapes == frame.shapes,
                InvalidInput,
                "the plan is not the one that the model was loaded from"
            );
            binding.steps.len()
        };
        Ok(Tuner {
            done: Done::nothing(&graph),
            graph,
            meta,
            frame,
            shapes,
            inputs,
            arena: Arena::default(),
            scratch: AlignedBytes::default(),
            budget_ms,
            spent_ms: 0.0,
            tick_ms: 0.0,
            stage: Stage::Walking,
            walk: 0,
            at: 0,
            packed: PackedWeights::default(),
            times: vec![0.0; steps],
            wanted: vec![false; steps],
            twins: vec![None; steps],
            trials: Trials::default(),
            choices,
            report: Tuned::default(),
        })
    }

    /// Goes on for about `slice_ms` milliseconds by `clock`; between calls the model may run on other inputs. Gives how much of all is done;
    /// 1 when there is no more to do.
    #[cold]
    #[inline(never)]
    #[cfg_attr(small, optimize(size))]
    pub fn advance(&mut self, session: &mut Session, clock: &mut dyn FnMut() -> f64, slice_ms: f64) -> Result<f64> {
        let start = clock();
        if self.tick_ms == 0.0 {
            self.tick_ms = tick(clock, start);
        }
        let mut spent = 0.0;
        while spent < slice_ms && !matches!(self.stage, Stage::Over(_)) {
            if let Stage::Judging(verdict) = &mut self.stage {
                let over = verdict.compare(session, &self.inputs, clock, self.budget_ms - self.spent_ms - spent)?;
                if over {
                    self.conclude();
                }
            } else {
                self.walk_on(session, clock, start + slice_ms)?;
            }
            spent = clock() - start;
        }
        self.spent_ms += spent;
        Ok(match self.stage {
            Stage::Over(_) => 1.0,
            _ => (self.spent_ms / self.budget_ms.max(1.0)).min(0.99),
        })
    }

    /// What was found. Where it is kept, `session` becomes the faster one, for which [`Session::choices`] can be recorded. Before the end,
    /// nothing is kept.
    #[cold]
    #[inline(never)]
    pub fn finish(self, session: &mut Session) -> Tuned {
        if let Stage::Over(Some(tuned)) = self.stage {
            *session = *tuned;
        }
        self.report
    }

    /// Runs and measures steps of the model until `end`, or the last of the walks.
    #[cold]
    #[inline(never)]
    #[cfg_attr(small, optimize(size))]
    fn walk_on(&mut self, session: &mut Session, clock: &mut dyn FnMut() -> f64, end: f64) -> Result<()> {
        let Bound { graph: own, binding, team } = session.bound(&self.shapes)?;
        self.arena.reserve(binding.arena_len)?;
        if self.at == 0 {
            self.done = Done::nothing(&self.graph);
            for port in &own.inputs {
                let given = self.inputs.iter().find(|(name, _)| *name == port.name);
                if let (Some((_, tensor)), Place::Arena { offset, len }) = (given, binding.places[port.value.index()]) {
                    self.arena.bytes_mut()[offset..offset + len].copy_from_slice(tensor.bytes());
                }
            }
        }
        binding.resolve(own, self.arena.bytes_mut());
        while let Some(step) = binding.steps.get(self.at) {
            let tried = self.walk >= SURVEYS && self.wanted.get(self.at) == Some(&true);
            if tried && self.trials.is_empty() {
                let Some(call) = self.frame.call(&self.graph, &mut self.done, step.node)? else {
                    self.wanted[self.at] = false;
                    continue;
                };
                let (choice, packed) = (self.choices.of(step.node), &mut self.packed);
                let mut prepare = |choice| self.frame.prepare(&self.graph, packed, &call, choice).ok();
                self.trials.begin(step, choice, &mut prepare);
                self.scratch = self.trials.scratch(core::mem::take(&mut self.scratch), team)?;
            } else if tried {
                let over = self.trials.round(step, &mut self.scratch, team, clock, self.tick_ms)?;
                if over {
                    if let Some((choice, node)) = self.trials.end(step) {
                        let twins = self.twins.iter().zip(&binding.steps).filter(|(twin, _)| **twin == Some(self.at));
                        for step in twins.map(|(_, twin)| twin).chain([step]) {
                            self.choices.set(step.node, choice);
                            let at = self.report.nodes.partition_point(|other| other.index < step.node);
                            self.report.nodes.insert(at, TunedNode { index: step.node, ..node.clone() });
                        }
                    }
                    self.packed = PackedWeights::default();
                    self.at += 1;
                }
            } else {
                self.frame.call(&self.graph, &mut self.done, step.node)?;
                let start = clock();
                // SAFETY: the regions point into the tuner's arena, borrowed mutably here and laid out by the binding, and into constants.
                unsafe { step.run(&*step.kernel, step.scratch(), team) }?;
                self.times[self.at] += clock() - start;
                self.at += 1;
            }
            if clock() >= end {
                return Ok(());
            }
        }
        (self.at, self.walk) = (0, self.walk + 1);
        if self.walk == SURVEYS {
            let tunable = binding.steps.iter().map(|step| step.made != Made::default()).collect();
            let shapes = |i: usize, k: usize| Some(&self.frame.shapes[binding.steps[i].operands.get(k)?.index()]);
            let twin = |i: usize, k: usize| {
                let (a, b) = (&binding.steps[i], &binding.steps[k]);
                let same = own.nodes[a.node].op.name() == own.nodes[b.node].op.name() && a.made == b.made;
                same && self.choices.of(a.node) == self.choices.of(b.node) && (0..3).all(|o| shapes(i, o) == shapes(k, o))
            };
            let mut twins = vec![None; self.times.len()];
            let wanted = self.select(tunable, &mut twins, &twin);
            (self.wanted, self.twins) = (wanted, twins);
        } else if self.walk > SURVEYS {
            let changed = self.report.nodes.iter().any(|node| node.after != node.before);
            let graph = core::mem::take(&mut self.graph);
            let plan = Plan { graph, meta: core::mem::take(&mut self.meta) };
            self.arena = Arena::default();
            self.stage = match changed {
                true => Stage::Judging(Verdict::new(plan, session, self.choices.clone(), self.tick_ms)?),
                false => Stage::Over(None),
            };
        }
        Ok(())
    }

    /// Chooses the steps to be tried, the longest first, as many as there is time for; of `twin`s one for all.
    #[cold]
    #[inline(never)]
    #[cfg_attr(small, optimize(size))]
    fn select(&self, mut tunable: Vec<bool>, twins: &mut [Option<usize>], twin: &dyn Fn(usize, usize) -> bool) -> Vec<bool> {
        let mut wanted = vec![false; tunable.len()];
        let total: f64 = self.times.iter().sum();
        let mut left = (self.budget_ms - self.spent_ms) * FOR_NODES;
        loop {
            let longest = (0..self.times.len()).filter(|i| tunable[*i]).max_by(|a, b| self.times[*a].total_cmp(&self.times[*b]));
            let Some(longest) = longest.filter(|i| self.times[*i] >= total * LEAST_SHARE) else { break };
            for i in 0..tunable.len() {
                if tunable[i] && twin(longest, i) {
                    tunable[i] = false;
                    twins[i] = Some(longest).filter(|longest| *longest != i);
                }
            }
            left -= Trials::cost(self.times[longest] / SURVEYS as f64, self.tick_ms);
            wanted[longest] = left >= 0.0;
            if left < 0.0 {
                break;
            }
        }
        wanted
    }

    #[cold]
    #[inline(never)]
    fn conclude(&mut self) {
        if let Stage::Judging(verdict) = core::mem::replace(&mut self.stage, Stage::Over(None)) {
            let tuned = verdict.end(&mut self.report);
            self.stage = Stage::Over(tuned);
        }
    }
}

/// Milliseconds from one tick of the clock to the next: the shortest of some, as any may hold another program's turn.
#[cold]
#[inline(never)]
fn tick(clock: &mut dyn FnMut() -> f64, mut last: f64) -> f64 {
    let mut shortest = f64::INFINITY;
    for _ in 0..4 {
        let mut now = clock();
        while now <= last {
            now = clock();
        }
        shortest = shortest.min(now - last);
        last = now;
    }
    shortest
}

#[cfg(test)]
mod tests;
