use proptest::prelude::*;

use crate::{
    DType, Tensor,
    graph::{
        Op,
        ops::{Cell, Recurrent, Unary},
    },
    kernels::testing::{Arg, Out, noise, real_noise, run_op},
};

/// A sequence to compute: sizes, and what the operator is given.
#[derive(Debug, Clone)]
struct Case {
    op: Recurrent,
    steps: usize,
    batch: usize,
    hidden: usize,
    seed: u64,
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl Case {
    fn tensors(&self) -> (Vec<Tensor>, Vec<i32>) {
        let Case { op, steps, batch, hidden, seed } = self;
        let (n, width) = (*hidden, op.cell.gates() * hidden);
        let mut next = noise(*seed);
        let lengths: Vec<i32> = (0..*batch).map(|_| (next() >> 8) as i32 % (*steps as i32 + 1)).collect();
        let mut shapes = vec![vec![*steps, *batch, width], vec![width, n], vec![*batch, n]];
        if op.cell == Cell::Lstm {
            shapes.push(vec![*batch, n]);
        }
        if op.bias {
            shapes.push(vec![width]);
        }
        if op.peepholes {
            shapes.push(vec![3 * n]);
        }
        let list = shapes.iter().zip(seed + 1..).map(|(shape, seed)| real_noise(shape, 1.0, seed)).collect();
        (list, lengths)
    }

    /// The definition, in double precision, row by row: all states, and the last state and cell.
    fn reference(&self, tensors: &[Tensor], lengths: &[i32]) -> [Vec<f64>; 3] {
        let &Case { ref op, steps, batch, hidden: n, .. } = self;
        let width = op.cell.gates() * n;
        let all: Vec<Vec<f64>> =
            tensors.iter().map(|t| t.as_slice::<f32>().unwrap().iter().map(|v| f64::from(*v)).collect()).collect();
        let lstm = op.cell == Cell::Lstm;
        let after = 3 + usize::from(lstm);
        let bias = if op.bias { all[after].clone() } else { vec![0.0; width] };
        let peep = if op.peepholes { all[after + usize::from(op.bias)].clone() } else { vec![0.0; 3 * n] };
        let clip = |x: f64| x.clamp(-f64::from(op.clip), f64::from(op.clip));
        let (mut states, mut last, mut cells) = (vec![0.0; steps * batch * n], all[2].clone(), vec![0.0; batch * n]);
        if lstm {
            cells.clone_from(&all[3]);
        }
        for b in 0..batch {
            let length = if op.lengths { lengths[b] as usize } else { steps };
            for step in 0..length {
                let at = if op.reverse { length - 1 - step } else { step };
                let x = |gate: usize, i: usize| all[0][(at * batch + b) * width + gate * n + i];
                let h: Vec<f64> = last[b * n..(b + 1) * n].to_vec();
                let c: Vec<f64> = cells[b * n..(b + 1) * n].to_vec();
                let times = |gate: usize, i: usize, h: &[f64]| -> f64 {
                    (0..n).map(|k| all[1][(gate * n + i) * n + k] * h[k]).sum::<f64>() + bias[gate * n + i]
                };
                let reset: Vec<f64> = match op.cell {
                    Cell::Gru { .. } => (0..n).map(|i| sigmoid(clip(x(1, i) + times(1, i, &h)))).collect(),
                    _ => vec![1.0; n],
                };
                let forgotten: Vec<f64> = h.iter().zip(&reset).map(|(h, r)| h * r).collect();
                for i in 0..n {
                    let new = match op.cell {
                        Cell::Rnn => clip(x(0, i) + times(0, i, &h)).tanh(),
                        Cell::Gru { reset_after } => {
                            let z = sigmoid(clip(x(0, i) + times(0, i, &h)));
                            let product = if reset_after { reset[i] * times(2, i, &h) } else { times(2, i, &forgotten) };
                            (1.0 - z) * clip(x(2, i) + product).tanh() + z * h[i]
                        }
                        Cell::Lstm => {
                            let input = sigmoid(clip(x(0, i) + times(0, i, &h) + peep[i] * c[i]));
                            let forget = sigmoid(clip(x(2, i) + times(2, i, &h) + peep[2 * n + i] * c[i]));
                            let cell = forget * c[i] + input * clip(x(3, i) + times(3, i, &h)).tanh();
                            cells[b * n + i] = cell;
                            sigmoid(clip(x(1, i) + times(1, i, &h) + peep[n + i] * cell)) * cell.tanh()
                        }
                    };
                    last[b * n + i] = new;
                    states[(at * batch + b) * n + i] = new;
                }
            }
        }
        [states, last, cells]
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let &Case { ref op, steps, batch, hidden, .. } = self;
        let (tensors, lengths) = self.tensors();
        let mut args: Vec<Arg> = Vec::new();
        for (i, t) in tensors.iter().enumerate() {
            args.push(if i == 1 && self.seed.is_multiple_of(2) { Arg::constant(t.clone()) } else { Arg::new(t.clone()) });
        }
        if op.lengths {
            args.push(Arg::new(Tensor::from_slice(&[batch], &lengths).unwrap()));
        }
        let mut outs = vec![Out::new(DType::F32, &[steps, batch, hidden]), Out::new(DType::F32, &[batch, hidden])];
        if op.cell == Cell::Lstm {
            outs.push(Out::new(DType::F32, &[batch, hidden]));
        }
        let results = run_op(Op::Recurrent(op.clone()), &args, &outs).unwrap();
        for (got, expected) in results.iter().zip(self.reference(&tensors, &lengths)) {
            for (got, expected) in got.as_slice::<f32>().unwrap().iter().zip(expected) {
                // A step's rounding, a few units in the last place of sums of hidden products, is carried through all steps; gates contract it.
                let lost = 2e-6 * (hidden as f64 + 4.0) * (steps as f64 + 1.0);
                prop_assert!((f64::from(*got) - expected).abs() <= lost, "{got} is not {expected}");
            }
        }
        Ok(())
    }
}

fn case() -> impl Strategy<Value = Case> {
    let cells =
        prop::sample::select(vec![Cell::Rnn, Cell::Gru { reset_after: false }, Cell::Gru { reset_after: true }, Cell::Lstm]);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (cells, 0usize..5, 1usize..4, 1usize..20, flags, 0u64..1 << 40).prop_map(
        |(cell, steps, batch, hidden, (reverse, clipped, bias, peepholes, lengths), seed)| {
            let activations = match cell {
                Cell::Rnn => vec![Unary::Tanh],
                Cell::Gru { .. } => vec![Unary::Sigmoid, Unary::Tanh],
                Cell::Lstm => vec![Unary::Sigmoid, Unary::Tanh, Unary::Tanh],
            };
            let clip = if clipped { 0.75 } else { f32::INFINITY };
            let (bias, peepholes) = (bias && matches!(cell, Cell::Gru { .. }), peepholes && cell == Cell::Lstm);
            let op = Recurrent { cell, reverse, activations, clip, bias, peepholes, lengths };
            Case { op, steps, batch, hidden, seed }
        },
    )
}

proptest! {
    #[test]
    fn by_definition(case in case()) {
        case.check()?;
    }
}

#[test]
fn operands_that_do_not_fit_are_errors() {
    let op = Recurrent {
        cell: Cell::Rnn,
        reverse: false,
        activations: vec![Unary::Tanh],
        clip: f32::INFINITY,
        bias: false,
        peepholes: false,
        lengths: false,
    };
    let args = [[2, 1, 4], [4, 3, 1], [1, 3, 1]].map(|[a, b, c]| {
        let shape = if c == 1 { vec![a, b] } else { vec![a, b, c] };
        Arg::new(Tensor::zeros(DType::F32, &shape).unwrap())
    });
    let outs = [Out::new(DType::F32, &[2, 1, 3]), Out::new(DType::F32, &[1, 3])];
    let error = run_op(Op::Recurrent(op), &args, &outs).unwrap_err();
    assert_eq!(error.to_string(), "gates [2, 1, 4], recurrent weight [4, 3] and state [1, 3] do not fit together");
}
