//! Fourier transforms of known lengths, as products with a matrix.

use alloc::{vec, vec::Vec};
use core::f64::consts::TAU;

use super::{
    index::iota,
    lower::{Call, Lower, Lowering},
    matmul,
};
use crate::{
    error::{Result, bail, ensure},
    graph::{Dim, Op, ValueId, ValueType, ops::BinaryOp},
    tensor::{DType, Tensor},
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    Some(match op_type {
        "DFT" => dft,
        "STFT" => stft,
        _ => return None,
    })
}

/// Elements of a matrix up to which a product with it is not slower by much than a fast transform, nor too large for a plan.
const MAX_MATRIX: usize = 1 << 22;

struct Transform {
    /// Numbers that come in, and those of them that are transformed; the rest of `length` is zeros.
    given: usize,
    length: usize,
    complex: bool,
    inverse: bool,
    onesided: bool,
}

impl Transform {
    /// `[given·parts, results·parts]`, where complex numbers have two parts, and the number of results.
    fn matrix(&self, l: &mut Lower, c: &Call) -> Result<(ValueId, usize, usize)> {
        let n = self.length;
        ensure!(n > 0, InvalidModel, "transforms no numbers");
        let longest = n.max(self.given);
        ensure!(longest <= MAX_MATRIX, Unsupported, "a transform of {longest} numbers is not supported");
        let parts_in = if self.complex { 2 } else { 1 };
        // Half a spectrum of complex numbers stands for real ones.
        let to_real = self.inverse && self.onesided;
        let parts_out = if to_real { 1 } else { 2 };
        let results = if self.onesided && !self.inverse { n / 2 + 1 } else { n };
        let size = (self.given * parts_in).checked_mul(results * parts_out).filter(|s| *s <= MAX_MATRIX);
        ensure!(size.is_some(), Unsupported, "a transform of {n} numbers is not supported");
        let scale = if self.inverse { 1.0 / n as f64 } else { 1.0 };
        let mut matrix = Vec::with_capacity(size.unwrap_or(0));
        for i in 0..self.given {
            // The other half of the spectrum is the mirror image.
            let weight = match i {
                _ if !to_real => f64::from(u8::from(i < n)),
                0 => 1.0,
                _ if 2 * i == n => 1.0,
                _ => f64::from(u8::from(2 * i < n)) * 2.0,
            };
            for part in 0..parts_in {
                for k in 0..results {
                    // Whole turns are taken off before the angle is rounded.
                    let angle = TAU * ((i * k) % n) as f64 / n as f64 * if self.inverse { 1.0 } else { -1.0 };
                    let (real, imaginary) = if part == 0 { (angle.cos(), angle.sin()) } else { (-angle.sin(), angle.cos()) };
                    matrix.push((real * weight * scale) as f32);
                    if parts_out == 2 {
                        matrix.push((imaginary * weight * scale) as f32);
                    }
                }
            }
        }
        let shape = [self.given * parts_in, results * parts_out];
        Ok((l.graph.add_const(c.name(), &Tensor::from_slice(&shape, &matrix)?), results, parts_out))
    }
}

fn product(l: &mut Lower, c: &Call, a: ValueId, b: ValueId) -> Result<ValueId> {
    matmul::emit(l, c, matmul::Operands { a, b, transpose_b: false, bias: None, dynamic: None, dtype: DType::F32, quant: None })
}

fn scalar(l: &Lower, v: ValueId, what: &str) -> Result<i64> {
    match l.const_ints(v).as_deref() {
        Some([n]) => Ok(*n),
        _ => bail!(Unsupported, "the {what} is not constant"),
    }
}

fn dft(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, ty) = (c.input(0)?, c.out()?);
    ensure!(ty.dtype == DType::F32, Unsupported, "a transform of {} is not supported", ty.dtype);
    let rank = l.rank(x);
    let axis = match (c.optional(2), c.node.int("axis")) {
        (Some(v), _) => scalar(l, v, "axis")?,
        (None, Some(axis)) => axis,
        (None, None) => {
            if c.node.opset < 20 {
                1
            } else {
                -2
            }
        }
    };
    let axis = l.axis(axis, rank)?;
    ensure!(axis + 1 < rank, InvalidModel, "transforms along the axis of real and imaginary parts");
    let shape = l.shape(x);
    let (Some(given), Some(parts)) = (shape[axis].as_fixed(), shape[rank - 1].as_fixed()) else {
        bail!(Unsupported, "the number of elements along axis {axis} is not known");
    };
    ensure!(parts == 1 || parts == 2, InvalidModel, "has numbers of {parts} parts");
    let (inverse, onesided) = (c.node.flag("inverse", false), c.node.flag("onesided", false));
    let length = match c.optional(1) {
        Some(v) => usize::try_from(scalar(l, v, "length")?).unwrap_or(0),
        None if inverse && onesided => 2 * given.saturating_sub(1),
        None => given,
    };
    let (matrix, results, parts_out) = Transform { given, length, complex: parts == 2, inverse, onesided }.matrix(l, c)?;
    // The axis goes to the end, beside the parts.
    let mut perm: Vec<usize> = (0..rank).filter(|&a| a != axis).collect();
    perm.insert(rank - 2, axis);
    let x = l.transpose(c.name(), x, &perm);
    let lead = l.shape(x)[..rank - 2].to_vec();
    let with = |last: &[usize]| [lead.clone(), last.iter().map(|&d| Dim::fixed(d)).collect()].concat();
    let x = l.reshape(c.name(), x, with(&[given * parts]));
    let y = product(l, c, x, matrix)?;
    let y = l.reshape(c.name(), y, with(&[results, parts_out]));
    let mut back: Vec<usize> = (0..rank - 2).collect();
    back.insert(axis, rank - 2);
    back.push(rank - 1);
    let y = l.transpose(c.name(), y, &back);
    ensure!(l.shape(y) == ty.shape, InvalidModel, "gives a shape that differs from the inferred one");
    Ok(vec![y])
}

/// Frames of a signal, times a window, transformed.
fn stft(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (x, ty) = (c.input(0)?, c.out()?);
    ensure!(ty.dtype == DType::F32, Unsupported, "a transform of {} is not supported", ty.dtype);
    let step = scalar(l, c.input(1)?, "step")?;
    let window = c.optional(2);
    let length = match (c.optional(3), window.map(|w| l.shape(w))) {
        (Some(v), _) => usize::try_from(scalar(l, v, "length of a frame")?).ok(),
        (None, Some(w)) => w.first().and_then(Dim::as_fixed),
        (None, None) => bail!(InvalidModel, "has neither a window nor the length of a frame"),
    };
    let (Some(length), [batch, _, parts]) = (
        length.filter(|n| *n > 0),
        &*match l.rank(x) {
            2 => [l.shape(x), vec![Dim::fixed(1)]].concat(),
            _ => l.shape(x),
        },
    ) else {
        bail!(Unsupported, "the length of a frame is not known, or the signal has rank {}", l.rank(x))
    };
    let Some(parts) = parts.as_fixed().filter(|p| *p == 1 || *p == 2) else {
        bail!(InvalidModel, "has numbers of unknown parts")
    };
    ensure!(step > 0 && ty.shape.len() == 4, InvalidModel, "has a step of {step}");
    let frames = ty.shape[1].clone();
    let starts = iota(l, c, frames.clone(), 0, 2)?;
    let step = l.graph.add_const(c.name(), &Tensor::scalar(step));
    let starts = l.binary(c, BinaryOp::Mul, starts, step);
    let inside = iota(l, c, Dim::fixed(length), 1, 2)?;
    let places = l.binary(c, BinaryOp::Add, starts, inside);
    let signal = l.reshape(c.name(), x, vec![batch.clone(), l.shape(x)[1].clone(), Dim::fixed(parts)]);
    let cut = ValueType::new(DType::F32, vec![batch.clone(), frames.clone(), Dim::fixed(length), Dim::fixed(parts)]);
    let mut y = l.emit(c, Op::Gather { axis: 1 }, &[signal, places], cut);
    if let Some(window) = window {
        let window = l.reshape(c.name(), window, vec![Dim::fixed(length), Dim::fixed(1)]);
        y = l.binary(c, BinaryOp::Mul, y, window);
    }
    let onesided = c.node.flag("onesided", true);
    let (matrix, results, _) = Transform { given: length, length, complex: parts == 2, inverse: false, onesided }.matrix(l, c)?;
    let y = l.reshape(c.name(), y, vec![batch.clone(), frames.clone(), Dim::fixed(length * parts)]);
    let y = product(l, c, y, matrix)?;
    let full = vec![batch.clone(), frames, Dim::fixed(results), Dim::fixed(2)];
    ensure!(full[1..] == ty.shape[1..], InvalidModel, "gives a shape that differs from the inferred one");
    Ok(vec![l.reshape(c.name(), y, full)])
}
