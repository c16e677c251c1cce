//! Concatenation; inputs that are quantized otherwise than the output are rescaled by a table.

use alloc::{boxed::Box, vec::Vec};

use super::{Io, Kernel, Prepare, copy::copy_row, quantized::table, rescale::Rescale, table::Map, team::GRAIN};
use crate::{
    error::{Result, ensure},
    graph::ops::Unary,
};

/// Prepares [`Op::Concat`](crate::graph::Op::Concat).
pub(super) fn prepare(axis: usize, p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let y = &p.outputs[0];
    ensure!(axis < y.shape.len(), InvalidModel, "axis {axis} is not one of {:?}", y.shape);
    let size = y.dtype.size();
    let inner = size * y.shape[axis + 1..].iter().product::<usize>();
    let mut parts = Vec::new();
    let mut joined = 0;
    for (i, x) in p.inputs.iter().enumerate() {
        let mut expected = y.shape.clone();
        expected[axis] = *x.shape.get(axis).unwrap_or(&0);
        ensure!(
            x.shape == expected,
            InvalidModel,
            "an input of shape {:?} is no part of {:?} along axis {axis}",
            x.shape,
            y.shape
        );
        let start = joined * inner;
        joined += x.shape[axis];
        if p.joined.contains(&i) {
            continue;
        }
        let map = if x.stores_like(y) && size > 0 {
            None
        } else {
            let unbounded = (f32::NEG_INFINITY, f32::INFINITY);
            let table = match (x.quant8(), y.quant8()) {
                (Some(qx), Some(qy)) => table((x.dtype, qx), (y.dtype, qy), unbounded, |v| v),
                _ => None,
            };
            Some(Map::new(table.ok_or_else(|| p.unsupported())?, Rescale::of_unary(Unary::Identity, x, y)))
        };
        parts.push(Part { start, bytes: x.shape[axis] * inner, map });
    }
    ensure!(joined == y.shape[axis], InvalidModel, "inputs of {joined} along axis {axis} do not make {:?}", y.shape);
    Ok(Box::new(Concat { row: y.shape[axis] * inner, parts }))
}

/// Bytes are counted, not elements: only tables care for the type, and theirs is one byte wide.
struct Concat {
    row: usize,
    parts: Vec<Part>,
}

struct Part {
    /// First byte within a row of the result.
    start: usize,
    bytes: usize,
    map: Option<Map>,
}

impl Kernel for Concat {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        if let Some(rows) = io.output::<u8>(0).len().checked_div(self.row) {
            io.each_part(rows, (8 * GRAIN).div_ceil(self.row), usize::MAX, &|io| self.rows(io));
        }
        Ok(())
    }
}

impl Concat {
    fn rows(&self, io: &mut Io<'_>) {
        for (i, part) in self.parts.iter().enumerate().filter(|(_, part)| part.bytes > 0) {
            let (x, y) = (io.input::<u8>(i), io.output::<u8>(0));
            let y = y.get_mut(part.start..).unwrap_or_default();
            match &part.map {
                Some(map) => map.run(x, part.bytes, y, self.row),
                None => x.chunks_exact(part.bytes).zip(y.chunks_mut(self.row)).for_each(|(x, y)| copy_row(x, y)),
            }
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "concat_tests.rs"]
mod tests;
