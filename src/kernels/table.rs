//! Functions of one 8-bit value, as 256 bytes.

use alloc::boxed::Box;

use super::{Io, Kernel, Operand, Prepare, quantized::look_up, rescale::Rescale};
use crate::{error::Result, tensor::DType};

/// Prepares [`Op::Table`](crate::graph::Op::Table).
pub(super) fn prepare(p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let bytes = |o: &Operand<'_>| matches!(o.dtype, DType::U8 | DType::I8);
    match contents(&p.inputs) {
        Some(table) if bytes(&p.inputs[0]) && bytes(&p.outputs[0]) => {
            Ok(Box::new(Table { map: Map::new(table, line(&p.inputs, &p.outputs[0])) }))
        }
        _ => Err(p.unsupported()),
    }
}

/// Looks bytes up in `table`.
pub(super) fn kernel(table: [u8; 256]) -> Box<dyn Kernel> {
    Box::new(Table { map: Map::new(table, None) })
}

/// The table as arithmetic, if it is a change of scale with bounds, which a product computes along with its results.
pub(super) fn line(inputs: &[Operand<'_>], y: &Operand<'_>) -> Option<Rescale> {
    let x = inputs.first().filter(|x| x.dtype == DType::U8 && y.dtype == DType::U8)?;
    Rescale::of_table(&contents(inputs)?, x.quant8()?, y.quant8()?)
}

fn contents(inputs: &[Operand<'_>]) -> Option<[u8; 256]> {
    inputs.get(1)?.constant::<u8>()?.try_into().ok()
}

/// A function of one byte: as arithmetic, which vectors compute several times faster than they look up, if there is one.
pub(super) enum Map {
    Line(Rescale),
    Bytes(Box<[u8; 256]>),
}

impl Map {
    /// `table`, which is `line` if that is known.
    pub(super) fn new(table: [u8; 256], line: Option<Rescale>) -> Map {
        line.map_or_else(|| Map::Bytes(Box::new(table)), Map::Line)
    }

    /// Maps every byte of `x`, which are rows of `len`, to rows of `y`, `stride` apart.
    pub(super) fn run(&self, x: &[u8], len: usize, y: &mut [u8], stride: usize) {
        match self {
            Map::Line(line) => line.apply_rows(x, len, y, stride),
            Map::Bytes(table) => {
                for (x, y) in x.chunks_exact(len.max(1)).zip(y.chunks_mut(stride.max(1))) {
                    look_up(table, x, y);
                }
            }
        }
    }
}

struct Table {
    map: Map,
}

impl Kernel for Table {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        io.each_element(io.input::<u8>(0).len(), &|io| {
            let x = io.input::<u8>(0);
            self.map.run(x, x.len(), io.output::<u8>(0), x.len());
        });
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
