//! Recurrent cells over a sequence, in one direction.
//!
//! What the input contributes to the gates was multiplied before, for all steps at once; a step multiplies the state and is otherwise
//! elementwise.

use alloc::{boxed::Box, vec::Vec};

use super::{
    Io, Kernel, Prepare,
    choice::Choice,
    gemm_f32::{Blocking, Gemm, Right, RightShape},
    unary,
};
use crate::{
    error::{Result, ensure},
    graph::ops::{Cell, Recurrent},
    tensor::DType,
};

struct Sequence {
    op: Recurrent,
    right: Right,
    steps: usize,
    batch: usize,
    hidden: usize,
}

/// Prepares [`Op::Recurrent`](crate::graph::Op::Recurrent).
pub(super) fn prepare(op: &Recurrent, p: &mut Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let mut floats = p.inputs.iter().take(p.inputs.len() - usize::from(op.lengths)).chain(&p.outputs);
    if floats.any(|o| o.dtype != DType::F32 || o.quant.is_some()) {
        return Err(p.unsupported());
    }
    let (gates, state) = (&p.inputs[0].shape, &p.inputs[2].shape);
    let (&[steps, batch, width], &[state_batch, hidden]) = (gates.as_slice(), state.as_slice()) else {
        return Err(p.unsupported());
    };
    ensure!(
        width == op.cell.gates() * hidden && state_batch == batch && p.inputs[1].shape == [width, hidden],
        InvalidModel,
        "gates {gates:?}, recurrent weight {:?} and state {state:?} do not fit together",
        p.inputs[1].shape
    );
    ensure!(op.activations.len() == op.cell.activations(), InvalidModel, "has {} activations", op.activations.len());
    let mut expected: Vec<&[usize]> = Vec::from([state.as_slice()]);
    let (bias, peepholes, lengths) = ([width], [3 * hidden], [batch]);
    if op.cell == Cell::Lstm {
        expected.push(state);
    }
    if op.bias {
        expected.push(&bias);
    }
    if op.peepholes {
        expected.push(&peepholes);
    }
    if op.lengths {
        expected.push(&lengths);
        if !matches!(p.inputs[p.inputs.len() - 1].dtype, DType::I32) {
            return Err(p.unsupported());
        }
    }
    for (operand, shape) in p.inputs[2..].iter().zip(expected) {
        ensure!(operand.shape == shape, InvalidModel, "an operand is {:?} instead of {shape:?}", operand.shape);
    }
    ensure!(
        p.outputs[0].shape == [steps, batch, hidden] && p.outputs[1..].iter().all(|o| o.shape == *state),
        InvalidModel,
        "the results do not have the shapes of a sequence of {steps} states {state:?}"
    );
    let shape = RightShape { depth: hidden, columns: width, count: 1, transposed: true };
    let right = Right::prepare(p, false, &shape)?;
    Ok(Box::new(Sequence { op: op.clone(), right, steps, batch, hidden }))
}

/// The operands of a run.
struct Operands<'a> {
    gates: &'a [f32],
    bias: Option<&'a [f32]>,
    peepholes: Option<&'a [f32]>,
    lengths: Option<&'a [i32]>,
}

impl Kernel for Sequence {
    fn scratch(&self) -> usize {
        let width = self.op.cell.gates() * self.hidden;
        (self.right.scratch() + 3 * self.batch * width + self.batch * self.hidden) * size_of::<f32>()
    }

    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let &Sequence { ref op, steps, batch, hidden, .. } = self;
        let width = op.cell.gates() * hidden;
        let (weight, first) = (io.input::<f32>(1), io.input::<f32>(2));
        let mut next = 3;
        let mut optional = |there: bool| {
            let index = next;
            next += usize::from(there);
            there.then_some(index)
        };
        let memory = optional(op.cell == Cell::Lstm);
        let (bias, peepholes, lengths) = (optional(op.bias), optional(op.peepholes), optional(op.lengths));
        let memory = memory.map(|i| io.input::<f32>(i));
        let operands = Operands {
            gates: io.input::<f32>(0),
            bias: bias.map(|i| io.input::<f32>(i)),
            peepholes: peepholes.map(|i| io.input::<f32>(i)),
            lengths: lengths.map(|i| io.input::<i32>(i)),
        };
        let mut nothing: [f32; 0] = [];
        let (all, state, cell, scratch) = if op.cell == Cell::Lstm {
            let ([all, state, cell], scratch) = io.outputs_and_scratch::<f32, 3>();
            (all, state, cell, scratch)
        } else {
            let ([all, state], scratch) = io.outputs_and_scratch::<f32, 2>();
            (all, state, &mut nothing[..], scratch)
        };
        let scratch: &mut [f32] = bytemuck::cast_slice_mut(scratch);
        let (packed, scratch) = scratch.split_at_mut(self.right.scratch());
        let (product, scratch) = scratch.split_at_mut(batch * width);
        let (rows, reset) = scratch.split_at_mut(2 * batch * width);
        state.copy_from_slice(first);
        if let Some(memory) = memory {
            cell.copy_from_slice(memory);
        }
        all.fill(0.0);
        let (panels, _) = self.right.load(0, weight, None, packed, false);
        let multiply = |rows: &[f32], product: &mut [f32]| {
            let bounds = (f32::NEG_INFINITY, f32::INFINITY);
            Gemm {
                a: rows,
                a_stride: hidden,
                b: panels,
                bias: None,
                bounds,
                c_stride: width,
                blocking: Blocking::of(Choice::AUTO),
            }
            .run(batch, product);
        };
        for step in 0..steps {
            multiply(state, product);
            if op.cell == (Cell::Gru { reset_after: false }) {
                // The gates are needed before the second product, which sees the state that was reset.
                reset.fill(0.0);
                for b in 0..batch {
                    let Some(at) = self.position(&operands, step, b) else { continue };
                    let (x, row) =
                        (&operands.gates[(at * batch + b) * width..][..width], &mut rows[b * 2 * width..][..2 * width]);
                    self.gru_gates(x, &product[b * width..][..width], operands.bias, row);
                    let (h, r) = (&state[b * hidden..][..hidden], &row[hidden..2 * hidden]);
                    for ((to, h), r) in reset[b * hidden..].iter_mut().zip(h).zip(r) {
                        *to = h * r;
                    }
                }
                multiply(reset, product);
            }
            for b in 0..batch {
                let Some(at) = self.position(&operands, step, b) else { continue };
                let (x, row) = (&operands.gates[(at * batch + b) * width..][..width], &mut rows[b * 2 * width..][..2 * width]);
                let h = &mut state[b * hidden..][..hidden];
                let product = &product[b * width..][..width];
                match op.cell {
                    Cell::Rnn => self.rnn(x, product, h, row),
                    Cell::Lstm => self.lstm(x, product, operands.peepholes, h, &mut cell[b * hidden..][..hidden], row),
                    Cell::Gru { reset_after } => {
                        if reset_after {
                            self.gru_gates(x, product, operands.bias, row);
                        }
                        self.gru_state(x, &product[2 * hidden..], operands.bias, h, row, reset_after);
                    }
                }
                all[(at * batch + b) * hidden..][..hidden].copy_from_slice(h);
            }
        }
        Ok(())
    }
}

impl Sequence {
    /// The element of the sequence that a row meets in a step; `None` after its end.
    fn position(&self, operands: &Operands<'_>, step: usize, b: usize) -> Option<usize> {
        let length = operands.lengths.map_or(self.steps, |l| usize::try_from(l[b]).unwrap_or(0).min(self.steps));
        let from_end = length.checked_sub(step + 1)?;
        Some(if self.op.reverse { from_end } else { step })
    }

    fn clip(&self, x: f32) -> f32 {
        let limit = self.op.clip;
        if x > limit {
            limit
        } else if x < -limit {
            -limit
        } else {
            x
        }
    }

    fn rnn(&self, x: &[f32], product: &[f32], h: &mut [f32], row: &mut [f32]) {
        let sum = &mut row[..self.hidden];
        for ((s, x), p) in sum.iter_mut().zip(x).zip(product) {
            *s = self.clip(x + p);
        }
        unary::float(self.op.activations[0], sum, h);
    }

    fn lstm(&self, x: &[f32], product: &[f32], peepholes: Option<&[f32]>, h: &mut [f32], c: &mut [f32], row: &mut [f32]) {
        let n = self.hidden;
        let [f, g, last] = [0, 1, 2].map(|i| self.op.activations[i]);
        let (sum, gate) = row.split_at_mut(4 * n);
        for ((s, x), p) in sum.iter_mut().zip(x).zip(product) {
            *s = x + p;
        }
        // Gates in ONNX's order: input, output, forget, cell; peepholes: input, output, forget.
        if let Some(p) = peepholes {
            for i in 0..n {
                sum[i] += p[i] * c[i];
                sum[2 * n + i] += p[2 * n + i] * c[i];
            }
        }
        for s in sum.iter_mut() {
            *s = self.clip(*s);
        }
        unary::float(f, &sum[..n], &mut gate[..n]);
        if peepholes.is_none() {
            unary::float(f, &sum[n..2 * n], &mut gate[n..2 * n]);
        }
        unary::float(f, &sum[2 * n..3 * n], &mut gate[2 * n..3 * n]);
        unary::float(g, &sum[3 * n..], &mut gate[3 * n..]);
        for i in 0..n {
            c[i] = gate[2 * n + i] * c[i] + gate[i] * gate[3 * n + i];
        }
        if let Some(p) = peepholes {
            // The output gate sees the new cell.
            for i in 0..n {
                sum[n + i] = self.clip(x[n + i] + product[n + i] + p[n + i] * c[i]);
            }
            unary::float(f, &sum[n..2 * n], &mut gate[n..2 * n]);
        }
        unary::float(last, c, &mut sum[..n]);
        for i in 0..n {
            h[i] = gate[n + i] * sum[i];
        }
    }

    /// The update and reset gates, to the first two thirds of `row`.
    fn gru_gates(&self, x: &[f32], product: &[f32], bias: Option<&[f32]>, row: &mut [f32]) {
        let n = 2 * self.hidden;
        let (gate, sum) = row.split_at_mut(3 * self.hidden);
        for i in 0..n {
            sum[i] = self.clip(x[i] + product[i] + bias.map_or(0.0, |b| b[i]));
        }
        unary::float(self.op.activations[0], &sum[..n], &mut gate[..n]);
    }

    /// The new state from the gates and the product with the (reset) state.
    fn gru_state(&self, x: &[f32], product: &[f32], bias: Option<&[f32]>, h: &mut [f32], row: &mut [f32], reset_after: bool) {
        let n = self.hidden;
        let (gate, sum) = row.split_at_mut(2 * n);
        let (sum, new) = sum.split_at_mut(n);
        for i in 0..n {
            let recurrent = product[i] + bias.map_or(0.0, |b| b[2 * n + i]);
            let recurrent = if reset_after { gate[n + i] * recurrent } else { recurrent };
            sum[i] = self.clip(x[2 * n + i] + recurrent);
        }
        unary::float(self.op.activations[1], sum, &mut new[..n]);
        for i in 0..n {
            h[i] = (1.0 - gate[i]) * new[i] + gate[i] * h[i];
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "recurrent_tests.rs"]
mod tests;
