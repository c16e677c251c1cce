//! f32 matrix product with broadcast leading dimensions.

use alloc::{boxed::Box, vec::Vec};
use core::ops::Range;

use super::{
    Io, Kernel, Prepare,
    gemm_f32::{Blocking, Gemm, Right, RightShape},
    strided::broadcast_indices,
    team::{Shared, Team, part},
};
use crate::{
    error::{Result, ensure},
    graph::ops::MatMul,
    tensor::describe_shape,
};

/// Multiply-accumulates of whole products that are worth a tile of their own.
const BATCH_MACS: usize = 96 << 10;

struct MatMulF32 {
    rows: usize,
    right: Right,
    bounds: (f32, f32),
    blocking: Blocking,
    /// For each matrix of the output, which matrices of a and b it comes from.
    pairs: Vec<(usize, usize)>,
}

/// Prepares a [`MatMul`] on f32.
pub(crate) fn prepare(mm: &MatMul, p: &mut Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (a, b, out) = (&p.inputs[0].shape, &p.inputs[1].shape, &p.outputs[0].shape);
    let [(a_lead, [m, depth]), (b_lead, [b0, b1]), (lead, [om, columns])] = [split(a), split(b), split(out)];
    let b_matrix = if mm.transpose_b { [b1, b0] } else { [b0, b1] };
    ensure!(
        b_matrix == [depth, columns] && m == om && lead.len() == a_lead.len().max(b_lead.len()),
        InvalidModel,
        "the product of {} and {}{} is not {}",
        describe_shape(a),
        describe_shape(b),
        if mm.transpose_b { " (transposed)" } else { "" },
        describe_shape(out)
    );
    let count: usize = b_lead.iter().product();
    // With a single b, the matrices of a are one tall matrix.
    let (rows, pairs) = if p.outputs[0].is_empty() {
        (0, Vec::new())
    } else if count == 1 {
        (lead.iter().product::<usize>() * m, Vec::from([(0, 0)]))
    } else {
        let (a_of, b_of) = (broadcast_indices(a_lead, lead), broadcast_indices(b_lead, lead));
        (m, a_of.into_iter().zip(b_of).collect())
    };
    let (bias, bounds, transposed) = (mm.bias, mm.activation.bounds(), mm.transpose_b);
    let right = Right::prepare(p, bias, &RightShape { depth, columns, count, transposed })?;
    let blocking = Blocking::of(p.choice);
    p.made = blocking.made(p.choice, rows, depth);
    Ok(Box::new(MatMulF32 { rows, right, bounds, blocking, pairs }))
}

/// Leading dimensions, and the last two.
fn split(shape: &[usize]) -> (&[usize], [usize; 2]) {
    match shape {
        [lead @ .., rows, columns] => (lead, [*rows, *columns]),
        _ => (&[], [0, 0]),
    }
}

impl Kernel for MatMulF32 {
    fn scratch(&self) -> usize {
        self.right.scratch() * size_of::<f32>()
    }

    fn own_scratch(&self) -> usize {
        if self.pairs.len() > 1 { self.scratch() } else { 0 }
    }

    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let (a, b) = (io.input::<f32>(0), io.input::<f32>(1));
        let bias = (io.input_count() > 2).then(|| io.input::<f32>(2));
        let team = io.team();
        let (c, scratch, crew) = io.output_scratch_and_crew::<f32>(0);
        let &Right { depth, columns, .. } = &self.right;
        let size = self.rows * columns;
        let count = self.pairs.len();
        let range = |range: Range<usize>, team: &Team, c: &mut [f32], scratch: &mut [u8]| {
            let scratch = bytemuck::cast_slice_mut(scratch);
            let mut loaded = None;
            for (i, &(ai, bi)) in self.pairs[range].iter().enumerate() {
                let (b, bias) = self.right.load(bi, b, bias, scratch, loaded == Some(bi));
                loaded = Some(bi);
                let a = &a[ai * self.rows * depth..][..self.rows * depth];
                let gemm = Gemm { a, a_stride: depth, b, bias, bounds: self.bounds, c_stride: columns, blocking: self.blocking };
                gemm.share(team, self.rows, &mut c[i * size..][..size]);
            }
        };
        // Whole products where there are several; the threads share a single one.
        let tiles = if count > 1 { crew.tiles(count, BATCH_MACS.div_ceil((size * depth).max(1))) } else { 1 };
        if tiles <= 1 {
            range(0..count, team, c, scratch);
            return Ok(());
        }
        let c = Shared::new(c);
        crew.run(tiles, &|tile, scratch| {
            let own = part(count, tile, tiles);
            // SAFETY: these products are this tile's alone.
            let c = unsafe { c.part(own.start * size..own.end * size) };
            range(own, &Team::ALONE, c, scratch);
            Ok(())
        })
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
