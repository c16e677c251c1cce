//! Functions of one 8-bit value, as 256 bytes.

use alloc::boxed::Box;

use super::{
    Io, Kernel, Prepare,
    quantized::{look_up, round_clamped},
};
use crate::{error::Result, tensor::DType};

/// Prepares [`Op::Table`](crate::graph::Op::Table).
pub(super) fn prepare(p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (x, y) = (&p.inputs[0], &p.outputs[0]);
    let bytes = |dtype| matches!(dtype, DType::U8 | DType::I8);
    let table: Option<[u8; 256]> = p.inputs[1].constant::<u8>().and_then(|t| t.try_into().ok());
    let Some(table) = table.filter(|_| bytes(x.dtype) && bytes(y.dtype)) else { return Err(p.unsupported()) };
    let quants = (x.quant8(), y.quant8());
    if let ((DType::U8, DType::U8), (Some(from), Some(to))) = ((x.dtype, y.dtype), quants)
        && let Some(line) = Line::of(&table, from, to)
    {
        return Ok(Box::new(line));
    }
    Ok(Box::new(Table { table }))
}

struct Table {
    table: [u8; 256],
}

impl Kernel for Table {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        look_up(&self.table, io.input::<u8>(0), io.output::<u8>(0));
        Ok(())
    }
}

/// A table that is a change of scale with bounds, such as a Clip between two quantizations: arithmetic on vectors is faster
/// than looking up.
struct Line {
    zero: i32,
    multiplier: f32,
    lo: f32,
    hi: f32,
    add: i32,
}

impl Line {
    /// `None` unless the arithmetic gives every entry of the table.
    fn of(table: &[u8; 256], from: (f32, i32), to: (f32, i32)) -> Option<Line> {
        let bound = |v: Option<&u8>| v.map(|v| (i32::from(*v) - to.1) as f32);
        let (lo, hi) = (bound(table.iter().min())?, bound(table.iter().max())?);
        let line = Line { zero: from.1, multiplier: from.0 / to.0, lo, hi, add: to.1 };
        let exact = line.multiplier.is_finite() && (0..=255).zip(table).all(|(x, y)| line.at(x) == *y);
        exact.then_some(line)
    }

    #[inline(always)]
    fn at(&self, x: u8) -> u8 {
        round_clamped((i32::from(x) - self.zero) as f32 * self.multiplier, self.lo, self.hi, self.add) as u8
    }
}

impl Kernel for Line {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let (x, y) = (io.input::<u8>(0), io.output::<u8>(0));
        for (y, x) in y.iter_mut().zip(x) {
            *y = self.at(*x);
        }
        Ok(())
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        graph::{Op, Quant},
        kernels::testing::{Arg, Out, run_op},
        tensor::Tensor,
    };

    fn look(table: &[u8; 256], from: (DType, f32, i32), to: (f32, i32)) -> alloc::vec::Vec<u8> {
        let all: alloc::vec::Vec<u8> = (0..=255).collect();
        let x = Tensor::from_bytes(from.0, &[256], &all).unwrap();
        let table = Tensor::from_slice(&[256], table).unwrap();
        let args = [Arg::new(x).quantized(Quant::per_tensor(from.1, from.2)), Arg::constant(table)];
        let out = Out::new(DType::U8, &[256]).quantized(Quant::per_tensor(to.0, to.1));
        run_op(Op::Table, &args, &[out]).unwrap()[0].bytes().to_vec()
    }

    proptest! {
        #[test]
        fn any_table_is_looked_up(table: [u8; 256], signed: bool) {
            let dtype = if signed { DType::I8 } else { DType::U8 };
            prop_assert_eq!(look(&table, (dtype, 0.1, 3), (0.2, 7)), table.to_vec());
        }

        #[test]
        fn clamps_between_quantizations(from in 1e-3f32..1.0, to in 1e-3f32..1.0, zx in 0..=255i32, zy in 0..=255i32, top in 0.0f32..9.0) {
            let mut table = [0u8; 256];
            for (x, y) in table.iter_mut().enumerate() {
                let real = ((x as i32 - zx) as f32 * from).clamp(0.0, top);
                *y = ((real / to).round_ties_even() + zy as f32).clamp(0.0, 255.0) as u8;
            }
            let table = core::array::from_fn(|i| table[i]);
            prop_assert_eq!(look(&table, (DType::U8, from, zx), (to, zy)), table.to_vec());
        }
    }
}
