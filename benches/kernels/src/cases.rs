//! What is measured: layers of common models, each as a graph of one operator.

use nearside::{
    DType, Result, Tensor, TensorView,
    graph::{
        Dim, Graph, Op, Quant, ValueId, ValueType,
        ops::{Activation, Attention, Binary, BinaryOp, Conv, InstanceNorm, MatMul, Pool, PoolKind, Unary, Window},
        plan::{Meta, Plan},
    },
    runtime::Session,
};

/// What a run of a case amounts to.
#[derive(Debug, Clone, Copy)]
pub enum Work {
    /// Multiply-accumulates of 8-bit integers.
    MultiplyI8(f64),
    /// Multiply-accumulates of f32.
    MultiplyF32(f64),
    /// Bytes read and written, where moving them should be what takes the time.
    Move(f64),
}

/// Adds the operator and its operands to a graph, and gives its result.
type Build = dyn Fn(&mut Builder) -> Result<ValueId>;

/// One operator with its sizes.
pub struct Case {
    /// What it is called in the table, and by filters.
    pub name: String,
    /// What a run amounts to.
    pub work: Work,
    build: Box<Build>,
}

impl Case {
    /// A session that has run once.
    pub fn session(&self) -> Result<Session> {
        let mut builder = Builder::default();
        let output = (self.build)(&mut builder)?;
        builder.graph.add_output("y", output);
        let mut session = Session::new(Plan { graph: builder.graph, meta: Meta::default() })?;
        let views: Vec<(&str, TensorView<'_>)> = builder.inputs.iter().map(|(n, t)| (n.as_str(), t.view())).collect();
        session.run(&views)?;
        Ok(session)
    }
}

/// A graph in the making, with its inputs' values.
#[derive(Default)]
struct Builder {
    graph: Graph,
    inputs: Vec<(String, Tensor)>,
}

/// Scale and zero point of every quantized activation here.
const QUANT: (f32, i32) = (0.02, 120);

fn activation_quant() -> Quant {
    Quant::per_tensor(QUANT.0, QUANT.1)
}

fn value_type(dtype: DType, shape: &[usize], quant: Option<Quant>) -> ValueType {
    ValueType { dtype, shape: shape.iter().map(|&d| Dim::fixed(d)).collect(), quant }
}

/// Values that spread over the whole range of the type; of f32, −1 to 1.
fn filled(dtype: DType, shape: &[usize], seed: u32) -> Result<Tensor> {
    let mut tensor = Tensor::zeros(dtype, shape)?;
    let mut state = seed.wrapping_mul(2654435761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    match dtype {
        DType::F32 => tensor.as_mut_slice::<f32>()?.iter_mut().for_each(|v| *v = next() as f32 / (1u32 << 31) as f32 - 1.0),
        DType::I32 => tensor.as_mut_slice::<i32>()?.iter_mut().for_each(|v| *v = (next() % 2048) as i32 - 1024),
        _ => tensor.bytes_mut().iter_mut().for_each(|v| *v = (next() >> 7) as u8),
    }
    Ok(tensor)
}

impl Builder {
    fn input(&mut self, dtype: DType, shape: &[usize], quant: Option<Quant>) -> Result<ValueId> {
        let name = format!("x{}", self.inputs.len());
        let id = self.graph.add_input(&name, value_type(dtype, shape, quant));
        self.inputs.push((name, filled(dtype, shape, self.inputs.len() as u32 + 1)?));
        Ok(id)
    }

    fn activation(&mut self, int8: bool, shape: &[usize]) -> Result<ValueId> {
        if int8 { self.input(DType::U8, shape, Some(activation_quant())) } else { self.input(DType::F32, shape, None) }
    }

    /// A weight with one scale per index of `axis`.
    fn weight(&mut self, int8: bool, shape: &[usize], axis: usize) -> Result<ValueId> {
        let dtype = if int8 { DType::I8 } else { DType::F32 };
        let n = shape[axis];
        let quant =
            Quant { scale: (0..n).map(|i| 0.008 + (i % 5) as f32 * 1e-3).collect(), zero_point: vec![0; n], axis: Some(axis) };
        Ok(self.graph.add_quantized_const("w", &filled(dtype, shape, 7)?, int8.then_some(quant)))
    }

    fn bias(&mut self, dtype: DType, n: usize) -> Result<ValueId> {
        Ok(self.graph.add_const("b", &filled(dtype, &[n], 9)?))
    }

    fn node(&mut self, op: Op, inputs: &[ValueId], dtype: DType, shape: &[usize], quant: Option<Quant>) -> ValueId {
        self.graph.add_node("y", op, inputs, value_type(dtype, shape, quant))
    }
}

/// The quantization of a sum of `k` products that fills the range.
fn sum_quant(k: usize) -> Quant {
    Quant::per_tensor(0.02 * 74.0 * 0.01 * 74.0 * (k as f32).sqrt() / 48.0, 110)
}

fn label(int8: bool) -> &'static str {
    if int8 { "int8" } else { "f32" }
}

fn work(int8: bool, macs: usize) -> Work {
    if int8 { Work::MultiplyI8(macs as f64) } else { Work::MultiplyF32(macs as f64) }
}

/// A convolution of a square image with "same" padding.
fn conv(int8: bool, size: usize, (c, o): (usize, usize), kernel: usize, stride: usize, depthwise: bool) -> Case {
    let out = size.div_ceil(stride);
    let group_channels = if depthwise { 1 } else { c };
    let k = kernel * kernel * group_channels;
    let kind = if depthwise { "depthwise" } else { "conv" };
    let name = format!("{kind} {kernel}x{kernel} s{stride} {size}x{size} {c}→{o} {}", label(int8));
    let build = move |b: &mut Builder| {
        let x = b.activation(int8, &[1, size, size, c])?;
        let w = b.weight(int8, &[o, kernel, kernel, group_channels], 0)?;
        let bias = b.bias(if int8 { DType::I32 } else { DType::F32 }, o)?;
        let (before, reach) = ((kernel - 1) / 2, (out - 1) * stride + kernel);
        let pad = [before, (reach - before).saturating_sub(size)];
        let window = Window { kernel: [kernel; 2], strides: [stride; 2], dilations: [1; 2], pads: [pad; 2], ceil: false };
        let groups = if depthwise { c } else { 1 };
        let op = Op::Conv(Conv { window, groups, bias: true, dynamic: false, activation: Activation::Relu });
        let (dtype, quant) = if int8 { (DType::U8, Some(sum_quant(k))) } else { (DType::F32, None) };
        Ok(b.node(op, &[x, w, bias], dtype, &[1, out, out, o], quant))
    };
    Case { name, work: work(int8, out * out * o * k), build: Box::new(build) }
}

/// A product with constant columns.
fn matmul(int8: bool, m: usize, n: usize, k: usize) -> Case {
    let name = format!("matmul {m}x{n}x{k} {}", label(int8));
    let build = move |b: &mut Builder| {
        let x = b.activation(int8, &[m, k])?;
        let w = b.weight(int8, &[k, n], 1)?;
        let bias = b.bias(if int8 { DType::I32 } else { DType::F32 }, n)?;
        let op = Op::MatMul(MatMul { transpose_b: false, bias: true, dynamic: false, activation: Activation::None });
        let (dtype, quant) = if int8 { (DType::U8, Some(sum_quant(k))) } else { (DType::F32, None) };
        Ok(b.node(op, &[x, w, bias], dtype, &[m, n], quant))
    };
    Case { name, work: work(int8, m * n * k), build: Box::new(build) }
}

/// A product whose rows were quantized by their own range, with f32 results.
fn dynamic_matmul(m: usize, n: usize, k: usize) -> Case {
    let build = move |b: &mut Builder| {
        let x = b.input(DType::U8, &[m, k], None)?;
        let w = b.weight(true, &[k, n], 1)?;
        let bias = b.bias(DType::F32, n)?;
        let scale = b.graph.add_const("scale", &Tensor::scalar(0.02f32));
        let zero = b.graph.add_const("zero point", &Tensor::scalar(120u8));
        let op = Op::MatMul(MatMul { transpose_b: false, bias: true, dynamic: true, activation: Activation::None });
        Ok(b.node(op, &[x, w, bias, scale, zero], DType::F32, &[m, n], None))
    };
    Case { name: format!("matmul dynamic {m}x{n}x{k} int8"), work: work(true, m * n * k), build: Box::new(build) }
}

/// A product of two activations for each of `heads`, as attention has them.
fn attention(int8: bool, heads: usize, m: usize, n: usize, k: usize, transpose_b: bool) -> Case {
    let kind = if transpose_b { "a·bᵀ" } else { "a·b" };
    let build = move |b: &mut Builder| {
        let x = b.activation(int8, &[heads, m, k])?;
        let y = b.activation(int8, &if transpose_b { [heads, n, k] } else { [heads, k, n] })?;
        let op = Op::MatMul(MatMul { transpose_b, bias: false, dynamic: false, activation: Activation::None });
        let (dtype, quant) = if int8 { (DType::U8, Some(sum_quant(k))) } else { (DType::F32, None) };
        Ok(b.node(op, &[x, y], dtype, &[heads, m, n], quant))
    };
    let name = format!("attention {kind} {heads}x{m}x{n}x{k} {}", label(int8));
    Case { name, work: work(int8, heads * m * n * k), build: Box::new(build) }
}

/// Attention of `heads` heads that lie side by side in one product's rows.
fn whole_attention(heads: usize, positions: usize, depth: usize) -> Case {
    let row = heads * depth;
    let build = move |b: &mut Builder| {
        let x = b.activation(false, &[1, positions, 3 * row])?;
        let op = Attention { heads, depth, columns: [0, row, 2 * row], scale: 0.2, divide: false, mask: false };
        Ok(b.node(Op::Attention(op), &[x, x, x], DType::F32, &[1, positions, row], None))
    };
    let work = work(false, 2 * heads * positions * positions * depth);
    Case { name: format!("attention {heads}x{positions}x{depth} f32"), work, build: Box::new(build) }
}

/// A type as inputs and outputs below have it: the element type, and whether it is quantized.
type Kind = (DType, bool);
const REAL: Kind = (DType::F32, false);
const BYTE: Kind = (DType::U8, true);

fn bytes(kind: Kind, shape: &[usize]) -> f64 {
    (shape.iter().product::<usize>() * kind.0.size()) as f64
}

/// An operator that reads `inputs` and writes `output`, and should take as long as that takes.
fn moving(name: &str, op: Op, inputs: &[(Kind, &[usize])], output: (Kind, &[usize])) -> Case {
    let inputs: Vec<(Kind, Vec<usize>)> = inputs.iter().map(|(k, s)| (*k, s.to_vec())).collect();
    let output: (Kind, Vec<usize>) = (output.0, output.1.to_vec());
    let moved: f64 = inputs.iter().chain([&output]).map(|(k, s)| bytes(*k, s)).sum();
    let text = |shape: &[usize]| shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
    let label = if output.0 == BYTE { "int8" } else { "f32" };
    let name = format!("{name} {} {label}", text(&inputs[0].1));
    let build = move |b: &mut Builder| {
        let mut ids = Vec::new();
        for (i, ((dtype, quantized), shape)) in inputs.iter().enumerate() {
            let quant = quantized.then(|| Quant::per_tensor(QUANT.0 * (1.0 + i as f32 / 8.0), QUANT.1 + i as i32));
            ids.push(b.input(*dtype, shape, quant)?);
        }
        let ((dtype, quantized), shape) = &output;
        let quant = quantized.then(|| Quant::per_tensor(QUANT.0 * 1.5, 100));
        let quant = if keeps_quant(&op) { quantized.then(activation_quant) } else { quant };
        Ok(b.node(op.clone(), &ids, *dtype, shape, quant))
    };
    Case { name, work: Work::Move(moved), build: Box::new(build) }
}

/// Whether the operator's output has its input's scale.
fn keeps_quant(op: &Op) -> bool {
    matches!(op, Op::Transpose { .. } | Op::Pool(Pool { kind: PoolKind::Max, .. }))
}

fn dynamic_quantize(shape: &'static [usize]) -> Case {
    let build = move |b: &mut Builder| {
        let x = b.input(DType::F32, shape, None)?;
        let y = b.node(Op::DynamicQuantize, &[x], DType::U8, shape, None);
        for (name, dtype) in [("scale", DType::F32), ("zero point", DType::U8)] {
            let id = b.graph.add_value(name, value_type(dtype, &[], None));
            if let Some(node) = b.graph.nodes.last_mut() {
                node.outputs.push(id);
            }
        }
        Ok(y)
    };
    let moved = shape.iter().product::<usize>() as f64 * 5.0;
    Case { name: format!("dynamic quantize {}x{} int8", shape[0], shape[1]), work: Work::Move(moved), build: Box::new(build) }
}

fn layer_norm(rows: usize, width: usize) -> Case {
    let build = move |b: &mut Builder| {
        let x = b.input(DType::F32, &[rows, width], None)?;
        let (scale, bias) = (b.bias(DType::F32, width)?, b.bias(DType::F32, width)?);
        let op = Op::LayerNorm { axis: 1, epsilon: 1e-5, bias: true };
        Ok(b.node(op, &[x, scale, bias], DType::F32, &[rows, width], None))
    };
    Case { name: format!("layer norm {rows}x{width} f32"), work: Work::Move((rows * width * 8) as f64), build: Box::new(build) }
}

fn instance_norm(size: usize, c: usize) -> Case {
    let build = move |b: &mut Builder| {
        let x = b.input(DType::F32, &[1, size, size, c], None)?;
        let (scale, bias) = (b.bias(DType::F32, c)?, b.bias(DType::F32, c)?);
        let op = Op::InstanceNorm(InstanceNorm { epsilon: 1e-5, activation: Activation::Relu });
        Ok(b.node(op, &[x, scale, bias], DType::F32, &[1, size, size, c], None))
    };
    let work = Work::Move((size * size * c * 8) as f64);
    Case { name: format!("instance norm {size}x{size} {c} f32"), work, build: Box::new(build) }
}

fn pool(kind: PoolKind, of: Kind, size: usize, c: usize, kernel: usize, stride: usize) -> Case {
    let out = (size - kernel) / stride + 1;
    let window = Window { kernel: [kernel; 2], strides: [stride; 2], dilations: [1; 2], pads: [[0; 2]; 2], ceil: false };
    let name = format!("{} pool {kernel}x{kernel} s{stride}", if kind == PoolKind::Max { "max" } else { "average" });
    moving(&name, Op::Pool(Pool { kind, window }), &[(of, &[1, size, size, c])], (of, &[1, out, out, c]))
}

/// Every case, in the order of the table.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for int8 in [true, false] {
        for (size, channels, kernel, stride) in [
            (56, (64, 128), 1, 1),
            (14, (512, 512), 1, 1),
            (112, (32, 64), 1, 1),
            (112, (16, 96), 1, 1),
            (56, (24, 144), 1, 1),
            (56, (144, 24), 1, 1),
            (7, (320, 1280), 1, 1),
            (56, (64, 64), 3, 1),
            (14, (256, 256), 3, 1),
            (224, (3, 32), 3, 2),
            (28, (1, 8), 5, 1),
        ] {
            cases.push(conv(int8, size, channels, kernel, stride, false));
        }
        for (size, c, kernel, stride) in
            [(56, 128, 3, 1), (112, 32, 3, 1), (14, 512, 3, 1), (7, 960, 3, 1), (56, 128, 3, 2), (14, 576, 3, 2), (28, 120, 5, 1)]
        {
            cases.push(conv(int8, size, (c, c), kernel, stride, true));
        }
        for (m, n, k) in [(512, 512, 512), (128, 1536, 384), (1, 1000, 1280), (1, 512, 512), (1, 64, 784)] {
            cases.push(matmul(int8, m, n, k));
        }
        cases.push(attention(int8, 12, 128, 128, 32, true));
        cases.push(attention(int8, 12, 128, 32, 128, false));
    }
    cases.push(whole_attention(12, 128, 32));
    for (m, n, k) in [(128, 384, 384), (128, 1536, 384), (1, 384, 384)] {
        cases.push(dynamic_matmul(m, n, k));
    }
    cases.extend(memory_bound());
    cases
}

fn memory_bound() -> Vec<Case> {
    let image: &[usize] = &[1, 56, 56, 128];
    let add = |op| Op::Binary(Binary { op, activation: Activation::None });
    vec![
        moving("quantize", Op::Quantize, &[(REAL, image)], (BYTE, image)),
        moving("dequantize", Op::Dequantize, &[(BYTE, image)], (REAL, image)),
        dynamic_quantize(&[128, 384]),
        dynamic_quantize(&[128, 1536]),
        moving("qlinear add", add(BinaryOp::QLinearAdd), &[(BYTE, image), (BYTE, image)], (BYTE, image)),
        moving("add", add(BinaryOp::Add), &[(BYTE, image), (BYTE, image)], (BYTE, image)),
        moving("add", add(BinaryOp::Add), &[(REAL, image), (REAL, image)], (REAL, image)),
        moving("add row", add(BinaryOp::Add), &[(REAL, &[128, 384]), (REAL, &[384])], (REAL, &[128, 384])),
        moving("clamp table", Op::Unary(Unary::Clamp { lo: 0.0, hi: 1.5 }), &[(BYTE, image)], (BYTE, image)),
        moving("softmax", Op::Softmax { axis: 2, log: false }, &[(REAL, &[12, 128, 128])], (REAL, &[12, 128, 128])),
        moving("softmax", Op::Softmax { axis: 1, log: false }, &[(REAL, &[1, 1000])], (REAL, &[1, 1000])),
        layer_norm(128, 384),
        instance_norm(76, 64),
        moving("gelu", Op::Unary(Unary::Gelu), &[(REAL, &[128, 1536])], (REAL, &[128, 1536])),
        pool(PoolKind::Max, BYTE, 112, 64, 3, 2),
        pool(PoolKind::Max, REAL, 112, 64, 3, 2),
        pool(PoolKind::Max, BYTE, 28, 8, 2, 2),
        pool(PoolKind::Average { count_include_pad: false }, REAL, 56, 64, 3, 2),
        moving("mean over space", mean(), &[(REAL, &[1, 49, 1280])], (REAL, &[1, 1280])),
        moving("mean over space", mean(), &[(BYTE, &[1, 49, 1280])], (BYTE, &[1, 1280])),
        moving("transpose hw", Op::Transpose { perm: vec![0, 2, 1] }, &[(REAL, &[1, 3, 50176])], (REAL, &[1, 50176, 3])),
        moving("transpose hw", Op::Transpose { perm: vec![0, 2, 1] }, &[(BYTE, &[1, 3, 50176])], (BYTE, &[1, 50176, 3])),
        moving("transpose heads", Op::Transpose { perm: vec![1, 0, 2] }, &[(REAL, &[128, 12, 32])], (REAL, &[12, 128, 32])),
        moving("transpose inner", Op::Transpose { perm: vec![1, 2, 0] }, &[(REAL, &[128, 12, 32])], (REAL, &[12, 32, 128])),
        moving("concat", Op::Concat { axis: 1 }, &[(BYTE, &[3136, 64]), (BYTE, &[3136, 64])], (BYTE, &[3136, 128])),
        moving("concat", Op::Concat { axis: 1 }, &[(REAL, &[3136, 64]), (REAL, &[3136, 64])], (REAL, &[3136, 128])),
    ]
}

fn mean() -> Op {
    Op::Reduce { op: nearside::graph::ops::ReduceOp::Mean, axes: vec![1], keep_dims: false }
}
