//! Selection by a condition.

use alloc::boxed::Box;

use super::{
    Io, Kernel, Prepare,
    broadcast::{Broadcast, Buffer},
};
use crate::{
    error::Result,
    tensor::{DType, Element},
};

/// Prepares [`Op::Where`](crate::graph::Op::Where).
pub(super) fn prepare(p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (cond, a, b, y) = (&p.inputs[0], &p.inputs[1], &p.inputs[2], &p.outputs[0]);
    if cond.dtype != DType::Bool || !a.stores_like(y) || !b.stores_like(y) {
        return Err(p.unsupported());
    }
    let shape = Broadcast::new(&y.shape, [&cond.shape, &a.shape, &b.shape])?;
    match y.dtype.size() {
        1 => Ok(Box::new(Where::<u8> { shape, element: Default::default() })),
        2 => Ok(Box::new(Where::<u16> { shape, element: Default::default() })),
        4 => Ok(Box::new(Where::<u32> { shape, element: Default::default() })),
        8 => Ok(Box::new(Where::<u64> { shape, element: Default::default() })),
        _ => Err(p.unsupported()),
    }
}

struct Where<T> {
    shape: Broadcast<3>,
    element: core::marker::PhantomData<T>,
}

impl<T: Element> Kernel for Where<T> {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        io.each_range::<T>(self.shape.count(), |io, range, y| {
            let (cond, a, b) = (io.input::<u8>(0), io.input::<T>(1), io.input::<T>(2));
            let (mut buffer_cond, mut buffer_a, mut buffer_b) = (Buffer::new(), Buffer::new(), Buffer::new());
            let [feed_cond, feed_a, feed_b] = self.shape.feeds();
            self.shape.chunks(range, |[row_cond, row_a, row_b], chunk, row| {
                // SAFETY: chunks do not overlap.
                let y = unsafe { y.part(row + chunk.start..row + chunk.end) };
                let cond = feed_cond.get(cond, row_cond, chunk.clone(), &mut buffer_cond);
                let a = feed_a.get(a, row_a, chunk.clone(), &mut buffer_a);
                let b = feed_b.get(b, row_b, chunk, &mut buffer_b);
                for (((y, c), a), b) in y.iter_mut().zip(cond).zip(a).zip(b) {
                    *y = if *c != 0 { *a } else { *b };
                }
            });
        });
        Ok(())
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "where_tests.rs"]
mod tests;
