//! Brings quantized values into the one form that integer kernels read: activations as u8, weights as i8.
//!
//! Subtracting 128 from stored integer and zero point alike leaves the real number, the rounding and the saturation as they were,
//! so the change of form is exact. Inputs and outputs of the graph keep their declared type; a table turns one form into the other.

use alloc::{format, string::String, vec::Vec};

use super::{Pass, rewrite::Rewrite};
use crate::{
    error::Result,
    graph::{Graph, Op, Quant, ValueId, ValueType, ops::Unary},
    tensor::{DType, Tensor},
};

/// See the module's documentation.
pub(super) struct CanonicalQuantizedTypes;

impl Pass for CanonicalQuantizedTypes {
    fn name(&self) -> &'static str {
        "canonical-quantized-types"
    }

    fn run(&self, graph: &mut Graph, changes: &mut Vec<String>) -> Result<()> {
        let mut rw = Rewrite::new(graph);
        let (mut weights, mut activations) = (0, 0);
        for i in 0..rw.len() {
            weights += usize::from(signed_weight(&mut rw, i)?);
            activations += unsigned_constants(&mut rw, i)?;
        }
        let inputs: Vec<ValueId> = rw.graph().inputs.iter().map(|p| p.value).collect();
        for v in inputs {
            activations += usize::from(is_signed(&rw, v) && read_as_unsigned(&mut rw, v));
        }
        for i in 0..rw.len() {
            activations += unsigned_outputs(&mut rw, i);
        }
        if weights > 0 {
            changes.push(format!("Stored {weights} uint8 weights as int8"));
        }
        if activations > 0 {
            changes.push(format!("Stored {activations} int8 activations as uint8"));
        }
        rw.finish()
    }
}

/// Whether `v` is quantized per tensor to i8.
fn is_signed(rw: &Rewrite, v: ValueId) -> bool {
    rw.dtype(v) == DType::I8 && rw.quant(v).is_some_and(|q| q.axis.is_none())
}

/// The same numbers in the other of the two 8-bit forms.
fn flipped_type(ty: &ValueType) -> ValueType {
    let (dtype, shift) = if ty.dtype == DType::I8 { (DType::U8, 128) } else { (DType::I8, -128) };
    let quant = ty.quant.clone().unwrap_or(Quant::per_tensor(1.0, 0));
    let zero_point = quant.zero_point.iter().map(|z| z + shift).collect();
    ValueType { dtype, shape: ty.shape.clone(), quant: Some(Quant { zero_point, ..quant }) }
}

fn flipped_constant(rw: &mut Rewrite, v: ValueId) -> Result<Option<ValueId>> {
    let Some(tensor) = rw.graph().const_tensor(v) else { return Ok(None) };
    let ty = flipped_type(rw.ty(v));
    let bytes: Vec<u8> = tensor.bytes().iter().map(|b| b ^ 0x80).collect();
    let flipped = Tensor::from_bytes(ty.dtype, tensor.shape(), &bytes)?;
    let name = rw.name(v).into();
    Ok(Some(rw.add_values(|g: &mut Graph| {
        let name: String = name;
        g.add_quantized_const(name, &flipped, ty.quant)
    })))
}

/// Makes the u8 weight of node `i` i8, be it read as it is or dequantized. Returns whether there was one.
fn signed_weight(rw: &mut Rewrite, i: usize) -> Result<bool> {
    let Some(node) = rw.node(i) else { return Ok(false) };
    let (Op::Conv(_) | Op::MatMul(_)) = node.op else { return Ok(false) };
    let Some(&weight) = node.inputs.get(1) else { return Ok(false) };
    let (reader, slot) = match rw.producer(weight) {
        Some(d) if rw.node(d).is_some_and(|n| n.op == Op::Dequantize) => (d, 0),
        _ => (i, 1),
    };
    let Some(reading) = rw.node(reader) else { return Ok(false) };
    let stored = reading.inputs[slot];
    if rw.dtype(stored) != DType::U8 {
        return Ok(false);
    }
    let (op, mut inputs) = (reading.op.clone(), reading.inputs.clone());
    let Some(flipped) = flipped_constant(rw, stored)? else { return Ok(false) };
    inputs[slot] = flipped;
    rw.update(reader, op, inputs);
    Ok(true)
}

/// Makes i8 constants u8 where node `i` reads them like activations.
fn unsigned_constants(rw: &mut Rewrite, i: usize) -> Result<usize> {
    let Some(node) = rw.node(i) else { return Ok(0) };
    if matches!(node.op, Op::Dequantize | Op::Reinterpret) {
        return Ok(0);
    }
    let is_weight = |slot: usize| slot == 1 && matches!(node.op, Op::Conv(_) | Op::MatMul(_));
    let slots: Vec<usize> = (0..node.inputs.len())
        .filter(|&k| !is_weight(k) && rw.is_const(node.inputs[k]) && is_signed(rw, node.inputs[k]))
        .collect();
    let (op, mut inputs) = (node.op.clone(), node.inputs.clone());
    let mut changed = 0;
    for k in slots {
        if let Some(flipped) = flipped_constant(rw, inputs[k])? {
            inputs[k] = flipped;
            changed += 1;
        }
    }
    if changed > 0 {
        rw.update(i, op, inputs);
    }
    Ok(changed)
}

/// Makes everyone who reads the real numbers of `v` read them from a u8 copy. Returns whether there is anyone.
fn read_as_unsigned(rw: &mut Rewrite, v: ValueId) -> bool {
    let readers = real_readers(rw, v);
    let Some(&first) = readers.first() else { return false };
    let ty = flipped_type(rw.ty(v));
    let name = String::from(rw.name(v));
    let copy = rw.insert(first, &name, Op::Unary(Unary::Identity), &[v], ty);
    switch(rw, &readers, v, copy);
    true
}

/// The nodes that read the numbers `v` stands for, rather than the stored integers.
fn real_readers(rw: &Rewrite, v: ValueId) -> Vec<usize> {
    let mut readers: Vec<usize> = rw.users(v).to_vec();
    readers.sort_unstable();
    readers.dedup();
    readers.retain(|&u| rw.node(u).is_some_and(|n| n.op != Op::Reinterpret || is_signed(rw, n.outputs[0])));
    readers
}

fn switch(rw: &mut Rewrite, readers: &[usize], from: ValueId, to: ValueId) {
    for &reader in readers {
        let Some(node) = rw.node(reader) else { continue };
        let (op, inputs) = (node.op.clone(), node.inputs.iter().map(|&v| if v == from { to } else { v }).collect());
        rw.update(reader, op, inputs);
    }
}

/// Makes the i8 results of node `i` u8.
fn unsigned_outputs(rw: &mut Rewrite, i: usize) -> usize {
    let Some(node) = rw.node(i) else { return 0 };
    let is_view_of_raw = node.op == Op::Reinterpret && rw.dtype(node.inputs[0]) != DType::U8;
    // The copies that this pass makes at the edges.
    let converts =
        node.op == Op::Unary(Unary::Identity) && rw.dtype(node.inputs[0]) == DType::U8 && rw.is_output(node.outputs[0]);
    let slots: Vec<usize> = (0..node.outputs.len()).filter(|&k| is_signed(rw, node.outputs[k])).collect();
    let mut changed = 0;
    for k in slots {
        let Some(node) = rw.node(i) else { break };
        let (name, v) = (node.name.clone(), node.outputs[k]);
        if is_view_of_raw {
            changed += usize::from(read_as_unsigned(rw, v));
            continue;
        }
        if converts {
            continue;
        }
        let readers = real_readers(rw, v);
        let raw_readers = rw.users(v).iter().any(|u| !readers.contains(u));
        let ty = flipped_type(rw.ty(v));
        let (old, new) = rw.detach_output(i, k, ty);
        if raw_readers || rw.is_output(old) {
            rw.insert_into(i, &name, Op::Unary(Unary::Identity), &[new], old);
        }
        switch(rw, &readers, old, new);
        changed += 1;
    }
    changed
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::{
        compile::passes::testing::{Build, Noise, apply, difference, ops, run, shaped},
        graph::ops::BinaryOp,
    };

    #[test]
    fn inner_activations_are_unsigned_and_edges_keep_their_type() {
        let quant = Some(Quant::per_tensor(0.1, -3));
        let mut b = Build::default();
        let raw = b.g.add_input("x", shaped(DType::I8, &[6]));
        let typed = |quant: &Option<Quant>| ValueType { quant: quant.clone(), ..shaped(DType::I8, &[6]) };
        let x = b.g.add_node("view", Op::Reinterpret, &[raw], typed(&quant));
        let x = b.dequantize(x);
        let c = b.dq_const(&Noise(1).bytes(DType::I8, &[6]), Quant::per_tensor(0.02, 5));
        let y = b.binary(BinaryOp::Add, x, c);
        let y = b.quantize(y, DType::I8, 0.11, 7);
        let z = b.g.add_node("neg", Op::Unary(Unary::Neg), &[y], typed(&quant));
        let out = b.g.add_node("raw", Op::Reinterpret, &[z], shaped(DType::I8, &[6]));
        b.g.add_output("q", y);
        let mut g = b.finish(out);
        let data = [Noise(2).bytes(DType::I8, &[6])];
        let before = run(&g, &data);
        let changes = apply(&CanonicalQuantizedTypes, &mut g);
        assert_eq!(changes, ["Stored 3 int8 activations as uint8"]);
        assert_eq!(difference(&before, &run(&g, &data)), 0.0);
        let neg = g.nodes.iter().find(|n| n.name == "neg").unwrap();
        let kinds =
            [neg.inputs[0], neg.outputs[0]].map(|v| (g.value(v).ty.dtype, g.value(v).ty.quant.clone().unwrap().zero_point));
        assert_eq!(kinds, [(DType::U8, vec![135]), (DType::U8, vec![125])]);
        assert_eq!(ops(&g), "Identity×3 Dequantize×2 Reinterpret×2 Add×1 Neg×1 Quantize×1");
    }

    #[test]
    fn weights_are_signed() {
        let mut noise = Noise(3);
        let mut b = Build::default();
        let x = b.input(&[2, 4]);
        let quant = Quant { scale: vec![0.1, 0.2, 0.3], zero_point: vec![128, 0, 255], axis: Some(1) };
        let w = b.dq_const(&noise.bytes(DType::U8, &[4, 3]), quant);
        let y = b.matmul(x, w);
        let mut g = b.finish(y);
        let data = [noise.floats(&[2, 4], 1.0)];
        let before = run(&g, &data);
        assert_eq!(apply(&CanonicalQuantizedTypes, &mut g), ["Stored 1 uint8 weights as int8"]);
        let ty = &g.value(g.nodes[0].inputs[0]).ty;
        assert_eq!((ty.dtype, ty.quant.clone().unwrap().zero_point), (DType::I8, vec![0, -128, 127]));
        assert_eq!(difference(&before, &run(&g, &data)), 0.0);
    }
}
