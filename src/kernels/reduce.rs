//! Reductions over any set of axes.

mod arg;
mod fold;

use alloc::{boxed::Box, vec::Vec};

use super::{
    Io, Kernel, Prepare, math,
    quantized::{Rounder, table},
    strided::{Axis, contiguous, walk},
};
use crate::{
    error::{Result, ensure},
    graph::ops::ReduceOp,
    tensor::{DType, Element},
};
use fold::{AbsSum, Fold, Largest, Leaves, Number, Product, Smallest, Sum, SumSquare};

/// Most elements that are summed as 8-bit integers in 32 bits.
const MAX_QUANTIZED: usize = 1 << 23;

/// Prepares [`Op::Reduce`](crate::graph::Op::Reduce).
pub(super) fn prepare(op: ReduceOp, axes: &[usize], p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (x, y) = (&p.inputs[0], &p.outputs[0]);
    let kept: usize = x.shape.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, d)| d).product();
    ensure!(
        kept == y.len() && axes.iter().all(|&a| a < x.shape.len()),
        InvalidModel,
        "{:?} reduced over axes {axes:?} is not {:?}",
        x.shape,
        y.shape
    );
    if matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin) {
        return arg::prepare(op, axes, p);
    }
    let nest = Nest::new(&x.shape, axes);
    if let (Some(qx), Some(qy)) = (x.quant8(), y.quant8()) {
        return quantized(op, nest, [qx, qy], p);
    }
    if x.dtype != y.dtype || x.quant.is_some() || y.quant.is_some() {
        return Err(p.unsupported());
    }
    let kernel = match x.dtype {
        DType::F32 => float(op, nest),
        DType::I32 => number::<i32>(op, nest),
        DType::I64 => number::<i64>(op, nest),
        DType::U8 | DType::Bool => order::<u8>(op, nest),
        DType::I8 => order::<i8>(op, nest),
        _ => None,
    };
    kernel.ok_or_else(|| p.unsupported())
}

/// The loops of a reduction: over what is kept, over what is reduced, and the contiguous ones inside both.
#[derive(Debug)]
struct Nest {
    /// Input stride of every kept axis but an innermost one.
    kept: Vec<Axis<1>>,
    /// Input stride of every reduced axis but an innermost one.
    reduced: Vec<Axis<1>>,
    /// The innermost axis, of stride 1.
    inner: usize,
    /// Whether the innermost axis is kept.
    inner_kept: bool,
    /// Number of elements that make one result.
    count: usize,
    /// Number of elements of the input.
    total: usize,
}

impl Nest {
    fn new(shape: &[usize], axes: &[usize]) -> Nest {
        let strides = contiguous(shape);
        let (mut kept, mut reduced) = (Vec::new(), Vec::new());
        // Neighbours of the same kind are merged, and the first entry of each list is innermost for now.
        let mut last = None;
        for (i, &size) in shape.iter().enumerate().rev().filter(|(_, s)| **s != 1) {
            let is_reduced = axes.contains(&i);
            let list: &mut Vec<Axis<1>> = if is_reduced { &mut reduced } else { &mut kept };
            match list.last_mut() {
                Some(axis) if last == Some(is_reduced) => axis.size *= size,
                _ => list.push(Axis { size, strides: [strides[i]] }),
            }
            last = Some(is_reduced);
        }
        let inner_kept = kept.first().is_some_and(|a| a.strides == [1]);
        let innermost = if inner_kept { &mut kept } else { &mut reduced };
        let inner = if innermost.first().is_some_and(|a| a.strides == [1]) { innermost.remove(0).size } else { 1 };
        kept.reverse();
        reduced.reverse();
        let count = axes.iter().map(|&a| shape[a]).product();
        Nest { kept, reduced, inner, inner_kept, count, total: shape.iter().product() }
    }
}

fn float(op: ReduceOp, nest: Nest) -> Option<Box<dyn Kernel>> {
    Some(match op {
        ReduceOp::L2 => folded::<f32, SumSquare>(nest, |s, _| s.sqrt()),
        ReduceOp::LogSum => folded::<f32, Sum>(nest, |s, _| math::log(s)),
        ReduceOp::LogSumExp => Box::new(LogSumExp { nest }),
        _ => return number::<f32>(op, nest),
    })
}

fn number<T: Number>(op: ReduceOp, nest: Nest) -> Option<Box<dyn Kernel>>
where
    Sum: Fold<T, Acc = T>,
{
    Some(match op {
        ReduceOp::Sum => folded::<T, Sum>(nest, |s, _| s),
        ReduceOp::Mean => folded::<T, Sum>(nest, T::divide),
        ReduceOp::Prod => folded::<T, Product>(nest, |s, _| s),
        ReduceOp::SumSquare => folded::<T, SumSquare>(nest, |s, _| s),
        ReduceOp::L1 => folded::<T, AbsSum>(nest, |s, _| s),
        _ => return order::<T>(op, nest),
    })
}

fn order<T: fold::Order>(op: ReduceOp, nest: Nest) -> Option<Box<dyn Kernel>> {
    Some(match op {
        ReduceOp::Min => folded::<T, Smallest>(nest, |s, _| s),
        ReduceOp::Max => folded::<T, Largest>(nest, |s, _| s),
        _ => return None,
    })
}

/// A fold, and what is made of its result and the number of elements.
struct Folded<T> {
    nest: Nest,
    leaves: Leaves<T, T>,
    finish: fn(T, usize) -> T,
}

fn folded<T: Element, F: Fold<T, Acc = T>>(nest: Nest, finish: fn(T, usize) -> T) -> Box<dyn Kernel> {
    Box::new(Folded { nest, leaves: Leaves::of::<F>(), finish })
}

impl<T: Element> Kernel for Folded<T> {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let (x, y) = (io.input::<T>(0), io.output::<T>(0));
        if self.nest.total == 0 {
            y.fill((self.finish)(self.leaves.init, self.nest.count));
        } else {
            self.leaves.run(&self.nest, x, &mut |at, acc| y[at] = (self.finish)(acc, self.nest.count));
        }
        Ok(())
    }
}

/// `log Σ exp(x)`, computed relative to the maximum.
struct LogSumExp {
    nest: Nest,
}

impl Kernel for LogSumExp {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let (x, y) = (io.input::<f32>(0), io.output::<f32>(0));
        if self.nest.total == 0 {
            y.fill(f32::NEG_INFINITY);
            return Ok(());
        }
        Leaves::of::<Largest>().run(&self.nest, x, &mut |at, top| y[at] = top);
        let Nest { kept, reduced, inner, inner_kept, .. } = &self.nest;
        let (results, terms) = if *inner_kept { (*inner, 1) } else { (1, *inner) };
        let mut at = 0;
        walk(kept, [0], &mut |[start]| {
            for result in 0..results {
                let top = if y[at].is_finite() { y[at] } else { 0.0 };
                let mut sum = 0.0;
                walk(reduced, [(start + result) as isize], &mut |[from]| {
                    sum += x[from..from + terms].iter().map(|x| math::exp(x - top)).sum::<f32>();
                });
                y[at] = top + math::log(sum);
                at += 1;
            }
        });
        Ok(())
    }
}

fn quantized(op: ReduceOp, nest: Nest, [qx, qy]: [(f32, i32); 2], p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (x, y) = (&p.inputs[0], &p.outputs[0]);
    let unbounded = (f32::NEG_INFINITY, f32::INFINITY);
    let signed = x.dtype == DType::I8;
    match op {
        ReduceOp::Sum | ReduceOp::Mean if nest.total > 0 && nest.count <= MAX_QUANTIZED => {
            let rounder = Rounder::new(qy, y.dtype, unbounded).ok_or_else(|| p.unsupported())?;
            let divisor = if op == ReduceOp::Mean { nest.count as f32 } else { 1.0 };
            let zero_sum = qx.1 * nest.count as i32;
            Ok(Box::new(QuantizedSum { nest, signed, zero_sum, multiplier: qx.0 / (qy.0 * divisor), rounder }))
        }
        ReduceOp::Min | ReduceOp::Max if nest.total > 0 => {
            let table = table((x.dtype, qx), (y.dtype, qy), unbounded, |v| v).ok_or_else(|| p.unsupported())?;
            let fold = if signed { order::<i8>(op, nest) } else { order::<u8>(op, nest) };
            Ok(Box::new(QuantizedOrder { fold: fold.ok_or_else(|| p.unsupported())?, table }))
        }
        _ => Err(p.unsupported()),
    }
}

/// Exact sum of stored integers, then one multiplier.
struct QuantizedSum {
    nest: Nest,
    signed: bool,
    zero_sum: i32,
    multiplier: f32,
    rounder: Rounder,
}

impl Kernel for QuantizedSum {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let (signed, unsigned, y) = (io.input::<i8>(0), io.input::<u8>(0), io.output::<u8>(0));
        let store = &mut |at: usize, sum: i32| y[at] = self.rounder.rescale(sum - self.zero_sum, self.multiplier) as u8;
        if self.signed {
            Leaves::of::<Sum>().run(&self.nest, signed, store);
        } else {
            Leaves::of::<Sum>().run(&self.nest, unsigned, store);
        }
        Ok(())
    }
}

/// Order does not depend on the scale: the extreme is found among stored integers, then rescaled.
struct QuantizedOrder {
    fold: Box<dyn Kernel>,
    table: [u8; 256],
}

impl Kernel for QuantizedOrder {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        self.fold.run(io)?;
        for y in io.output::<u8>(0) {
            *y = self.table[usize::from(*y)];
        }
        Ok(())
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "reduce_tests.rs"]
mod tests;
