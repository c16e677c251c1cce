//! What a kernel sees when it runs: its operands as slices.

use core::marker::PhantomData;

use crate::tensor::Element;

/// A region of memory that an operand or the scratch space occupies.
#[derive(Debug, Clone, Copy)]
pub struct Region {
    ptr: *mut u8,
    len: usize,
}

// SAFETY: a region is only an address; it is dereferenced under the contract of `Io::new` alone.
unsafe impl Send for Region {}

impl Region {
    /// No bytes.
    pub const EMPTY: Region = Region { ptr: core::ptr::without_provenance_mut(64), len: 0 };

    /// The memory of `bytes`, to be read only.
    pub fn of(bytes: &[u8]) -> Region {
        Region { ptr: bytes.as_ptr().cast_mut(), len: bytes.len() }
    }

    /// The memory of `bytes`.
    pub fn of_mut(bytes: &mut [u8]) -> Region {
        Region { ptr: bytes.as_mut_ptr(), len: bytes.len() }
    }
}

/// The operands of one kernel call.
pub struct Io<'a> {
    inputs: &'a [Region],
    outputs: &'a [Region],
    scratch: Region,
    memory: PhantomData<&'a mut [u8]>,
}

impl<'a> Io<'a> {
    /// Gathers the operands of a call.
    ///
    /// # Safety
    /// For `'a`, every region must be valid (inputs for reads, outputs and scratch for reads and writes) and aligned to 64 bytes,
    /// no output or scratch may overlap any other region, and nobody else may touch outputs and scratch.
    pub unsafe fn new(inputs: &'a [Region], outputs: &'a [Region], scratch: Region) -> Io<'a> {
        Io { inputs, outputs, scratch, memory: PhantomData }
    }

    /// Number of inputs.
    pub fn input_count(&self) -> usize {
        self.inputs.len()
    }

    /// Input `i` as elements of type `T` (whole elements only). Kernels choose `T` by the types they were prepared for.
    pub fn input<T: Element>(&self, i: usize) -> &'a [T] {
        let region = self.inputs[i];
        // SAFETY: by the contract of `new` the region is readable for 'a, aligned, and not written through any output.
        unsafe { core::slice::from_raw_parts(region.ptr.cast_const().cast::<T>(), region.len / size_of::<T>()) }
    }

    /// Output `i` as elements of type `T`.
    pub fn output<T: Element>(&mut self, i: usize) -> &mut [T] {
        as_mut(self.outputs[i])
    }

    /// Output `i`, and the scratch space that the kernel asked for.
    pub fn output_and_scratch<T: Element>(&mut self, i: usize) -> (&mut [T], &mut [u8]) {
        (as_mut(self.outputs[i]), as_mut(self.scratch))
    }

    /// The first `N` outputs as elements of type `T`, and the scratch space.
    pub fn outputs_and_scratch<T: Element, const N: usize>(&mut self) -> ([&mut [T]; N], &mut [u8]) {
        (core::array::from_fn(|i| as_mut(self.outputs[i])), as_mut(self.scratch))
    }

    /// The first three outputs.
    pub fn outputs3<A: Element, B: Element, C: Element>(&mut self) -> (&mut [A], &mut [B], &mut [C]) {
        (as_mut(self.outputs[0]), as_mut(self.outputs[1]), as_mut(self.outputs[2]))
    }
}

fn as_mut<'s, T: Element>(region: Region) -> &'s mut [T] {
    // SAFETY: private to this file; callers tie the lifetime to a `&mut Io`, and by `Io::new`'s contract outputs and scratch are
    // valid, aligned, disjoint from each other and from the inputs, and touched by nobody else.
    unsafe { core::slice::from_raw_parts_mut(region.ptr.cast::<T>(), region.len / size_of::<T>()) }
}
