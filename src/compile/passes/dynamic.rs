//! Joins what ONNX spells out for dynamically quantized products: integer product, cast, two scales multiplied, and their use.
//!
//! `Mul(Cast(MatMul(xq, wq)), Mul(x_scale, w_scale))` becomes one MatMul that knows both scales. It computes the same formula with
//! the same roundings, except that several weight scales, where a model has them, are multiplied at compile time.

use alloc::{format, string::String, vec, vec::Vec};

use super::{
    Pass,
    common::{binary_inputs, is_per_last_axis, label},
    linear::Linear,
    rewrite::Rewrite,
};
use crate::{
    error::Result,
    graph::{
        Graph, Op, Quant, ValueId,
        ops::{Activation, BinaryOp},
    },
    tensor::DType,
};

/// See the module's documentation.
pub(super) struct FuseDynamicQuantization;

impl Pass for FuseDynamicQuantization {
    fn name(&self) -> &'static str {
        "fuse-dynamic-quantization"
    }

    fn run(&self, graph: &mut Graph, changes: &mut Vec<String>) -> Result<()> {
        let mut rw = Rewrite::new(graph);
        for i in 0..rw.len() {
            let Some(linear) = Linear::of(&rw, i) else { continue };
            if rw.dtype(linear.output) != DType::I32 {
                continue;
            }
            let name = rw.node(i).map(label).unwrap_or_default();
            match fuse(&mut rw, i, linear) {
                Ok(()) => changes.push(format!("{name}: took over the scales of its input and weight, and gives float32")),
                Err(reason) => changes.push(format!("{name} keeps its int32 result: {reason}")),
            }
        }
        rw.finish()
    }
}

fn fuse(rw: &mut Rewrite, i: usize, linear: Linear) -> Result<(), &'static str> {
    const NO_CHAIN: &str = "it is not only cast to float32 and multiplied by scales";
    let Some([_, zero_point]) = linear.dynamic else { return Err("the scale of its input is not computed at run time") };
    if linear.activation != Activation::None || linear.bias.is_some() {
        return Err("it has a bias or an activation before the scales");
    }
    let channels = linear.channels.ok_or("its number of output channels is not known")?;
    let cast = rw.only_user(linear.output).ok_or(NO_CHAIN)?;
    let floats = match rw.node(cast) {
        Some(n) if n.op == Op::Cast && rw.dtype(n.outputs[0]) == DType::F32 => n.outputs[0],
        _ => return Err(NO_CHAIN),
    };
    // Multiplications behind the cast, as long as the input's scale has not been met.
    let mut scales = Scales { x: None, weight: vec![1.0] };
    let (mut last, mut value) = (cast, floats);
    while let Some(user) = rw.only_user(value).filter(|_| scales.x.is_none()) {
        let Some(product) = rw.node(user).map(|n| n.outputs[0]) else { break };
        let Some([a, b]) = binary_inputs(rw, product, BinaryOp::Mul) else { break };
        let factor = if a == value { b } else { a };
        let shape = &rw.ty(factor).shape;
        if !is_per_last_axis(shape, rw.rank(product), &channels.into()) {
            return Err("a scale differs along another axis than that of the output channels");
        }
        scales.multiply(rw, factor, channels, 4)?;
        (last, value) = (user, product);
    }
    let x_scale = scales.x.ok_or("the scale of its input is not multiplied in")?;
    let weight = scaled_weight(rw, &linear, &scales.weight)?;
    Linear { weight, dynamic: Some([x_scale, zero_point]), ..linear }.store(rw, i);
    rw.take_output(i, last);
    Ok(())
}

struct Scales {
    x: Option<ValueId>,
    /// One, or one per output channel.
    weight: Vec<f32>,
}

impl Scales {
    /// Takes a factor apart into the one scale that is computed at run time and constants.
    fn multiply(&mut self, rw: &Rewrite, v: ValueId, channels: usize, depth: usize) -> Result<(), &'static str> {
        if rw.is_const(v) {
            let c = rw.graph().const_f32(v).ok_or("a scale is not float32")?;
            if c.len() != 1 && c.len() != channels {
                return Err("a scale has another size than the number of output channels");
            }
            let n = self.weight.len().max(c.len());
            let at = |list: &[f32], i: usize| list[if list.len() == 1 { 0 } else { i }];
            self.weight = (0..n).map(|i| at(&self.weight, i) * at(&c, i)).collect();
            return Ok(());
        }
        if depth > 0 {
            if let Some([a, b]) = binary_inputs(rw, v, BinaryOp::Mul) {
                self.multiply(rw, a, channels, depth - 1)?;
                return self.multiply(rw, b, channels, depth - 1);
            }
            if let Some(node) = rw.source(v).filter(|n| matches!(n.op, Op::Reshape | Op::Transpose { .. } | Op::Expand)) {
                return self.multiply(rw, node.inputs[0], channels, depth - 1);
            }
        }
        let is_scalar = rw.ty(v).shape.iter().all(|d| d.as_fixed() == Some(1));
        match self.x {
            None if is_scalar => {
                self.x = Some(v);
                Ok(())
            }
            _ => Err("it is multiplied by something else than scales"),
        }
    }
}

/// The weight with its real scale in place of the 1 that stood for "integers".
fn scaled_weight(rw: &mut Rewrite, linear: &Linear, scales: &[f32]) -> Result<ValueId, &'static str> {
    let ty = rw.ty(linear.weight).clone();
    let Some(init) = rw.graph().value(linear.weight).init.clone() else { return Err("its weight is not constant") };
    if !scales.iter().all(|s| s.is_finite() && *s > 0.0) {
        return Err("a scale of its weight is not a positive number");
    }
    let old = ty.quant.clone().unwrap_or(Quant::per_tensor(1.0, 0));
    if old.axis.is_some_and(|a| a != linear.channel_axis) {
        return Err("its weight is quantized along another axis than that of the output channels");
    }
    let n = old.scale.len().max(scales.len());
    let at = |list_len: usize, i: usize| if list_len == 1 { 0 } else { i };
    let scale: Vec<f32> = (0..n).map(|i| old.scale[at(old.scale.len(), i)] * scales[at(scales.len(), i)]).collect();
    let zero_point = (0..n).map(|i| old.zero_point[at(old.zero_point.len(), i)]).collect();
    let quant = Quant { scale, zero_point, axis: (n > 1 || old.axis.is_some()).then_some(linear.channel_axis) };
    let name = String::from(rw.name(linear.weight));
    Ok(rw.add_values(|g: &mut Graph| {
        let v = g.add_value(name, crate::graph::ValueType { quant: Some(quant), ..ty });
        g.value_mut(v).init = Some(init);
        v
    }))
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::{
        compile::passes::testing::{Build, Noise, apply, difference, ops, run, shaped},
        graph::{
            Node,
            ops::{Conv, MatMul, Window},
        },
        tensor::Tensor,
    };

    /// DynamicQuantize of `x`: its values, scale and zero point.
    fn dynamic_quantize(b: &mut Build, x: ValueId) -> [ValueId; 3] {
        let shape = b.shape(x);
        let outputs = [(DType::U8, shape.as_slice()), (DType::F32, &[]), (DType::U8, &[])]
            .map(|(dtype, shape)| b.g.add_value("dynamic", shaped(dtype, shape)));
        b.g.nodes.push(Node { name: "dynamic".into(), op: Op::DynamicQuantize, inputs: vec![x], outputs: outputs.to_vec() });
        outputs
    }

    fn integer_product(b: &mut Build, [xq, scale, zero]: [ValueId; 3], weight: ValueId, n: usize) -> ValueId {
        let op = MatMul { transpose_b: false, bias: false, dynamic: true, activation: Activation::None };
        let mut shape = b.shape(xq);
        *shape.last_mut().unwrap() = n;
        let y = b.node("product", Op::MatMul(op), &[xq, weight, scale, zero], DType::I32, &shape);
        b.node("cast", Op::Cast, &[y], DType::F32, &shape)
    }

    #[test]
    fn shared_input_stays_shared() {
        let mut noise = Noise(1);
        let mut b = Build::default();
        let x = b.input(&[3, 8]);
        let x = dynamic_quantize(&mut b, x);
        let mut sum = None;
        for k in 0..2 {
            let quant = Some(Quant::per_tensor(1.0, k));
            let w = b.g.add_quantized_const("w", &noise.bytes(DType::I8, &[8, 4]), quant);
            let y = integer_product(&mut b, x, w, 4);
            let scale = b.constant(&[4], &[0.1, 0.2, 0.3, 0.4]);
            let scale = b.binary(BinaryOp::Mul, x[1], scale);
            let y = b.binary(BinaryOp::Mul, scale, y);
            sum = Some(sum.map_or(y, |s| b.binary(BinaryOp::Add, s, y)));
        }
        let mut g = b.finish(sum.unwrap());
        let data = [noise.floats(&[3, 8], 1.0)];
        let before = run(&g, &data);
        let changes = apply(&FuseDynamicQuantization, &mut g);
        assert_eq!(changes[0], "MatMul 'product': took over the scales of its input and weight, and gives float32");
        assert_eq!(ops(&g), "MatMul×2 Add×1 DynamicQuantize×1");
        assert!(difference(&before, &run(&g, &data)) < 1e-4);
    }

    #[test]
    fn convolution_takes_one_scale() {
        let mut noise = Noise(2);
        let mut b = Build::default();
        let x = b.input(&[1, 4, 4, 2]);
        let [xq, scale, zero] = dynamic_quantize(&mut b, x);
        let window = Window { kernel: [3; 2], strides: [1; 2], dilations: [1; 2], pads: [[1; 2]; 2], ceil: false };
        let op = Conv { window, groups: 1, bias: false, dynamic: true, activation: Activation::None };
        let w = b.g.add_quantized_const("w", &noise.bytes(DType::I8, &[5, 3, 3, 2]), Some(Quant::per_tensor(1.0, 0)));
        let y = b.node("conv", Op::Conv(op), &[xq, w, scale, zero], DType::I32, &[1, 4, 4, 5]);
        let y = b.node("cast", Op::Cast, &[y], DType::F32, &[1, 4, 4, 5]);
        let c = b.scalar(0.05);
        let scale = b.binary(BinaryOp::Mul, scale, c);
        let y = b.binary(BinaryOp::Mul, y, scale);
        let mut g = b.finish(y);
        let data = [noise.floats(&[1, 4, 4, 2], 1.0)];
        let before = run(&g, &data);
        apply(&FuseDynamicQuantization, &mut g);
        assert_eq!(ops(&g), "Conv×1 DynamicQuantize×1");
        assert!(difference(&before, &run(&g, &data)) < 1e-4);
    }

    #[test]
    fn other_uses_of_the_sums_are_reported() {
        let mut b = Build::default();
        let x = b.input(&[3, 2]);
        let x = dynamic_quantize(&mut b, x);
        let w = b.g.add_const("w", &Tensor::from_slice(&[2, 1], &[1i8, 2]).unwrap());
        let y = integer_product(&mut b, x, w, 1);
        let mut g = b.finish(y);
        let changes = apply(&FuseDynamicQuantization, &mut g);
        assert_eq!(changes, ["MatMul 'product' keeps its int32 result: the scale of its input is not multiplied in"]);
    }
}
