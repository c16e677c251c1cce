//! The ways to compute one node, measured in turns.

use alloc::vec::Vec;

use super::{super::bind::Step, TunedNode};
use crate::{
    error::Result,
    kernels::{Choice, Made, Method, Region, Team, candidates, scratch_len},
    tensor::AlignedBytes,
};

/// Rounds in which every way that is left runs once.
const ROUNDS: usize = 5;
/// Ways that are measured, for estimates.
const USUAL: f64 = 8.0;
/// A way that takes this much more than the fastest is given up, after the first rounds.
const HOPELESS: f64 = 1.25;
/// Another way must be faster by this factor to be taken: less may be noise.
const WORTH: f64 = 0.97;
/// Ticks of the clock that a measurement lasts.
const TICKS: f64 = 10.0;
/// Milliseconds for which the ways of a node are tried at least, so that the browser optimises their code.
const LEAST_MS: f64 = 12.0;

/// A way.
struct Rival {
    choice: Choice,
    made: Made,
    /// `None` for the model's own.
    step: Option<Step>,
    best_ms: f64,
}

/// The ways to compute the node at hand; none between nodes.
#[derive(Default)]
pub(super) struct Trials {
    rivals: Vec<Rival>,
    round: usize,
    /// Calls that one measurement comprises.
    calls: usize,
    spent_ms: f64,
}

impl Trials {
    /// About how many milliseconds it takes to try a node that takes `ms`.
    pub fn cost(ms: f64, tick_ms: f64) -> f64 {
        (USUAL * ROUNDS as f64 * ms.max(tick_ms * TICKS)).max(LEAST_MS)
    }

    pub fn is_empty(&self) -> bool {
        self.rivals.is_empty()
    }

    /// Prepares all ways of the node that `own` computes by `choice`.
    #[cold]
    #[inline(never)]
    #[cfg_attr(small, optimize(size))]
    pub fn begin(&mut self, own: &Step, choice: Choice, prepare: &mut dyn FnMut(Choice) -> Option<Step>) {
        let rival = |choice, made, step| Rival { choice, made, step, best_ms: f64::INFINITY };
        *self = Trials { rivals: Vec::from([rival(choice, own.made, None)]), ..Trials::default() };
        // The same kernel may be what several choices give.
        for choice in candidates() {
            let Some(step) = prepare(choice) else { continue };
            let known = self.rivals.iter().any(|rival| rival.made == step.made);
            let same = step.operands == own.operands && step.results == own.results;
            if !known && same && step.made.method != Method::Auto {
                self.rivals.push(rival(choice, step.made, Some(step)));
            }
        }
    }

    /// Scratch space for any of them, `present` if that is enough.
    #[cold]
    #[inline(never)]
    pub fn scratch(&self, present: AlignedBytes, team: &Team) -> Result<AlignedBytes> {
        let needed = self.rivals.iter().flat_map(|r| &r.step).map(|step| scratch_len(&*step.kernel, team)).max();
        match needed.filter(|needed| *needed > present.len()) {
            Some(needed) => AlignedBytes::try_zeroed(needed),
            None => Ok(present),
        }
    }

    /// Measures every way that is left once; whether that was the last time.
    #[cold]
    #[inline(never)]
    pub fn round(
        &mut self,
        own: &Step,
        scratch: &mut AlignedBytes,
        team: &Team,
        clock: &mut dyn FnMut() -> f64,
        tick_ms: f64,
    ) -> Result<bool> {
        let begin = clock();
        for rival in &mut self.rivals {
            let start = clock();
            for _ in 0..self.calls.max(1) {
                match &rival.step {
                    // SAFETY: operands and results are those of the model's own step, which `begin` compared; its regions are in one arena
                    // that the caller has for itself. The scratch space is apart and long enough for every way.
                    Some(step) => unsafe { own.run(&*step.kernel, Region::of_mut(scratch), team)? },
                    // SAFETY: as above; this scratch space is in the arena.
                    None => unsafe { own.run(&*own.kernel, own.scratch(), team)? },
                }
            }
            let ms = (clock() - start) / self.calls.max(1) as f64;
            // The first round is for caches and compilers.
            if self.round > 0 {
                rival.best_ms = rival.best_ms.min(ms);
            }
        }
        if self.round == 0 {
            let each = (clock() - begin) / self.rivals.len() as f64;
            self.calls = (TICKS * tick_ms / each.max(tick_ms / 16.0)) as usize;
        }
        self.round += 1;
        self.spent_ms += clock() - begin;
        let fastest = self.rivals.iter().map(|r| r.best_ms).fold(f64::INFINITY, f64::min);
        if self.round > 2 {
            let mut own = true;
            // The first is the model's own.
            self.rivals.retain(|r| core::mem::take(&mut own) || r.best_ms <= fastest * HOPELESS);
        }
        Ok(self.round > 1 && self.rivals.len() == 1 || self.round > ROUNDS && self.spent_ms >= LEAST_MS)
    }

    /// How the node is to be computed, and what was found.
    #[cold]
    #[inline(never)]
    #[cfg_attr(small, optimize(size))]
    pub fn end(&mut self, own: &Step) -> Option<(Choice, TunedNode)> {
        let rivals = core::mem::take(self).rivals;
        let first = rivals.first()?;
        let best = rivals.iter().min_by(|a, b| a.best_ms.total_cmp(&b.best_ms))?;
        let best = if best.best_ms < first.best_ms * WORTH { best } else { first };
        let node =
            TunedNode { index: own.node, before_ms: first.best_ms, after_ms: best.best_ms, before: first.made, after: best.made };
        Some((best.choice, node))
    }
}
