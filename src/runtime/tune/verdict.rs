//! The whole model as it was against the whole model as it would be.

use alloc::{boxed::Box, string::String, vec::Vec};

use super::{super::Session, Choices, Tuned};
use crate::{
    error::Result,
    graph::plan::Plan,
    limits::Limits,
    tensor::{Tensor, TensorView},
};

/// Fewest and most comparisons; what time is left decides.
const PAIRS: [usize; 2] = [8, 40];
/// The tuned model must be faster by this factor.
const WORTH: f64 = 0.99;
/// Ticks of the clock that a measurement lasts.
const TICKS: f64 = 20.0;

pub(super) struct Verdict {
    tuned: Box<Session>,
    tick_ms: f64,
    /// Runs that one measurement comprises; 0 before the first, which does not count.
    runs: usize,
    pairs: usize,
    /// Comparisons in which the tuned model was faster.
    wins: usize,
    /// Shortest times of the model as it was and as it would be.
    best: [f64; 2],
}

impl Verdict {
    /// Prepares the model as it would be; weights go from `plan` to the kernels' layouts.
    #[cold]
    #[inline(never)]
    pub fn new(plan: Plan, session: &Session, choices: Choices, tick_ms: f64) -> Result<Verdict> {
        let limits = Limits { tensor_bytes: session.tensor_bytes, ..Limits::default() };
        let tuned = Box::new(Session::with_choices(plan, &limits, session.team.clone(), Some(choices))?);
        Ok(Verdict { tuned, tick_ms, runs: 0, pairs: 0, wins: 0, best: [f64::INFINITY; 2] })
    }

    /// Runs both; whether that was the last time, as `left_ms` are left.
    #[cold]
    #[inline(never)]
    pub fn compare(
        &mut self,
        session: &mut Session,
        inputs: &[(String, Tensor)],
        clock: &mut dyn FnMut() -> f64,
        left_ms: f64,
    ) -> Result<bool> {
        let views: Vec<(&str, TensorView<'_>)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect();
        let mut times = [0.0; 2];
        // Neither is always the first.
        for turn in 0..2 {
            let which = (turn + self.pairs) % 2;
            let model = if which == 0 { &mut *session } else { &mut *self.tuned };
            let start = clock();
            for _ in 0..self.runs.max(1) {
                model.run(&views)?;
            }
            times[which] = (clock() - start) / self.runs.max(1) as f64;
        }
        if self.runs == 0 {
            self.runs = (TICKS * self.tick_ms / times[0].max(self.tick_ms)) as usize + 1;
            return Ok(false);
        }
        self.pairs += 1;
        self.wins += usize::from(times[1] < times[0]);
        self.best = [0, 1].map(|i| self.best[i].min(times[i]));
        Ok(self.pairs >= PAIRS[1] || self.pairs >= PAIRS[0] && left_ms <= 0.0)
    }

    /// The model as it would be, if it is faster by more than noise: in the shortest time and in three of four comparisons.
    #[cold]
    #[inline(never)]
    pub fn end(self, report: &mut Tuned) -> Option<Box<Session>> {
        [report.before_ms, report.after_ms] = self.best;
        report.kept = report.after_ms < report.before_ms * WORTH && 4 * self.wins >= 3 * self.pairs;
        report.kept.then_some(self.tuned)
    }
}
