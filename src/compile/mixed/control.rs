//! If, Loop, Scan and SequenceMap: programs inside programs.

use alloc::{format, vec, vec::Vec};

use super::{
    call::{axis_of, integers},
    machine::{Machine, Scope, check_length},
    movement,
    program::Program,
    value::Value,
};
use crate::{
    compile::import::OnnxNode,
    error::{Error, Result, bail, ensure},
    tensor::{DType, Tensor},
};

/// The branch that the condition chooses.
pub(super) fn branch(
    machine: &mut Machine,
    scope: &Scope<'_>,
    then: &mut Program,
    otherwise: &mut Program,
    args: Vec<Option<Value>>,
) -> Result<Vec<Value>> {
    let chosen = match args.first() {
        Some(Some(condition)) => truth(condition)?,
        _ => bail!(InvalidModel, "the condition is missing"),
    };
    if chosen { then } else { otherwise }.run(machine, Some(scope), Vec::new())
}

/// Loop: a trip count, a condition, values that are carried; then what each iteration adds to outputs.
pub(super) fn repeat(
    machine: &mut Machine,
    scope: &Scope<'_>,
    body: &mut Program,
    args: Vec<Option<Value>>,
    outputs: usize,
) -> Result<Vec<Value>> {
    let mut args = args.into_iter();
    let trips = args.next().flatten().map(|v| one_integer(&v)).transpose()?;
    let mut going = args.next().flatten().map_or(Ok(true), |v| truth(&v))?;
    let mut carried = args.map(|v| v.ok_or_else(|| Error::InvalidModel("a carried value is missing".into())));
    let mut carried: Vec<Value> = carried.by_ref().collect::<Result<_>>()?;
    let count = carried.len();
    ensure!(
        body.inputs.len() == count + 2 && body.outputs.len() > count,
        InvalidModel,
        "the body has {} inputs and {} outputs for {count} carried values",
        body.inputs.len(),
        body.outputs.len()
    );
    ensure!(outputs < body.outputs.len(), InvalidModel, "the node has {outputs} outputs, its body {}", body.outputs.len());
    let mut stacks = vec![Stack::default(); body.outputs.len() - 1 - count];
    let mut i: i64 = 0;
    while going && trips.is_none_or(|n| i < n) {
        machine.iterate()?;
        let mut inputs = vec![Value::scalar(i), Value::booleans(&[], &[1])?];
        inputs.append(&mut carried);
        let mut results = body.run(machine, Some(scope), inputs)?.into_iter();
        going = results.next().map_or(Ok(false), |v| truth(&v))?;
        carried.extend(results.by_ref().take(count));
        for (stack, value) in stacks.iter_mut().zip(results) {
            stack.push(machine, value)?;
        }
        i += 1;
    }
    for stack in stacks {
        carried.push(stack.join(0, false)?);
    }
    Ok(carried)
}

/// Scan: states, and sequences along an axis of tensors.
pub(super) fn scan(
    machine: &mut Machine,
    scope: &Scope<'_>,
    body: &mut Program,
    node: &OnnxNode,
    args: Vec<Option<Value>>,
) -> Result<Vec<Value>> {
    if node.opset < 9 {
        return scan_batches(machine, scope, body, node, args);
    }
    let args: Vec<Value> = args.into_iter().flatten().collect();
    scan_once(machine, scope, body, node, args)
}

/// The first form of Scan: a batch axis in front, and the lengths of the sequences.
fn scan_batches(
    machine: &mut Machine,
    scope: &Scope<'_>,
    body: &mut Program,
    node: &OnnxNode,
    args: Vec<Option<Value>>,
) -> Result<Vec<Value>> {
    let mut args = args.into_iter();
    let lengths = args.next().flatten().map(|v| v.tensor().and_then(integers)).transpose()?;
    let args: Vec<Value> = args.flatten().collect();
    let batch = args.last().map_or(Ok(0), |v| v.shape().map(|s| s.first().copied().unwrap_or(0)))?;
    check_length(batch)?;
    let scanned = scanned(node, args.len())?;
    let mut parts: Vec<Vec<Value>> = vec![Vec::new(); body.outputs.len()];
    for b in 0..batch {
        let mut own = Vec::with_capacity(args.len());
        for (i, value) in args.iter().enumerate() {
            let mut part = movement::row(value, 0, b)?;
            if let Some(lengths) = lengths.as_ref().filter(|_| i >= args.len() - scanned) {
                let longest = part.shape()?.first().copied().unwrap_or(0);
                let length = lengths.get(b).and_then(|l| usize::try_from(*l).ok()).filter(|l| *l <= longest);
                let Some(length) = length else {
                    bail!(InvalidInput, "the sequence lengths {lengths:?} do not fit {longest} steps")
                };
                part = movement::cut(&part, 0, 0, length)?;
            }
            own.push(part);
        }
        for (all, value) in parts.iter_mut().zip(scan_once(machine, scope, body, node, own)?) {
            all.push(value);
        }
    }
    parts.into_iter().map(|values| movement::join(&values, 0, true)).collect()
}

fn scanned(node: &OnnxNode, args: usize) -> Result<usize> {
    let scanned = node.int("num_scan_inputs").and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0 && *n <= args);
    scanned.ok_or_else(|| Error::InvalidModel(format!("num_scan_inputs does not fit {args} inputs")))
}

fn scan_once(
    machine: &mut Machine,
    scope: &Scope<'_>,
    body: &mut Program,
    node: &OnnxNode,
    mut args: Vec<Value>,
) -> Result<Vec<Value>> {
    let scanned = scanned(node, args.len())?;
    let sequences = args.split_off(args.len() - scanned);
    let mut states = args;
    let count = states.len();
    ensure!(
        body.inputs.len() == count + scanned && body.outputs.len() >= count,
        InvalidModel,
        "the body has {} inputs and {} outputs for {count} states and {scanned} scanned inputs",
        body.inputs.len(),
        body.outputs.len()
    );
    let setting = |name: &str, i: usize| node.ints(name).and_then(|list| list.get(i)).copied().unwrap_or(0);
    // The first form has one list of directions, for inputs.
    let backwards = if node.opset < 9 { "directions" } else { "scan_input_directions" };
    let mut steps = None;
    let mut axes = Vec::new();
    for (i, sequence) in sequences.iter().enumerate() {
        let shape = sequence.shape()?;
        let axis = axis_of(setting("scan_input_axes", i), shape.len())?;
        let length = shape[axis];
        ensure!(
            *steps.get_or_insert(length) == length,
            InvalidInput,
            "the scanned inputs have {} and {length} steps",
            steps.unwrap_or(0)
        );
        axes.push(axis);
    }
    let steps = steps.unwrap_or(0);
    let mut stacks = vec![Stack::default(); body.outputs.len() - count];
    for step in 0..steps {
        machine.iterate()?;
        let mut inputs = core::mem::take(&mut states);
        for (i, sequence) in sequences.iter().enumerate() {
            let at = if setting(backwards, i) == 1 { steps - 1 - step } else { step };
            inputs.push(movement::row(sequence, axes[i], at)?);
        }
        let mut results = body.run(machine, Some(scope), inputs)?.into_iter();
        states.extend(results.by_ref().take(count));
        for (stack, value) in stacks.iter_mut().zip(results) {
            stack.push(machine, value)?;
        }
    }
    for (i, stack) in stacks.into_iter().enumerate() {
        states.push(stack.join(setting("scan_output_axes", i), setting("scan_output_directions", i) == 1)?);
    }
    Ok(states)
}

/// SequenceMap: the body for each element of the first sequence; other sequences go along, tensors stay.
pub(super) fn map(machine: &mut Machine, scope: &Scope<'_>, body: &mut Program, args: Vec<Option<Value>>) -> Result<Vec<Value>> {
    let args: Vec<Value> = args.into_iter().flatten().collect();
    let Some(Value::Sequence(first)) = args.first() else { bail!(InvalidInput, "the first input is not a sequence") };
    ensure!(body.inputs.len() == args.len(), InvalidModel, "the body has {} inputs for {}", body.inputs.len(), args.len());
    let count = first.len();
    let mut outputs: Vec<Vec<Value>> = vec![Vec::new(); body.outputs.len()];
    for i in 0..count {
        machine.iterate()?;
        let mut inputs = Vec::with_capacity(args.len());
        for value in &args {
            inputs.push(match value {
                Value::Sequence(items) => match items.get(i) {
                    Some(item) => item.clone(),
                    None => bail!(InvalidInput, "the sequences have {count} and {} elements", items.len()),
                },
                other => other.clone(),
            });
        }
        for (output, value) in outputs.iter_mut().zip(body.run(machine, Some(scope), inputs)?) {
            output.push(value);
        }
    }
    Ok(outputs.into_iter().map(Value::Sequence).collect())
}

/// What the iterations give for one output.
#[derive(Clone, Default)]
struct Stack {
    values: Vec<Value>,
    bytes: usize,
}

impl Stack {
    fn push(&mut self, machine: &Machine, value: Value) -> Result<()> {
        self.bytes += value.bytes();
        check_length(self.values.len() + 1)?;
        machine.check_bytes(self.bytes)?;
        self.values.push(value);
        Ok(())
    }

    /// The values along a new axis, which is counted from the back if negative.
    fn join(mut self, axis: i64, backwards: bool) -> Result<Value> {
        if backwards {
            self.values.reverse();
        }
        match self.values.first() {
            Some(first) => movement::join(&self.values, axis_of(axis, first.shape()?.len() + 1)?, true),
            // What the elements would have been is not known.
            None => Ok(Tensor::zeros(DType::F32, &[0])?.into()),
        }
    }
}

/// A condition.
fn truth(value: &Value) -> Result<bool> {
    match value.tensor()? {
        tensor if tensor.dtype() == DType::Bool && tensor.len() == 1 => Ok(tensor.bytes() != [0]),
        tensor => bail!(InvalidInput, "the condition is {}, it must be one boolean", tensor.view().describe()),
    }
}

fn one_integer(value: &Value) -> Result<i64> {
    match integers(value.tensor()?)?.as_slice() {
        [one] => Ok(*one),
        many => bail!(InvalidInput, "the trip count has {} elements", many.len()),
    }
}
