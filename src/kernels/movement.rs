//! Transpose, expand, slice and pad: one strided copy each.

use alloc::{boxed::Box, vec::Vec};

use super::{
    Io, Kernel, Operand, Prepare,
    copy::StridedCopy,
    quantized::Rounder,
    strided::{broadcast, contiguous},
};
use crate::{
    error::{Result, bail, ensure},
    graph::Dim,
    tensor::DType,
};

/// Prepares [`Op::Transpose`](crate::graph::Op::Transpose).
pub(super) fn transpose(perm: &[usize], p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (x, y) = movable(p)?;
    let strides = contiguous(&x.shape);
    let source: Vec<isize> = perm.iter().filter_map(|&a| strides.get(a).copied()).collect();
    let moved: Vec<usize> = perm.iter().filter_map(|&a| x.shape.get(a).copied()).collect();
    ensure!(
        moved == y.shape && perm.len() == x.shape.len(),
        InvalidModel,
        "{:?} permuted by {perm:?} is not {:?}",
        x.shape,
        y.shape
    );
    Ok(kernel(x, &y.shape, [&source, &contiguous(&y.shape)], 0))
}

/// Prepares [`Op::Expand`](crate::graph::Op::Expand).
pub(super) fn expand(p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (x, y) = movable(p)?;
    let Some(source) = broadcast(&x.shape, &y.shape) else {
        bail!(InvalidModel, "shape {:?} cannot be broadcast to {:?}", x.shape, y.shape);
    };
    Ok(kernel(x, &y.shape, [&source, &contiguous(&y.shape)], 0))
}

/// Prepares [`Op::Slice`](crate::graph::Op::Slice).
pub(super) fn slice(axis: usize, start: &Dim, step: i64, p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (x, y) = movable(p)?;
    let mut expected = x.shape.clone();
    ensure!(axis < expected.len() && axis < y.shape.len(), InvalidModel, "axis {axis} is not one of {:?}", x.shape);
    let count = y.shape[axis];
    expected[axis] = count;
    ensure!(expected == y.shape, InvalidModel, "a slice of {:?} along axis {axis} is not {:?}", x.shape, y.shape);
    let start = start.eval_signed(&[])?;
    if count > 0 {
        let size = x.shape[axis] as i64;
        let last = step.checked_mul(count as i64 - 1).and_then(|d| d.checked_add(start));
        ensure!(
            (0..size).contains(&start) && last.is_some_and(|l| (0..size).contains(&l)),
            InvalidInput,
            "{count} elements from {start} with step {step} reach outside axis {axis} of size {size}"
        );
    }
    let mut source = contiguous(&x.shape);
    let offset = if y.is_empty() { 0 } else { source[axis] * start as isize };
    source[axis] = source[axis].wrapping_mul(step as isize);
    Ok(kernel(x, &y.shape, [&source, &contiguous(&y.shape)], offset))
}

/// Input and output of an operator that moves elements unchanged.
fn movable<'p, 'a>(p: &'p Prepare<'a>) -> Result<(&'p Operand<'a>, &'p Operand<'a>)> {
    let (x, y) = (&p.inputs[0], &p.outputs[0]);
    if !x.stores_like(y) || x.dtype.size() == 0 {
        return Err(p.unsupported());
    }
    Ok((x, y))
}

fn kernel(x: &Operand<'_>, shape: &[usize], strides: [&[isize]; 2], offset: isize) -> Box<dyn Kernel> {
    Box::new(Move { dtype: x.dtype, copy: StridedCopy::new(shape, strides, [offset, 0]) })
}

struct Move {
    dtype: DType,
    copy: StridedCopy,
}

impl Kernel for Move {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        self.copy.run_io(self.dtype, 0, io);
        Ok(())
    }
}

/// Prepares [`Op::Pad`](crate::graph::Op::Pad).
pub(super) fn pad(pads: &[(Dim, Dim)], value: f32, p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (x, y) = movable(p)?;
    ensure!(
        pads.len() == x.shape.len(),
        InvalidModel,
        "{} pairs of pads for the {} axes of the input",
        pads.len(),
        x.shape.len()
    );
    let target = contiguous(&y.shape);
    let mut offsets = [0isize; 2];
    let (mut view, mut padded) = (Vec::new(), Vec::new());
    let mut source = contiguous(&x.shape);
    for (axis, (before, after)) in pads.iter().enumerate() {
        let (before, after, size) = (before.eval_signed(&[])?, after.eval_signed(&[])?, x.shape[axis] as i64);
        // Negative pads crop.
        let kept = size.saturating_add(before.min(0)).saturating_add(after.min(0)).max(0);
        view.push(kept as usize);
        padded.push(size.saturating_add(before).saturating_add(after));
        offsets[0] += source[axis].wrapping_mul((-before).max(0) as isize);
        offsets[1] += target.get(axis).copied().unwrap_or(0).wrapping_mul(before.max(0) as isize);
    }
    let expected: Vec<i64> = y.shape.iter().map(|&d| d as i64).collect();
    ensure!(padded == expected, InvalidModel, "{:?} with these pads is not {:?}", x.shape, y.shape);
    source.truncate(view.len());
    let fill = element_bytes(y, value).ok_or_else(|| p.unsupported())?;
    Ok(Box::new(Pad { dtype: x.dtype, fill, copy: StridedCopy::new(&view, [&source, &target], offsets) }))
}

/// The stored bytes of a real number, repeated to 8.
fn element_bytes(y: &Operand<'_>, value: f32) -> Option<u64> {
    let quantized = match y.quant {
        Some(q) => Some(Rounder::new(q.as_per_tensor()?, y.dtype, (f32::NEG_INFINITY, f32::INFINITY))?.store(value)),
        None => None,
    };
    let integer = quantized.map_or(value as i64, i64::from);
    let repeat = |bits: u64, size: usize| (0..8 / size).fold(0, |all, i| all | bits << (8 * size * i));
    Some(match y.dtype {
        DType::F32 => repeat(u64::from(value.to_bits()), 4),
        DType::F64 => f64::from(value).to_bits(),
        DType::Bool => repeat(u64::from(value != 0.0), 1),
        DType::F16 => repeat(u64::from(super::cast::f32_to_f16(value)), 2),
        DType::String => return None,
        _ => repeat(integer as u64 & (u64::MAX >> (64 - 8 * y.dtype.size())), y.dtype.size()),
    })
}

struct Pad {
    dtype: DType,
    fill: u64,
    copy: StridedCopy,
}

impl Kernel for Pad {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        // Whole elements fill the output, and all of them have the same bytes.
        let pattern = self.fill.to_le_bytes();
        match self.dtype.size() {
            1 => io.output::<u8>(0).fill(pattern[0]),
            2 => io.output::<u16>(0).fill(self.fill as u16),
            4 => io.output::<u32>(0).fill(self.fill as u32),
            _ => io.output::<u64>(0).fill(self.fill),
        }
        self.copy.run_io(self.dtype, 0, io);
        Ok(())
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "movement_tests.rs"]
mod tests;
