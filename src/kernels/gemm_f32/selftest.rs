//! The check that [`crate::kernels::selftest`] runs on the engine at hand.

use alloc::{vec, vec::Vec};

use super::{Blocking, Choice, Gemm, MAX_DEPTH, Packed, panel_width};
use crate::{
    error::{Error, Result, ensure},
    kernels::vector::Isa,
};

/// Compares products of small integers, which are exact whatever the order of the sums, on every instruction set with plain sums.
pub(crate) fn selftest() -> Result<()> {
    let sizes = (1..=13).map(|rows| (rows, 3, 9 + 3 * rows)).chain([(1, 7, 70), (4, MAX_DEPTH + 3, 9)]);
    for (rows, depth, columns) in sizes {
        for &isa in Isa::available() {
            check(isa, rows, depth, columns)?;
        }
    }
    Ok(())
}

#[inline(never)]
fn check(isa: Isa, rows: usize, depth: usize, columns: usize) -> Result<()> {
    let numbers = |n: usize, step: usize| (0..n).map(|i| (i * step % 17) as f32 - 8.0).collect::<Vec<f32>>();
    let (a, b) = (numbers(rows * depth, 5), numbers(depth * columns, 7));
    let mut bias = numbers(columns, 3);
    bias.resize(columns.next_multiple_of(panel_width(isa)), 0.0);
    let packed = Packed::new(isa, &b, depth, columns, false).ok_or_else(|| Error::Internal("a product is too large".into()))?;
    let bounds = (-20.0, 60.0);
    let mut c = vec![0.0; rows * columns];
    let blocking = Blocking::of(Choice::AUTO);
    Gemm { a: &a, a_stride: depth, b: packed.matrix(0), bias: Some(&bias), bounds, c_stride: columns, blocking }
        .run(rows, &mut c);
    for (at, &value) in c.iter().enumerate() {
        let (i, j) = (at / columns, at % columns);
        let sum = (0..depth).map(|k| a[i * depth + k] * b[k * columns + j]).sum::<f32>() + bias[j];
        let expected = sum.clamp(bounds.0, bounds.1);
        ensure!(
            value == expected,
            Internal,
            "float products by {isa:?} are wrong here: {value} instead of {expected} in a {rows}×{columns}×{depth} product"
        );
    }
    Ok(())
}
