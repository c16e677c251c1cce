//! What a kernel sees when it runs: its operands as slices.

use core::marker::PhantomData;

use super::{
    Kernel,
    team::{Crew, Shared, Team, part, tiles},
};
use crate::tensor::Element;

/// A region of memory that an operand or the scratch space occupies.
#[derive(Debug, Clone, Copy)]
pub struct Region {
    ptr: *mut u8,
    len: usize,
}

// SAFETY: a region is only an address; it is dereferenced under the contract of `Io::new` alone.
unsafe impl Send for Region {}
// SAFETY: the same.
unsafe impl Sync for Region {}

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

    /// Bytes.
    pub(super) fn len(self) -> usize {
        self.len
    }

    /// `len` bytes from `start` on, or what there is of them.
    pub(super) fn part(self, start: usize, len: usize) -> Region {
        let start = start.min(self.len);
        Region { ptr: self.ptr.wrapping_add(start), len: len.min(self.len - start) }
    }

    /// The bytes.
    ///
    /// # Safety
    /// For `'a` they must be valid for reads and writes, and nobody else may touch them.
    pub(super) unsafe fn bytes_mut<'a>(self) -> &'a mut [u8] {
        // SAFETY: as the caller promises.
        unsafe { core::slice::from_raw_parts_mut(self.ptr, self.len) }
    }
}

/// Bytes of scratch space for a call of `kernel` by `team`.
pub fn scratch_len(kernel: &dyn Kernel, team: &Team) -> usize {
    let own = kernel.own_scratch().next_multiple_of(64);
    own.saturating_mul(team.size()).saturating_add(kernel.scratch().next_multiple_of(64))
}

/// The operands of one kernel call.
pub struct Io<'a> {
    inputs: &'a [Region],
    outputs: &'a [Region],
    scratch: Region,
    /// Equal parts, one for each member of the team.
    own: Region,
    team: &'a Team,
    memory: PhantomData<&'a mut [u8]>,
}

/// Most operands of a call that is cut by [`Io::each_part`].
const MOST_OPERANDS: usize = 8;

impl<'a> Io<'a> {
    /// Gathers the operands of a call of `kernel`, whose work `team` may share. `scratch` has [`scratch_len`] bytes.
    ///
    /// # Safety
    /// For `'a`, every region must be valid (inputs for reads, outputs and scratch for reads and writes) and aligned to 64 bytes,
    /// no output or scratch may overlap any other region, and nobody else may touch outputs and scratch.
    pub unsafe fn new(
        kernel: &dyn Kernel,
        inputs: &'a [Region],
        outputs: &'a [Region],
        scratch: Region,
        team: &'a Team,
    ) -> Io<'a> {
        let own = kernel.scratch().next_multiple_of(64);
        Io {
            inputs,
            outputs,
            scratch: scratch.part(0, kernel.scratch()),
            own: scratch.part(own, usize::MAX),
            team,
            memory: PhantomData,
        }
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

    /// As [`Io::output_and_scratch`], with the team and the scratch space of its members.
    pub(super) fn output_scratch_and_crew<T: Element>(&mut self, i: usize) -> (&mut [T], &mut [u8], Crew<'_>) {
        // SAFETY: by the contract of `new` the members' scratch space is the call's own; it is lent for as long as `self` is borrowed.
        (as_mut(self.outputs[i]), as_mut(self.scratch), unsafe { Crew::new(self.team, self.own) })
    }

    /// The team.
    pub(super) fn team(&self) -> &'a Team {
        self.team
    }

    /// Calls `run` on parts of the operands that together are all of them, at once on several threads if the work is worth it. All
    /// outputs and the first `cut` inputs are cut into the same `rows` rows; `run` must give for some rows what it gives for them
    /// among all others. A tile has at least `grain` rows. The parts have no scratch space.
    pub(super) fn each_part(&mut self, rows: usize, grain: usize, cut: usize, run: &(dyn Fn(&mut Io<'_>) + Sync)) {
        let tiles = tiles(self.team, rows, grain);
        if tiles <= 1 || self.inputs.len().max(self.outputs.len()) > MOST_OPERANDS {
            return run(self);
        }
        let of_rows = |region: Region, rows: &core::ops::Range<usize>, count: usize| {
            let row = region.len / count;
            region.part(rows.start * row, rows.len() * row)
        };
        let io = &*self;
        io.team.run(tiles, &|tile, _| {
            let range = part(rows, tile, tiles);
            let (mut inputs, mut outputs) = ([Region::EMPTY; MOST_OPERANDS], [Region::EMPTY; MOST_OPERANDS]);
            for (i, (to, from)) in inputs.iter_mut().zip(io.inputs).enumerate() {
                *to = if i < cut { of_rows(*from, &range, rows) } else { *from };
            }
            for (to, from) in outputs.iter_mut().zip(io.outputs) {
                *to = of_rows(*from, &range, rows);
            }
            let (inputs, outputs) = (&inputs[..io.inputs.len()], &outputs[..io.outputs.len()]);
            let (scratch, own) = (Region::EMPTY, Region::EMPTY);
            run(&mut Io { inputs, outputs, scratch, own, team: &Team::ALONE, memory: PhantomData });
        });
    }

    /// [`Io::each_part`] for functions of single elements: `len` of them in every operand.
    pub(super) fn each_element(&mut self, len: usize, run: &(dyn Fn(&mut Io<'_>) + Sync)) {
        self.each_part(len, super::team::GRAIN, usize::MAX, run);
    }

    /// Calls `run` with output 0, which several threads may write parts of, each with its part of `0..units`; a part has at least
    /// `grain` units.
    pub(super) fn each_range<T: Element>(
        &mut self,
        [units, grain]: [usize; 2],
        run: impl Fn(&Io<'_>, core::ops::Range<usize>, &Shared<'_, T>) + Sync,
    ) {
        let shared = Shared::new(as_mut(self.outputs[0]));
        let tiles = tiles(self.team, units, grain);
        let io = &*self;
        io.team.run(tiles, &|tile, _| run(io, part(units, tile, tiles), &shared));
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
