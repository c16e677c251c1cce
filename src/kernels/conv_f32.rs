//! f32 convolution as a matrix product: of the input itself (1×1), of rows that im2col makes block by block, or by fewer products
//! ([`winograd`]).

mod winograd;

use alloc::boxed::Box;

use super::{
    Io, Kernel, Placement, Prepare,
    choice::Method,
    depthwise_f32,
    gemm_f32::{Blocking, Cut, Gemm, Right, RightShape},
    im2col::{Geometry, im2col},
    team::{Shared, part},
};
use crate::{error::Result, graph::ops::Conv, tensor::element_count};

struct ConvF32 {
    geometry: Geometry,
    weights: Right,
    bounds: (f32, f32),
    /// Rows that are made at a time, and elements from one to the next; no rows if the input itself is the matrix.
    block: usize,
    stride: usize,
    place: Placement,
    blocking: Blocking,
}

/// Prepares a [`Conv`] on f32.
pub(crate) fn prepare(conv: &Conv, p: &mut Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let geometry = Geometry::new(conv, &p.inputs[0].shape, &p.inputs[1].shape, &p.outputs[0].shape)?;
    if depthwise_f32::applies(&geometry) {
        return depthwise_f32::prepare(conv, geometry, p);
    }
    let by_winograd = match p.choice.method {
        Method::Auto => winograd::applies(&geometry),
        method => method == Method::Winograd && winograd::can(&geometry),
    };
    if by_winograd && let Some(kernel) = winograd::prepare(conv, &geometry, p)? {
        return Ok(kernel);
    }
    let depth = geometry.depth();
    let columns = geometry.out_channels / geometry.groups;
    let weights = Right::prepare(p, conv.bias, &RightShape { depth, columns, count: geometry.groups, transposed: true })?;
    let blocking = Blocking::of(p.choice);
    p.made = blocking.made(p.choice, geometry.rows(), depth);
    let block = if geometry.is_pointwise() { 0 } else { blocking.block_rows(geometry.rows(), depth) };
    // Rows a multiple of 4 KB apart would fall on the same few lines of the L1 cache.
    let stride = if depth.is_multiple_of(1024) { depth + 16 } else { depth };
    element_count(&[block, stride])?;
    let place = p.placement(geometry.out_channels);
    Ok(Box::new(ConvF32 { geometry, weights, bounds: conv.activation.bounds(), block, stride, place, blocking }))
}

impl Kernel for ConvF32 {
    fn scratch(&self) -> usize {
        self.weights.scratch() * size_of::<f32>()
    }

    fn own_scratch(&self) -> usize {
        self.block * self.stride * size_of::<f32>()
    }

    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let g = &self.geometry;
        let (x, weight) = (io.input::<f32>(0), io.input::<f32>(1));
        let bias = (io.input_count() > 2).then(|| io.input::<f32>(2));
        let team = io.team();
        let (y, packed, crew) = io.output_scratch_and_crew::<f32>(0);
        let packed = bytemuck::cast_slice_mut::<u8, f32>(packed);
        let (channels, columns, rows) = (g.group_channels(), self.weights.columns, g.rows());
        let (bounds, c_stride, blocking) = (self.bounds, self.place.stride, self.blocking);
        for group in 0..g.groups {
            let (b, bias) = self.weights.load(group, weight, bias, packed, false);
            let first = group * channels;
            let y = y.get_mut(self.place.offset + group * columns..).unwrap_or_default();
            if self.block == 0 {
                let a = x.get(first..).unwrap_or_default();
                Gemm { a, a_stride: g.channels, b, bias, bounds, c_stride, blocking }.share(team, rows, y);
                continue;
            }
            let cut = Cut::new(team, rows, self.block, &b);
            let y = Shared::new(y);
            crew.run(cut.tiles(), &|tile, scratch| {
                let matrix = bytemuck::cast_slice_mut::<u8, f32>(scratch);
                let [rows, columns] = cut.tile(tile);
                let blocks = rows.len().div_ceil(self.block);
                for block in 0..blocks {
                    let own = part(rows.len(), block, blocks);
                    let (row, count) = (rows.start + own.start, own.len());
                    im2col(g, x, first..first + channels, row..row + count, 0.0, self.stride, matrix);
                    let gemm = Gemm { a: matrix, a_stride: self.stride, b, bias, bounds, c_stride, blocking };
                    // SAFETY: tiles do not overlap, and neither do blocks of rows.
                    unsafe { gemm.run_part(0..count, columns.clone(), &y.from(row * c_stride)) }
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
