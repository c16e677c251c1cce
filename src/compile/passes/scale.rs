//! Folds multiplications by constants into the weights of the Conv or MatMul before them, as batch normalisation leaves them.
//!
//! Each weight is rounded once more: a relative error of at most 2⁻²⁴, as any f32 product has. Quantized weights stay as they are;
//! their scales are multiplied instead. A power of two changes no rounding at all, so it may even move through products of two
//! activations to a weight further up, as in attention's `q·kᵀ/8`; other numbers may not, since a dynamic quantization behind
//! would amplify the difference.

use alloc::{format, string::String, vec::Vec};

use super::{
    Pass,
    common::{is_per_last_axis, label},
    linear::Linear,
    rewrite::Rewrite,
};
use crate::{
    error::Result,
    graph::{
        Graph, Op, Quant, ValueId, ValueType,
        ops::{Activation, BinaryOp},
    },
    tensor::{DType, Tensor},
};

/// See the module's documentation.
pub(super) struct FoldScales;

impl Pass for FoldScales {
    fn name(&self) -> &'static str {
        "fold-scales"
    }

    fn run(&self, graph: &mut Graph, changes: &mut Vec<String>) -> Result<()> {
        let mut rw = Rewrite::new(graph);
        for i in 0..rw.len() {
            let Some(multiplication) = Multiplication::of(&rw, i) else { continue };
            let Some(target) = target(&rw, &multiplication) else { continue };
            let name = rw.node(target).map(label).unwrap_or_default();
            if fold(&mut rw, i, target, &multiplication)?.is_some() {
                changes.push(format!("{name}: multiplied its weight by '{}'", rw.name(multiplication.constant)));
            }
        }
        rw.finish()
    }
}

/// `x · c` or `x / c`.
struct Multiplication {
    x: ValueId,
    constant: ValueId,
    factors: Vec<f32>,
    activation: Activation,
}

impl Multiplication {
    fn of(rw: &Rewrite, i: usize) -> Option<Multiplication> {
        let node = rw.node(i)?;
        let Op::Binary(binary) = &node.op else { return None };
        let &[a, b] = node.inputs.as_slice() else { return None };
        let (x, constant) = match binary.op {
            BinaryOp::Mul | BinaryOp::Div if rw.is_const(b) => (a, b),
            BinaryOp::Mul if rw.is_const(a) => (b, a),
            _ => return None,
        };
        let output = node.outputs[0];
        let last = rw.ty(output).shape.last()?;
        if rw.ty(x) != rw.ty(output) || !is_per_last_axis(&rw.ty(constant).shape, rw.rank(output), last) {
            return None;
        }
        let mut factors = rw.graph().const_f32(constant)?;
        if binary.op == BinaryOp::Div {
            factors.iter_mut().for_each(|f| *f = 1.0 / *f);
        }
        let finite = !factors.is_empty() && factors.iter().all(|f| f.is_finite());
        finite.then_some(Multiplication { x, constant, factors, activation: binary.activation })
    }
}

/// The node whose weight can take the factor up: the one before, or one before a product of two activations.
fn target(rw: &Rewrite, m: &Multiplication) -> Option<usize> {
    let mut v = m.x;
    for _ in 0..8 {
        rw.only_user(v)?;
        let i = rw.producer(v)?;
        let node = rw.node(i)?;
        match &node.op {
            Op::Conv(_) | Op::MatMul(_) => {
                let linear = Linear::of(rw, i)?;
                let plain = linear.gives_f32(rw) && linear.activation == Activation::None;
                if plain && rw.is_const(linear.weight) {
                    return Some(i);
                }
                let exact = m.factors.len() == 1 && is_power_of_two(m.factors[0]);
                let movable = plain && exact && linear.bias.is_none() && linear.dynamic.is_none();
                if !movable || rw.dtype(linear.x) != DType::F32 {
                    return None;
                }
                v = linear.x;
            }
            Op::Reshape | Op::Transpose { .. } if m.factors.len() == 1 && is_power_of_two(m.factors[0]) => v = node.inputs[0],
            _ => return None,
        }
    }
    None
}

fn is_power_of_two(x: f32) -> bool {
    x > 0.0 && x.is_normal() && x.to_bits().trailing_zeros() >= f32::MANTISSA_DIGITS - 1
}

/// Multiplies the weight and bias of node `target`, and removes the multiplication `i`.
fn fold(rw: &mut Rewrite, i: usize, target: usize, m: &Multiplication) -> Result<Option<()>> {
    let Some(mut linear) = Linear::of(rw, target) else { return Ok(None) };
    let adjacent = linear.output == m.x;
    if m.activation != Activation::None && !adjacent {
        return Ok(None);
    }
    let bias = match linear.bias {
        Some(v) => match rw.graph().const_f32(v).filter(|_| rw.is_const(v)) {
            Some(bias) => Some((v, bias)),
            None => return Ok(None),
        },
        None => None,
    };
    let Some(weight) = scaled_weight(rw, &linear, &m.factors)? else { return Ok(None) };
    linear.weight = weight;
    if let Some((v, mut bias)) = bias {
        for (k, b) in bias.iter_mut().enumerate() {
            *b *= m.factors[k % m.factors.len()];
        }
        let tensor = Tensor::from_slice(&[bias.len()], &bias)?;
        let name = String::from(rw.name(v));
        linear.bias = Some(rw.add_values(|g| g.add_const(name, &tensor)));
    }
    if adjacent {
        linear.activation = m.activation;
        linear.store(rw, target);
        rw.take_output(target, i);
    } else {
        linear.store(rw, target);
        let Some(output) = rw.node(i).map(|n| n.outputs[0]) else { return Ok(None) };
        if rw.is_output(output) {
            let Some(before) = rw.producer(m.x) else { return Ok(None) };
            rw.take_output(before, i);
        } else {
            rw.redirect(output, m.x);
        }
    }
    Ok(Some(()))
}

fn scaled_weight(rw: &mut Rewrite, linear: &Linear, factors: &[f32]) -> Result<Option<ValueId>> {
    let ty = rw.ty(linear.weight).clone();
    let name = String::from(rw.name(linear.weight));
    if let Some(quant) = ty.quant.clone() {
        let Some(init) = rw.graph().value(linear.weight).init.clone() else { return Ok(None) };
        let Some(quant) = scaled_quant(&quant, factors, linear.channel_axis) else { return Ok(None) };
        return Ok(Some(rw.add_values(|g| {
            let v = g.add_value(name, ValueType { quant: Some(quant), ..ty });
            g.value_mut(v).init = Some(init);
            v
        })));
    }
    let Some(mut tensor) = rw.graph().const_tensor(linear.weight).filter(|t| t.dtype() == DType::F32) else { return Ok(None) };
    let channels = tensor.shape()[linear.channel_axis];
    let inner: usize = tensor.shape()[linear.channel_axis + 1..].iter().product();
    if factors.len() != 1 && factors.len() != channels {
        return Ok(None);
    }
    for (k, w) in tensor.as_mut_slice::<f32>()?.iter_mut().enumerate() {
        *w *= factors[(k / inner.max(1)) % channels % factors.len()];
    }
    Ok(Some(rw.add_values(|g| g.add_const(name, &tensor))))
}

fn scaled_quant(quant: &Quant, factors: &[f32], axis: usize) -> Option<Quant> {
    if quant.axis.is_some_and(|a| a != axis) || factors.iter().any(|f| *f <= 0.0) {
        return None;
    }
    let n = quant.scale.len().max(factors.len());
    let scale: Vec<f32> = (0..n).map(|k| quant.scale[k % quant.scale.len()] * factors[k % factors.len()]).collect();
    let zero_point = (0..n).map(|k| quant.zero_point[k % quant.zero_point.len()]).collect();
    let usable = scale.iter().all(|s| s.is_finite() && *s > 0.0);
    usable.then(|| Quant { scale, zero_point, axis: (n > 1 || quant.axis.is_some()).then_some(axis) })
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::compile::passes::{
        bias::FuseBias,
        testing::{Build, Noise, apply, difference, ops, run},
    };

    #[test]
    fn batch_normalisation_disappears() {
        let mut noise = Noise(1);
        let mut b = Build::default();
        let x = b.input(&[1, 4, 4, 3]);
        let w = b.g.add_const("w", &noise.floats(&[2, 3, 3, 3], 1.0));
        let bias = b.constant(&[2], &[0.5, 0.25]);
        let y = b.conv_last(x, w, Some(bias), 1);
        let mean = b.constant(&[1, 1, 1, 2], &[0.3, -0.4]);
        let y = b.binary(BinaryOp::Sub, y, mean);
        let deviation = b.constant(&[2], &[2.0, 0.5]);
        let y = b.binary(BinaryOp::Div, y, deviation);
        let mut g = b.finish(y);
        let data = [noise.floats(&[1, 4, 4, 3], 1.0)];
        let before = run(&g, &data);
        apply(&FuseBias, &mut g);
        assert_eq!(apply(&FoldScales, &mut g), ["Conv 'conv': multiplied its weight by 'c'"]);
        assert_eq!(ops(&g), "Conv×1");
        assert!(difference(&before, &run(&g, &data)) < 1e-5);
    }

    #[test]
    fn only_a_power_of_two_moves_through_a_product_of_activations() {
        assert!([1.0, 8.0, 0.125].into_iter().all(is_power_of_two));
        assert!(![0.0, -2.0, 3.0, f32::INFINITY, 1e-40].into_iter().any(is_power_of_two));
        assert_eq!(moved(4.0), (1, 0.0));
        assert_eq!(moved(8f32.sqrt()), (0, 0.0));
    }

    /// Number of folds of a divisor behind attention scores, and how much they change.
    fn moved(divisor: f32) -> (usize, f64) {
        let mut noise = Noise(2);
        let mut b = Build::default();
        let x = b.input(&[2, 6, 4]);
        let w = b.g.add_const("w", &noise.floats(&[4, 4], 1.0));
        let q = b.matmul(x, w);
        let q = b.reshape(q, &[2, 6, 2, 2]);
        let q = b.transpose(q, &[0, 2, 1, 3]);
        let k = b.reshape(x, &[2, 6, 2, 2]);
        let k = b.transpose(k, &[0, 2, 3, 1]);
        let scores = b.matmul(q, k);
        let root = b.scalar(divisor);
        let scores = b.binary(BinaryOp::Div, scores, root);
        let mut g = b.finish(scores);
        let data = [noise.floats(&[2, 6, 4], 1.0)];
        let before = run(&g, &data);
        let folds = apply(&FoldScales, &mut g).len();
        assert_eq!(ops(&g).contains("Div"), folds == 0);
        (folds, difference(&before, &run(&g, &data)))
    }
}
