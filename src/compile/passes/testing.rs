//! What the passes' tests share: hand-built graphs, and a plain interpreter to compare results before and after a pass.

use alloc::{string::String, vec, vec::Vec};

use super::{Pass, evaluate::evaluate};
use crate::{
    graph::{
        Blob, Dim, Graph, Init, Node, Op, Quant, ValueId, ValueType,
        ops::{Activation, Binary, BinaryOp, Conv, MatMul, Pool, PoolKind, ReduceOp, Unary, Window},
        print,
        verify::verify,
    },
    tensor::{AlignedBytes, DType, Tensor},
};

pub(super) const TO_LAST: [usize; 4] = [0, 2, 3, 1];
pub(super) const TO_FIRST: [usize; 4] = [0, 3, 1, 2];

/// Runs one pass, checks the graph and returns what the pass said.
pub(super) fn apply(pass: &dyn Pass, graph: &mut Graph) -> Vec<String> {
    let mut changes = Vec::new();
    pass.run(graph, &mut changes).unwrap();
    verify(graph).unwrap();
    changes
}

/// Operators by frequency and name: `Add×2 Conv×1`.
pub(super) fn ops(graph: &Graph) -> String {
    print::histogram(&print::operators(graph))
}

/// Numbers that look random and are the same every time.
pub(super) struct Noise(pub u32);

impl Noise {
    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0 >> 8
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.next() as usize % n
    }

    pub fn unit(&mut self) -> f32 {
        self.next() as f32 / (1 << 23) as f32 - 1.0
    }

    pub fn floats(&mut self, shape: &[usize], size: f32) -> Tensor {
        let data: Vec<f32> = (0..shape.iter().product()).map(|_| self.unit() * size).collect();
        Tensor::from_slice(shape, &data).unwrap()
    }

    pub fn bytes(&mut self, dtype: DType, shape: &[usize]) -> Tensor {
        let data: Vec<u8> = (0..shape.iter().product()).map(|_| self.next() as u8).collect();
        Tensor::from_bytes(dtype, shape, &data).unwrap()
    }
}

/// Adds nodes the way the front-end does: literally, channels first.
#[derive(Default)]
pub(super) struct Build {
    pub g: Graph,
}

pub(super) fn shaped(dtype: DType, shape: &[usize]) -> ValueType {
    ValueType::new(dtype, shape.iter().map(|&d| Dim::fixed(d)).collect())
}

impl Build {
    pub fn input(&mut self, shape: &[usize]) -> ValueId {
        self.g.add_input("x", shaped(DType::F32, shape))
    }

    pub fn shape(&self, v: ValueId) -> Vec<usize> {
        self.g.value(v).ty.fixed_shape().unwrap()
    }

    pub fn node(&mut self, name: &str, op: Op, inputs: &[ValueId], dtype: DType, shape: &[usize]) -> ValueId {
        self.g.add_node(name, op, inputs, shaped(dtype, shape))
    }

    pub fn unary(&mut self, op: Unary, x: ValueId) -> ValueId {
        let shape = self.shape(x);
        self.node("unary", Op::Unary(op), &[x], DType::F32, &shape)
    }

    pub fn relu(&mut self, x: ValueId) -> ValueId {
        self.unary(Unary::Clamp { lo: 0.0, hi: f32::INFINITY }, x)
    }

    pub fn binary(&mut self, op: BinaryOp, a: ValueId, b: ValueId) -> ValueId {
        let (sa, sb) = (self.shape(a), self.shape(b));
        let rank = sa.len().max(sb.len());
        let at = |s: &[usize], i: usize| if i + s.len() < rank { 1 } else { s[i + s.len() - rank] };
        let shape: Vec<usize> = (0..rank).map(|i| at(&sa, i).max(at(&sb, i))).collect();
        self.node("binary", Op::Binary(Binary { op, activation: Activation::None }), &[a, b], DType::F32, &shape)
    }

    pub fn constant(&mut self, shape: &[usize], data: &[f32]) -> ValueId {
        self.g.add_const("c", &Tensor::from_slice(shape, data).unwrap())
    }

    pub fn scalar(&mut self, value: f32) -> ValueId {
        self.g.add_const("c", &Tensor::scalar(value))
    }

    pub fn transpose(&mut self, x: ValueId, perm: &[usize]) -> ValueId {
        let mut ty = self.g.value(x).ty.clone();
        ty.shape = perm.iter().map(|&p| ty.shape[p].clone()).collect();
        self.g.add_node("transpose", Op::Transpose { perm: perm.to_vec() }, &[x], ty)
    }

    pub fn reshape(&mut self, x: ValueId, shape: &[usize]) -> ValueId {
        let ty = ValueType { quant: self.g.value(x).ty.quant.clone(), ..shaped(self.g.value(x).ty.dtype, shape) };
        self.g.add_node("reshape", Op::Reshape, &[x], ty)
    }

    pub fn mean(&mut self, x: ValueId, axes: &[usize]) -> ValueId {
        let mut shape = self.shape(x);
        axes.iter().for_each(|&a| shape[a] = 1);
        let op = Op::Reduce { op: ReduceOp::Mean, axes: axes.to_vec(), keep_dims: true };
        self.node("mean", op, &[x], DType::F32, &shape)
    }

    pub fn concat(&mut self, inputs: &[ValueId], axis: usize) -> ValueId {
        let mut shape = self.shape(inputs[0]);
        shape[axis] = inputs.iter().map(|v| self.shape(*v)[axis]).sum();
        self.node("concat", Op::Concat { axis }, inputs, DType::F32, &shape)
    }

    pub fn quantize(&mut self, x: ValueId, dtype: DType, scale: f32, zero: i32) -> ValueId {
        let ty = ValueType { quant: Some(Quant::per_tensor(scale, zero)), ..shaped(dtype, &self.shape(x)) };
        self.g.add_node("q", Op::Quantize, &[x], ty)
    }

    pub fn dequantize(&mut self, x: ValueId) -> ValueId {
        let shape = self.shape(x);
        self.node("dq", Op::Dequantize, &[x], DType::F32, &shape)
    }

    /// `x` rounded to a grid: Quantize and Dequantize.
    pub fn qdq(&mut self, x: ValueId, scale: f32, zero: i32) -> ValueId {
        let q = self.quantize(x, DType::U8, scale, zero);
        self.dequantize(q)
    }

    /// A dequantized constant.
    pub fn dq_const(&mut self, tensor: &Tensor, quant: Quant) -> ValueId {
        let q = self.g.add_quantized_const("w", tensor, Some(quant));
        self.dequantize(q)
    }

    /// A convolution with weight `[O,KH,KW,I]`, wrapped in the Transposes of a channels-first model. Same padding.
    pub fn conv(&mut self, x: ValueId, weight: ValueId, bias: Option<ValueId>, stride: usize) -> ValueId {
        let x = self.transpose(x, &TO_LAST);
        let y = self.conv_last(x, weight, bias, stride);
        self.transpose(y, &TO_FIRST)
    }

    pub fn conv_last(&mut self, x: ValueId, weight: ValueId, bias: Option<ValueId>, stride: usize) -> ValueId {
        let (s, w) = (self.shape(x), self.shape(weight));
        let pad = w[1] / 2;
        let window = Window { kernel: [w[1], w[2]], strides: [stride; 2], dilations: [1; 2], pads: [[pad; 2]; 2], ceil: false };
        let size = |d: usize, k: usize| (d + 2 * pad - k) / stride + 1;
        let op = Conv { window, groups: s[3] / w[3], bias: bias.is_some(), dynamic: false, activation: Activation::None };
        let mut inputs = vec![x, weight];
        inputs.extend(bias);
        self.node("conv", Op::Conv(op), &inputs, DType::F32, &[s[0], size(s[1], w[1]), size(s[2], w[2]), w[0]])
    }

    pub fn matmul(&mut self, a: ValueId, b: ValueId) -> ValueId {
        let (mut shape, sb) = (self.shape(a), self.shape(b));
        if let (Some(last), Some(n)) = (shape.last_mut(), sb.last()) {
            *last = *n;
        }
        let op = MatMul { transpose_b: false, bias: false, dynamic: false, activation: Activation::None };
        self.node("matmul", Op::MatMul(op), &[a, b], DType::F32, &shape)
    }

    /// 2×2 max pooling of a channels-first tensor.
    pub fn max_pool(&mut self, x: ValueId) -> ValueId {
        let x = self.transpose(x, &TO_LAST);
        let s = self.shape(x);
        let window = Window { kernel: [2; 2], strides: [2; 2], dilations: [1; 2], pads: [[0; 2]; 2], ceil: false };
        let shape = [s[0], s[1] / 2, s[2] / 2, s[3]];
        let y = self.node("pool", Op::Pool(Pool { kind: PoolKind::Max, window }), &[x], DType::F32, &shape);
        self.transpose(y, &TO_FIRST)
    }

    pub fn finish(mut self, output: ValueId) -> Graph {
        self.g.add_output("y", output);
        verify(&self.g).unwrap();
        self.g
    }
}

/// Computes the graph's outputs, node by node; products by definition in f64, everything else with the runtime's kernels.
pub(super) fn run(graph: &Graph, inputs: &[Tensor]) -> Vec<Tensor> {
    let mut g = graph.clone();
    let set = |g: &mut Graph, v: ValueId, t: &Tensor| {
        g.value_mut(v).init = Some(Init::Data(Blob::new(AlignedBytes::copy_of(t.bytes()))));
    };
    for (port, tensor) in graph.inputs.iter().zip(inputs) {
        set(&mut g, port.value, tensor);
    }
    for node in &graph.nodes {
        let results = match &node.op {
            Op::Conv(conv) => vec![reference_conv(&g, node, conv)],
            Op::MatMul(mm) => vec![reference_matmul(&g, node, mm)],
            _ => evaluate(&g, node).unwrap_or_else(|e| panic!("{} '{}': {e}", node.op.name(), node.name)),
        };
        for (v, t) in node.outputs.iter().zip(&results) {
            set(&mut g, *v, t);
        }
    }
    graph.outputs.iter().map(|p| g.const_tensor(p.value).unwrap()).collect()
}

/// The stored numbers.
pub(super) fn numbers(t: &Tensor) -> Vec<f64> {
    match t.dtype() {
        DType::F32 => t.as_slice::<f32>().unwrap().iter().map(|v| f64::from(*v)).collect(),
        DType::U8 => t.bytes().iter().map(|v| f64::from(*v)).collect(),
        DType::I8 => t.as_slice::<i8>().unwrap().iter().map(|v| f64::from(*v)).collect(),
        DType::I32 => t.as_slice::<i32>().unwrap().iter().map(|v| f64::from(*v)).collect(),
        DType::I64 => t.as_slice::<i64>().unwrap().iter().map(|v| *v as f64).collect(),
        other => panic!("{other} in a test"),
    }
}

/// Integers with what they stand for: the numbers less the zero point, and the scale, per index of `axis`.
struct Operand {
    shape: Vec<usize>,
    data: Vec<f64>,
    scale: Vec<f64>,
}

impl Operand {
    fn read(g: &Graph, v: ValueId, axis: usize, dynamic: Option<&[ValueId]>) -> Operand {
        let t = g.const_tensor(v).unwrap();
        let quant = match (dynamic, &g.value(v).ty.quant) {
            (Some(&[s, z]), _) => {
                let [s, z] = [s, z].map(|v| numbers(&g.const_tensor(v).unwrap())[0]);
                Quant::per_tensor(s as f32, z as i32)
            }
            (_, Some(q)) => q.clone(),
            _ => Quant::per_tensor(1.0, 0),
        };
        assert!(quant.axis.is_none_or(|a| a == axis));
        let inner: usize = t.shape()[axis + 1..].iter().product();
        let n = quant.scale.len();
        let data =
            numbers(&t).into_iter().enumerate().map(|(k, v)| v - f64::from(quant.zero_point[k / inner % t.shape()[axis] % n]));
        Operand { shape: t.shape().to_vec(), data: data.collect(), scale: quant.scale.iter().map(|s| f64::from(*s)).collect() }
    }

    fn scale(&self, channel: usize) -> f64 {
        self.scale[channel % self.scale.len()]
    }
}

/// Bias, activation and the output's quantization.
struct Finish<'g> {
    g: &'g Graph,
    node: &'g Node,
    bias: Option<Vec<f64>>,
    static_quant: bool,
    bounds: (f32, f32),
}

impl<'g> Finish<'g> {
    fn new(g: &'g Graph, node: &'g Node, bias: bool, dynamic: bool, activation: Activation) -> Self {
        let static_quant = !dynamic && g.value(node.inputs[0]).ty.quant.is_some();
        let bias = bias.then(|| numbers(&g.const_tensor(node.inputs[2]).unwrap()));
        Finish { g, node, bias, static_quant, bounds: activation.bounds() }
    }

    fn store(&self, sums: &[f64], units: impl Fn(usize) -> f64) -> Tensor {
        let ty = &self.g.value(self.node.outputs[0]).ty;
        let shape = ty.fixed_shape().unwrap();
        let channels = shape[shape.len() - 1];
        if ty.dtype == DType::I32 {
            let sums: Vec<i32> = sums.iter().map(|s| *s as i32).collect();
            return Tensor::from_slice(&shape, &sums).unwrap();
        }
        let (lo, hi) = (f64::from(self.bounds.0), f64::from(self.bounds.1));
        let reals = sums.iter().enumerate().map(|(k, sum)| {
            let c = k % channels;
            let bias = self.bias.as_ref().map_or(0.0, |b| b[c]);
            let real = if self.static_quant { (sum + bias) * units(c) } else { sum * units(c) + bias };
            real.clamp(lo, hi)
        });
        match (&ty.quant, ty.dtype) {
            (None, DType::F32) => Tensor::from_slice(&shape, &reals.map(|r| r as f32).collect::<Vec<_>>()).unwrap(),
            (Some(q), DType::U8) => {
                let (scale, zero) = q.as_per_tensor().unwrap();
                let store = |r: f64| ((r / f64::from(scale)).round_ties_even() + f64::from(zero)).clamp(0.0, 255.0) as u8;
                Tensor::from_slice(&shape, &reals.map(store).collect::<Vec<_>>()).unwrap()
            }
            other => panic!("a product that gives {other:?}"),
        }
    }
}

fn reference_conv(g: &Graph, node: &Node, conv: &Conv) -> Tensor {
    let dynamic = conv.dynamic.then(|| &node.inputs[node.inputs.len() - 2..]);
    let x = Operand::read(g, node.inputs[0], 3, dynamic);
    let w = Operand::read(g, node.inputs[1], 0, None);
    let out = g.value(node.outputs[0]).ty.fixed_shape().unwrap();
    let win = &conv.window;
    let (per_group_in, per_group_out) = (w.shape[3], out[3] / conv.groups);
    let mut sums = Vec::new();
    for n in 0..out[0] {
        for oy in 0..out[1] {
            for ox in 0..out[2] {
                for o in 0..out[3] {
                    let mut sum = 0.0;
                    for ky in 0..win.kernel[0] {
                        for kx in 0..win.kernel[1] {
                            let y = (oy * win.strides[0] + ky * win.dilations[0]).wrapping_sub(win.pads[0][0]);
                            let z = (ox * win.strides[1] + kx * win.dilations[1]).wrapping_sub(win.pads[1][0]);
                            if y >= x.shape[1] || z >= x.shape[2] {
                                continue;
                            }
                            for c in 0..per_group_in {
                                let channel = o / per_group_out * per_group_in + c;
                                let xi = ((n * x.shape[1] + y) * x.shape[2] + z) * x.shape[3] + channel;
                                let wi = ((o * win.kernel[0] + ky) * win.kernel[1] + kx) * per_group_in + c;
                                sum += x.data[xi] * w.data[wi];
                            }
                        }
                    }
                    sums.push(sum);
                }
            }
        }
    }
    Finish::new(g, node, conv.bias, conv.dynamic, conv.activation).store(&sums, |c| x.scale(0) * w.scale(c))
}

fn reference_matmul(g: &Graph, node: &Node, mm: &MatMul) -> Tensor {
    let rank = g.value(node.inputs[1]).ty.shape.len();
    let dynamic = mm.dynamic.then(|| &node.inputs[node.inputs.len() - 2..]);
    let a = Operand::read(g, node.inputs[0], g.value(node.inputs[0]).ty.shape.len() - 1, dynamic);
    let b = Operand::read(g, node.inputs[1], if mm.transpose_b { rank - 2 } else { rank - 1 }, None);
    let out = g.value(node.outputs[0]).ty.fixed_shape().unwrap();
    let (m, n, k) = (out[out.len() - 2], out[out.len() - 1], a.shape[a.shape.len() - 1]);
    let batches: usize = out[..out.len() - 2].iter().product();
    let mut sums = Vec::new();
    for batch in 0..batches {
        // Operands have all batch axes or none.
        let (fa, fb) = (batch * m * k % a.data.len(), batch * k * n % b.data.len());
        for row in 0..m {
            for column in 0..n {
                let at = |i: usize| if mm.transpose_b { column * k + i } else { i * n + column };
                sums.push((0..k).map(|i| a.data[fa + row * k + i] * b.data[fb + at(i)]).sum());
            }
        }
    }
    Finish::new(g, node, mm.bias, mm.dynamic, mm.activation).store(&sums, |c| a.scale(0) * b.scale(c))
}

/// Greatest difference between the stored numbers of two results.
pub(super) fn difference(a: &[Tensor], b: &[Tensor]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .flat_map(|(a, b)| {
            assert_eq!((a.dtype(), a.shape()), (b.dtype(), b.shape()));
            numbers(a).into_iter().zip(numbers(b)).map(|(a, b)| (a - b).abs()).collect::<Vec<_>>()
        })
        .fold(0.0, f64::max)
}
