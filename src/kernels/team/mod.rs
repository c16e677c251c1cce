//! Threads that share the work of a kernel.
//!
//! A kernel cuts its work into tiles; the calling thread and the helpers that happen to be awake claim one after the other. Nobody
//! waits for a helper that has not claimed a tile, so that a helper which sleeps, starts late or has no core costs nothing. Between
//! jobs helpers spin for a moment, then sleep. Tiles write results of their own and sums are never cut, so that results do not
//! depend on who computed them.

mod pool;

use alloc::sync::Arc;
use std::sync::OnceLock;

pub use pool::Pool;

use super::Region;
use crate::error::Result;

/// Least number of cheap elements (a table look-up, a sum) that are worth a tile: some ten microseconds.
pub(crate) const GRAIN: usize = 16 << 10;

/// A thread and its helpers.
#[derive(Clone, Default)]
pub struct Team {
    owner: Option<Arc<Owner>>,
}

/// Ends the helpers with the last team that has them.
struct Owner(Arc<Pool>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Team {
    /// The calling thread alone.
    pub const ALONE: Team = Team { owner: None };

    /// A team of up to `size` threads, the caller of [`Team::run`] included. Someone must call [`Pool::help`] for the others.
    pub fn of_pool(pool: Arc<Pool>) -> Team {
        Team { owner: Some(Arc::new(Owner(pool))) }
    }

    /// A team with `size` − 1 threads of its own. Where fewer can be started, there are fewer.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn spawn(size: usize) -> Team {
        let pool = Arc::new(Pool::new(size, milliseconds));
        for member in 1..pool.size() {
            let pool = pool.clone();
            let thread = std::thread::Builder::new().name(alloc::format!("nearside {member}"));
            if thread.spawn(move || pool.help(member)).is_err() {
                break;
            }
        }
        Team::of_pool(pool)
    }

    /// Most threads that may work at once.
    pub fn size(&self) -> usize {
        self.owner.as_ref().map_or(1, |owner| owner.0.size())
    }

    /// Milliseconds since some moment, where there are helpers.
    pub fn now(&self) -> Option<f64> {
        if cfg!(all(target_arch = "wasm32", not(target_feature = "atomics"))) {
            return None;
        }
        self.owner.as_ref().filter(|owner| owner.0.present() > 1).map(|owner| owner.0.now())
    }

    /// Whether the caller of [`Team::run`] works alone from now on.
    pub fn leave_out_helpers(&self, alone: bool) {
        if let Some(owner) = &self.owner {
            owner.0.leave_out_helpers(alone);
        }
    }

    /// Calls `work` with each tile from 0 to `tiles` − 1 and the number of the team's member that runs it, below [`Team::size`].
    /// No two calls with the same member run at once. Returns when all are done.
    #[inline(never)]
    pub fn run(&self, tiles: usize, work: &(dyn Fn(usize, usize) + Sync)) {
        match &self.owner {
            Some(owner) if tiles > 1 => owner.0.run(tiles, work),
            _ => (0..tiles).for_each(|tile| work(tile, 0)),
        }
    }
}

/// Milliseconds since some moment.
#[cfg(not(target_arch = "wasm32"))]
fn milliseconds() -> f64 {
    static START: OnceLock<std::time::Instant> = OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed().as_secs_f64() * 1e3
}

/// A team together with the scratch space that each of its members has for itself.
#[derive(Clone, Copy)]
pub(crate) struct Crew<'a> {
    team: &'a Team,
    scratch: Region,
}

// SAFETY: `run` gives each member a part of the scratch space of its own.
unsafe impl Sync for Crew<'_> {}

impl<'a> Crew<'a> {
    /// `scratch` is cut into equal parts, one per member.
    ///
    /// # Safety
    /// For `'a`, `scratch` must be valid for reads and writes, and nobody may use it but through this value, one run at a time.
    pub unsafe fn new(team: &'a Team, scratch: Region) -> Crew<'a> {
        Crew { team, scratch }
    }

    /// The calling thread alone, with all of `scratch`.
    pub fn alone(scratch: &'a mut [u8]) -> Crew<'a> {
        Crew { team: &Team::ALONE, scratch: Region::of_mut(scratch) }
    }

    /// Number of members.
    pub fn size(&self) -> usize {
        self.team.size()
    }

    /// In how many tiles to cut `units` that go one by one, if `grain` of them are worth a tile: 1 where the work is too small to share.
    pub fn tiles(&self, units: usize, grain: usize) -> usize {
        tiles(self.team, units, grain)
    }

    /// See [`even`].
    pub fn even(&self, parts: usize, most: usize) -> usize {
        even(self.team, parts, most)
    }

    /// Calls `work` with each of `tiles` tiles and the scratch space of the member that runs it. Gives one of the errors if there are any.
    pub fn run(&self, tiles: usize, work: &(dyn Fn(usize, &mut [u8]) -> Result<()> + Sync)) -> Result<()> {
        let own = self.scratch.len() / self.size() / 64 * 64;
        let error = OnceLock::new();
        self.team.run(tiles, &|tile, member| {
            // SAFETY: the part lies within the scratch space, which by `new`'s contract is this run's; no other call has this member.
            let scratch = unsafe { self.scratch.part(member * own, own).bytes_mut() };
            if let Err(e) = work(tile, scratch) {
                let _ = error.set(e);
            }
        });
        error.into_inner().map_or(Ok(()), Err)
    }
}

/// See [`Crew::tiles`]. A few tiles per member even out what members are slowed down by.
pub(crate) fn tiles(team: &Team, units: usize, grain: usize) -> usize {
    // Tests share even the smallest work, so that they see what is shared.
    let grain = if cfg!(test) { 1 } else { grain.max(1) };
    let size = team.size();
    if size == 1 { 1 } else { (units / grain).clamp(1, 4 * size) }
}

/// `parts` equal parts of some work, or as many more as it takes for all members to have the same number: at most `most`. Of many parts
/// one more or less does not matter.
pub(crate) fn even(team: &Team, parts: usize, most: usize) -> usize {
    let size = team.size();
    if parts >= 4 * size { parts } else { parts.next_multiple_of(size).min(most).max(parts) }
}

/// The part of `0..units` that tile `tile` of `tiles` has.
pub(crate) fn part(units: usize, tile: usize, tiles: usize) -> core::ops::Range<usize> {
    let at = |tile: usize| (units as u64 * tile as u64 / tiles.max(1) as u64) as usize;
    at(tile)..at(tile + 1)
}

/// The same in whole `unit`s: both ends are multiples of it, or the end of all.
pub(crate) fn part_in_units(len: usize, unit: usize, tile: usize, tiles: usize) -> core::ops::Range<usize> {
    let part = part(len.div_ceil(unit.max(1)), tile, tiles);
    part.start * unit..(part.end * unit).min(len)
}

/// A slice whose parts different threads write.
pub(crate) struct Shared<'a, T> {
    ptr: *mut T,
    len: usize,
    borrow: core::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: what threads reach through it is disjoint, by the contract of `part`.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Shared<'a, T> {
        Shared { ptr: slice.as_mut_ptr(), len: slice.len(), borrow: core::marker::PhantomData }
    }

    /// The first element; whoever writes through it must keep to what no other thread touches.
    pub fn as_ptr(&self) -> *mut T {
        self.ptr
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The slice from element `start` on.
    pub fn from(&self, start: usize) -> Shared<'a, T> {
        let start = start.min(self.len);
        // SAFETY: within the slice or one past its end.
        Shared { ptr: unsafe { self.ptr.add(start) }, len: self.len - start, borrow: core::marker::PhantomData }
    }

    /// The whole elements of another type that the same memory holds.
    ///
    /// # Safety
    /// The slice must be aligned for them, and any bytes must be one.
    pub unsafe fn cast<U>(&self) -> Shared<'a, U> {
        let len = self.len * size_of::<T>() / size_of::<U>();
        Shared { ptr: self.ptr.cast(), len, borrow: core::marker::PhantomData }
    }

    /// Elements of `range`; beyond the end there are none.
    ///
    /// # Safety
    /// No two ranges that are in use at once may overlap.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, range: core::ops::Range<usize>) -> &'a mut [T] {
        let end = range.end.min(self.len);
        let start = range.start.min(end);
        // SAFETY: within the slice; that nobody else has a part of it is the caller's promise.
        unsafe { core::slice::from_raw_parts_mut(self.ptr.add(start), end - start) }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
