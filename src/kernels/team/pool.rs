//! The threads behind a team: claiming of tiles, spinning, sleeping.

use core::hint::spin_loop;
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, SeqCst},
};
use std::sync::{Condvar, Mutex, PoisonError};

/// Turns that a helper waits for a job before it sleeps: some hundred microseconds. A pause takes a processor forty times as long as a
/// turn in WebAssembly, which has no such instruction.
const SPINS: u32 = if cfg!(target_arch = "wasm32") { 60_000 } else { 3_000 };
/// Turns after which a wait for a helper's tile leaves the core to others.
const PATIENCE: u32 = SPINS;
/// Most threads of a pool.
const MOST: usize = 64;

/// A value with a cache line of its own, so that threads that wait for it are not disturbed by its neighbours.
#[repr(align(128))]
struct Line<T>(T);

/// A job is a function that is called with a tile and a member.
struct Job<'a>(&'a (dyn Fn(usize, usize) + Sync));

/// See [`super::Team`], which most callers want. A pool is shared with the threads that help.
pub struct Pool {
    size: usize,
    /// Milliseconds since some moment.
    clock: fn() -> f64,
    /// Number of the job (32 bits), its tiles (16) and the next one to be claimed (16): one word, so that a claim is of a job that runs.
    next: Line<AtomicU64>,
    /// Tiles that are done.
    done: Line<AtomicU32>,
    /// The job that runs; only who has claimed a tile of it may look.
    job: AtomicPtr<Job<'static>>,
    /// Helpers that have arrived.
    present: AtomicU32,
    /// Helpers that sleep or are about to.
    sleepers: AtomicU32,
    /// Whether callers work alone.
    alone: AtomicBool,
    /// Whether helpers shall end.
    closed: AtomicBool,
    /// Whether a helper failed, which leaves its tile undone for ever.
    broken: AtomicBool,
    sleep: Mutex<()>,
    wake: Condvar,
    /// Held while a job runs.
    running: Mutex<()>,
}

impl Pool {
    /// A pool for `size` threads (at least the caller's own). `clock` gives milliseconds since some moment.
    pub fn new(size: usize, clock: fn() -> f64) -> Pool {
        Pool {
            size: size.clamp(1, MOST),
            clock,
            next: Line(AtomicU64::new(0)),
            done: Line(AtomicU32::new(0)),
            job: AtomicPtr::new(core::ptr::null_mut()),
            present: AtomicU32::new(0),
            sleepers: AtomicU32::new(0),
            alone: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
            running: Mutex::new(()),
        }
    }

    /// Most threads that may work at once.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Threads that work: the caller and the helpers that have arrived.
    pub fn present(&self) -> usize {
        1 + self.present.load(Relaxed) as usize
    }

    /// Milliseconds since some moment.
    pub fn now(&self) -> f64 {
        (self.clock)()
    }

    /// See [`super::Team::leave_out_helpers`].
    pub fn leave_out_helpers(&self, alone: bool) {
        self.alone.store(alone, Relaxed);
    }

    /// See [`super::Team::run`]. While another job runs, be it the one of which this call is a part, and after a panic the caller works alone.
    pub(super) fn run(&self, tiles: usize, work: &(dyn Fn(usize, usize) + Sync)) {
        let alone = || (0..tiles).for_each(|tile| work(tile, 0));
        if tiles > usize::from(u16::MAX) || self.present.load(Relaxed) == 0 || self.alone.load(Relaxed) {
            return alone();
        }
        let Ok(_running) = self.running.try_lock() else { return alone() };
        let job = Job(work);
        let published = self.publish(&job, tiles);
        self.work(0);
        drop(published);
        assert!(!self.broken.load(Relaxed), "a helping thread failed");
    }

    /// Offers a job's tiles to the helpers until the result is dropped, which waits for those that were claimed.
    fn publish<'p>(&'p self, job: &'p Job<'_>, tiles: usize) -> Published<'p> {
        // The lifetime is given up here; nobody looks at the job before it is published or after all of its tiles are done.
        self.job.store((&raw const *job).cast::<Job<'static>>().cast_mut(), Relaxed);
        self.done.0.store(0, Relaxed);
        let number = (self.next.0.load(Relaxed) >> 32).wrapping_add(1);
        self.next.0.store(number << 32 | (tiles as u64) << 16, SeqCst);
        if self.sleepers.load(SeqCst) > 0 && self.sleepers.swap(0, SeqCst) > 0 {
            self.wake.notify_all();
        }
        Published { pool: self, tiles: tiles as u32 }
    }

    /// Claims a tile.
    fn claim(&self) -> Option<usize> {
        let mut at = self.next.0.load(Acquire);
        while at as u16 != (at >> 16) as u16 {
            match self.next.0.compare_exchange_weak(at, at + 1, AcqRel, Acquire) {
                Ok(_) => return Some(usize::from(at as u16)),
                Err(now) => at = now,
            }
        }
        None
    }

    /// Claims and runs tiles until there are none.
    fn work(&self, member: usize) {
        while let Some(tile) = self.claim() {
            let _done = Done(self);
            // SAFETY: the job lives until all claimed tiles are done (see `Published`), so until this one is. Its address was stored
            // before it was published.
            let job = unsafe { &*self.job.load(Relaxed) };
            (job.0)(tile, member);
        }
    }

    /// Waits until all tiles are done.
    fn join(&self, tiles: u32) {
        let mut turns = 0u32;
        while self.done.0.load(Acquire) != tiles {
            // After a trap the tile stays undone; a native helper's panic leaves it done.
            assert!(!cfg!(target_arch = "wasm32") || !self.broken.load(Relaxed), "a helping thread failed");
            turns += 1;
            if turns < PATIENCE {
                spin_loop();
            } else {
                // The helper may be waiting for this very core.
                std::thread::sleep(core::time::Duration::from_micros(50));
            }
        }
    }

    /// Helps with whatever jobs come, until [`Pool::close`]. `member` is this helper's own number, from 1 to [`Pool::size`] − 1.
    pub fn help(&self, member: usize) {
        if member == 0 || member >= self.size {
            return;
        }
        let _leave = Leave(self);
        self.present.fetch_add(1, Relaxed);
        let mut seen = 0;
        while self.await_job(seen) {
            seen = self.next.0.load(Acquire) >> 32;
            self.work(member);
        }
    }

    /// Waits for a job whose number is not `seen`; `false` if there will be none.
    fn await_job(&self, seen: u64) -> bool {
        let idle = || self.next.0.load(SeqCst) >> 32 == seen && !self.closed.load(SeqCst);
        for _ in 0..SPINS {
            if !idle() {
                return !self.closed.load(Relaxed);
            }
            spin_loop();
        }
        let mut guard = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        while idle() {
            self.sleepers.fetch_add(1, SeqCst);
            // Whoever publishes a job from here on sees a sleeper. A signal between this look and the sleep is lost: this job goes
            // without the helper, the next one wakes it.
            if idle() {
                guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
            }
        }
        !self.closed.load(Relaxed)
    }

    /// Ends the helpers.
    pub fn close(&self) {
        self.closed.store(true, SeqCst);
        drop(self.sleep.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_all();
    }

    /// Reports that a helper failed: a job that waits for it panics.
    pub fn fail(&self) {
        self.present.store(0, Relaxed);
        self.broken.store(true, Relaxed);
    }
}

/// A job that helpers may see.
struct Published<'a> {
    pool: &'a Pool,
    tiles: u32,
}

impl Drop for Published<'_> {
    fn drop(&mut self) {
        // After a panic of the caller there are tiles that nobody shall run any more.
        while self.pool.claim().is_some() {
            drop(Done(self.pool));
        }
        self.pool.join(self.tiles);
    }
}

/// A claimed tile, which counts as done when this is dropped, be it by a panic.
struct Done<'a>(&'a Pool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.done.0.fetch_add(1, AcqRel);
    }
}

/// Takes note of a helper that ends, above all by a panic.
struct Leave<'a>(&'a Pool);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail();
        }
    }
}
