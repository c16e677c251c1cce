//! Quantized matrix product: u8 rows with an 8-bit matrix, which is a constant or another activation.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::ops::Range;

use super::{
    Io, Kernel, Prepare,
    choice::Method,
    gemm_i8::{Columns, Gemm, InPlace, Packed, Padded, Scheme, Store, Weights, cast, pack_into, packed_len},
    linear_i8::{ColumnSet, Linear, Parameters, Product, RowQuant},
    team::{Crew, Shared, part},
};
use crate::{
    error::{Result, bail, ensure},
    graph::ops::MatMul,
    tensor::{DType, describe_shape, element_count},
};

/// Multiply-accumulates of whole products that are worth a tile of their own.
const BATCH_MACS: usize = 256 << 10;

/// Prepares a matrix product whose first operand is u8.
#[inline(never)]
#[cfg_attr(small, optimize(size))]
pub(crate) fn prepare(op: &MatMul, p: &mut Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (Some(a), Some(b), Some(output)) = (p.inputs.first(), p.inputs.get(1), p.outputs.first()) else {
        bail!(InvalidModel, "a matrix product needs two operands and an output");
    };
    let misfit = || {
        let kind = if op.transpose_b { " (transposed)" } else { "" };
        crate::Error::InvalidModel(alloc::format!(
            "{} · {}{kind} does not give {}",
            describe_shape(&a.shape),
            describe_shape(&b.shape),
            describe_shape(&output.shape)
        ))
    };
    let ([a_batch @ .., m, k], [b_batch @ .., b0, b1], [batch @ .., om, on]) =
        (a.shape.as_slice(), b.shape.as_slice(), output.shape.as_slice())
    else {
        bail!(
            Unsupported,
            "operands {} and {} of a quantized matrix product need at least 2 dimensions",
            describe_shape(&a.shape),
            describe_shape(&b.shape)
        );
    };
    let (n, kb) = if op.transpose_b { (*b0, *b1) } else { (*b1, *b0) };
    let (mut m, k) = (*m, *k);
    ensure!(k == kb && (m, n) == (*om, *on), InvalidModel, "{}", misfit());
    for shape in [&a.shape, &b.shape, &output.shape] {
        element_count(shape)?;
    }
    let axis = b_batch.len() + usize::from(!op.transpose_b);
    let linear = Linear::new(&p.inputs, output, (op.bias, op.dynamic), op.activation, axis, (n, k), p.then.as_ref())?;
    let mut batches = broadcast(a_batch, b_batch, batch).ok_or_else(misfit)?;
    if b_batch.iter().all(|&d| d == 1) {
        m *= batches.len();
        batches = alloc::vec![(0, 0)];
    }
    let scheme = Scheme::of(p.choice);
    let layout = Layout { n, k, transposed: op.transpose_b, unsigned: b.dtype == DType::U8 };
    let gemm = Gemm::new(scheme, m, n, k, linear.is_staged(), p.choice);
    p.made = gemm.made(Method::Rows);
    let mut kernel = MatMulI8 { linear, gemm, layout, batches, packed: None, parameters: Vec::new() };
    if let Some(bytes) = b.data {
        let count: usize = b_batch.iter().product();
        let there = bytes.len() == count * n * k || p.packed.holds(b.id);
        ensure!(there, InvalidModel, "b has {} bytes, its shape needs {}", bytes.len(), count * n * k);
        let name = match (scheme.widens(), op.transpose_b) {
            (false, false) => "matmul_i8",
            (false, true) => "matmul_i8 transposed",
            (true, false) => "matmul_i8 widened",
            (true, true) => "matmul_i8 transposed, widened",
        };
        let pack = |i: usize| Packed::new(scheme, layout.weights(&bytes[i * n * k..][..n * k]), n, k);
        let packed = p.packed.get(b.id, name, || (0..count).map(pack).collect::<Result<Vec<Packed>>>())?;
        kernel.parameters = packed.iter().map(|b| kernel.linear.parameters(&kernel.columns(&b.sums), true)).collect();
        kernel.packed = Some(packed);
    } else {
        let sums = alloc::vec![0; kernel.gemm.padded_columns()];
        kernel.parameters = alloc::vec![kernel.linear.parameters(&kernel.columns(&sums), false)];
    }
    Ok(Box::new(kernel))
}

/// For each matrix of the output, the indices of its operands; `None` if `out` is not what the two broadcast to.
fn broadcast(a: &[usize], b: &[usize], out: &[usize]) -> Option<Vec<(usize, usize)>> {
    if out.len() != a.len().max(b.len()) {
        return None;
    }
    let mut indices = alloc::vec![(0, 0)];
    for (i, &size) in out.iter().enumerate() {
        let dim = |shape: &[usize]| (i + shape.len()).checked_sub(out.len()).map_or(1, |i| shape[i]);
        let (da, db) = (dim(a), dim(b));
        let expected = if da == 1 { db } else { da };
        if size != expected || (db != 1 && db != size) {
            return None;
        }
        let step = |d: usize, at: usize| if d == 1 { 0 } else { at };
        indices = indices
            .iter()
            .flat_map(|&(ia, ib)| (0..size).map(move |at| (ia * da + step(da, at), ib * db + step(db, at))))
            .collect();
    }
    Some(indices)
}

/// How b is stored.
#[derive(Clone, Copy)]
struct Layout {
    n: usize,
    k: usize,
    transposed: bool,
    unsigned: bool,
}

impl Layout {
    fn weights<'a>(&self, bytes: &'a [u8]) -> Weights<'a> {
        let stride = if self.transposed { self.k } else { self.n };
        Weights { bytes, stride, by_depth: !self.transposed, unsigned: self.unsigned }
    }
}

struct MatMulI8 {
    linear: Linear,
    gemm: Gemm,
    layout: Layout,
    /// For each product, the indices of a's and b's matrix.
    batches: Vec<(usize, usize)>,
    /// One per matrix of b; `None` if b is known only when run.
    packed: Option<Arc<Vec<Packed>>>,
    /// One per matrix of b, or just one.
    parameters: Vec<Parameters>,
}

impl MatMulI8 {
    fn columns<'a>(&self, sums: &'a [i32]) -> ColumnSet<'a> {
        ColumnSet { channels: 0..self.gemm.n, k: self.gemm.k, row_offset: self.gemm.scheme.row_offset(), sums }
    }

    /// Bytes for a matrix packed when run, and for its sums.
    fn packing(&self) -> [usize; 2] {
        match self.packed {
            Some(_) => [0, 0],
            None => [
                packed_len(self.gemm.scheme, self.gemm.n, self.gemm.k).next_multiple_of(64),
                (self.gemm.padded_columns() * 4).next_multiple_of(64),
            ],
        }
    }

    /// Bytes of scratch space that a range of products needs, beside each thread's own.
    fn range_scratch(&self) -> usize {
        self.packing().iter().sum::<usize>() + self.linear.scratch(self.gemm.padded_columns())
    }

    /// The products `range`, whose results are all of `out`.
    fn run_range(
        &self,
        range: Range<usize>,
        (a, b): (&[u8], &[u8]),
        rows: RowQuant,
        out: &mut [u8],
        scratch: &mut [u8],
        crew: Crew<'_>,
    ) -> Result<()> {
        let Gemm { m, n, k, scheme, .. } = self.gemm;
        ensure!(scratch.len() >= self.range_scratch(), Internal, "scratch space is too small");
        let [bytes, sums] = self.packing();
        let (packed, scratch) = scratch.split_at_mut(bytes);
        let (sums, scratch) = scratch.split_at_mut(sums);
        let sums = cast::<i32>(sums)?;
        let mut there = None;
        for (at, &(ia, ib)) in self.batches[range].iter().enumerate() {
            let product = Rows { gemm: &self.gemm, a: &a[ia * m * k..][..m * k] };
            let (packed, sums, parameters) = if let Some(packed) = &self.packed {
                (packed[ib].bytes.as_ref(), packed[ib].sums.as_slice(), &self.parameters[ib])
            } else {
                let sums = &mut sums[..self.gemm.padded_columns()];
                if there != Some(ib) {
                    pack_into(scheme, self.layout.weights(&b[ib * n * k..][..n * k]), n, k, packed, sums)?;
                    there = Some(ib);
                }
                (&*packed, &*sums, &self.parameters[0])
            };
            self.linear.run(&self.columns(sums), packed, parameters, rows, &product, out, at * m * n, scratch, crew)?;
        }
        Ok(())
    }
}

impl Kernel for MatMulI8 {
    fn scratch(&self) -> usize {
        self.range_scratch()
    }

    fn own_scratch(&self) -> usize {
        self.gemm.scratch() + if self.batches.len() > 1 { self.range_scratch() } else { 0 }
    }

    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let (a, b) = (io.input::<u8>(0), io.input::<u8>(1));
        let Gemm { m, n, k, .. } = self.gemm;
        let matrices = |index: fn(&(usize, usize)) -> usize| self.batches.iter().map(index).max().map_or(0, |last| last + 1);
        ensure!(a.len() >= matrices(|b| b.0) * m * k, Internal, "the first operand of a matrix product is too short");
        ensure!(
            self.packed.is_some() || b.len() >= matrices(|b| b.1) * n * k,
            Internal,
            "the second operand of a matrix product is too short"
        );
        let rows = self.linear.rows(io)?;
        let (out, scratch, crew) = io.output_scratch_and_crew::<u8>(0);
        let count = self.batches.len();
        // Whole products where there are several; the threads share a single one.
        let tiles = if count > 1 { crew.tiles(count, BATCH_MACS.div_ceil((m * n * k).max(1))) } else { 1 };
        if tiles <= 1 {
            return self.run_range(0..count, (a, b), rows, out, scratch, crew);
        }
        let (bytes, out) = (out.len() / count, Shared::new(out));
        crew.run(tiles, &|tile, scratch| {
            let range = part(count, tile, tiles);
            // SAFETY: these products are this tile's alone.
            let out = unsafe { out.part(range.start * bytes..range.end * bytes) };
            ensure!(scratch.len() >= self.own_scratch(), Internal, "scratch space is too small");
            let (scratch, own) = scratch.split_at_mut(self.range_scratch());
            self.run_range(range, (a, b), rows, out, scratch, Crew::alone(own))
        })
    }
}

/// The rows of one matrix of a.
struct Rows<'a> {
    gemm: &'a Gemm,
    a: &'a [u8],
}

impl Product for Rows<'_> {
    fn run<F: Store>(&self, columns: Columns<'_>, finish: &F, out: &mut [F::Out], crew: Crew<'_>) -> Result<()> {
        let Gemm { n, k, .. } = *self.gemm;
        if k.is_multiple_of(4) {
            self.gemm.run(&InPlace { bytes: self.a, stride: k }, columns, finish, out, n, crew)
        } else {
            self.gemm.run(&Padded { bytes: self.a, depth: k }, columns, finish, out, n, crew)
        }
    }
}

#[cfg(test)]
mod tests;
