//! A run of ordinary nodes: compiled for the shapes that it meets, in smaller pieces where it cannot be compiled as a whole.

use alloc::{borrow::ToOwned, boxed::Box, collections::BTreeSet, format, string::String, sync::Arc, vec::Vec};

use prost::Message;
use tract_onnx::pb::{self, tensor_shape_proto::dimension, type_proto};

use super::{
    call::Call,
    machine::{Machine, Scope},
    operators,
    program::{Header, Planned, Step, Weights, cut},
    value::Value,
};
use crate::{
    compile::{
        Fallback,
        front::{self, NoPlan},
        import::{self, OnnxNode},
    },
    error::{Error, ErrorKind, Result, bail},
    runtime::Session,
    tensor::{DType, Tensor, TensorView},
};

/// How many sets of shapes and deciding values a segment is kept for.
const KEPT: usize = 8;
/// So many sets of shapes, or of deciding values, are compiled for themselves; then something more general is looked for.
const FEW: usize = 3;
/// Integers of up to so many elements become constants where the model cannot be compiled otherwise.
const SMALL: usize = 64;

/// Ordinary nodes, and what was made of them.
pub(super) struct Segment {
    nodes: Vec<pb::NodeProto>,
    weights: Weights,
    pub reads: Vec<String>,
    pub writes: Vec<String>,
    header: Arc<Header>,
    /// The most recently used last.
    kept: Vec<Kept>,
    /// Smaller steps, once it was found that the whole cannot be compiled.
    pieces: Option<Vec<Step>>,
    /// Whether a plan for all shapes was tried in vain.
    fixed_only: bool,
}

/// A segment for certain inputs.
struct Kept {
    types: Vec<(DType, Vec<Size>)>,
    /// Inputs that are constants of what was compiled.
    constants: Vec<(String, Tensor)>,
    runner: Runner,
}

/// A dimension of an input.
#[derive(Clone, Copy, PartialEq)]
enum Size {
    Fixed(usize),
    /// Any size, the same wherever this number stands.
    Any(usize),
}

impl Kept {
    /// Whether it is for inputs of these types and shapes.
    fn takes(&self, tensors: &[(&str, &Tensor)]) -> bool {
        let mut sizes: Vec<(usize, usize)> = Vec::new();
        self.types.iter().zip(tensors).all(|((dtype, shape), (_, tensor))| {
            *dtype == tensor.dtype()
                && shape.len() == tensor.shape().len()
                && shape.iter().zip(tensor.shape()).all(|(known, &size)| match *known {
                    Size::Fixed(n) => n == size,
                    Size::Any(symbol) => match sizes.iter().find(|(s, _)| *s == symbol) {
                        Some((_, n)) => *n == size,
                        None => {
                            sizes.push((symbol, size));
                            true
                        }
                    },
                })
        })
    }

    fn is_general(&self) -> bool {
        self.types.iter().any(|(_, shape)| shape.iter().any(|d| matches!(d, Size::Any(_))))
    }
}

enum Runner {
    Plan(Box<Session>),
    /// A single node that is interpreted because the graph lacks it.
    Builtin,
    /// A single node on tract.
    Tract(Box<Fallback>),
}

/// Why a segment did not run as a whole.
enum Failure {
    /// There is no plan for it.
    NoPlan(NoPlan),
    /// One of its inputs is no tensor of numbers.
    Kind,
    /// Its nodes failed.
    Run(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Run(error)
    }
}

impl Segment {
    pub fn new(
        nodes: Vec<pb::NodeProto>,
        weights: Weights,
        reads: Vec<String>,
        writes: Vec<String>,
        header: Arc<Header>,
    ) -> Segment {
        Segment { nodes, weights, reads, writes, header, kept: Vec::new(), pieces: None, fixed_only: false }
    }

    /// Reads its inputs from the scope and writes its outputs there.
    pub fn run(&mut self, machine: &mut Machine, scope: &mut Scope<'_>) -> Result<()> {
        if self.pieces.is_none() {
            match self.run_whole(machine, scope) {
                Ok(()) => return Ok(()),
                Err(Failure::Run(error)) => return Err(error),
                Err(Failure::NoPlan(reason)) => self.pieces = Some(self.split(&reason)?),
                Err(Failure::Kind) => {
                    let all = NoPlan { operators: self.nodes.iter().map(|n| n.op_type.clone()).collect(), error: None };
                    self.pieces = Some(self.split(&all)?);
                }
            }
        }
        for step in self.pieces.iter_mut().flatten() {
            step.run(machine, scope, &[])?;
        }
        for name in self.nodes.iter().flat_map(|n| &n.output).filter(|n| !self.writes.contains(n)) {
            scope.forget(name);
        }
        Ok(())
    }

    fn run_whole(&mut self, machine: &mut Machine, scope: &mut Scope<'_>) -> Result<(), Failure> {
        let mut values = Vec::with_capacity(self.reads.len());
        for name in &self.reads {
            values.push(scope.get(name)?.clone());
        }
        let mut tensors: Vec<(&str, &Tensor)> = Vec::with_capacity(values.len());
        for (name, value) in self.reads.iter().zip(&values) {
            match value {
                Value::Tensor(tensor) => tensors.push((name, tensor)),
                // Only an interpreted operator takes anything else.
                _ if self.nodes.len() == 1 => return self.interpret(machine, scope).map_err(Failure::Run),
                _ => return Err(Failure::Kind),
            }
        }
        let given = |name: &str| tensors.iter().find(|(n, _)| *n == name).map(|(_, t)| t.bytes());
        let fits =
            |kept: &Kept| kept.takes(&tensors) && kept.constants.iter().all(|(name, tensor)| given(name) == Some(tensor.bytes()));
        let kept = match self.kept.iter().position(fits) {
            Some(i) => self.kept.remove(i),
            None => self.prepare(&tensors)?,
        };
        if self.kept.len() >= KEPT {
            self.kept.remove(0);
        }
        self.kept.push(kept);
        let Some(last) = self.kept.last_mut() else {
            return Err(Error::Internal("what was kept is gone".into()).into());
        };
        let general = last.is_general();
        let Kept { runner, constants, .. } = last;
        let views = |wanted: &dyn Fn(&str) -> bool| -> Vec<(&str, TensorView<'_>)> {
            let open = tensors.iter().filter(|(n, _)| wanted(n) && constants.iter().all(|(c, _)| c != n));
            open.map(|(n, t)| (*n, t.view())).collect()
        };
        match runner {
            Runner::Plan(session) => {
                let names: BTreeSet<String> = session.inputs().iter().map(|p| p.name.clone()).collect();
                match session.run(&views(&|n| names.contains(n))) {
                    Ok(outputs) => outputs.iter().for_each(|(name, view)| scope.set(name, view.to_tensor().into())),
                    Err(_) if general => {
                        // A size may matter after all, for instance because it is 1.
                        self.kept.pop();
                        self.fixed_only = true;
                        return self.run_whole(machine, scope);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Runner::Tract(model) => {
                machine.on_tract = true;
                let names: BTreeSet<String> = model.inputs().iter().map(|p| p.name.clone()).collect();
                for (name, tensor) in model.run(&views(&|n| names.contains(n)))? {
                    scope.set(&name, tensor.into());
                }
            }
            Runner::Builtin => self.interpret(machine, scope)?,
        }
        Ok(())
    }

    /// Makes what runs the segment for these inputs.
    fn prepare(&self, tensors: &[(&str, &Tensor)]) -> Result<Kept, Failure> {
        let fixed = |t: &Tensor| t.shape().iter().map(|d| Size::Fixed(*d)).collect();
        let types: Vec<(DType, Vec<Size>)> = tensors.iter().map(|(_, t)| (t.dtype(), fixed(t))).collect();
        if self.kept.iter().filter(|kept| kept.types == types).count() >= FEW {
            if let Some(found) = self.without_values(&types)? {
                return Ok(found);
            }
        } else if !self.fixed_only
            && let Some(found) = self.for_all_shapes(tensors)?
        {
            return Ok(found);
        }
        let graph = self.graph(tensors, &types, &[]);
        let deciding = import::deciding_inputs(&graph);
        let constants = |wanted: &dyn Fn(&str, &Tensor) -> bool| -> Vec<(String, Tensor)> {
            tensors.iter().filter(|(n, t)| wanted(n, t)).map(|(n, t)| ((*n).to_owned(), (*t).clone())).collect()
        };
        let few = constants(&|name, _| deciding.iter().any(|d| d == name));
        let many = constants(&|name, tensor| {
            let whole = matches!(tensor.dtype(), DType::I64 | DType::I32 | DType::Bool);
            deciding.iter().any(|d| d == name) || (whole && tensor.len() <= SMALL)
        });
        let mut first = None;
        let mut tried = None;
        for constants in [few, many] {
            if tried.as_ref().is_some_and(|t: &Vec<(String, Tensor)>| t.len() == constants.len()) {
                break;
            }
            let bytes = self.model(self.graph(tensors, &types, &constants)).encode_to_vec();
            match front::plan_of(&bytes, &self.header.options()) {
                Ok(plan) => {
                    return Ok(Kept {
                        types,
                        constants,
                        runner: Runner::Plan(Box::new(Session::with_limits(plan, &self.header.limits)?)),
                    });
                }
                Err(reason) => drop(first.get_or_insert(reason)),
            }
            tried = Some(constants);
        }
        if let [node] = self.nodes.as_slice()
            && first.as_ref().and_then(|r| r.error.as_ref()).is_none_or(|e| e.kind() != ErrorKind::Limit)
        {
            if operators::of(&node.op_type).is_some() {
                return Ok(Kept { types, constants: Vec::new(), runner: Runner::Builtin });
            }
            if first.as_ref().and_then(|r| r.error.as_ref()).is_none_or(|e| !front::is_not_for_tract(e)) {
                let constants = tried.unwrap_or_default();
                let bytes = self.model(self.graph(tensors, &types, &constants)).encode_to_vec();
                if let Ok(model) = Fallback::new(&bytes, &self.header.options()) {
                    return Ok(Kept { types, constants, runner: Runner::Tract(Box::new(model)) });
                }
            }
        }
        match (first, self.nodes.as_slice()) {
            (Some(NoPlan { error: Some(error), .. }), [node]) => Err(Failure::Run(error.at_node(&node.op_type, &node.name))),
            (Some(reason), _) => Err(Failure::NoPlan(reason)),
            (None, _) => Err(Error::Internal("a segment was not compiled".into()).into()),
        }
    }

    /// What runs the segment where values decide again and again: operators of ours, which take any value. An error asks for a split.
    fn without_values(&self, types: &[(DType, Vec<Size>)]) -> Result<Option<Kept>, Failure> {
        let ours: Vec<String> =
            self.nodes.iter().filter(|n| operators::of(&n.op_type).is_some()).map(|n| n.op_type.clone()).collect();
        match self.nodes.as_slice() {
            [_] if ours.is_empty() => Ok(None),
            [_] => Ok(Some(Kept { types: types.to_vec(), constants: Vec::new(), runner: Runner::Builtin })),
            _ if ours.is_empty() => Ok(None),
            _ => Err(Failure::NoPlan(NoPlan { operators: ours, error: None })),
        }
    }

    /// A plan with symbols for the dimensions that have changed so far, once they have often enough.
    fn for_all_shapes(&self, tensors: &[(&str, &Tensor)]) -> Result<Option<Kept>, Failure> {
        let alike = |kept: &&Kept| {
            let same = |((dtype, shape), (_, t)): (&(DType, Vec<Size>), &(&str, &Tensor))| {
                *dtype == t.dtype() && shape.len() == t.shape().len()
            };
            kept.constants.is_empty() && matches!(kept.runner, Runner::Plan(_)) && kept.types.iter().zip(tensors).all(same)
        };
        let alike: Vec<&Kept> = self.kept.iter().filter(alike).collect();
        if alike.len() < FEW {
            return Ok(None);
        }
        // Dimensions that were of one size each time are taken for the same one.
        let mut symbols: Vec<Vec<Size>> = Vec::new();
        let mut types = Vec::with_capacity(tensors.len());
        for (i, (_, tensor)) in tensors.iter().enumerate() {
            let size = |(axis, &now): (usize, &usize)| {
                let mut sizes: Vec<Size> = alike.iter().map(|k| k.types[i].1[axis]).collect();
                sizes.push(Size::Fixed(now));
                if sizes.iter().all(|s| *s == Size::Fixed(now)) {
                    return Size::Fixed(now);
                }
                let known = symbols.iter().position(|s| *s == sizes);
                Size::Any(known.unwrap_or_else(|| {
                    symbols.push(sizes);
                    symbols.len() - 1
                }))
            };
            types.push((tensor.dtype(), tensor.shape().iter().enumerate().map(size).collect()));
        }
        let bytes = self.model(self.graph(tensors, &types, &[])).encode_to_vec();
        Ok(match front::plan_of(&bytes, &self.header.options()) {
            Ok(plan) => {
                let session = Session::with_limits(plan, &self.header.limits)?;
                Some(Kept { types, constants: Vec::new(), runner: Runner::Plan(Box::new(session)) })
            }
            Err(_) => None,
        })
    }

    /// Runs the segment's only node by its own implementation.
    fn interpret(&self, machine: &mut Machine, scope: &mut Scope<'_>) -> Result<()> {
        let [node] = self.nodes.as_slice() else { bail!(Internal, "several nodes cannot be interpreted at once") };
        let Some(operator) = operators::of(&node.op_type) else {
            let kinds: Vec<String> = self.reads.iter().filter_map(|n| scope.get(n).ok()).map(Value::describe).collect();
            bail!(Unsupported, "{} '{}' cannot take {}", node.op_type, node.name, kinds.join(" and "));
        };
        let onnx = OnnxNode::new(node, self.header.opset());
        let mut args = Vec::with_capacity(node.input.len());
        for name in &node.input {
            args.push(match (name.as_str(), self.weights.get(name)) {
                ("", _) => None,
                (_, Some(message)) => Some(super::value::of_weight(message, &self.header.files)?),
                (name, None) => Some(scope.get(name)?.clone()),
            });
        }
        let mut call = Call { node: &onnx, args, random: &mut machine.random };
        let results = (operator.run)(&mut call).map_err(|e| e.at_node(&node.op_type, &node.name))?;
        for (name, value) in node.output.iter().zip(results).filter(|(name, _)| !name.is_empty()) {
            machine.check_bytes(value.bytes())?;
            scope.set(name, value);
        }
        Ok(())
    }

    /// Smaller segments: the nodes for which there is no plan apart, or else two halves.
    fn split(&self, reason: &NoPlan) -> Result<Vec<Step>> {
        // All nodes of the operator that failed: one at a time would take as many steps as there are nodes.
        let named = match &reason.error {
            Some(Error::AtNode { node, .. }) => self.nodes.iter().find(|n| n.name == *node).map(|n| n.op_type.as_str()),
            _ => None,
        };
        let is_bad = |node: &pb::NodeProto| reason.operators.contains(&node.op_type) || named == Some(node.op_type.as_str());
        let some = self.nodes.iter().any(is_bad);
        let half = self.nodes.len() / 2;
        let mut groups: Vec<Vec<pb::NodeProto>> = Vec::new();
        let mut after_bad = true;
        for (i, node) in self.ordered()?.into_iter().enumerate() {
            let apart = if some { is_bad(&node) } else { i == half };
            match groups.last_mut() {
                Some(group) if !apart && !after_bad => group.push(node),
                _ => groups.push([node].into()),
            }
            after_bad = some && apart;
        }
        let mut steps = Vec::with_capacity(groups.len());
        for i in 0..groups.len() {
            let group = core::mem::take(&mut groups[i]);
            let later = groups[i + 1..].iter().flatten().flat_map(|n| &n.input);
            let wanted: BTreeSet<String> = later.chain(&self.writes).cloned().collect();
            let planned = group.into_iter().map(Planned::Ordinary).collect();
            steps.extend(cut(planned, &wanted, core::slice::from_ref(&self.weights), &self.header)?);
        }
        Ok(steps)
    }

    /// The nodes in an order in which each follows what it reads.
    fn ordered(&self) -> Result<Vec<pb::NodeProto>> {
        let mut known: BTreeSet<&str> = self.reads.iter().chain(self.weights.keys()).map(String::as_str).collect();
        let mut out = Vec::with_capacity(self.nodes.len());
        let mut pending: Vec<&pb::NodeProto> = self.nodes.iter().collect();
        while !pending.is_empty() {
            let before = pending.len();
            pending.retain(|node| {
                let ready = node.input.iter().all(|n| n.is_empty() || known.contains(n.as_str()));
                if ready {
                    known.extend(node.output.iter().map(String::as_str));
                    out.push((*node).clone());
                }
                !ready
            });
            if pending.len() == before {
                bail!(InvalidModel, "some nodes wait for their own outputs");
            }
        }
        Ok(out)
    }

    /// The segment as a graph with these inputs; some of them as constants.
    fn graph(&self, inputs: &[(&str, &Tensor)], types: &[(DType, Vec<Size>)], constants: &[(String, Tensor)]) -> pb::GraphProto {
        let is_constant = |name: &str| constants.iter().any(|(n, _)| n == name);
        let open = inputs.iter().zip(types).filter(|((name, _), _)| !is_constant(name));
        let known = inputs.iter().filter(|(name, _)| is_constant(name)).map(|(name, t)| import::message(name, t));
        let weights = self.weights.iter().map(|(name, tensor)| pb::TensorProto { name: name.clone(), ..(**tensor).clone() });
        pb::GraphProto {
            name: "segment".into(),
            node: self.nodes.clone(),
            initializer: weights.chain(known).collect(),
            input: open.map(|((name, _), (dtype, shape))| port(name, *dtype, shape)).collect(),
            output: self.writes.iter().map(|name| pb::ValueInfoProto { name: name.clone(), ..Default::default() }).collect(),
            ..Default::default()
        }
    }

    fn model(&self, graph: pb::GraphProto) -> pb::ModelProto {
        pb::ModelProto {
            ir_version: self.header.ir_version,
            opset_import: self.header.opsets.clone(),
            graph: Some(graph),
            ..Default::default()
        }
    }
}

fn port(name: &str, dtype: DType, shape: &[Size]) -> pb::ValueInfoProto {
    let dim = |d: &Size| pb::tensor_shape_proto::Dimension {
        value: Some(match d {
            Size::Fixed(n) => dimension::Value::DimValue(*n as i64),
            Size::Any(symbol) => dimension::Value::DimParam(format!("d{symbol}")),
        }),
        ..Default::default()
    };
    let shape = pb::TensorShapeProto { dim: shape.iter().map(dim).collect() };
    let ty = type_proto::Tensor { elem_type: import::element_type(dtype), shape: Some(shape) };
    let ty = type_proto::Value::TensorType(ty);
    pb::ValueInfoProto {
        name: name.into(),
        r#type: Some(pb::TypeProto { value: Some(ty), ..Default::default() }),
        ..Default::default()
    }
}
