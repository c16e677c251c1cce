//! Indexing along one axis.

use alloc::boxed::Box;

use super::{Io, Kernel, Prepare};
use crate::{
    error::{Result, bail, ensure},
    tensor::{DType, Element},
};

/// Prepares [`Op::Gather`](crate::graph::Op::Gather).
pub(super) fn prepare(axis: usize, p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (data, indices, y) = (&p.inputs[0], &p.inputs[1], &p.outputs[0]);
    ensure!(axis < data.shape.len(), InvalidModel, "axis {axis} is not one of {:?}", data.shape);
    let mut expected = data.shape[..axis].to_vec();
    expected.extend(&indices.shape);
    expected.extend(&data.shape[axis + 1..]);
    ensure!(
        expected == y.shape,
        InvalidModel,
        "{:?} indexed by {:?} along axis {axis} is not {:?}",
        data.shape,
        indices.shape,
        y.shape
    );
    let wide = match indices.dtype {
        DType::I64 => true,
        DType::I32 => false,
        _ => return Err(p.unsupported()),
    };
    if !data.stores_like(y) || data.dtype.size() == 0 {
        return Err(p.unsupported());
    }
    let inner = data.shape[axis + 1..].iter().product();
    Ok(Box::new(Gather { axis, size: data.shape[axis], inner, count: indices.len(), element: data.dtype.size(), wide }))
}

struct Gather {
    axis: usize,
    size: usize,
    inner: usize,
    count: usize,
    element: usize,
    wide: bool,
}

impl Kernel for Gather {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        match (self.wide, self.inner * self.element) {
            // Single elements are moved as numbers; everything else as bytes.
            (true, 4) => self.rows::<i64, u32>(io, 1),
            (false, 4) => self.rows::<i32, u32>(io, 1),
            (true, 8) => self.rows::<i64, u64>(io, 1),
            (false, 8) => self.rows::<i32, u64>(io, 1),
            (true, bytes) => self.rows::<i64, u8>(io, bytes),
            (false, bytes) => self.rows::<i32, u8>(io, bytes),
        }
    }
}

impl Gather {
    fn rows<I: Element + Into<i64>, T: Element>(&self, io: &mut Io<'_>, row: usize) -> Result<()> {
        let (data, indices) = (io.input::<T>(0), io.input::<I>(1));
        let y = io.output::<T>(0);
        for &index in indices {
            self.checked(index.into())?;
        }
        if row == 0 || self.count == 0 || self.size == 0 {
            return Ok(());
        }
        for (data, y) in data.chunks_exact(self.size * row).zip(y.chunks_exact_mut(self.count * row)) {
            for (y, &index) in y.chunks_exact_mut(row).zip(indices) {
                let at = self.checked(index.into())? * row;
                if row == 1 {
                    y[0] = data[at];
                } else {
                    y.copy_from_slice(&data[at..at + row]);
                }
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn checked(&self, index: i64) -> Result<usize> {
        let from_start = if index < 0 { index + self.size as i64 } else { index };
        if from_start < 0 || from_start >= self.size as i64 {
            return self.out_of_range(index);
        }
        Ok(from_start as usize)
    }

    #[cold]
    fn out_of_range(&self, index: i64) -> Result<usize> {
        bail!(InvalidInput, "index {index} is out of range for axis {} of size {}", self.axis, self.size)
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "gather_tests.rs"]
mod tests;
