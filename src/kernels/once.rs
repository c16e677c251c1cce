//! Runs a kernel on tensors, outside any session: the compiler computes constants with it.

use alloc::vec::Vec;

use super::{Io, Kernel, Region, Team, scratch_len};
use crate::{
    error::Result,
    tensor::{AlignedBytes, Tensor},
};

/// Runs `kernel`, which was prepared for tensors of these shapes and types.
pub(crate) fn run_once(kernel: &dyn Kernel, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<()> {
    let mut scratch = AlignedBytes::zeroed(scratch_len(kernel, &Team::ALONE));
    let inputs: Vec<Region> = inputs.iter().map(|t| Region::of(t.bytes())).collect();
    let outputs: Vec<Region> = outputs.iter_mut().map(|t| Region::of_mut(t.bytes_mut())).collect();
    // SAFETY: the regions belong to distinct tensors and to the scratch buffer, all aligned to 64 bytes and borrowed for the call.
    let mut io = unsafe { Io::new(kernel, &inputs, &outputs, Region::of_mut(&mut scratch), &Team::ALONE) };
    kernel.run(&mut io)
}
