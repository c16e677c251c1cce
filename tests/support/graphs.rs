//! Random graphs of float operators: a list of numbers, read as instructions that always give a valid model.

use nearside::Tensor;
use proptest::prelude::*;

use super::onnx::{
    Attribute::{Float, Int, Ints, Text},
    Onnx, Size,
};

/// What a random graph is made of: the input's shape, whether its first axis is symbolic, and one step per node.
#[derive(Debug, Clone)]
pub struct Recipe {
    shape: Vec<usize>,
    symbolic: bool,
    steps: Vec<[u8; 5]>,
    seed: u32,
}

pub fn recipe() -> impl Strategy<Value = Recipe> {
    let image = (1usize..3, 1usize..7, 3usize..10, 3usize..10).prop_map(|(n, c, h, w)| vec![n, c, h, w]);
    let list = prop::collection::vec(1usize..8, 2..4);
    let shape = prop_oneof![3 => image, 2 => list];
    (shape, any::<bool>(), prop::collection::vec(any::<[u8; 5]>(), 1..9), any::<u32>())
        .prop_map(|(shape, symbolic, steps, seed)| Recipe { shape, symbolic, steps, seed })
}

/// A model with inputs to run it on.
#[allow(dead_code, reason = "the listing is for messages")]
pub struct Built {
    pub onnx: Vec<u8>,
    pub runs: Vec<Vec<(String, Tensor)>>,
    /// The nodes, for messages.
    pub listing: Vec<String>,
}

pub fn build(recipe: &Recipe) -> Built {
    let mut b = Builder {
        onnx: Onnx::new(17),
        values: vec![("x".into(), recipe.shape.clone())],
        listing: Vec::new(),
        next: 0,
        random: recipe.seed,
        // A symbolic axis is left alone.
        first: usize::from(recipe.symbolic),
    };
    let mut dims: Vec<Size<'_>> = recipe.shape.iter().map(|&d| Size::Fixed(d as i64)).collect();
    if recipe.symbolic {
        dims[0] = Size::Named("batch");
    }
    b.onnx.input("x", &dims);
    b.listing.push(format!("x: {:?} symbolic {}", recipe.shape, recipe.symbolic));
    for step in &recipe.steps {
        b.step(step);
    }
    let last = b.values.last().map(|v| v.0.clone()).unwrap_or_default();
    b.onnx.node("Identity", &[&last], "y", &[]);
    b.onnx.output("y");
    let batches: &[usize] = if recipe.symbolic { &[1, 3] } else { &[0] };
    let runs = batches.iter().map(|&n| {
        let mut shape = recipe.shape.clone();
        shape[0] = if n == 0 { shape[0] } else { n };
        let count = shape.iter().product();
        let data: Vec<f32> = (0..count).map(|_| b.number()).collect();
        vec![("x".to_string(), Tensor::from_slice(&shape, &data).expect("the shape fits"))]
    });
    let runs = runs.collect();
    Built { onnx: b.onnx.bytes(), runs, listing: b.listing }
}

struct Builder {
    onnx: Onnx,
    /// Names and shapes, with the symbolic axis as it was drawn.
    values: Vec<(String, Vec<usize>)>,
    listing: Vec<String>,
    next: usize,
    random: u32,
    first: usize,
}

const UNARY: [&str; 12] =
    ["Relu", "Sigmoid", "Tanh", "Neg", "Abs", "Erf", "HardSwish", "LeakyRelu", "Softplus", "Sin", "Elu", "HardSigmoid"];
const BINARY: [&str; 6] = ["Add", "Sub", "Mul", "Div", "Max", "Min"];
const REDUCE: [&str; 5] = ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"];

impl Builder {
    /// A number in −1..1.
    fn number(&mut self) -> f32 {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.random >> 8) as f32 / (1 << 23) as f32 - 1.0
    }

    fn name(&mut self, stem: &str) -> String {
        self.next += 1;
        format!("{stem}{}", self.next)
    }

    /// Random numbers around `centre`.
    fn constant(&mut self, shape: &[usize], spread: f32, centre: f32) -> String {
        let name = self.name("c");
        let data: Vec<f32> = (0..shape.iter().product()).map(|_| centre + spread * self.number()).collect();
        self.onnx.floats(&name, shape, &data);
        name
    }

    fn ints(&mut self, values: &[i64]) -> String {
        let name = self.name("i");
        self.onnx.ints(&name, values);
        name
    }

    fn node(&mut self, op: &str, inputs: &[&str], shape: Vec<usize>, attributes: &[(&str, super::onnx::Attribute<'_>)]) {
        let output = self.name("v");
        self.onnx.node(op, inputs, &output, attributes);
        self.listing.push(format!("{output}: {shape:?} = {op}({})", inputs.join(", ")));
        self.values.push((output, shape));
    }

    fn step(&mut self, step: &[u8; 5]) {
        let [op, p, q, r, which] = step.map(usize::from);
        // Mostly the newest value, so that graphs get deep.
        let at = if which < 200 { self.values.len() - 1 } else { which % self.values.len() };
        let (x, shape) = self.values[at].clone();
        let rank = shape.len();
        let axis = if rank > self.first { self.first + p % (rank - self.first) } else { return };
        match op % 16 {
            0..=2 if rank == 4 => self.conv(&x, &shape, p, q, r),
            15 if rank == 4 => self.conv_transpose(&x, &shape, p, q, r),
            3 if rank == 4 => self.pool(&x, &shape, p, q, r),
            0 | 1 | 4 if rank >= 2 => {
                let n = 1 + q % 9;
                let weight = self.constant(&[shape[rank - 1], n], 0.5, 0.0);
                let mut out = shape;
                out[rank - 1] = n;
                self.node("MatMul", &[&x, &weight], out, &[]);
            }
            2 | 5 => self.node(UNARY[p % UNARY.len()], &[&x], shape, &[]),
            3 | 6 => self.binary(&x, &shape, p, q),
            7 => self.node("Softmax", &[&x], shape, &[("axis", Int(axis as i64))]),
            8 => {
                let n = shape[rank - 1];
                let (scale, bias) = (self.constant(&[n], 0.5, 1.0), self.constant(&[n], 0.5, 0.0));
                self.node("LayerNormalization", &[&x, &scale, &bias], shape, &[("epsilon", Float(1e-2))]);
            }
            9 => self.reshape(&x, &shape, p),
            10 => {
                let mut perm: Vec<usize> = (0..rank).collect();
                for i in (self.first + 1..rank).rev() {
                    perm.swap(i, self.first + (q * 7 + r * i) % (i + 1 - self.first));
                }
                let out = perm.iter().map(|&i| shape[i]).collect();
                let perm: Vec<i64> = perm.iter().map(|&i| i as i64).collect();
                self.node("Transpose", &[&x], out, &[("perm", Ints(&perm))]);
            }
            11 => {
                let mut alike: Vec<String> = self.values.iter().filter(|v| v.1 == shape).map(|v| v.0.clone()).collect();
                alike.truncate(2);
                alike.push(x);
                let mut out = shape;
                out[axis] *= alike.len();
                let inputs: Vec<&str> = alike.iter().map(String::as_str).collect();
                self.node("Concat", &inputs, out, &[("axis", Int(axis as i64))]);
            }
            12 => {
                let n = shape[axis] as i64;
                let start = q as i64 % n;
                let step = 1 + r as i64 % 2;
                let names = [start, n, axis as i64, step].map(|v| self.ints(&[v]));
                let mut out = shape;
                out[axis] = ((n - start + step - 1) / step) as usize;
                self.node("Slice", &[&x, &names[0], &names[1], &names[2], &names[3]], out, &[]);
            }
            13 if rank > 1 => {
                let keep = q % 2;
                let mut out = shape;
                if keep == 1 {
                    out[axis] = 1;
                } else {
                    out.remove(axis);
                }
                let (op, axes, keep) = (REDUCE[r % REDUCE.len()], [axis as i64], ("keepdims", Int(keep as i64)));
                if op == "ReduceSum" {
                    let axes = self.ints(&axes);
                    self.node(op, &[&x, &axes], out, &[keep]);
                } else {
                    self.node(op, &[&x], out, &[("axes", Ints(&axes)), keep]);
                }
            }
            14 if rank >= 2 && shape[rank - 1] > 2 => {
                let mut out = shape;
                let mut pads = vec![0i64; 2 * rank];
                (pads[rank - 1], pads[2 * rank - 1]) = (q as i64 % 3, r as i64 % 3);
                out[rank - 1] += q % 3 + r % 3;
                let pads = self.ints(&pads);
                let mode = ["constant", "reflect", "edge"][p % 3];
                self.node("Pad", &[&x, &pads], out, &[("mode", Text(mode))]);
            }
            _ => self.node("Tanh", &[&x], shape, &[]),
        }
    }

    fn conv(&mut self, x: &str, shape: &[usize], p: usize, q: usize, r: usize) {
        let &[n, c, h, w] = shape else { return };
        let kernel = [[1, 1], [3, 3], [2, 3], [3, 1]][p % 4];
        let (stride, dilation) = (1 + q % 2, if r.is_multiple_of(5) { 2 } else { 1 });
        let pad = q / 2 % 3;
        let spans = kernel.map(|k| dilation * (k - 1) + 1);
        if h + 2 * pad < spans[0] || w + 2 * pad < spans[1] {
            return;
        }
        let groups = match r % 3 {
            0 => c,
            1 if c.is_multiple_of(2) => 2,
            _ => 1,
        };
        let out = groups * (1 + p / 4 % 3);
        let weight = self.constant(&[out, c / groups, kernel[0], kernel[1]], 0.4, 0.0);
        let bias = self.constant(&[out], 0.3, 0.0);
        let size = |size: usize, span: usize| (size + 2 * pad - span) / stride + 1;
        let y = vec![n, out, size(h, spans[0]), size(w, spans[1])];
        let both = |v: usize| [v as i64, v as i64];
        let pads = [pad as i64; 4];
        let attributes = [
            ("strides", Ints(&both(stride))),
            ("dilations", Ints(&both(dilation))),
            ("pads", Ints(&pads)),
            ("group", Int(groups as i64)),
        ];
        let inputs: &[&str] = if q.is_multiple_of(5) { &[x, &weight] } else { &[x, &weight, &bias] };
        self.node("Conv", inputs, y, &attributes);
    }

    fn conv_transpose(&mut self, x: &str, shape: &[usize], p: usize, q: usize, r: usize) {
        let &[n, c, h, w] = shape else { return };
        let (kernel, stride, dilation) = (1 + p % 4, 1 + q % 3, 1 + r % 2);
        let span = dilation * (kernel - 1) + 1;
        let pad = (q / 3 % 3).min((span - 1) / 2);
        let added = r / 2 % stride.max(dilation);
        let groups = if c.is_multiple_of(2) && r.is_multiple_of(5) { 2 } else { 1 };
        let out = 1 + p / 4 % 3;
        let weight = self.constant(&[c, out, kernel, kernel], 0.4, 0.0);
        let bias = self.constant(&[out * groups], 0.3, 0.0);
        let size = |size: usize| stride * (size - 1) + added + span - 2 * pad;
        let y = vec![n, out * groups, size(h), size(w)];
        let both = |v: usize| [v as i64, v as i64];
        let attributes = [
            ("strides", Ints(&both(stride))),
            ("dilations", Ints(&both(dilation))),
            ("pads", Ints(&[pad as i64; 4])),
            ("output_padding", Ints(&both(added))),
            ("group", Int(groups as i64)),
        ];
        self.node("ConvTranspose", &[x, &weight, &bias], y, &attributes);
    }

    fn pool(&mut self, x: &str, shape: &[usize], p: usize, q: usize, r: usize) {
        let &[n, c, h, w] = shape else { return };
        if p.is_multiple_of(4) {
            return self.node("GlobalAveragePool", &[x], vec![n, c, 1, 1], &[]);
        }
        let (kernel, stride) = (2 + q % 2, 1 + r % 2);
        let pad = r / 2 % 2;
        if h + 2 * pad < kernel || w + 2 * pad < kernel {
            return;
        }
        let size = |size: usize| (size + 2 * pad - kernel) / stride + 1;
        let y = vec![n, c, size(h), size(w)];
        let (kernels, strides, pads) = ([kernel as i64; 2], [stride as i64; 2], [pad as i64; 4]);
        let mut attributes = vec![("kernel_shape", Ints(&kernels)), ("strides", Ints(&strides)), ("pads", Ints(&pads))];
        if p % 2 == 1 {
            attributes.push(("count_include_pad", Int((q / 2 % 2) as i64)));
        }
        self.node(if p % 2 == 1 { "AveragePool" } else { "MaxPool" }, &[x], y, &attributes);
    }

    /// With a constant that broadcasts, or with another value of the same shape.
    fn binary(&mut self, x: &str, shape: &[usize], p: usize, q: usize) {
        let op = BINARY[p % BINARY.len()];
        let same: Vec<String> = self.values.iter().filter(|v| v.1 == shape).map(|v| v.0.clone()).collect();
        let other = if q.is_multiple_of(3) && op != "Div" {
            same[q / 3 % same.len()].clone()
        } else {
            let kept = q % shape.len();
            let mut dims = vec![1; shape.len()];
            if kept >= self.first {
                dims[kept] = shape[kept];
            }
            if q.is_multiple_of(2) {
                dims.drain(..kept);
            }
            self.constant(&dims, 0.4, 1.0)
        };
        let inputs = if q.is_multiple_of(7) && op != "Div" { [other.as_str(), x] } else { [x, other.as_str()] };
        self.node(op, &inputs, shape.to_vec(), &[]);
    }

    /// Joins two neighbouring axes, or cuts one in two.
    fn reshape(&mut self, x: &str, shape: &[usize], p: usize) {
        let mut out = shape.to_vec();
        let at = self.first + p % shape.len().saturating_sub(self.first).max(1);
        if at + 1 < shape.len() && shape.len() > 2 {
            let n = out.remove(at + 1);
            out[at] *= n;
        } else if let Some(half) = out.get(at).filter(|n| n.is_multiple_of(2)).map(|n| n / 2)
            && shape.len() < 5
        {
            out[at] = half;
            out.insert(at + 1, 2);
        }
        let mut target: Vec<i64> = out.iter().map(|&d| d as i64).collect();
        if self.first == 1 {
            target[0] = 0;
        }
        let target = self.ints(&target);
        self.node("Reshape", &[x, &target], out, &[]);
    }
}
