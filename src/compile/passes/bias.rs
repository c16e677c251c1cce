//! Makes an addition of constants per output channel the bias of the Conv or MatMul before it.

use alloc::{format, string::String, vec, vec::Vec};

use super::{
    Pass,
    common::{dequantized, is_per_last_axis, label},
    linear::Linear,
    rewrite::Rewrite,
};
use crate::{
    error::Result,
    graph::{
        Dim, Graph, Op, ValueId, ValueType,
        ops::{Activation, BinaryOp},
    },
    tensor::Tensor,
};

/// See the module's documentation.
pub(super) struct FuseBias;

impl Pass for FuseBias {
    fn name(&self) -> &'static str {
        "fuse-bias"
    }

    fn run(&self, graph: &mut Graph, changes: &mut Vec<String>) -> Result<()> {
        let mut rw = Rewrite::new(graph);
        for i in 0..rw.len() {
            let Some(addition) = Addition::of(&rw, i) else { continue };
            let Some(target) = rw.only_user(addition.x).and(rw.producer(addition.x)) else { continue };
            let name = rw.node(target).map(label).unwrap_or_default();
            if fuse(&mut rw, i, target, &addition)?.is_some() {
                changes.push(format!("{name}: took '{}' as its bias", rw.name(addition.constant)));
            }
        }
        rw.finish()
    }
}

/// `x + c` or `x − c`.
struct Addition {
    x: ValueId,
    constant: ValueId,
    sign: f32,
    activation: Activation,
}

impl Addition {
    fn of(rw: &Rewrite, i: usize) -> Option<Addition> {
        let node = rw.node(i)?;
        let Op::Binary(binary) = &node.op else { return None };
        let &[a, b] = node.inputs.as_slice() else { return None };
        let constant = |v: ValueId| rw.is_const(v) || dequantized(rw, v).is_some_and(|q| rw.is_const(q));
        let (x, constant, sign) = match binary.op {
            BinaryOp::Add if constant(b) => (a, b, 1.0),
            BinaryOp::Add if constant(a) => (b, a, 1.0),
            BinaryOp::Sub if rw.is_const(b) => (a, b, -1.0),
            _ => return None,
        };
        let output = node.outputs[0];
        let last = rw.ty(output).shape.last()?;
        let fits = rw.ty(x) == rw.ty(output) && is_per_last_axis(&rw.ty(constant).shape, rw.rank(output), last);
        fits.then_some(Addition { x, constant, sign, activation: binary.activation })
    }
}

fn fuse(rw: &mut Rewrite, i: usize, target: usize, addition: &Addition) -> Result<Option<()>> {
    let Some(mut linear) = Linear::of(rw, target) else { return Ok(None) };
    let Some(channels) = linear.channels else { return Ok(None) };
    // The bias of an operator that is integer already is in other units.
    let float_bias = rw.quant(linear.x).is_none() || linear.dynamic.is_some();
    if !linear.gives_f32(rw) || linear.activation != Activation::None || !float_bias {
        return Ok(None);
    }
    let bias = if let Some(added) = rw.graph().const_f32(addition.constant).filter(|c| !c.is_empty()) {
        let present = match linear.bias {
            Some(v) if rw.is_const(v) => rw.graph().const_f32(v),
            Some(_) => None,
            None => Some(vec![0.0; channels]),
        };
        let Some(present) = present.filter(|p| p.len() == channels) else { return Ok(None) };
        let sum: Vec<f32> = present.iter().enumerate().map(|(k, p)| p + addition.sign * added[k % added.len()]).collect();
        let tensor = Tensor::from_slice(&[channels], &sum)?;
        let name = String::from(rw.name(addition.constant));
        rw.add_values(|g| g.add_const(name, &tensor))
    } else {
        let Some(bias) = dequantized_bias(rw, i, addition.constant, channels).filter(|_| linear.bias.is_none()) else {
            return Ok(None);
        };
        bias
    };
    linear.bias = Some(bias);
    linear.activation = addition.activation;
    linear.store(rw, target);
    rw.take_output(target, i);
    Ok(Some(()))
}

/// A dequantized constant as a vector that is still dequantized, so that its integers can be used as they are.
fn dequantized_bias(rw: &mut Rewrite, at: usize, v: ValueId, channels: usize) -> Option<ValueId> {
    let stored = dequantized(rw, v)?;
    let ty = rw.ty(stored).clone();
    let count: usize = ty.fixed_shape()?.iter().product();
    if count != channels {
        return None;
    }
    if ty.shape.len() == 1 {
        return Some(v);
    }
    let mut quant = ty.quant?;
    quant.axis = quant.axis.map(|_| 0);
    let init = rw.graph().value(stored).init.clone()?;
    let name = String::from(rw.name(stored));
    let shape = vec![Dim::fixed(channels)];
    if quant.axis.is_some() && quant.scale.len() != channels {
        return None;
    }
    let vector = ValueType { dtype: ty.dtype, shape: shape.clone(), quant: Some(quant) };
    let stored = rw.add_values(|g| {
        let value = g.add_value(name.clone(), vector);
        g.value_mut(value).init = Some(init);
        value
    });
    let real = ValueType::new(rw.dtype(v), shape);
    Some(rw.insert(at, &name, Op::Dequantize, &[stored], real))
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::{
        compile::passes::testing::{Build, Noise, apply, difference, ops, run},
        graph::Quant,
        tensor::DType,
    };

    #[test]
    fn additions_join_into_one_bias() {
        let mut noise = Noise(1);
        let mut b = Build::default();
        let x = b.input(&[2, 4]);
        let w = b.g.add_const("w", &noise.floats(&[4, 3], 1.0));
        let y = b.matmul(x, w);
        let first = b.constant(&[1, 3], &[1.0, 2.0, 3.0]);
        let y = b.binary(BinaryOp::Add, first, y);
        let second = b.scalar(0.5);
        let y = b.binary(BinaryOp::Sub, y, second);
        let mut g = b.finish(y);
        let data = [noise.floats(&[2, 4], 1.0)];
        let before = run(&g, &data);
        assert_eq!(apply(&FuseBias, &mut g), ["MatMul 'matmul': took 'c' as its bias"; 2]);
        assert_eq!(ops(&g), "MatMul×1");
        assert!(difference(&before, &run(&g, &data)) < 1e-6);
    }

    #[test]
    fn dequantized_bias_stays_dequantized() {
        let mut noise = Noise(2);
        let mut b = Build::default();
        let x = b.input(&[2, 4]);
        let w = b.dq_const(&noise.bytes(DType::I8, &[4, 3]), Quant::per_tensor(0.1, 0));
        let y = b.matmul(x, w);
        let c = b.dq_const(&Tensor::from_slice(&[1, 3], &[10i32, 20, -30]).unwrap(), Quant::per_tensor(0.01, 0));
        let y = b.binary(BinaryOp::Add, y, c);
        let mut g = b.finish(y);
        let data = [noise.floats(&[2, 4], 1.0)];
        let before = run(&g, &data);
        apply(&FuseBias, &mut g);
        assert_eq!(ops(&g), "Dequantize×2 MatMul×1");
        assert!(difference(&before, &run(&g, &data)) < 1e-6);
    }

    #[test]
    fn matrix_is_no_bias() {
        let mut noise = Noise(3);
        let mut b = Build::default();
        let x = b.input(&[3, 3]);
        let w = b.g.add_const("w", &noise.floats(&[3, 3], 1.0));
        let y = b.matmul(x, w);
        let c = b.constant(&[3, 1], &[1.0, 2.0, 3.0]);
        let y = b.binary(BinaryOp::Add, y, c);
        let mut g = b.finish(y);
        assert_eq!(apply(&FuseBias, &mut g), [] as [&str; 0]);
    }
}
