//! Products with weights of few bits, as `com.microsoft.MatMulNBits` stores them: blocks of a column share a scale and a zero point.
//!
//! The weights become float32 when the model is compiled: exact, and as fast as any float product, but larger than they were.

use alloc::{vec, vec::Vec};

use super::{
    lower::{Call, Lower, Lowering},
    matmul,
};
use crate::{
    error::{Result, bail, ensure},
    graph::ValueId,
    tensor::{DType, Tensor},
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    (op_type == "MatMulNBits").then_some(matmul_nbits)
}

/// How a weight `[N,K]` is stored.
struct Layout {
    n: usize,
    k: usize,
    bits: usize,
    block: usize,
}

impl Layout {
    fn of(c: &Call) -> Result<Layout> {
        let size = |name: &str, default: Option<i64>| {
            let given = c.node.int(name).or(default).and_then(|v| usize::try_from(v).ok()).filter(|v| (1..1 << 28).contains(v));
            match given {
                Some(v) => Ok(v),
                None => bail!(InvalidModel, "lacks a size '{name}'"),
            }
        };
        let layout =
            Layout { n: size("N", None)?, k: size("K", None)?, bits: size("bits", Some(4))?, block: size("block_size", None)? };
        ensure!(matches!(layout.bits, 2 | 4 | 8), Unsupported, "weights of {} bits are not supported", layout.bits);
        ensure!(layout.block.is_power_of_two() && layout.block >= 16, InvalidModel, "has blocks of {}", layout.block);
        Ok(layout)
    }

    fn blocks(&self) -> usize {
        self.k.div_ceil(self.block)
    }

    /// Bytes of a column's weights: its blocks are whole, also the last one.
    fn column(&self) -> usize {
        self.blocks() * self.block * self.bits / 8
    }

    /// Bytes of a column's zero points.
    fn zero_column(&self) -> usize {
        (self.blocks() * self.bits).div_ceil(8)
    }

    /// The `i`-th number of packed ones, the lowest bits first.
    fn field(&self, packed: &[u8], i: usize) -> u8 {
        let per_byte = 8 / self.bits;
        let mask = ((1u16 << self.bits) - 1) as u8;
        packed[i / per_byte] >> (i % per_byte * self.bits) & mask
    }

    /// `(q − zero) · scale`, with the operands' lengths checked. `groups` are the blocks whose scales the rows have, `zero` gives the zero point of a column's block.
    fn dequantize(&self, packed: &[u8], scales: &[f32], groups: &[usize], zero: &dyn Fn(usize, usize) -> f32) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.n * self.k);
        for (column, bytes) in packed.chunks_exact(self.column()).enumerate() {
            for (i, &block) in groups.iter().enumerate() {
                let q = f32::from(self.field(bytes, i));
                out.push((q - zero(column, block)) * scales[column * self.blocks() + block]);
            }
        }
        out
    }
}

fn matmul_nbits(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let layout = Layout::of(c)?;
    let Some(packed) = l.graph.const_tensor(c.input(1)?) else { bail!(Unsupported, "the weight is not a constant") };
    let Some(scales) = l.const_floats(c.input(2)?) else { bail!(Unsupported, "the scales are not constants") };
    let expected = layout.n * layout.column();
    ensure!(packed.bytes().len() == expected, InvalidModel, "the weight has {} bytes, not {expected}", packed.bytes().len());
    let blocks = layout.n * layout.blocks();
    ensure!(scales.len() == blocks, InvalidModel, "has {} scales for {blocks} blocks", scales.len());
    let groups: Vec<usize> = match c.optional(4).map(|v| l.const_ints(v)) {
        None => (0..layout.k).map(|i| i / layout.block).collect(),
        Some(Some(list)) => list.iter().take(layout.k).map(|&g| usize::try_from(g).unwrap_or(usize::MAX)).collect(),
        Some(None) => bail!(Unsupported, "the groups (g_idx) are not constants"),
    };
    let known = groups.len() == layout.k && groups.iter().all(|g| *g < layout.blocks());
    ensure!(known, InvalidModel, "has groups (g_idx) that do not fit its {} rows and {} blocks", layout.k, layout.blocks());
    let weight = match c.optional(3) {
        None => {
            let middle = (1u16 << (layout.bits - 1)) as f32;
            layout.dequantize(packed.bytes(), &scales, &groups, &|_, _| middle)
        }
        Some(v) => match (l.graph.const_tensor(v), l.const_floats(v)) {
            (Some(zeros), _) if zeros.dtype() == DType::U8 => {
                let expected = layout.n * layout.zero_column();
                let zeros = zeros.bytes();
                ensure!(zeros.len() == expected, InvalidModel, "has {} bytes of zero points, not {expected}", zeros.len());
                let of = |column: usize, block: usize| {
                    f32::from(layout.field(&zeros[column * layout.zero_column()..][..layout.zero_column()], block))
                };
                layout.dequantize(packed.bytes(), &scales, &groups, &of)
            }
            (Some(_), Some(zeros)) => {
                ensure!(zeros.len() == blocks, InvalidModel, "has {} zero points for {blocks} blocks", zeros.len());
                layout.dequantize(packed.bytes(), &scales, &groups, &|column, block| zeros[column * layout.blocks() + block])
            }
            _ => bail!(Unsupported, "the zero points are not constants"),
        },
    };
    let b = l.graph.add_const(c.name(), &Tensor::from_slice(&[layout.n, layout.k], &weight)?);
    let (a, bias) = (c.input(0)?, c.optional(5));
    let operands = matmul::Operands { a, b, transpose_b: true, bias, dynamic: None, dtype: DType::F32, quant: None };
    Ok(vec![matmul::emit(l, c, operands)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_their_scales_and_the_last_one_is_filled_up() {
        let layout = Layout { n: 2, k: 17, bits: 4, block: 16 };
        assert_eq!((layout.blocks(), layout.column(), layout.zero_column()), (2, 16, 1));
        let groups: Vec<usize> = (0..17).map(|i| i / 16).collect();
        let packed: Vec<u8> = (0..32).map(|i| i as u8).collect();
        let weight = layout.dequantize(&packed, &[1.0, 10.0, 2.0, 20.0], &groups, &|column, block| (column + block) as f32);
        assert_eq!(weight.len(), 34);
        assert_eq!(weight[..4], [0.0, 0.0, 1.0, 0.0]);
        // The ninth byte of the first column is 8: its lower half is the first number of the second block.
        assert_eq!(weight[16], (8.0 - 1.0) * 10.0);
        assert_eq!(weight[17], (0.0 - 1.0) * 2.0);
        assert_eq!(weight[33], (8.0 - 2.0) * 20.0);
        let eight = Layout { bits: 8, ..layout };
        assert_eq!(eight.field(&[7, 9], 1), 9);
    }
}
