//! A graph cut into segments, which are compiled, and single nodes, which are interpreted.
//!
//! A segment is as large as the order of the nodes allows: all ordinary nodes that can run, then all interpreted ones that can, and so on.
//! Nodes that depend on constants alone are part of every segment that reads them, so that weights stay weights.

use alloc::{
    borrow::ToOwned,
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    string::String,
    sync::Arc,
    vec,
    vec::Vec,
};

use tract_onnx::pb;

use super::{
    call::{Builtin, Call},
    control,
    machine::{Machine, Scope},
    segment::Segment,
    value::{self, Value},
};
use crate::{
    compile::{Options, WeightFiles, import::OnnxNode},
    error::{Result, bail},
    limits::Limits,
};

/// What a model says once for all of its parts, and what callers do.
pub(super) struct Header {
    pub ir_version: i64,
    pub opsets: Vec<pb::OperatorSetIdProto>,
    pub files: WeightFiles,
    pub limits: Limits,
}

impl Header {
    /// The version of the default operator set.
    pub fn opset(&self) -> i64 {
        self.opsets.iter().find(|o| matches!(o.domain.as_str(), "" | "ai.onnx")).map_or(1, |o| o.version)
    }

    /// Options for the parts of the model.
    pub fn options(&self) -> Options {
        Options { external_data: self.files.clone(), limits: self.limits, ..Options::default() }
    }
}

/// Weights by name.
pub(super) type Weights = BTreeMap<String, Arc<pb::TensorProto>>;

/// A graph that can be run.
pub(super) struct Program {
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    /// Weights that interpreted nodes read, or that are outputs.
    constants: Vec<(String, Value)>,
    steps: Vec<Step>,
    /// For each step, the values that nothing reads after it.
    dead: Vec<Vec<String>>,
}

/// A part of a program.
pub(super) enum Step {
    Segment(Box<Segment>),
    Node(Box<Single>),
}

/// An interpreted node.
pub(super) struct Single {
    pub node: OnnxNode,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    /// Values of the enclosing graphs that its bodies read.
    captured: BTreeSet<String>,
    kernel: Kernel,
}

/// How a node is interpreted.
pub(super) enum Kernel {
    Builtin(Builtin),
    If { then: Program, otherwise: Program },
    Loop(Program),
    Scan(Program),
    Map(Program),
}

/// A node before the cut.
pub(super) enum Planned {
    Ordinary(pb::NodeProto),
    Single(Box<Single>),
}

impl Planned {
    fn reads(&self) -> Vec<&str> {
        match self {
            Planned::Ordinary(node) => node.input.iter().map(String::as_str).filter(|n| !n.is_empty()).collect(),
            Planned::Single(s) => s.reads(),
        }
    }

    fn writes(&self) -> impl Iterator<Item = &str> {
        let names = match self {
            Planned::Ordinary(node) => &node.output,
            Planned::Single(s) => &s.outputs,
        };
        names.iter().map(String::as_str).filter(|n| !n.is_empty())
    }
}

impl Single {
    pub fn new(node: &pb::NodeProto, opset: i64, captured: BTreeSet<String>, kernel: Kernel) -> Single {
        let (inputs, outputs) = (node.input.clone(), node.output.clone());
        Single { node: OnnxNode::new(node, opset), inputs, outputs, captured, kernel }
    }

    fn reads(&self) -> Vec<&str> {
        self.inputs.iter().chain(&self.captured).map(String::as_str).filter(|n| !n.is_empty()).collect()
    }

    fn run(&mut self, machine: &mut Machine, scope: &mut Scope<'_>, dead: &[String]) -> Result<()> {
        let mut args = Vec::with_capacity(self.inputs.len());
        for (i, name) in self.inputs.iter().enumerate() {
            let last = dead.contains(name) && !self.captured.contains(name) && !self.inputs[i + 1..].contains(name);
            args.push(match name.as_str() {
                "" => None,
                name if last => scope.take(name).map(Some)?,
                name => Some(scope.get(name)?.clone()),
            });
        }
        let results = match &mut self.kernel {
            Kernel::Builtin(run) => run(&mut Call { node: &self.node, args, random: &mut machine.random })?,
            Kernel::If { then, otherwise } => control::branch(machine, scope, then, otherwise, args)?,
            Kernel::Loop(body) => control::repeat(machine, scope, body, args, self.outputs.len())?,
            Kernel::Scan(body) => control::scan(machine, scope, body, &self.node, args)?,
            Kernel::Map(body) => control::map(machine, scope, body, args)?,
        };
        for (name, value) in self.outputs.iter().zip(results) {
            // A sequence that a loop fills is checked as it grows.
            if !matches!(value, Value::Sequence(_)) {
                machine.check_bytes(value.bytes())?;
            }
            if !name.is_empty() {
                scope.set(name, value);
            }
        }
        Ok(())
    }
}

impl Step {
    pub fn run(&mut self, machine: &mut Machine, scope: &mut Scope<'_>, dead: &[String]) -> Result<()> {
        match self {
            Step::Segment(segment) => segment.run(machine, scope),
            Step::Node(single) => {
                single.run(machine, scope, dead).map_err(|e| e.at_node(&single.node.op_type, &single.node.name))
            }
        }
    }

    fn reads(&self) -> Vec<&str> {
        match self {
            Step::Segment(segment) => segment.reads.iter().map(String::as_str).collect(),
            Step::Node(single) => single.reads(),
        }
    }

    fn writes(&self) -> &[String] {
        match self {
            Step::Segment(segment) => &segment.writes,
            Step::Node(single) => &single.outputs,
        }
    }
}

impl Program {
    /// A program of nodes; `frames` are the weights of the enclosing graphs and of this one.
    pub fn new(
        inputs: Vec<String>,
        outputs: Vec<String>,
        nodes: Vec<Planned>,
        frames: &[Weights],
        header: &Arc<Header>,
    ) -> Result<Program> {
        let mut constants = BTreeMap::new();
        let read = nodes.iter().filter(|n| matches!(n, Planned::Single(_))).flat_map(Planned::reads);
        for name in read.chain(outputs.iter().map(String::as_str)) {
            if let Some(message) = weight(frames, name)
                && !constants.contains_key(name)
            {
                constants.insert(name.to_owned(), value::of_weight(message, &header.files)?);
            }
        }
        let wanted: BTreeSet<String> = outputs.iter().cloned().collect();
        let steps = cut(nodes, &wanted, frames, header)?;
        let mut seen: BTreeSet<String> = wanted;
        let mut dead: Vec<Vec<String>> = Vec::with_capacity(steps.len());
        for step in steps.iter().rev() {
            let names = step.reads().into_iter().map(ToOwned::to_owned).chain(step.writes().iter().cloned());
            dead.push(names.filter(|name| seen.insert(name.clone())).collect());
        }
        dead.reverse();
        Ok(Program { inputs, outputs, constants: constants.into_iter().collect(), steps, dead })
    }

    /// Runs the program on its inputs, in their order.
    pub fn run(&mut self, machine: &mut Machine, outer: Option<&Scope<'_>>, args: Vec<Value>) -> Result<Vec<Value>> {
        let mut scope = Scope::inside(outer);
        for (name, value) in &self.constants {
            scope.set(name, value.clone());
        }
        for (name, value) in self.inputs.iter().zip(args) {
            scope.set(name, value);
        }
        for (step, dead) in self.steps.iter_mut().zip(&self.dead) {
            step.run(machine, &mut scope, dead)?;
            for name in dead {
                scope.forget(name);
            }
        }
        let mut results = Vec::with_capacity(self.outputs.len());
        for (i, name) in self.outputs.iter().enumerate() {
            let last = !self.outputs[i + 1..].contains(name);
            results.push(if last { scope.take(name)? } else { scope.get(name)?.clone() });
        }
        Ok(results)
    }
}

/// A weight of this graph or of those around it.
pub(super) fn weight<'a>(frames: &'a [Weights], name: &str) -> Option<&'a Arc<pb::TensorProto>> {
    frames.iter().rev().find_map(|f| f.get(name))
}

/// Cuts nodes into steps; `wanted` are the values that are read afterwards.
pub(super) fn cut(nodes: Vec<Planned>, wanted: &BTreeSet<String>, frames: &[Weights], header: &Arc<Header>) -> Result<Vec<Step>> {
    let order = sorted(&nodes)?;
    let producers: BTreeMap<String, usize> =
        nodes.iter().enumerate().flat_map(|(i, n)| n.writes().map(move |w| (w.to_owned(), i))).collect();
    let of_constants = |i: usize, constant: &[bool]| {
        let known = |name: &&str| weight(frames, name).is_some() || producers.get(*name).is_some_and(|p| constant[*p]);
        matches!(nodes[i], Planned::Ordinary(_)) && nodes[i].reads().iter().all(known)
    };
    let mut constant = vec![false; nodes.len()];
    for &i in &order {
        constant[i] = of_constants(i, &constant);
    }
    let mut cutter = Cutter { readers: BTreeMap::new(), constant: &constant, producers: &producers, wanted, frames, header };
    for (i, node) in nodes.iter().enumerate() {
        for name in node.reads() {
            cutter.readers.entry(name.to_owned()).or_default().push(i);
        }
    }
    // What single nodes and readers outside want of the constant nodes is computed first.
    let apart = |i: &usize| {
        let outside = |name: &str| {
            let readers = cutter.readers.get(name).map_or(&[][..], Vec::as_slice);
            wanted.contains(name) || readers.iter().any(|r| matches!(nodes[*r], Planned::Single(_)))
        };
        constant[*i] && nodes[*i].writes().any(outside)
    };
    let mut groups = vec![order.iter().copied().filter(apart).collect::<Vec<_>>()];
    let mut done = constant.clone();
    let mut pending: Vec<usize> = order.into_iter().filter(|i| !constant[*i]).collect();
    let mut singles = Vec::new();
    while !pending.is_empty() {
        for ordinary in [true, false] {
            let mut group = Vec::new();
            pending.retain(|&i| {
                let ready = nodes[i].reads().iter().all(|name| producers.get(*name).is_none_or(|p| done[*p]));
                let taken = ready && matches!(nodes[i], Planned::Ordinary(_)) == ordinary;
                if taken {
                    done[i] = true;
                    group.push(i);
                }
                !taken
            });
            singles.resize(groups.len(), false);
            singles.push(!ordinary);
            groups.push(group);
        }
    }
    singles.resize(groups.len(), false);
    let mut slots: Vec<Option<Planned>> = Vec::new();
    let segments: Vec<Option<Segment>> = groups
        .iter()
        .zip(&singles)
        .map(|(group, single)| (!single && !group.is_empty()).then(|| cutter.segment(group, &nodes)))
        .collect();
    slots.extend(nodes.into_iter().map(Some));
    let mut steps = Vec::new();
    for (group, segment) in groups.iter().zip(segments) {
        if let Some(segment) = segment {
            steps.push(Step::Segment(Box::new(segment)));
            continue;
        }
        for i in group {
            if let Some(Planned::Single(single)) = slots[*i].take() {
                steps.push(Step::Node(single));
            }
        }
    }
    Ok(steps)
}

struct Cutter<'a> {
    readers: BTreeMap<String, Vec<usize>>,
    constant: &'a [bool],
    producers: &'a BTreeMap<String, usize>,
    wanted: &'a BTreeSet<String>,
    frames: &'a [Weights],
    header: &'a Arc<Header>,
}

impl Cutter<'_> {
    /// The segment of these ordinary nodes, and of the constant ones that they read.
    fn segment(&self, group: &[usize], nodes: &[Planned]) -> Segment {
        let mut inside: BTreeSet<usize> = group.iter().copied().collect();
        let mut open = group.to_vec();
        let mut order = Vec::new();
        while let Some(i) = open.pop() {
            order.push(i);
            for p in nodes[i].reads().iter().filter_map(|name| self.producers.get(*name)) {
                if self.constant[*p] && inside.insert(*p) {
                    open.push(*p);
                }
            }
        }
        order.sort_unstable();
        let (mut reads, mut weights) = (BTreeSet::new(), Weights::new());
        for name in order.iter().flat_map(|i| nodes[*i].reads()) {
            if self.producers.get(name).is_some_and(|p| inside.contains(p)) {
                continue;
            }
            match weight(self.frames, name) {
                Some(tensor) => drop(weights.insert(name.to_owned(), tensor.clone())),
                None => drop(reads.insert(name.to_owned())),
            }
        }
        let outside = |name: &str| {
            let readers = self.readers.get(name).map_or(&[][..], Vec::as_slice);
            self.wanted.contains(name) || readers.iter().any(|r| !inside.contains(r) && !self.constant[*r])
        };
        let written = group.iter().flat_map(|i| nodes[*i].writes()).filter(|name| outside(name));
        let writes: Vec<String> = written.map(ToOwned::to_owned).collect();
        let body = order.iter().filter_map(|i| match &nodes[*i] {
            Planned::Ordinary(node) => Some(node.clone()),
            Planned::Single(_) => None,
        });
        Segment::new(body.collect(), weights, reads.into_iter().collect(), writes, self.header.clone())
    }
}

/// The nodes in an order in which each follows what it reads, else as they stand.
fn sorted(nodes: &[Planned]) -> Result<Vec<usize>> {
    let producers: BTreeMap<&str, usize> = nodes.iter().enumerate().flat_map(|(i, n)| n.writes().map(move |w| (w, i))).collect();
    let mut missing = vec![0usize; nodes.len()];
    let mut readers = vec![Vec::new(); nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        for p in node.reads().iter().filter_map(|name| producers.get(name)) {
            missing[i] += 1;
            readers[*p].push(i);
        }
    }
    let mut ready: BTreeSet<usize> = (0..nodes.len()).filter(|i| missing[*i] == 0).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(i) = ready.pop_first() {
        order.push(i);
        for &r in &readers[i] {
            missing[r] -= 1;
            if missing[r] == 0 {
                ready.insert(r);
            }
        }
    }
    if order.len() < nodes.len() {
        bail!(InvalidModel, "the graph has a cycle: some nodes wait for their own outputs");
    }
    Ok(order)
}
